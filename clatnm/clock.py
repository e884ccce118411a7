# SPDX-License-Identifier: GPL-2.0-or-later
"""The clock of everything here."""

from __future__ import annotations

import time


def boottime() -> float:
    """CLOCK_BOOTTIME in seconds: lifetimes run on while the machine sleeps (RFC 8781 section 4.1)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
