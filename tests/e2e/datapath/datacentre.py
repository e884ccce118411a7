# SPDX-License-Identifier: GPL-2.0-or-later
"""A data centre without IPv4 (RFC 7755, RFC 7756) on the rig, and a client in the IPv4 Internet:

    client ══ border (TAYGA) ══ far ══ near ══ host, the Edge Relay ( ══ box )

The border relay is the rig's `server`, and translates for `PREFIX`. It knows the same mappings as the Edge Relay, as
far as anybody here uses them. Services run on the host itself, or on the box behind it, which has IPv4 only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from tests.e2e.datapath.rig import PREFIX, Place, Rig, Web
from tests.lab.namespace import write
from tests.lab.poll import eventually
from tests.lab.process import Service
from tests.lab.system import VENV_BIN

CLIENT, BORDER = IPv4Address("203.0.113.100"), IPv4Address("203.0.113.65")
ON_HOST, ON_HOST6 = IPv4Address("192.0.2.1"), IPv6Address("2001:db8:1::201")
BEHIND, BEHIND6 = IPv4Network("10.64.0.0/16"), IPv6Network("2001:db8:77::/112")
MANY = 10_000
_HOST_UPLINK = "2001:db8:1::10"
_HOST_INSIDE, BOX_INSIDE = "172.31.0.1", IPv4Address("172.31.0.2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where services are, under which IPv4 addresses, and what the Edge Relay is told for that."""

    place: Place
    addresses: tuple[IPv4Address, ...]
    options: tuple[str, ...]


class Datacentre:
    """Services on the `host` and on the `box`; a `client` outside."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.client, self.box = Place("cli", rig.session), Place("box", rig.session)
        self.behind = tuple(BEHIND[number] for number in (1, MANY // 2, MANY))
        self._connect_box()
        self._connect_client()
        self._translate_at_the_border([(ON_HOST, ON_HOST6), *((v4, _behind6(v4)) for v4 in self.behind)])
        self._webs = [Web.serve(rig.host), Web.serve(self.box)]

    def close(self) -> None:
        for web in self._webs:
            web.end()

    def on_host(self) -> Site:
        """One address, of the host's own, in the link's /64."""
        options = ("--eam", f"{ON_HOST}={ON_HOST6}", "--address", str(ON_HOST))
        return Site(place=self.rig.host, addresses=(ON_HOST,), options=options)

    def behind_host(self, count: int = MANY) -> Site:
        """So many hosts behind it, of which the box is three; a prefix that the network routes here."""
        lines = "".join(f"{BEHIND[number]} {BEHIND6[number]}\n" for number in range(1, count + 1))
        file = write(self.rig.session.directory / "eam", f"# hosts\n{lines}")
        return Site(place=self.box, addresses=self.behind, options=("--eam-file", str(file)))

    @contextmanager
    def relay(self, backend: str, site: Site) -> Iterator[Service]:
        """The Edge Relay for it, until the end of the block."""
        words = ("translate", "--backend", backend, "--uplink", "wan0", "--plat-prefix", str(PREFIX), *site.options)
        service = self.rig.host.popen(str(VENV_BIN / "clatnm"), *words)
        try:
            eventually(lambda: "ready " in service.log() or not service.running, message="the ready line")
            assert service.running, service.log()
            yield service
            assert service.running, service.log()
            assert service.stop() == 0, service.log()
            assert not self.rig.host.devices() & {"clat-wan0"}
        finally:
            service.kill()

    def _connect_box(self) -> None:
        self.rig.host.batch(
            f"""
            link add box0 type veth peer name eth0 netns {self.box.netns}
            addr add {_HOST_INSIDE}/30 dev box0
            link set box0 up
            route add {BEHIND} via {BOX_INSIDE}
            """
        )
        self.box.batch(
            f"""
            addr add {BOX_INSIDE}/30 dev eth0
            link set eth0 up
            route add default via {_HOST_INSIDE} src {BOX_INSIDE}
            """
            + "".join(f"addr add {address}/32 dev lo\n" for address in self.behind)
        )
        self.box.ip("route", "change", "default", "via", _HOST_INSIDE, "src", str(self.behind[0]))
        self.rig.host.sysctl(ipv4__ip_forward=1)
        self.rig.near.ip("route", "add", str(BEHIND6), "via", _HOST_UPLINK)

    def _connect_client(self) -> None:
        border = self.rig.server
        border.batch(
            f"""
            link add cli0 type veth peer name eth0 netns {self.client.netns}
            addr add {BORDER}/26 dev cli0
            link set cli0 up
            """
        )
        self.client.batch(
            f"""
            addr add {CLIENT}/26 dev eth0
            link set eth0 up
            route add default via {BORDER}
            """
        )
        border.sysctl(ipv4__ip_forward=1, ipv6__conf__all__forwarding=1)

    def _translate_at_the_border(self, mappings: Iterable[tuple[IPv4Address, IPv6Address]]) -> None:
        border = self.rig.server
        text = f"tun-device nat64\nipv4-addr 192.168.255.1\nipv6-addr 2001:db8:5::a1\nprefix {PREFIX}\n"
        text += "".join(f"map {v4} {v6}\n" for v4, v6 in mappings)
        conf = str(write(self.rig.session.directory / "border.conf", text))
        border.run("tayga", "-c", conf, "--mktun")
        border.batch(
            f"""
            link set nat64 up
            route add 192.168.255.1 dev nat64
            route add {ON_HOST} dev nat64
            route add {BEHIND} dev nat64
            route add 2001:db8:5::a1 dev nat64
            route add {PREFIX} dev nat64
            """
        )
        border.popen("tayga", "-c", conf, "-d")
        self.client.wait_up("eth0")
        border.wait_up("cli0")


def _behind6(v4: IPv4Address) -> IPv6Address:
    return BEHIND6[int(v4) - int(BEHIND.network_address)]
