# SPDX-License-Identifier: GPL-2.0-or-later
"""Somebody else on the link has the CLAT address (RFC 4862 5.4)."""

from __future__ import annotations

from tests.e2e import clat as daemon_clat
from tests.e2e.datapath import traffic
from tests.e2e.datapath.rig import CLAT, Rig
from tests.lab.lab import Lab
from tests.lab.poll import eventually


def test_translate_ends_and_names_the_address(own_rig: Rig, backend: str) -> None:
    before = own_rig.host.devices()
    own_rig.near.ip("addr", "add", f"{CLAT}/64", "dev", "lan0", "nodad")
    clat = own_rig.translate(backend)
    assert clat.service.wait() == 1
    told = [line for line in clat.service.log().splitlines() if not line.startswith("ready ")]
    assert len(told) == 1, told
    assert told[0].startswith("error: ")
    assert str(CLAT) in told[0]
    assert own_rig.host.devices() == before


def test_address_claimed_later_ends_it_too(own_rig: Rig, backend: str) -> None:
    """RFC 4862 5.4.4: an advertisement for our address is a conflict at any time."""
    clat = own_rig.translate(backend)
    traffic.ping(own_rig.host)
    own_rig.near.sysctl(ipv6__conf__lan0__ndisc_notify=1)
    own_rig.near.ip("addr", "add", f"{CLAT}/64", "dev", "lan0", "nodad")
    # Linux tells everybody what it has when its link address changes.
    own_rig.near.ip("link", "set", "lan0", "address", "02:00:00:00:00:0c")
    assert clat.service.wait() == 1
    assert str(CLAT) in clat.service.log().splitlines()[-1]


def test_daemon_takes_another_address(quick_lab: Lab, backend: str) -> None:
    quick_lab.host.path("/etc/clatnm/clatnm.conf").write_text(f"[clatnm]\nbackend = {backend}\n")
    first = _address(quick_lab)
    quick_lab.host.down("netA")
    daemon_clat.wait_no_device(quick_lab.host)
    try:
        quick_lab.a.ip("addr", "add", f"{first}/64", "dev", "lan", "nodad")
        quick_lab.host.up("netA")

        def moved() -> bool:
            told = daemon_clat.connection(quick_lab.host.daemons[-1])
            return bool(told["state"] == "on" and told["translator"]["clat_v6"] != first)

        eventually(moved, message="another address is in use")
        daemon_clat.ping(quick_lab.host)
        assert f"up0: another host uses {first}; taking another address" in quick_lab.host.daemons[-1].log()
    finally:
        quick_lab.a.ip("addr", "del", f"{first}/64", "dev", "lan")


def _address(lab: Lab) -> str:
    """Join A and tell the CLAT address there."""
    joined = daemon_clat.join(lab)
    told = daemon_clat.connection(joined.daemon)["translator"]
    return str(told["clat_v6"])
