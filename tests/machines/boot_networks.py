# SPDX-License-Identifier: GPL-2.0-or-later
"""A service of the guest: the networks are there before NetworkManager, the cable in that of the argument."""

from __future__ import annotations

import signal
import sys

from clatnm.notify import notify
from tests.lab import topology
from tests.lab.poll import eventually
from tests.machines.inside import be_patient
from tests.machines.systemd_place import PORT, UPLINK, Place


class Networks(Place):
    """Context manager: networks and cable alone; who uses them is not our business."""

    def __init__(self, letter: str) -> None:
        self._letter = letter

    def _build(self) -> None:
        self._make_networks()
        for router in self.routers.values():
            router.wait_ready()
        eventually(lambda: "ready" in self.inet.log("inet"), message="the internet serves")
        topology.add_uplinks(self.here, self.switch, (UPLINK,))
        self.plug(self._letter)
        self.switch.ip("link", "set", PORT, "up")


def main() -> None:
    be_patient()
    with Networks(sys.argv[1]):
        notify("READY=1")
        signal.pause()


if __name__ == "__main__":
    main()
