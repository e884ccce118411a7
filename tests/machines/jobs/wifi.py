# SPDX-License-Identifier: GPL-2.0-or-later
"""A Wi-Fi join as a user does it, WPA2 and WPA3, to a network that has IPv6 only; its access point lost and back."""

from __future__ import annotations

import sys

from tests.e2e.clat import wait_on
from tests.lab.poll import eventually
from tests.machines.clat_service import ClatService
from tests.machines.inside import Report, be_patient
from tests.machines.wifi_air import JOINED, WPA2, WPA3, AccessPoint, Air, on_the_air
from tests.machines.wifi_traffic import ipv4_works

STATION = "wlan0"
KEY_MANAGEMENT = {WPA2: "WPA2-PSK", WPA3: "SAE"}
"""As wpa_supplicant calls it."""
_LOST_S, _BACK_S = 120.0, 180.0


def main() -> int:
    be_patient()
    report = Report()
    with on_the_air(radios=3, networks=("a",)) as (air, daemon):
        for radio, (name, kind) in enumerate({"wpa2": WPA2, "wpa3": WPA3}.items(), 1):
            point = AccessPoint(air, radio, ssid=f"six-{name}", network="a", key_management=kind)
            with report.check(f"{name}-join"):
                joins(air, daemon, point)
            with report.check(f"{name}-access-point-stops"):
                stops(air, daemon, point)
            with report.check(f"{name}-access-point-comes-back"):
                comes_back(air, daemon, point)
            if kind == WPA2:
                with report.check(f"{name}-access-point-vanishes"):
                    vanishes(air, daemon, point)
            else:
                point.stop()
    return report.status


def joins(air: Air, daemon: ClatService, point: AccessPoint) -> None:
    point.start()
    air.laptop.join(STATION, point)
    told = wait_on(daemon, STATION, timeout_s=60.0)
    assert told["translator"]["prefix"] == "64:ff9b::/96", told
    assert air.laptop.bssid(STATION) == point.bssid
    status = air.laptop.run("wpa_cli", "-i", STATION, "status").stdout
    assert f"key_mgmt={KEY_MANAGEMENT[point.key_management]}" in status.splitlines(), status
    ipv4_works(air.laptop)


def stops(air: Air, daemon: ClatService, point: AccessPoint) -> None:
    """NetworkManager may wait for it to come back; then it gives up, and so do we."""
    point.stop()
    gone(air, daemon)


def comes_back(air: Air, daemon: ClatService, point: AccessPoint) -> None:
    point.start()
    eventually(lambda: air.laptop.state(STATION) == JOINED, timeout_s=_BACK_S, message="joined again, by itself")
    wait_on(daemon, STATION, timeout_s=60.0)
    ipv4_works(air.laptop)


def vanishes(air: Air, daemon: ClatService, point: AccessPoint) -> None:
    point.vanish()
    gone(air, daemon)


def gone(air: Air, daemon: ClatService) -> None:
    eventually(lambda: air.laptop.state(STATION) < JOINED, timeout_s=_LOST_S, message="NetworkManager gives it up")

    def nothing_left() -> bool:
        told = [item for item in daemon.status()["connections"] if item["interface"] == STATION]
        assert all(item["state"] == "off" for item in told), told
        assert f"clat-{STATION}" not in air.laptop.devices()
        assert not air.laptop.ip_json("-4", "route", "show", "default")
        return True

    eventually(nothing_left, message="the CLAT is gone")


if __name__ == "__main__":
    sys.exit(main())
