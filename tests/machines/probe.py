# SPDX-License-Identifier: GPL-2.0-or-later
"""Backend → why it does not work here, or nothing: as the daemon finds out, in JSON on standard output."""

from __future__ import annotations

import json

from clatnm.kernel.host import Host
from clatnm.translators import available

if __name__ == "__main__":
    print(json.dumps({name: backend.probe() for name, backend in available(Host()).items()}))
