# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m tests.bench`, or `make bench`."""

from __future__ import annotations

import sys

from tests.bench import first_reply

if __name__ == "__main__":
    sys.exit(first_reply.main())
