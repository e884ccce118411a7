# SPDX-License-Identifier: GPL-2.0-or-later
"""A host, two routers and a server in namespaces; every translation between host and server is ours.

    host ── wan0 ══ lan0 ── near ── core0 ══ core0 ── far ── edge0 ══ eth0 ── server

The server natively owns what 198.51.100.1 becomes under `PREFIX` and `OTHER_PREFIX`, so no NAT64 is needed. `far`
reports ICMP errors from an address within `PREFIX`, as a router behind a NAT64 does; `near` from one outside.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path

from clatnm.proto.nat64 import embed
from tests.lab import inet
from tests.lab.namespace import Namespace
from tests.lab.poll import eventually
from tests.lab.process import Service, start_time
from tests.lab.session import Session
from tests.lab.system import VENV_BIN
from tests.lab.within import Within

BACKENDS = ("ebpf", "tun")
PREFIX, OTHER_PREFIX = IPv6Network("2001:db8:64::/96"), IPv6Network("2001:db8:65:65::/64")
SERVER, FAR_HOP = IPv4Address("198.51.100.1"), IPv4Address("203.0.113.1")
CLAT = IPv6Address("2001:db8:1::c1a7")
GATEWAY, OTHER_GATEWAY = IPv6Address("fe80::1"), IPv6Address("fe80::2")
HOST_MAC, NEAR_MAC = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
DUMMY = "192.0.0.8"  # RFC 7600: ICMP errors from routers without an IPv4 address

_WEB_POLL_S = 0.02


def embedded(address: IPv4Address, prefix: IPv6Network = PREFIX) -> IPv6Address:
    """The IPv6 form of an IPv4 address under a NAT64 prefix."""
    return embed(prefix, address)


SERVER6, OTHER_SERVER6 = embedded(SERVER), embedded(SERVER, OTHER_PREFIX)


class Place(Namespace, Within):
    """A namespace of the rig."""

    def devices(self) -> set[str]:
        """Names of the network devices."""
        return {str(link["ifname"]) for link in self.ip_json("link")}

    def wait_up(self, *devices: str) -> None:
        """Until the kernel sends by them: some time after a device is set up."""

        def all_up() -> bool:
            states = {str(link["ifname"]): link["operstate"] for link in self.ip_json("link")}
            assert all(states[device] in ("UP", "UNKNOWN") for device in devices), states
            return True

        eventually(all_up, message=f"{', '.join(devices)} up")

    def batch(self, commands: str) -> None:
        """`ip` commands, one a line."""
        self.ip("-batch", "-", stdin=commands)


class Web(inet.Server):
    """Listens in a namespace, and is silent."""

    def __init__(self, place: Place) -> None:
        super().__init__(("::", inet.WEB_PORT), _Silent, bind_and_activate=False)
        self.socket.close()
        self.socket = place.sock(socket.AF_INET6, socket.SOCK_STREAM)
        socketserver.TCPServer.server_bind(self)  # HTTPServer's looks its own name up
        self.server_activate()

    @classmethod
    def serve(cls, place: Place) -> Web:
        """One that answers, until its `end`."""
        web = cls(place)
        threading.Thread(target=web.serve_forever, args=(_WEB_POLL_S,), daemon=True).start()
        return web

    def end(self) -> None:
        self.shutdown()
        self.server_close()


class _Silent(inet.Handler):
    def log_message(self, format: str, *arguments: object) -> None:
        pass


class Rig:
    """`host`, `near`, `far` and `server`, connected and routed; `translate` runs clatnm in the host."""

    def __init__(self, session: Session, start: Callable[[Place, Sequence[str]], Service]) -> None:
        self.session = session
        self._start = start
        self.host = Place("h", session)
        self.near, self.far, self.server = (Place(name, session) for name in ("near", "far", "srv"))
        for place in (self.host, self.near, self.far, self.server):
            place.sysctl(ipv6__conf__all__accept_dad=0, ipv6__conf__default__accept_dad=0)
            place.sysctl(ipv6__conf__default__accept_ra=0, ipv6__icmp__ratelimit=0, ipv4__icmp_ratelimit=0)
        for router in (self.near, self.far):
            router.sysctl(ipv6__conf__all__forwarding=1)
        self._connect()
        self._web = self._serve()
        self.near.wait_up("lan0", "core0")
        self.host.wait_up("wan0")
        self.server.wait_up("eth0")

    def _connect(self) -> None:
        # Ends with the same number would come up only at the next of the kernel's once-a-second looks at links.
        self.host.batch(
            f"""
            link add wan0 index 11 address {HOST_MAC} type veth peer name lan0 index 21 address {NEAR_MAC} \
            netns {self.near.netns}
            """
        )
        self.near.batch(
            f"""
            link add core0 index 31 type veth peer name core0 index 41 netns {self.far.netns}
            addr add {GATEWAY}/64 dev lan0 nodad
            addr add {OTHER_GATEWAY}/64 dev lan0 nodad
            addr add 2001:db8:1::1/64 dev lan0 nodad
            addr add 2001:db8:c0::1/64 dev core0 nodad
            link set lan0 up
            link set core0 up
            """
        )
        self.far.batch(
            f"""
            link add edge0 index 51 type veth peer name eth0 index 61 netns {self.server.netns}
            addr add 2001:db8:c0::2/64 dev core0 nodad
            addr add 2001:db8:5::1/64 dev edge0 nodad
            addr add {embedded(FAR_HOP)}/128 dev lo nodad
            link set core0 up
            link set edge0 up
            route add {PREFIX} via 2001:db8:5::2
            route add {OTHER_PREFIX} via 2001:db8:5::2
            route add default via 2001:db8:c0::1 src {embedded(FAR_HOP)}
            """
        )
        self.near.batch("route add default via 2001:db8:c0::2")
        self.server.batch(
            f"""
            addr add 2001:db8:5::2/64 dev eth0 nodad
            addr add {SERVER6}/128 dev lo nodad
            addr add {OTHER_SERVER6}/128 dev lo nodad
            link set eth0 up
            route add default via 2001:db8:5::1 src {SERVER6}
            """
        )
        self.join_host("wan0", "2001:db8:1::10")

    def join_host(self, device: str, address: str) -> None:
        """Bring an uplink of the host up with an address and a default route."""
        self.host.batch(
            f"""
            link set {device} up
            addr add {address}/64 dev {device} nodad
            route add default via {GATEWAY} dev {device}
            """
        )

    def leave_host(self, device: str) -> None:
        """The host has no address and no route on a link any more."""
        self.host.ip("-6", "addr", "flush", "dev", device, "scope", "global")
        self.host.ip("-6", "route", "flush", "dev", device)

    def _serve(self) -> Web:
        """The lab's web server, in this very process."""
        return Web.serve(self.server)

    def close(self) -> None:
        """End what is not the session's to end."""
        self._web.end()

    def translate(self, backend: str, *options: str, uplink: str = "wan0", clat_v6: IPv6Address = CLAT) -> Clat:
        """Start `clatnm translate` and wait for its ready line."""
        arguments = ("--uplink", uplink, "--plat-prefix", str(PREFIX), "--clat-v6-addr", str(clat_v6))
        command = ("translate", "--backend", backend, *arguments, *options)
        return Clat(self.host, backend, self._start(self.host, command))

    def forget_path_mtus(self) -> None:
        """Host and server take the path for as wide as the first link again."""
        for place in (self.host, self.server):
            place.ip("-4", "route", "flush", "cache")
            place.ip("-6", "route", "flush", "cache")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """What the ready line tells."""

    device: str
    clat_v4: IPv4Address
    clat_v6: IPv6Address


class Clat:
    """A running `clatnm translate`."""

    def __init__(self, host: Place, backend: str, service: Service) -> None:
        self.host = host
        self.backend = backend
        self.service = service
        ready = eventually(self._ready, message="the ready line")
        assert ready is not None
        self.ready = ready
        self.device = ready.device
        wait_settled(host, backend, self.device)

    def _ready(self) -> Ready | None:
        for line in self.service.log().splitlines():
            if line.startswith("ready "):
                _, device, clat_v4, clat_v6, _, backend = line.split()
                assert backend == self.backend, line
                return Ready(device=device, clat_v4=IPv4Address(clat_v4), clat_v6=IPv6Address(clat_v6))
        if not self.service.running:
            raise RuntimeError(f"clatnm translate ended: {self.service.log()}")
        return None

    @property
    def worker(self) -> int:
        """Pid of the translator process."""
        (pid,) = children(self.service.pid)
        return pid

    def __enter__(self) -> Clat:
        return self

    def __exit__(self, *_: object) -> None:
        """Make sure that it is gone, however the block ended."""
        left = children(self.service.pid) if self.service.running else []
        self.service.kill()
        eventually(lambda: not any(map(alive, left)), message="the translator process ends with its supervisor")

    def stop(self) -> None:
        """End it and wait until its device is gone."""
        assert self.service.stop() == 0, self.service.log()
        assert self.device not in self.host.devices()


def wait_settled(host: Place, backend: str, device: str) -> None:
    """Wait until what is ready has its hooks as well, where packets may get lost while they are hung up."""

    def hooked() -> bool:
        return "clatnm" in host.run("tc", "filter", "show", "dev", device, "egress").stdout

    if backend == "ebpf-clsact":
        eventually(hooked, message=f"hooks on {device}")


def children(pid: int) -> list[int]:
    """Child processes that live."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in listed if start_time(int(child))]


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    return start_time(pid) is not None


def resident_kib(pid: int) -> int:
    """Physical memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise ProcessLookupError(pid)


def as_installed(host: Place, arguments: Sequence[str]) -> Service:
    """`clatnm ARGUMENTS` in the host, as anybody starts it."""
    return host.popen(str(VENV_BIN / "clatnm"), *arguments)


@contextlib.contextmanager
def rigged(start: Callable[[Place, Sequence[str]], Service] = as_installed) -> Iterator[Rig]:
    """A rig for as long as the block lasts, in which `start` starts each clatnm."""
    session = Session.open()
    try:
        with contextlib.closing(Rig(session, start)) as made:
            yield made
    finally:
        session.close()
