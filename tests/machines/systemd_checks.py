# SPDX-License-Identifier: GPL-2.0-or-later
"""How the jobs about the service run their checks. Arguments: names of checks, for these alone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from tests.e2e.clat import wait_on
from tests.machines.inside import Report, be_patient
from tests.machines.systemd_place import UPLINK, Place

Checks = Mapping[str, Callable[[Place], None]]


def run(rest: Checks, *, first: Checks | None = None) -> int:
    """All of them in their order, in one place; the exit status.

    Each of the `rest` finds a CLAT that is on, and leaves one; for those before them, the service has not run yet.
    """
    be_patient()
    asked = sys.argv[1:]
    report = Report()
    with Place() as place:
        for name, check in (first or {}).items():
            if not asked or name in asked:
                with report.check(name):
                    check(place)
        place.clat.start()
        for name, check in rest.items():
            if not asked or name in asked:
                with report.check(name):
                    wait_on(place.clat, UPLINK, timeout_s=90.0)
                    check(place)
    return report.status
