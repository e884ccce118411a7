# SPDX-License-Identifier: GPL-2.0-or-later
"""A real firewalld: IPv4 goes on behind it, and whoever comes in by IPv4 is judged as on the uplink."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e import clat, inbound
from tests.e2e.clat import Joined
from tests.lab.firewalld import Firewalld
from tests.lab.lab import Lab
from tests.lab.poll import eventually

DEVICE, UPLINK = "clat-up0", "up0"


@pytest.fixture
def joined(quick_lab: Lab) -> Iterator[Joined]:
    reason = Firewalld.missing(quick_lab.host)
    if reason is not None:
        pytest.skip(reason)
    joined = clat.join(quick_lab)
    with inbound.service(joined.host), inbound.caller(quick_lab):
        yield joined


def in_zone(firewalld: Firewalld, zone: str) -> None:
    """Both are, in the end."""
    eventually(
        lambda: (firewalld.zone(UPLINK), firewalld.zone(DEVICE)) == (zone, zone),
        timeout_s=20,
        message=f"{UPLINK} and {DEVICE} are in zone {zone}",
    )


def test_device_is_where_its_uplink_is(joined: Joined) -> None:
    lab, host = joined.lab, joined.host
    clat_v6 = clat.connection(joined.daemon)["translator"]["clat_v6"]
    eventually(lambda: inbound.call(lab, clat_v6), message="a call is let in")
    with Firewalld(host) as firewalld:
        in_zone(firewalld, "public")
        clat.ping(host)
        clat.download(host, clat.MIB)
        assert not inbound.call(lab, clat_v6)
        firewalld.cmd("--zone=public", f"--add-port={inbound.PORT}/tcp")
        eventually(lambda: inbound.call(lab, clat_v6), message="a call is let in")

        firewalld.cmd("--zone=drop", f"--change-interface={UPLINK}")
        in_zone(firewalld, "drop")
        clat.ping(host)
        clat.download(host, clat.MIB)
        clat.udp_echo(host, 10, 5000)
        assert not inbound.call(lab, clat_v6)

        firewalld.cmd("--zone=trusted", f"--change-interface={UPLINK}")
        in_zone(firewalld, "trusted")
        eventually(lambda: inbound.call(lab, clat_v6), message="a call is let in")

        firewalld.cmd("--reload")
        in_zone(firewalld, firewalld.zone(UPLINK) or "public")
        firewalld.stop()
        firewalld.start()
        in_zone(firewalld, "public")
        clat.ping(host)

        stored = firewalld.cmd("--permanent", "--zone=public", "--list-interfaces")
        assert DEVICE not in stored
        assert joined.daemon.stop() == 0
        assert firewalld.zone(DEVICE) == ""


def test_device_leaves_its_zone_after_a_reload_too(joined: Joined) -> None:
    with Firewalld(joined.host) as firewalld:
        in_zone(firewalld, "public")
        firewalld.cmd("--zone=work", f"--change-interface={UPLINK}")
        in_zone(firewalld, "work")
        firewalld.cmd("--reload")
        in_zone(firewalld, firewalld.zone(UPLINK) or "public")
        assert joined.daemon.stop() == 0
        assert firewalld.zone(DEVICE) == ""


def test_firewall_whose_default_is_to_drop_is_no_obstacle(joined: Joined) -> None:
    host = joined.host
    with Firewalld(host) as firewalld:
        firewalld.cmd("--set-default-zone=drop")
        in_zone(firewalld, "drop")
        # A start behind it: neighbour discovery, duplicate address detection, the first packets.
        assert joined.daemon.stop() == 0
        daemon = host.daemon("-v")
        told = clat.wait_on(daemon, timeout_s=20)
        in_zone(firewalld, "drop")
        joined.lab.a.ip("neigh", "flush", "dev", "lan")
        clat.ping(host)
        clat.download(host, clat.MIB)
        assert not inbound.call(joined.lab, told["translator"]["clat_v6"])
        firewalld.cmd("--set-default-zone=public")
