# SPDX-License-Identifier: GPL-2.0-or-later
"""Hooks take over from the process while packets flow: none is lost, none comes twice, and it may fail."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import struct
import threading
from collections.abc import Iterator
from ipaddress import IPv6Address

import pytest

from clatnm import bpf
from clatnm.errors import HostError
from clatnm.kernel import bpf as kernel_bpf
from clatnm.kernel.bpf import Loaded
from clatnm.kernel.host import Host
from clatnm.proto.checksum import checksum
from clatnm.translators.backends import available
from clatnm.translators.hooks import config
from tests.e2e.datapath import traffic
from tests.e2e.datapath.driver import CLAT_V4, Driven
from tests.e2e.datapath.hooks import hooks
from tests.e2e.datapath.rig import SERVER, Place, Rig, alive
from tests.e2e.datapath.streams import LARGE, Stream
from tests.e2e.datapath.transfers import transfers
from tests.lab import snapshot
from tests.lab.poll import eventually
from tests.unit.translators.fake_machine import PLAN

PAUSE_S = 0.001
IDENT = 0xC1A7
# What waits for a process that is busy is overtaken by what the hooks take: once, and of 64 MiB.
_AGAIN = 1000
_MOST_PROGRAMS = 64  # BPF_MPROG_MAX of the kernel


@pytest.fixture(scope="module", autouse=True)
def backend() -> str:
    """Where this one is not to be had there are no hooks that hang on descriptors."""
    fault = available(Host())["ebpf"].probe()
    if fault:
        pytest.skip(f"ebpf: {fault}")
    return "ebpf"


class Echoes:
    """An echo request each millisecond, and the numbers of the replies."""

    def __init__(self, place: Place) -> None:
        self.sock = place.sock(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP, timeout_s=0.2)
        self.heard: list[int] = []
        self.sent = 0
        self._over = threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._send, self._hear)]
        for thread in self._threads:
            thread.start()

    def further(self, count: int = 100) -> None:
        goal = self.sent + count
        eventually(lambda: self.sent >= goal, message=f"echo request {goal}")

    def end(self) -> None:
        """No more requests; all replies that come are there."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        self.sock.close()

    def _send(self) -> None:
        while not self._over.wait(PAUSE_S):
            message = struct.pack("!BBHHH", 8, 0, 0, IDENT, self.sent)
            total = checksum(message)
            self.sock.sendto(message[:2] + struct.pack("!H", total) + message[4:], (str(SERVER), 0))
            self.sent += 1

    def _hear(self) -> None:
        with contextlib.suppress(TimeoutError):
            while True:
                packet = self.sock.recv(2048)
                kind, _, _, ident, number = struct.unpack_from("!BBHHH", packet, 20)
                if (kind, ident) == (0, IDENT):
                    self.heard.append(number)


@contextlib.contextmanager
def echoes(place: Place) -> Iterator[Echoes]:
    running = Echoes(place)
    try:
        yield running
    finally:
        running.end()


def is_hooked(rig: Rig, driven: Driven) -> tuple[bool, bool]:
    """Whether hooks are on the uplink, and on the device."""
    return bool(hooks(rig.host, "wan0")), bool(hooks(rig.host, driven.device))


def segments_sent_again(place: Place) -> int:
    """RetransSegs of the namespace's TCP."""
    names, values = (
        line.split() for line in place.run("cat", "/proc/net/snmp").stdout.splitlines() if line.startswith("Tcp:")
    )
    return int(values[names.index("RetransSegs")])


@pytest.fixture(params=[0, 1], ids=["host", "host-that-forwards-ipv6"])
def forwarding(rig: Rig, request: pytest.FixtureRequest) -> Iterator[None]:
    rig.host.sysctl(ipv6__conf__all__forwarding=request.param)
    yield
    rig.host.sysctl(ipv6__conf__all__forwarding=0)


@pytest.mark.usefixtures("forwarding")
@pytest.mark.parametrize("kind", ["ebpf", "ebpf-clsact"])
def test_ping_each_millisecond_is_answered_once(rig: Rig, kind: str) -> None:
    on_tcx = kind == "ebpf"
    with Driven(rig, kind, hold="prepare") as driven, echoes(rig.host) as running:
        running.further()
        assert is_hooked(rig, driven) == (False, False)
        driven.hook()
        assert is_hooked(rig, driven) == (on_tcx, on_tcx)
        running.further()
        running.end()
        assert len(set(running.heard)) == len(running.heard)
        # To put clsact on a device, the kernel stops the device's queue for a moment: here and on the uplink.
        assert running.sent - len(running.heard) <= (0 if on_tcx else 4)
        for direction in ("ipv4_to_ipv6", "ipv6_to_ipv4"):
            told = driven.counters()[direction]
            assert len(running.heard) <= told["protocols"]["icmp"]["packets"] <= running.sent
            assert told["fast"] == told["protocols"]["icmp"]["packets"]


def test_datagrams_whole_and_in_fragments_come_once(rig: Rig) -> None:
    with (
        Driven(rig, "ebpf", hold="prepare") as driven,
        traffic.udp4(rig.host) as host,
        traffic.udp4(rig.host) as ear,
        traffic.udp6(rig.server) as server,
    ):
        ear.bind(("", 0))
        peer = traffic.peer_of(ear)
        port = traffic.port_of(server)
        up = Stream(lambda data: host.sendto(data, (str(SERVER), port)), (server,), large=LARGE)
        down = Stream(lambda data: server.sendto(data, peer), (ear,), large=LARGE)
        try:
            up.further()
            driven.hook()
            up.further()
            down.further()
        finally:
            heard = up.end(), down.end()
        assert sorted(heard[0]) == list(range(up.sent))
        assert sorted(heard[1]) == list(range(down.sent))


def test_tcp_goes_on_and_has_next_to_nothing_to_send_again(rig: Rig) -> None:
    with Driven(rig, "ebpf", hold="prepare") as driven:
        before = [segments_sent_again(place) for place in (rig.host, rig.server)]
        with transfers(rig.host) as moving:
            moving.further()
            driven.hook()
            moving.further()
        again = [
            segments_sent_again(place) - count for place, count in zip((rig.host, rig.server), before, strict=True)
        ]
        assert moving.sources == {str(CLAT_V4)}
        assert max(again) <= _AGAIN, again


def test_update_that_comes_before_the_hooks_is_in_force_after_them(rig: Rig) -> None:
    other = IPv6Address("2001:db8:1::beef")
    with Driven(rig, "ebpf") as driven:
        driven.update(clat_v6=other)  # most likely in between
        assert is_hooked(rig, driven) == (True, True)
        for size in (100, 4000):
            with traffic.udp4(rig.host) as host, traffic.udp6(rig.server) as server:
                host.sendto(bytes(size), (str(SERVER), traffic.port_of(server)))
                heard = traffic.hear(server)
                assert heard.peer[0] == str(other)
                server.sendto(bytes(size), heard.peer)
                assert len(traffic.hear(host).data) == size


@pytest.mark.parametrize("step", ["prepare", "attach"])
def test_killed_in_between_leaves_nothing(rig: Rig, step: str) -> None:
    before = snapshot.take(rig.host)
    with Driven(rig, "ebpf", hold=step) as driven:
        traffic.ping(rig.host)
        os.kill(driven.worker, signal.SIGKILL)
        eventually(lambda: not alive(driven.worker), message="the process ends")
        driven.hook()
        assert hooks(rig.host, "wan0") == []
    assert not (difference := before.diff(snapshot.take(rig.host))), difference


@pytest.mark.parametrize("step", ["prepare", "attach"])
def test_supervisor_killed_in_between_leaves_nothing(rig: Rig, step: str) -> None:
    before = snapshot.take(rig.host)
    with Driven(rig, "ebpf", hold=step) as driven:
        traffic.ping(rig.host)
        driven.kill()
        eventually(lambda: not alive(driven.worker), message="the process ends")
    assert hooks(rig.host, "wan0") == []
    assert not (difference := before.diff(snapshot.take(rig.host))), difference


@contextlib.contextmanager
def no_room(place: Place, device: str) -> Iterator[None]:
    """As many programs on a device's ingress as the kernel allows."""
    table = bpf.table()
    assert table is not None
    name = "device_ingress"
    with contextlib.ExitStack() as undo:
        with place.inside(), contextlib.suppress(HostError):
            index = socket.if_nametoindex(device)
            for _ in range(_MOST_PROGRAMS):
                # Each its own: the kernel takes none twice.
                loaded = undo.enter_context(contextlib.closing(Loaded(table, config(PLAN, 0), names=(name,))))
                undo.callback(os.close, kernel_bpf.attach_tcx(loaded.programs[name], index, egress=False))
        yield


def test_hooks_that_do_not_fit_end_it_with_a_reason_and_leave_nothing(own_rig: Rig) -> None:
    with no_room(own_rig.host, "wan0"):
        before = snapshot.take(own_rig.host)
        with own_rig.translate("ebpf") as clat:
            assert clat.service.wait() == 1
            assert f"bpf: {os.strerror(errno.ERANGE)}" in clat.service.log()
        assert not (difference := before.diff(snapshot.take(own_rig.host))), difference
        assert len(hooks(own_rig.host, "wan0")) >= _MOST_PROGRAMS - 1
