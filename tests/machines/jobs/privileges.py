# SPDX-License-Identifier: GPL-2.0-or-later
"""Nothing is granted for nothing: the service without one thing that its unit grants, and the function that then fails.

Arguments: names of removals, for these alone; `functions` for what the service does when nothing is removed.
"""

from __future__ import annotations

import sys
import time

from tests.machines.inside import Report
from tests.machines.privileges_functions import FUNCTIONS, PATIENCE_S, failing
from tests.machines.privileges_removed import REMOVALS, Removal
from tests.machines.systemd_place import Place

AFTERWARDS = "everything-works-again"


def main() -> int:
    asked = sys.argv[1:]
    report = Report()
    with Place() as place:
        if not asked or "functions" in asked:
            for name, function in FUNCTIONS.items():
                with report.check(name):
                    function(place, PATIENCE_S)
        for removal in REMOVALS:
            if not asked or removal.name in asked:
                with report.check(removal.name):
                    _without(removal, place)
        with report.check(AFTERWARDS):
            found, how = failing(place)
            assert found == "", f"{found}: {how}"
    return report.status


def _without(removal: Removal, place: Place) -> None:
    removal.check_kernel()
    place.clat.configure(f"{removal.drop_in}\nTimeoutStartSec=10")
    began = time.monotonic()
    try:
        found, how = failing(place, expected=removal.fails)
    finally:
        place.clat.unconfigure()
    print(
        f"without {removal.name}: {found or 'nothing'} fails ({time.monotonic() - began:.0f} s): {how[:300]}",
        flush=True,
    )
    assert found == removal.fails, f"without it, {found or 'nothing'} fails: {how}"
    assert removal.how in how, f"without it, {found} fails otherwise: {how}"


if __name__ == "__main__":
    sys.exit(main())
