# SPDX-License-Identifier: GPL-2.0-or-later
"""A translator process whose supervisor is gone: for how long it goes on, and whom it obeys."""

from __future__ import annotations

import os
import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from clatnm.proto import nlmsg
from clatnm.proto.ndp import neighbor_advertisement
from clatnm.worker import wire
from clatnm.worker.vnet import BLANK
from tests.lab.poll import eventually
from tests.unit.worker.test_process import (
    CONFIG,
    ETHERNET_CONFIG,
    OWN_MAC,
    PATIENCE_S,
    STRANGER_MAC,
    Supervised,
    epoll_timeout,
)

LONG_S, SHORT_S = 60.0, 0.3
UPLINK = 7


class Left(Supervised):
    """A worker with a door, and what it was given to hold."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.path = directory / "door"
        self.held: list[tuple[int, int]] = []

    def keep(
        self, *, patience_s: float = LONG_S, uid: int | None = None, held: int = 1, alarm: socket.socket | None = None
    ) -> None:
        """As a daemon does; again is fine."""
        self.path.unlink(missing_ok=True)
        pipes = [os.pipe() for _ in range(held)]
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
            door.bind(str(self.path))
            door.listen()
            descriptors = [write for _, write in pipes]
            user = os.geteuid() if uid is None else uid
            uplink = 0 if alarm is None else UPLINK
            told = wire.Keep(door=door, alarm=alarm, uplink=uplink, patience_s=patience_s, uid=user)
            wire.send_keep(self.control, told, descriptors)
        for _, write in pipes:
            os.close(write)
        self.held = pipes
        self.say(wire.encode("counters"))
        self.hear()

    def knock(self) -> socket.socket:
        """Somebody at the door."""
        guest = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        guest.settimeout(PATIENCE_S)
        guest.connect(str(self.path))
        return guest

    def is_held(self, at: int = 0) -> bool:
        """Whether the worker still has the other end of that pipe."""
        os.set_blocking(self.held[at][0], False)
        try:
            return os.read(self.held[at][0], 1) != b""
        except BlockingIOError:
            return True

    def close(self) -> None:
        super().close()
        for read, _ in self.held:
            os.close(read)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Left]:
    left = Left(tmp_path)
    yield left
    left.close()


def taken_over(worker: Left, guest: socket.socket) -> list[int]:
    """What the successor is given."""
    data, descriptors, complete = wire.receive(guest)
    assert wire.decode(data) == ("here", {"version": wire.VERSION})
    assert complete
    return descriptors


def test_it_goes_on_without_its_supervisor(worker: Left) -> None:
    worker.start()
    worker.keep()
    worker.control.close()
    worker.udp_reaches_wire()
    assert worker.process.poll() is None


def test_it_ends_when_nobody_comes_in_time_and_lets_go_of_everything(worker: Left) -> None:
    worker.start()
    worker.keep(patience_s=SHORT_S)
    worker.control.close()
    assert worker.status() == 0
    assert not worker.is_held()
    with pytest.raises(ConnectionRefusedError):
        worker.knock()


def test_stop_ends_it_at_once_all_the_same(worker: Left) -> None:
    worker.start()
    worker.keep()
    worker.say(wire.encode("stop"))
    assert worker.status() == 0


def test_successor_gets_all_it_holds_and_is_obeyed(worker: Left) -> None:
    worker.start()
    worker.keep(held=2)
    worker.udp_reaches_wire()
    worker.control.close()
    with worker.knock() as guest, ExitStack() as undo:
        descriptors = taken_over(worker, guest)
        for fd in descriptors:
            undo.callback(os.close, fd)
        door, uplink, *held = descriptors
        assert len(held) == 2
        socket.socket(fileno=os.dup(uplink)).send(b"by the uplink's own socket")
        assert worker.wire.recv(100) == b"by the uplink's own socket"
        os.write(held[1], b"!")
        assert os.read(worker.held[1][0], 1) == b"!"
        assert socket.socket(fileno=os.dup(door)).getsockname() == str(worker.path)
        guest.send(wire.encode("counters"))
        op, counters = wire.decode(guest.recv(wire.MESSAGE_BYTES))
        assert (op, counters["ipv4_to_ipv6"]["protocols"]["udp"]["packets"]) == ("counters", 1)
        worker.udp_reaches_wire()
        guest.send(wire.encode("stop"))
        assert worker.status() == 0


def test_successor_that_goes_too_leaves_it_to_the_next(worker: Left) -> None:
    worker.start()
    worker.keep()
    worker.control.close()
    for _ in range(3):
        with worker.knock() as guest:
            for fd in taken_over(worker, guest):
                os.close(fd)
        worker.udp_reaches_wire()


def test_successor_in_time_stays_as_long_as_it_likes(worker: Left) -> None:
    worker.start()
    worker.keep(patience_s=SHORT_S)
    worker.control.close()
    with worker.knock() as guest:
        for fd in taken_over(worker, guest):
            os.close(fd)
        # It sleeps until something comes: nothing of the time that it had is left.
        assert eventually(lambda: epoll_timeout(worker.process.pid) == -1, message="no deadline any more")
        worker.udp_reaches_wire()


def test_nobody_gets_it_while_its_supervisor_lives(worker: Left) -> None:
    worker.start()
    worker.keep()
    with worker.knock() as guest:
        assert wire.decode(guest.recv(100)) == ("busy", {})
        assert guest.recv(100) == b""
    worker.say(wire.encode("counters"))
    assert worker.hear()[0] == "counters"


def test_last_words_of_the_supervisor_come_before_a_successor(worker: Left) -> None:
    worker.start()
    worker.keep()
    os.kill(worker.process.pid, signal.SIGSTOP)
    worker.say(wire.encode("counters"))
    worker.control.close()
    with worker.knock() as guest:
        os.kill(worker.process.pid, signal.SIGCONT)
        for fd in taken_over(worker, guest):
            os.close(fd)


def test_another_user_is_sent_away_without_a_word(worker: Left) -> None:
    worker.start()
    worker.keep(uid=os.geteuid() + 4711)
    worker.control.close()
    with worker.knock() as guest:
        assert guest.recv(100) == b""
    worker.udp_reaches_wire()


def test_keep_takes_the_place_of_the_one_before(worker: Left) -> None:
    worker.start()
    worker.keep()
    first = worker.held
    worker.keep()
    os.set_blocking(first[0][0], False)
    assert os.read(first[0][0], 1) == b""
    os.close(first[0][0])
    worker.control.close()
    with worker.knock() as guest:
        for fd in taken_over(worker, guest):
            os.close(fd)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"patience_s": 0, "uid": 0, "uplink": 0},
        {"patience_s": True, "uid": 0, "uplink": 0},
        {"patience_s": 1e9, "uid": 0, "uplink": 0},
        {"patience_s": 5, "uplink": 0},
        {"patience_s": 5, "uid": 0, "uplink": 0},
        {"patience_s": 5, "uid": 0},
    ],
)
def test_wrong_keep_is_refused_with_a_reason(worker: Left, fields: dict[str, object]) -> None:
    worker.start()
    worker.say(wire.encode("keep", **fields))
    op, told = worker.hear()
    assert op == "error"
    assert "keep" in told["what"]
    assert worker.status() == 1


def test_collision_is_told_to_the_successor(worker: Left) -> None:
    worker.start(ETHERNET_CONFIG)
    worker.keep()
    worker.control.close()
    advert = neighbor_advertisement(
        source=CONFIG.clat_v6,
        destination=IPv6Address("ff02::1"),
        target=CONFIG.clat_v6,
        link_address=STRANGER_MAC,
        solicited=False,
        override=True,
    )
    worker.wire.send(BLANK + OWN_MAC + STRANGER_MAC + b"\x86\xdd" + advert)
    with worker.knock() as guest:
        for fd in taken_over(worker, guest):
            os.close(fd)
        assert wire.decode(guest.recv(1000)) == ("conflict", {"address": str(CONFIG.clat_v6)})


def address_news(address: str, *, index: int = UPLINK, kind: int = 20) -> bytes:
    """What the kernel tells of an IPv4 address (RTM_NEWADDR is 20)."""
    body = struct.pack("=BBBBI", socket.AF_INET, 32, 0, 0, index)
    return nlmsg.message(kind, body + nlmsg.attribute(2, IPv4Address(address).packed), flags=0)


@pytest.fixture
def alarm(worker: Left) -> Iterator[socket.socket]:
    """The kernel's end of a worker's alarm."""
    kernel, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with kernel, its:
        worker.start()
        worker.keep(alarm=its)
        yield kernel


def test_alone_it_ends_when_it_cannot_know(worker: Left, alarm: socket.socket) -> None:
    worker.control.close()
    worker.udp_reaches_wire()
    alarm.send(b"noise")
    assert worker.status() == 0


def test_alone_only_such_an_address_on_its_uplink_counts(worker: Left, alarm: socket.socket) -> None:
    worker.control.close()
    others = address_news("192.0.0.1", index=UPLINK + 1), address_news("192.0.2.1"), address_news("192.0.0.1", kind=21)
    for told in others:
        alarm.send(told)
        worker.udp_reaches_wire()
    alarm.send(address_news("192.0.0.1"))
    assert worker.status() == 0


def test_what_began_while_there_was_a_supervisor_counts_as_soon_as_it_is_gone(
    worker: Left, alarm: socket.socket
) -> None:
    alarm.send(address_news("192.0.0.1"))
    for _ in range(3):  # each in a turn of its own
        worker.udp_reaches_wire()
        worker.say(wire.encode("counters"))
        assert worker.hear()[0] == "counters", "the supervisor knows what to do"
    worker.control.close()
    assert worker.status() == 0
