# SPDX-License-Identifier: GPL-2.0-or-later
"""Kinds of uplink for which a kernel needs modules: each carries each protocol, with hooks and without.

Arguments: kinds to try; none: all.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from ipaddress import IPv6Address

from tests.e2e.datapath import traffic
from tests.e2e.datapath.rig import CLAT, SERVER6, Rig, rigged
from tests.e2e.datapath.uplink_kinds import ROUTED_CLAT, Uplink, bridge, macvlan, vlan, vlan_in_the_packet
from tests.lab.poll import eventually
from tests.machines import forked
from tests.machines.inside import Report, be_patient, has_tcx

TUNNEL_PORT = "51820"
NEAR_ADDRESS = "2001:db8:1::1"


def bond(rig: Rig) -> Uplink:
    rig.leave_host("wan0")
    rig.host.batch(
        """
        link set wan0 down
        link add bond0 type bond mode active-backup miimon 100
        link set wan0 master bond0
        """
    )
    rig.join_host("bond0", "2001:db8:1::10")
    rig.host.wait_up("bond0")
    return "bond0", CLAT


def team(rig: Rig) -> Uplink:
    """Made by teamd, as NetworkManager has it done."""
    rig.leave_host("wan0")
    rig.host.ip("link", "set", "wan0", "down")
    wanted = {"runner": {"name": "activebackup"}, "link_watch": {"name": "ethtool"}, "ports": {"wan0": {}}}
    daemon = rig.host.popen("teamd", "--team-dev", "team0", "--config", json.dumps(wanted), name="teamd")

    def made() -> bool:
        assert daemon.running, daemon.log()
        return "team0" in rig.host.devices()

    eventually(made, message="team0")
    rig.join_host("team0", "2001:db8:1::10")
    rig.host.wait_up("team0")
    return "team0", CLAT


def bridge_of_a_vlan(rig: Rig) -> Uplink:
    uplink, clat_v6 = vlan(rig)
    rig.leave_host(uplink)
    rig.host.batch(
        f"""
        link add br7 type bridge
        link set {uplink} master br7
        """
    )
    rig.join_host("br7", "2001:db8:1::10")
    rig.host.wait_up("br7")
    return "br7", clat_v6


def vrf(rig: Rig) -> Uplink:
    """The uplink is a port of a VRF, whose table has its routes; programs use the VRF by its device."""
    rig.leave_host("wan0")
    rig.host.batch(
        """
        link add vrf0 type vrf table 100
        link set vrf0 up
        link set wan0 master vrf0
        """
    )
    rig.join_host("wan0", "2001:db8:1::10")
    return "wan0", CLAT


def ppp(rig: Rig) -> Uplink:
    """A modem's point-to-point link, by IPv6CP: no Ethernet header, no gateway."""
    rig.host.ip("link", "set", "wan0", "down")
    alone = ("noauth", "nodetach", "local", "noip", "+ipv6", "nolock", "maxfail", "1")
    isp = " ".join(["ip", "netns", "exec", rig.near.netns, "pppd", "notty", *alone])
    daemon = rig.host.popen("pppd", *alone, "pty", isp, name="pppd")

    def agreed() -> bool:
        assert daemon.running, daemon.log()
        return all("ppp0" in place.devices() for place in (rig.host, rig.near)) and "fe80" in rig.host.ip(
            "-6", "addr", "show", "dev", "ppp0"
        )

    eventually(agreed, message="IPv6CP")
    return routed_by(rig, "ppp0")


def wireguard(rig: Rig) -> Uplink:
    """A tunnel over the Ethernet, by which everything goes."""
    keys = {}
    for place in (rig.host, rig.near):
        place.ip("link", "add", "wg0", "type", "wireguard")
        private = rig.session.directory / f"{place.name}.key"
        private.write_text(place.run("wg", "genkey").stdout)
        private.chmod(0o600)
        place.run("wg", "set", "wg0", "private-key", str(private), "listen-port", TUNNEL_PORT)
        keys[place.name] = place.run("wg", "show", "wg0", "public-key").stdout.strip()
    there = ("endpoint", f"[{NEAR_ADDRESS}]:{TUNNEL_PORT}", "allowed-ips", "::/0")
    rig.host.run("wg", "set", "wg0", "peer", keys[rig.near.name], *there)
    rig.near.run("wg", "set", "wg0", "peer", keys[rig.host.name], "allowed-ips", f"{ROUTED_CLAT}/64")
    rig.host.ip("-6", "route", "del", "default")
    return routed_by(rig, "wg0")


def routed_by(rig: Rig, device: str) -> Uplink:
    """Both ends have that device; the host's whole IPv6 goes by it, with an address out of a /64 of its own."""
    network = IPv6Address(int(ROUTED_CLAT) >> 64 << 64)
    rig.near.batch(
        f"""
        link set {device} up
        route add {network}/64 dev {device}
        """
    )
    rig.host.batch(
        f"""
        link set {device} up
        addr add {network + 0x10}/64 dev {device} nodad
        route add ::/0 dev {device}
        """
    )
    return device, ROUTED_CLAT


KINDS: tuple[Callable[[Rig], Uplink], ...] = (
    vlan,
    vlan_in_the_packet,
    bridge,
    bridge_of_a_vlan,
    bond,
    team,
    macvlan,
    vrf,
    ppp,
    wireguard,
)


def main() -> int:
    be_patient()
    report = Report()
    wanted = sys.argv[1:]
    backends = ("ebpf" if has_tcx() else "ebpf-clsact", "tun")
    for kind in KINDS:
        name = kind.__name__.replace("_", "-")
        if wanted and name not in wanted:
            continue
        with rigged(forked.start) as rig, report.check(name):
            uplink = kind(rig)
            for backend in backends:
                with report.check(f"{name}-{backend}"):
                    carried(rig, uplink, backend)
    return report.status


def carried(rig: Rig, made: Uplink, backend: str) -> None:
    uplink, clat_v6 = made
    with rig.translate(backend, uplink=uplink, clat_v6=clat_v6) as clat:
        assert clat.device == f"clat-{uplink}"
        # The first packets of a path may get lost where its MTU is small.
        eventually(functools.partial(traffic.answers, rig.host, "-s", "4000"), message="an answer of 4000 bytes")
        traffic.ping(rig.host)
        traffic.ping(rig.server, "-I", str(SERVER6), address=str(clat_v6))
        for size in (100, 4000):
            traffic.exchange(rig, size)
        traffic.download(rig.host, traffic.MIB)
        before = dropped(rig, uplink)
        traffic.upload(rig.host, traffic.MIB)
        lost = dropped(rig, uplink) - before
        assert not lost, f"{lost} packets could not be sent"
        clat.stop()


def dropped(rig: Rig, device: str) -> int:
    """What the kernel was told to send and did not: TCP repeats it, so nobody but the clock would notice."""
    (link,) = rig.host.ip_json("-s", "link", "show", "dev", device)
    return int(link["stats64"]["tx"]["dropped"])


if __name__ == "__main__":
    sys.exit(main())
