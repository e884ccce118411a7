# SPDX-License-Identifier: GPL-2.0-or-later
"""The service through the sleep of its machine, and where it wakes up."""

from __future__ import annotations

import sys

from tests.machines import systemd_suspend as suspend
from tests.machines.systemd_checks import Checks, run

CHECKS: Checks = {
    "resumes-here-with-connections": suspend.resumes_here,
    "resumes-elsewhere": suspend.resumes_elsewhere,
    "resumes-elsewhere-with-networkd": suspend.resumes_elsewhere_with_networkd,
}

if __name__ == "__main__":
    sys.exit(run(CHECKS))
