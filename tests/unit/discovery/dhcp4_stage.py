# SPDX-License-Identifier: GPL-2.0-or-later
"""A stage for scenes with a DHCPv4 client and its servers, on a clock that costs no time."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from unittest.mock import patch

from clatnm.discovery import dhcp4
from clatnm.discovery.dhcp4 import Dhcp4Watch
from clatnm.errors import HostError
from clatnm.model import Dhcp4State, Link
from tests.unit.aio import run_virtual, settle
from tests.unit.dhcp4_messages import ACK, MAC, REQUEST, answer, question

ASKING, ANSWERED, SILENT, REFUSED = Dhcp4State.ASKING, Dhcp4State.ANSWERED, Dhcp4State.SILENT, Dhcp4State.REFUSED

# What is said
ASKS, ASKS_108 = question(), question(v6only=True)
CHOOSES, CHOOSES_108 = question(REQUEST, how="chosen"), question(REQUEST, how="chosen", v6only=True)
RENEWS = question(REQUEST, how="renewing")
RESTARTS, RESTARTS_108 = question(REQUEST), question(REQUEST, v6only=True)
OFFERS, OFFERS_108 = answer(), answer(v6only_wait_s=1800)
GIVES, GIVES_108 = answer(ACK), answer(ACK, v6only_wait_s=1800)


OTHER_MAC = bytes.fromhex("020000000006")

LINK = Link(index=2, name="wlan0", ipv6_mtu_bytes=1500, carrier=True, carrier_changes=2, link_address=MAC)
OTHER_LINK = replace(LINK, index=3, name="eth0", link_address=OTHER_MAC)


class FakeDhcpSocket:
    """A `DhcpSocket` that hears what the test says."""

    opened: list[FakeDhcpSocket] = []  # noqa: RUF012 - each scene has its own
    refuse = 0

    def __init__(self, ifindex: int, link_address: bytes) -> None:
        if self.refuse:
            raise HostError("cannot overhear DHCPv4", errno=self.refuse)
        self.ifindex, self.link_address = ifindex, link_address
        self._near, self._far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._near.setblocking(False)
        self.opened.append(self)

    @property
    def closed(self) -> bool:
        return self._near.fileno() < 0

    def fileno(self) -> int:
        return self._near.fileno()

    def close(self) -> None:
        self._near.close()
        self._far.close()

    def hear(self, packet: bytes, *, sent: bool) -> None:
        self._far.send(bytes((sent,)) + packet)

    def heard(self) -> Iterator[tuple[bytes, bool]]:
        while True:
            try:
                packet = self._near.recv(65536)
            except BlockingIOError:
                return
            yield packet[1:], packet[:1] == b"\1"


class Stage:
    """A watch; `changes` has each state that it wanted somebody to look at, of wlan0."""

    def __init__(self) -> None:
        self.watch = Dhcp4Watch(clock=self.now, changed=self._changed)
        self.changes: list[Dhcp4State | None] = []
        self.began = self.now()

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def _changed(self) -> None:
        self.changes.append(self.state())

    def state(self, interface: str = "wlan0") -> Dhcp4State | None:
        told = self.watch.state(interface)
        return None if told is None else told.state

    def follow(self, *links: Link, uplinks: tuple[str, ...] = ("wlan0",)) -> None:
        self.watch.follow({link.name: link for link in links or (LINK,)}, set(uplinks))

    def listening(self, ifindex: int = 2) -> FakeDhcpSocket | None:
        heard = [ear for ear in FakeDhcpSocket.opened if not ear.closed and ear.ifindex == ifindex]
        assert len(heard) <= 1
        return heard[0] if heard else None

    async def hears(self, *packets: bytes, sent: bool | None = None, ifindex: int = 2) -> None:
        """Packets as they pass; the host's own are those of clients unless `sent` says otherwise."""
        for packet in packets:
            ear = self.listening(ifindex)
            assert ear is not None, "nobody listens"
            ear.hear(packet, sent=packet[22:24] == b"\x00\x43" if sent is None else sent)
            await settle()


Scene = Callable[[Stage], Awaitable[None]]


def play(scene: Scene) -> None:
    """Run a scene; whatever it opens is closed at the end."""

    async def work() -> None:
        stage = Stage()
        await scene(stage)
        stage.watch.close()
        assert all(ear.closed for ear in FakeDhcpSocket.opened)

    with patch.object(FakeDhcpSocket, "opened", []), patch.object(dhcp4, "DhcpSocket", FakeDhcpSocket):
        run_virtual(work())
