# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m tests.vectors` writes siit.jsonl anew from the cases here."""

from __future__ import annotations

from tests.vectors.build import text
from tests.vectors.vector import FILE

FILE.write_text(text())
