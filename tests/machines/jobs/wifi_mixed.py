# SPDX-License-Identifier: GPL-2.0-or-later
"""Between Wi-Fi networks of different kinds: IPv6-only, dual stack, one that lies before it lets anybody in; and two
radios in two of them at once.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from typing import Any

from tests.e2e.clat import connection, wait_off, wait_on
from tests.lab.poll import eventually
from tests.lab.router import DNSMASQ
from tests.lab.topology import INET_V4
from tests.machines.clat_service import ClatService
from tests.machines.inside import Report, be_patient, ping_once
from tests.machines.wifi_air import AccessPoint, Air, on_the_air
from tests.machines.wifi_traffic import ipv4_works

STATION, OTHER = "wlan0", "wlan1"
PREFIXES = {"a": "64:ff9b::/96", "c": "2001:db8:64:0:c::/96"}
_PATIENCE_S = 90.0
# As long as a captive portal may hold somebody up before DNS is asked again.
_LOGIN_S = 400.0
_TIMES = 2
CAPTIVE = """\
table inet captive {
  chain forward { type filter hook forward priority 0; iifname "lan" drop; }
}
"""


def main() -> int:
    be_patient()
    report = Report()
    with on_the_air(radios=7, stations=2) as (air, daemon):
        six = AccessPoint(air, 2, ssid="six", network="a")
        dual = AccessPoint(air, 3, ssid="dual", network="b")
        both = [AccessPoint(air, 4, ssid="both", network="a"), AccessPoint(air, 5, ssid="both", network="b")]
        hotel = AccessPoint(air, 6, ssid="hotel", network="c")
        for network in ("a", "b", "c"):
            air.router(network).ra(interval=1000)  # so that whoever wants to know has to ask
        air.laptop.nmcli("device", "set", OTHER, "autoconnect", "no")
        with report.check("between-two-names"):
            between_two_names(air, daemon, six, dual)
        with report.check("roam-under-one-name"):
            under_one_name(air, daemon, *both)
        with report.check("captive-portal"):
            captive_portal(air, daemon, hotel)
        with report.check("captive-portal-after-the-login"):
            after_the_login(air, daemon)
        with report.check("two-radios"):
            two_radios(air, daemon, six, hotel)
    return report.status


def between_two_names(air: Air, daemon: ClatService, six: AccessPoint, dual: AccessPoint) -> None:
    six.start()
    dual.start()
    air.laptop.join(STATION, six)
    translated(air, daemon)
    air.laptop.join(STATION, dual)
    native(air, daemon)
    for _ in range(_TIMES):
        air.laptop.nmcli("-w", "90", "connection", "up", six.ssid)
        translated(air, daemon)
        air.laptop.nmcli("-w", "90", "connection", "up", dual.ssid)
        native(air, daemon)


def under_one_name(air: Air, daemon: ClatService, in_a: AccessPoint, in_b: AccessPoint) -> None:
    """The DHCPv4 lease from B is still there when the station is in A again."""
    in_a.start()
    air.laptop.join(STATION, in_a)
    translated(air, daemon)
    in_b.start()
    for _ in range(_TIMES):
        for point, check in ((in_b, native), (in_a, translated)):
            air.laptop.sees(STATION, point)
            air.laptop.roam(STATION, point)
            check(air, daemon)
    air.laptop.nmcli("device", "disconnect", STATION)
    in_a.stop()
    in_b.stop()


def captive_portal(air: Air, daemon: ClatService, hotel: AccessPoint) -> None:
    """Nothing but the portal is reached, every name is said to be there, and no router tells a prefix."""
    router = air.router("c")
    router.ra(pref64=[])
    router.nft(CAPTIVE)
    router.dns("off")
    liar = (*DNSMASQ, "--interface=lan", "--bind-interfaces", f"--address=/#/{router.network.router}")
    router.popen(*liar, f"--address=/#/{router.network.lan_v4[1]}", name="liar")
    hotel.start()
    air.laptop.join(STATION, hotel)
    wait_off(daemon, "no-pref64", STATION, timeout_s=_PATIENCE_S)
    answered = eventually(lambda: _dns_said(air), timeout_s=_PATIENCE_S, message="DNS has had its say")
    print(f"dns64: {answered}", flush=True)
    told = connection(daemon, STATION)
    assert (told["state"], told["reason"]) == ("off", "no-pref64"), told
    assert f"clat-{STATION}" not in air.laptop.devices()


def after_the_login(air: Air, daemon: ClatService) -> None:
    """No event tells that the portal has opened: DNS is simply asked again."""
    router = air.router("c")
    router.stop_services()
    router.nft("delete table inet captive\n")
    router.dns("dns64")
    told = wait_on(daemon, STATION, timeout_s=_LOGIN_S)
    assert told["prefix"]["source"] == "dns64", told
    ipv4_works(air.laptop)


def two_radios(air: Air, daemon: ClatService, first: AccessPoint, second: AccessPoint) -> None:
    """One in A, the other in C, which tells its prefix now: two translators, and new connections go by one of them."""
    air.router("c").ra(pref64=[[PREFIXES["c"], 600]])
    air.laptop.nmcli("connection", "up", second.ssid, "ifname", STATION)
    other = wait_on(daemon, STATION, timeout_s=_PATIENCE_S)
    air.laptop.join(OTHER, first)
    here = wait_on(daemon, OTHER, timeout_s=_PATIENCE_S)
    assert here["translator"]["prefix"] == PREFIXES["a"], here
    assert other["translator"]["prefix"] == PREFIXES["c"], other
    for key in ("metric", "clat_v4", "device"):
        assert here["translator"][key] != other["translator"][key], key
    for told in (here, other):
        air.laptop.run(*ping_once(INET_V4, "-I", told["translator"]["device"]))
    best = min((here, other), key=lambda told: int(told["translator"]["metric"]))
    assert best["translator"]["device"] in air.laptop.ip("route", "get", str(INET_V4))
    ipv4_works(air.laptop)
    air.laptop.nmcli("device", "disconnect", best["interface"])
    rest: dict[str, Any] = other if best is here else here
    eventually(
        lambda: rest["translator"]["device"] in air.laptop.ip("route", "get", str(INET_V4)), message="the other's route"
    )
    ipv4_works(air.laptop)
    assert connection(daemon, rest["interface"])["translator"]["clat_v4"] == rest["translator"]["clat_v4"]


def translated(air: Air, daemon: ClatService) -> None:
    told = wait_on(daemon, STATION, timeout_s=_PATIENCE_S)
    assert told["translator"]["prefix"] == PREFIXES["a"], told
    ipv4_works(air.laptop)
    assert _seen_as() == str(air.router("a").network.wan_v4)


def native(air: Air, daemon: ClatService) -> None:
    wait_off(daemon, "native-ipv4", STATION, timeout_s=_PATIENCE_S)
    ipv4_works(air.laptop)
    assert _seen_as() == str(air.router("b").network.wan_v4)


def _seen_as() -> str:
    """From which address the internet sees us."""
    with urllib.request.urlopen(f"http://{INET_V4}/", timeout=60) as answer:
        return str(answer.read().decode().removeprefix("hello ").strip())


def _dns_said(air: Air) -> str:
    """What the resolvers have said of the prefix; "" as long as they are being asked."""
    (told,) = json.loads(air.laptop.clatnm("explain", "--json", STATION).stdout)
    facts = {fact["what"]: str(fact["value"]) for fact in told["evidence"]}
    detail = facts.get("source dns64", "")
    return detail if " says " in detail or " tells " in detail else ""


if __name__ == "__main__":
    sys.exit(main())
