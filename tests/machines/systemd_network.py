# SPDX-License-Identifier: GPL-2.0-or-later
"""clatnm beside what else a system has for its network: firewalld, systemd-resolved, IPv4 that comes later."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.e2e.clat import connection, wait_on
from tests.lab.poll import eventually
from tests.machines.clat_service import SERVICE
from tests.machines.inside import systemctl
from tests.machines.systemd_place import NETWORKD_CONFIG, PROFILE, UPLINK, Place
from tests.machines.systemd_traffic import ipv4_works, upload

CONFIGURATION = Path("/etc/clatnm/clatnm.conf")
_NETWORKD_FILE = Path("/run/systemd/network/20-up0.network")
_SCRIPTED = "203.0.113.0/24"


def works_behind_firewalld(place: Place) -> None:
    """In its default zone, and in the one that the uplink is moved to; nobody has told it of us."""
    with _firewalld(place):
        zone = _zone(place)
        assert zone in ("", "public", "no zone"), zone
        _open_to_neighbours(place)
        place.here.run("firewall-cmd", "--reload")
        ipv4_works()
        place.here.run("firewall-cmd", "--zone=home", f"--change-interface={UPLINK}")
        eventually(lambda: _zone(place) == "home", message="our device follows its uplink")


def other_configuration(place: Place) -> None:
    """Behind firewalld without hooks; and scripts can do within the service's sandbox what they are for: routes,
    rules, files of their own, and such for a moment."""
    scripts = {"up": f"ip route add {_SCRIPTED} dev $clat_dev", "down": "nft delete table inet scripted"}
    for name, action in scripts.items():
        path = Path(f"/etc/clatnm/script-{name}")
        draft = "draft=$(mktemp)\necho $plat_dev $plat_prefix >$draft\n"
        path.write_text(f"#!/bin/sh -e\n{action}\n{draft}cp $draft /var/lib/clatnm/{name}-ran\nrm $draft\n")
        path.chmod(0o755)
    place.here.nft("table inet scripted {}")
    lines = [f"script-{name} = /etc/clatnm/script-{name}\n" for name in scripts]
    with _firewalld(place), configured(place, "".join(["backend = tun\n", *lines])):
        _open_to_neighbours(place)
        assert place.here.ip_json("route", "show", _SCRIPTED), "script-up has made no route"
        assert _left("up") == f"{UPLINK} 64:ff9b::/96"
    assert _left("down") == f"{UPLINK} 64:ff9b::/96"
    assert "scripted" not in place.here.run("nft", "list", "tables").stdout


@contextlib.contextmanager
def _firewalld(place: Place) -> Iterator[None]:
    systemctl("start", "firewalld")
    try:
        assert place.here.run("firewall-cmd", "--state").stdout.strip() == "running"
        assert place.here.run("firewall-cmd", "--get-default-zone").stdout.strip() == "public"
        yield
    finally:
        systemctl("stop", "firewalld")


def _zone(place: Place) -> str:
    told = place.here.run("firewall-cmd", f"--get-zone-of-interface=clat-{UPLINK}", check=False)
    return told.stdout.strip()


def _open_to_neighbours(place: Place) -> None:
    ipv4_works()
    clat_v6 = wait_on(place.clat, UPLINK, timeout_s=60.0)["translator"]["clat_v6"]
    router = place.routers["a"]
    router.ip("neigh", "flush", "dev", "lan")
    ipv4_works()
    known = {item["dst"]: item for item in router.ip_json("-6", "neigh", "show", "dev", "lan")}
    assert "lladdr" in known.get(clat_v6, {}), known


class configured:  # noqa: N801  # used as a context manager only
    """Meanwhile clatnm has this configuration."""

    def __init__(self, place: Place, text: str) -> None:
        self._place, self._text = place, text

    def __enter__(self) -> None:
        self._before = CONFIGURATION.read_text()
        self._write(f"[clatnm]\n{self._text}")

    def __exit__(self, *_: object) -> None:
        self._write(self._before)

    def _write(self, text: str) -> None:
        CONFIGURATION.write_text(text)
        systemctl("stop", SERVICE)  # a restart would take over the translator, and run no script
        systemctl("start", SERVICE)
        wait_on(self._place.clat, UPLINK, timeout_s=60.0)


def _left(name: str) -> str:
    return Path(f"/var/lib/clatnm/{name}-ran").read_text().strip()


def asks_the_links_own_resolvers(place: Place) -> None:
    """A network that tells its prefix by DNS64 alone; programs ask systemd-resolved, we ask whom it asks."""
    router = place.routers["a"]
    assert "127.0.0.53" in Path("/etc/resolv.conf").read_text()
    router.ra(pref64=[["64:ff9b::/96", 0]])
    try:
        eventually(lambda: _from_dns(place), timeout_s=120.0, message="the prefix by DNS")
        assert str(router.network.router) in place.here.run("resolvectl", "dns", UPLINK).stdout
        ipv4_works()
    finally:
        router.ra(pref64=[["64:ff9b::/96", 600]])
    eventually(lambda: _prefix(connection(place.clat, UPLINK))[0] == "ra", timeout_s=60.0, message="the router's again")


def _from_dns(place: Place) -> bool:
    told = connection(place.clat, UPLINK)
    assert told["state"] == "on", told
    return _prefix(told) == ("dns64", "64:ff9b::/96")


def _prefix(told: Mapping[str, Any]) -> tuple[str, str]:
    """From where, and which one. Between the router's last word and the resolver's first there is none."""
    known = told["prefix"] or {"source": "", "prefix": ""}
    return known["source"], known["prefix"]


def connections_outlive_native_ipv4(place: Place) -> None:
    """Within the sandbox too, the daemon sees who still uses a translator that has no route any more."""
    here = place.here
    with upload() as flow:
        here.ip("addr", "add", "192.168.1.77/24", "dev", UPLINK)
        here.ip("route", "add", "default", "via", "192.168.1.1", "dev", UPLINK, "metric", "50")
        try:
            eventually(lambda: connection(place.clat, UPLINK)["state"] == "draining", message="it drains")
            flow.goes_on()
            ipv4_works()
            flow.goes_on()
        finally:
            here.ip("addr", "del", "192.168.1.77/24", "dev", UPLINK)
        wait_on(place.clat, UPLINK, timeout_s=60.0)
        flow.goes_on()
    ipv4_works()


@contextlib.contextmanager
def by_networkd(place: Place) -> Iterator[None]:
    """Meanwhile the uplink is systemd-networkd's, and has a CLAT; and afterwards, as NetworkManager's again."""
    earlier = place.clat.translators()
    _NETWORKD_FILE.parent.mkdir(exist_ok=True)
    _NETWORKD_FILE.write_text(NETWORKD_CONFIG)
    systemctl("stop", "NetworkManager")
    try:
        systemctl("start", "systemd-networkd")
        eventually(place.has_ipv6, message="IPv6 by networkd")
        eventually(lambda: place.clat.translators().isdisjoint(earlier), message="NetworkManager's CLAT is gone")
        eventually(lambda: wait_on(place.clat, UPLINK)["manager"] == "systemd-networkd", message="networkd's own CLAT")
        yield
    finally:
        systemctl("stop", "systemd-networkd.socket", "systemd-networkd")
        _NETWORKD_FILE.unlink()
        systemctl("start", "NetworkManager")
        place.here.run("nmcli", "connection", "up", PROFILE, timeout_s=120.0)
    wait_on(place.clat, UPLINK, timeout_s=90.0)
