# SPDX-License-Identifier: GPL-2.0-or-later
"""Killed under load: nothing of the translator stays, and no packet leaves untranslated, ever."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.e2e.datapath import traffic
from tests.e2e.datapath.hooks import hooks
from tests.e2e.datapath.rig import SERVER, SERVER6, Clat, Rig, alive
from tests.lab import snapshot
from tests.lab.poll import eventually

IPV4, ARP = 0x0800, 0x0806
LOAD_S = 10

VICTIMS = {
    "supervisor": (signal.SIGKILL, ("supervisor",)),
    "worker": (signal.SIGKILL, ("worker",)),
    "both": (signal.SIGKILL, ("worker", "supervisor")),
    "supervisor-politely": (signal.SIGTERM, ("supervisor",)),
}


@contextlib.contextmanager
def load(rig: Rig) -> Iterator[None]:
    """TCP both ways at once, and datagrams that go on whatever happens."""
    rig.server.popen("iperf3", "-s", "-1", "-B", str(SERVER6), name="iperf3-server")
    eventually(lambda: ":5201" in rig.server.run("ss", "-ltn").stdout, message="iperf3 listens")
    client = rig.host.popen(
        *("iperf3", "-c", str(SERVER), "--bidir", "-t", str(LOAD_S), "-b", "100M", "--forceflush"), name="iperf3-client"
    )
    over = threading.Event()
    with traffic.udp4(rig.host) as sock:
        sender = threading.Thread(target=_send, args=(sock, over))
        sender.start()
        try:
            eventually(lambda: "connected to" in client.log(), message="iperf3 runs")
            yield
        finally:
            over.set()
            sender.join()
            client.kill()
            rig.server.services[-1].kill()


def _send(sock: socket.socket, over: threading.Event) -> None:
    while not over.wait(0.0002):
        with contextlib.suppress(OSError):
            sock.sendto(b"still here", (str(SERVER), 9))


def heard_until_mark(rig: Rig, sock: socket.socket, ethertype: int) -> int:
    """How many frames have come from the host before one sent now, which shows that they would be heard."""
    mark = bytes(6) + bytes(6) + ethertype.to_bytes(2, "big") + os.urandom(46)
    with rig.host.packets("wan0") as wire:
        wire.send(mark)
    count = 0
    while sock.recv(65535) != mark:
        count += 1
    return count


@pytest.fixture(scope="module")
def before(rig: Rig) -> snapshot.HostState:
    """The host before the first translator."""
    return snapshot.take(rig.host)


@pytest.mark.parametrize("victims", VICTIMS)
def test_killed_under_load_leaves_nothing_and_leaks_nothing(
    rig: Rig, backend: str, before: snapshot.HostState, victims: str
) -> None:
    with (
        rig.near.packets("lan0", IPV4) as leaks,
        rig.near.packets("lan0", ARP) as questions,
        rig.translate(backend) as clat,
    ):
        traffic.ping(rig.host)  # also after the one before was killed
        if backend == "ebpf":
            eventually(lambda: hooks(rig.host, "wan0") and hooks(rig.host, clat.device), message="the hooks are there")
        with load(rig):
            kill(clat, victims)
            with traffic.udp4(rig.host) as probe, pytest.raises(OSError, match=os.strerror(errno.ENETUNREACH)):
                probe.sendto(b"now", (str(SERVER), 9))
        difference = before.diff(snapshot.take(rig.host))
        assert not difference, difference
        assert hooks(rig.host, "wan0") == []
        assert heard_until_mark(rig, leaks, IPV4) == 0
        assert heard_until_mark(rig, questions, ARP) == 0


def kill(clat: Clat, victims: str) -> None:
    """Kill, and wait until nobody is left; the survivor goes by itself."""
    number, names = VICTIMS[victims]
    pids = {"supervisor": clat.service.pid, "worker": clat.worker}
    for name in names:
        os.kill(pids[name], number)
    eventually(lambda: clat.service.status is not None, timeout_s=3, message="the supervisor ends")
    eventually(lambda: not alive(pids["worker"]), timeout_s=3, message="the worker ends")


def test_translator_that_hangs_is_ended_all_the_same(rig: Rig, backend: str) -> None:
    with rig.translate(backend) as clat:
        traffic.ping(rig.host)
        worker = clat.worker
        os.kill(worker, signal.SIGSTOP)
        clat.service.signal(signal.SIGTERM)
        assert clat.service.wait() == 0
        assert not alive(worker)
        assert clat.device not in rig.host.devices()


def test_translator_that_was_stopped_for_a_while_goes_on(rig: Rig, backend: str) -> None:
    with rig.translate(backend) as clat, traffic.udp4(rig.host) as host, traffic.udp6(rig.server) as server:
        traffic.ping(rig.host)
        os.kill(clat.worker, signal.SIGSTOP)
        for _ in range(3000):  # more than any queue takes
            host.sendto(bytes(1600), (str(SERVER), traffic.port_of(server)))
        if backend == "ebpf":
            traffic.download(rig.host, traffic.MIB)  # does not need it
        os.kill(clat.worker, signal.SIGCONT)
        traffic.ping(rig.host)
        traffic.exchange(rig, 4000)
