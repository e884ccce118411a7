# SPDX-License-Identifier: GPL-2.0-or-later
"""A translator whose default route is taken away keeps what began through it; everything new takes the native way.

host ── nat0 ══ isp0 ── isp        the native way, to a server of the same IPv4 address
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address

import pytest

from tests.e2e.datapath import traffic
from tests.e2e.datapath.driver import CLAT_V4, Driven
from tests.e2e.datapath.rig import OTHER_PREFIX, OTHER_SERVER6, PREFIX, SERVER, SERVER6, Place, Rig, alive
from tests.e2e.datapath.transfers import transfers
from tests.lab import snapshot
from tests.lab.poll import eventually
from tests.lab.system import VENV_BIN

IPV4 = 0x0800
HOST4, ISP4 = IPv4Address("192.168.7.2"), IPv4Address("192.168.7.1")
BETTER, WORSE = 100, 2000  # than the metric of the translator's route


class Native:
    """The native way."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.isp = Place("isp", rig.session)
        rig.host.batch(f"link add nat0 type veth peer name isp0 netns {self.isp.netns}\nlink set nat0 up")
        rig.host.ip("addr", "add", f"{HOST4}/24", "dev", "nat0")
        self.isp.batch(f"addr add {ISP4}/24 dev isp0\naddr add {SERVER}/32 dev lo\nlink set isp0 up")
        self.isp.wait_up("isp0")
        rig.host.wait_up("nat0")

    def appears(self, metric: int) -> None:
        """There is a default route."""
        self.rig.host.batch(f"route add default via {ISP4} dev nat0 metric {metric}")

    def goes(self) -> None:
        """There is none any more."""
        self.rig.host.ip("route", "flush", "default", "dev", "nat0")

    def takes_all_new(self) -> None:
        """What begins now goes this way."""
        with traffic.udp4(self.rig.host) as host, self.isp.sock(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind((str(SERVER), 0))
            host.connect((str(SERVER), traffic.port_of(server)))
            assert host.getsockname()[0] == str(HOST4)
            host.send(b"new")
            assert traffic.hear(server).data == b"new"

    @contextlib.contextmanager
    def leaks(self) -> Iterator[Callable[[], int]]:
        """Called: how many packets with the CLAT's address came this way since the last call."""
        with self.isp.packets("isp0", IPV4) as ear, self.rig.host.packets("nat0") as wire:

            def count() -> int:
                mark = bytes(12) + IPV4.to_bytes(2, "big") + os.urandom(46)
                wire.send(mark)
                leaked = 0
                while (frame := ear.recv(65535)) != mark:
                    leaked += CLAT_V4.packed in (frame[26:30], frame[30:34])
                return leaked

            yield count


@pytest.fixture(scope="module")
def native_link(rig: Rig) -> Native:
    return Native(rig)


@pytest.fixture(scope="module")
def before(rig: Rig, native_link: Native) -> snapshot.HostState:
    """The host before the first translator."""
    return snapshot.take(rig.host)


@pytest.fixture
def native(rig: Rig, native_link: Native, before: snapshot.HostState) -> Iterator[Native]:
    """The native way; when the test is over, the host is as before."""
    yield native_link
    native_link.goes()
    difference = before.diff(snapshot.take(rig.host))
    assert not difference, difference


@pytest.fixture
def driven(rig: Rig, backend: str, native: Native) -> Iterator[Driven]:
    with Driven(rig, backend) as made:
        traffic.ping(rig.host)
        yield made


def through(driven: Driven) -> int:
    """How many TCP packets it has sent."""
    return int(driven.counters()["ipv4_to_ipv6"]["protocols"]["tcp"]["packets"])


def goes_through(rig: Rig) -> None:
    """What begins now."""
    with traffic.udp4(rig.host) as host:
        host.connect((str(SERVER), 9))
        assert host.getsockname()[0] == str(CLAT_V4)
    traffic.exchange(rig, 4000)


@pytest.mark.parametrize("rp_filter", [0, 1])
def test_connections_go_on_while_everything_new_goes_natively(
    rig: Rig, native: Native, driven: Driven, rp_filter: int
) -> None:
    rig.host.sysctl(ipv4__conf__all__rp_filter=rp_filter)  # RFC 3704: 1 is strict
    native.appears(WORSE)
    with native.leaks() as leaks, transfers(rig.host) as moving:
        for _ in range(2):
            goes_through(rig)
            moving.further()
            driven.update(offered=False)
            native.takes_all_new()
            sent = through(driven)
            moving.further()
            assert through(driven) > sent
            driven.update(offered=True)
        driven.update(offered=False)
        moving.end()
        assert moving.sources == {str(CLAT_V4)}
        assert leaks() == 0, "at no time, as there was always a way"
    rig.host.sysctl(ipv4__conf__all__rp_filter=0)


def test_connections_come_back_from_a_native_route_that_was_faster(rig: Rig, native: Native, driven: Driven) -> None:
    with transfers(rig.host) as moving:
        moving.further()
        native.appears(BETTER)
        driven.update(offered=False)
        with native.leaks() as leaks:
            native.takes_all_new()
            moving.further()
            driven.update(ipv6_mtu_bytes=1400, ipv4_mtu_bytes=1372, metric=50)
            moving.further()
            moving.end()
            assert leaks() == 0


def test_prefix_changes_while_it_drains(rig: Rig, native: Native, driven: Driven) -> None:
    native.appears(WORSE)
    driven.update(offered=False)
    for prefix, server6 in ((OTHER_PREFIX, OTHER_SERVER6), (PREFIX, SERVER6)):
        driven.update(prefix=prefix)
        with traffic.udp4(rig.host) as host, traffic.udp6(rig.server, server6) as server:
            host.bind((str(CLAT_V4), 0))
            traffic.exchange(rig, 4000, host=host, server=server)


@pytest.mark.parametrize("offered", [True, False])
@pytest.mark.parametrize("live", [True, False])
def test_device_is_renamed_under_running_connections(
    rig: Rig, native: Native, driven: Driven, live: bool, offered: bool
) -> None:
    native.appears(WORSE)
    if not live:
        driven.be_old_kernel()
    with native.leaks() as leaks, transfers(rig.host) as moving:
        driven.update(offered=offered)
        moving.further()
        driven.update(device="clat-other")
        if live:
            assert leaks() == 0
        leaks()
        assert "clat-other" in rig.host.devices()
        assert driven.device not in rig.host.devices()
        moving.further()
        driven.update(device=driven.device, offered=not offered)
        leaks()
        moving.further()
        moving.end()
        assert leaks() == 0


def test_users_are_counted_while_it_drains(rig: Rig, native: Native, driven: Driven) -> None:
    native.appears(WORSE)
    others = driven.users()  # that tests before have left unfinished
    with transfers(rig.host) as moving:
        driven.update(offered=False)
        assert driven.users() == others + 2
        moving.end()
    eventually(lambda: driven.users() <= others, message="nobody is left")


def test_start_without_being_offered_serves_who_asks_for_it(
    rig: Rig, native: Native, backend: str, before: snapshot.HostState
) -> None:
    native.appears(WORSE)
    with Driven(rig, backend, offered=False) as driven:
        native.takes_all_new()
        with traffic.udp4(rig.host) as host, traffic.udp6(rig.server, SERVER6) as server:
            host.bind((str(CLAT_V4), 0))
            traffic.exchange(rig, 4000, host=host, server=server)
        driven.update(offered=True)
        goes_through(rig)


def test_stop_lets_no_connection_go_astray(rig: Rig, native: Native, driven: Driven) -> None:
    over = threading.Event()

    def send(sock: socket.socket) -> None:
        while not over.is_set():
            with contextlib.suppress(OSError):
                sock.send(b"still here")

    with traffic.udp4(rig.host) as host, native.leaks() as leaks:
        host.connect((str(SERVER), 9))
        native.appears(BETTER)
        driven.update(offered=False)
        leaks()
        sender = threading.Thread(target=send, args=(host,))
        sender.start()
        driven.end()
        over.set()
        sender.join()
        assert leaks() == 0
        with pytest.raises(OSError, match="unreachable"):
            host.send(b"no way")


def test_killed_while_it_drains_leaves_a_rule_that_cleanup_removes(
    rig: Rig, native: Native, backend: str, before: snapshot.HostState
) -> None:
    native.appears(WORSE)
    with Driven(rig, backend) as driven, native.leaks() as leaks:
        with traffic.web(rig.host) as web:
            driven.update(offered=False)
            web.request("GET", f"/bytes/{traffic.MIB}")
            driven.kill()
            eventually(lambda: not alive(driven.worker), message="the translator process ends with its supervisor")
        native.takes_all_new()
        assert leaks() == 0
    native.goes()
    left = before.diff(snapshot.take(rig.host))
    assert str(CLAT_V4) in str(left)
    assert "clat-" not in str(left)
    result = rig.host.run(str(VENV_BIN / "clatnm"), "cleanup")
    assert result.stdout == f"removed the rule for {CLAT_V4} of a translator that is gone\n"
