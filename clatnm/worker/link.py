# SPDX-License-Identifier: GPL-2.0-or-later
"""The uplink below IPv6: which link-layer header goes before a packet, and neighbour discovery to know it.

The CLAT address is unknown to the kernel, so all of RFC 4861 that concerns it happens here: finding the gateway,
answering for the address, asking whether somebody else has it. Translation starts at once meanwhile (RFC 4429).
With mappings it answers for each of their addresses, too; only its own is checked for duplicates.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from ipaddress import IPv6Address
from typing import Final, Protocol

from clatnm.errors import ParseError
from clatnm.proto.eam import EamTable
from clatnm.proto.ndp import NeighborAdvert, NeighborSolicit, parse_neighbor
from clatnm.proto.neighbor import MAX_MULTICAST_SOLICIT, RETRANS_TIMER_S, DuplicateCheck, NextHop, Responder
from clatnm.worker.counters import Counters, Loss
from clatnm.worker.port import Port
from clatnm.worker.vnet import BLANK
from clatnm.worker.wire import WorkerConfig

ETHERNET_BYTES: Final = 14
MAX_WAITING: Final = 64  # packets for a next hop not yet found
MAX_WAIT_S: Final = MAX_MULTICAST_SOLICIT * RETRANS_TIMER_S  # RFC 4861 7.2.2: then it counts as unreachable
MAX_HOPS: Final = 64  # next hops known at once, where every destination is one

_ETHERTYPE_IPV6: Final = b"\x86\xdd"
_NONCE_BYTES: Final = 6  # RFC 7527 4.1


class Link(Protocol):
    """`header` goes between vnet header and IPv6 packet; None while it must be found packet by packet (`forward`)."""

    header: bytes | None
    header_bytes: int

    def forward(self, vnet_header: bytes, packet: bytes, now: float) -> bool: ...
    def receive(self, frame: bytes, now: float) -> None: ...
    def tick(self, now: float, *, used: bool) -> None: ...
    def deadline(self, now: float, *, used: bool) -> float | None: ...
    def reconfigure(self, config: WorkerConfig, now: float) -> None: ...


class PlainLink:
    """A link without addresses (WWAN, PPP, WireGuard): nothing to find, nobody to answer."""

    def __init__(self, port: Port, counters: Counters) -> None:
        self.header: bytes | None = b""
        self.header_bytes = 0
        self._port = port
        self._counters = counters

    def forward(self, vnet_header: bytes, packet: bytes, now: float) -> bool:
        return self._port.send(vnet_header + packet, self._counters.to_ipv6)

    def receive(self, frame: bytes, now: float) -> None:
        self._counters.to_ipv4.drop(Loss.MALFORMED_NEIGHBOUR)  # there are no neighbours here

    def tick(self, now: float, *, used: bool) -> None:
        pass

    def deadline(self, now: float, *, used: bool) -> float | None:
        return None

    def reconfigure(self, config: WorkerConfig, now: float) -> None:
        pass


class _Hop:
    """A next hop, and whether something was sent to it, or waits to be, since it was last polled."""

    def __init__(self, next_hop: NextHop) -> None:
        self.next_hop = next_hop
        self.used = False


class EthernetLink:
    """A link with MAC addresses.

    With a gateway there is one next hop, and `header` is set once it is found. Without one every destination is its
    own next hop, `header` stays None and `forward` looks each packet's up.
    """

    def __init__(
        self,
        port: Port,
        counters: Counters,
        *,
        on_conflict: Callable[[IPv6Address], None],
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.header: bytes | None = None
        self.header_bytes = ETHERNET_BYTES
        self._port = port
        self._counters = counters
        self._on_conflict = on_conflict
        self._random = random
        self._gateway: IPv6Address | None = None
        self._last_mac: bytes | None = None  # the gateway's before `reconfigure`
        self._identity: tuple[IPv6Address, bytes] | None = None
        self._mappings: EamTable | None = None
        self._responder: Responder | None = None
        self._check: DuplicateCheck | None = None
        self._conflict = False
        self._hops: dict[IPv6Address, _Hop] = {}
        self._waiting: deque[tuple[float, bytes, bytes]] = deque()  # since when, vnet header, packet

    def reconfigure(self, config: WorkerConfig, now: float) -> None:
        """Take the addresses of `config`; a new CLAT address (or MAC) is checked for duplicates first."""
        assert config.link_address is not None
        self._mappings = config.mappings
        identity = (config.clat_v6, config.link_address)
        if identity == self._identity and config.gateway == self._gateway:
            return
        renewed = identity != self._identity
        if self.header is not None:
            self._last_mac = self.header[:6]
        self._gateway = config.gateway
        self._identity = identity
        self.header = None
        self._hops.clear()
        if renewed:
            self._conflict = False
            self._lose_waiting(Loss.UNRESOLVED)  # their source is the old address
            self._responder = Responder(*identity)
            self._check = DuplicateCheck(*identity)
            self._send(self._check.start(now, nonce=self._random(_NONCE_BYTES)))
        if self._gateway is not None:
            self._hop(self._gateway).used = True  # found before the first packet needs it
        self.tick(now, used=bool(self._waiting))

    def forward(self, vnet_header: bytes, packet: bytes, now: float) -> bool:
        """Send an IPv6 packet to its next hop now or, up to `MAX_WAITING` of them, when that is found.

        Those that do not fit leave by the gateway there was until now. False when this packet was lost at once, and
        counted.
        """
        if self._conflict:
            self._counters.to_ipv6.drop(Loss.DUPLICATE_ADDRESS)
            return False
        sent = self._offer(now, vnet_header, packet)
        if self._waiting:
            self.tick(now, used=False)
        return sent

    def _offer(self, since: float, vnet_header: bytes, packet: bytes) -> bool:
        hop = self._hop(self._gateway or IPv6Address(packet[24:40]))
        hop.used = True
        flow = self._counters.to_ipv6
        if hop.next_hop.mac is not None:
            return self._port.send(vnet_header + self._header(hop.next_hop.mac) + packet, flow)
        if len(self._waiting) == MAX_WAITING:
            self._overflow()
        self._waiting.append((since, vnet_header, packet))
        return True

    def _overflow(self) -> None:
        """Make room for one more that waits. The old gateway may still serve; lost the packet would be anyway."""
        _, vnet_header, packet = self._waiting.popleft()
        if self._last_mac is None or self._gateway is None:
            self._counters.to_ipv6.drop(Loss.UNRESOLVED)
        else:
            self._port.send(vnet_header + self._header(self._last_mac) + packet, self._counters.to_ipv6)

    def receive(self, frame: bytes, now: float) -> None:
        """Take in a neighbour discovery frame."""
        if self._conflict or self._responder is None or self._check is None:
            return
        try:
            message = parse_neighbor(frame[ETHERNET_BYTES:])
        except ParseError:
            self._counters.to_ipv4.drop(Loss.MALFORMED_NEIGHBOUR)
            return
        self._counters.neighbour_received += 1
        if isinstance(message, NeighborAdvert):
            if self._check.on_advert(message):
                self._give_up()
                return
            for hop in self._hops.values():
                hop.next_hop.on_advert(message, now)
        else:
            if self._check.on_solicit(message, now):
                self._give_up()
                return
            for hop in self._hops.values():
                hop.next_hop.on_solicit(message, now)
            answer = self._answer(message, frame[6:12], optimistic=not self._check.done(now))
            if answer is not None:
                self._send((answer,))
        self._found(now)

    def _answer(self, solicit: NeighborSolicit, frame_source: bytes, *, optimistic: bool) -> bytes | None:
        assert self._identity is not None and self._responder is not None
        own, link_address = self._identity
        if solicit.target == own:
            return self._responder.answer(solicit, frame_source=frame_source, optimistic=optimistic)
        if self._mappings is None or self._mappings.to_ipv4(solicit.target) is None:
            return None
        return Responder(solicit.target, link_address).answer(solicit, frame_source=frame_source)

    def tick(self, now: float, *, used: bool) -> None:
        """Send the solicitations that are due. `used`: packets went out behind `header` since the last call."""
        for hop in self._hops.values():
            self._send(hop.next_hop.poll(now, used=used or hop.used))
            hop.used = False

    def deadline(self, now: float, *, used: bool) -> float | None:
        """When `tick` is due next; None while nothing is sent and nothing is asked."""
        due = [hop.next_hop.next_deadline(now, used or hop.used) for hop in self._hops.values()]
        return min((at for at in due if at is not None), default=None)

    def _hop(self, address: IPv6Address) -> _Hop:
        hop = self._hops.get(address)
        if hop is None:
            assert self._identity is not None
            if len(self._hops) == MAX_HOPS:
                del self._hops[next(iter(self._hops))]
            hop = self._hops[address] = _Hop(NextHop(address, *self._identity))
        return hop

    def _found(self, now: float) -> None:
        """Use the link addresses known by now: for the packets to come, and for those that wait."""
        if self._gateway is not None:
            mac = self._hop(self._gateway).next_hop.mac
            self.header = None if mac is None else self._header(mac)
        waiting, self._waiting = self._waiting, deque()
        for since, vnet_header, packet in waiting:
            if now - since <= MAX_WAIT_S:
                self._offer(since, vnet_header, packet)
            else:
                self._counters.to_ipv6.drop(Loss.UNRESOLVED)

    def _header(self, mac: bytes) -> bytes:
        assert self._identity is not None
        return mac + self._identity[1] + _ETHERTYPE_IPV6

    def _send(self, frames: tuple[bytes, ...]) -> None:
        for frame in frames:
            self._counters.neighbour_sent += self._port.send(BLANK + frame, self._counters.to_ipv6)

    def _give_up(self) -> None:
        """RFC 4862 5.4.5: an address that is somebody else's is not used, until `reconfigure` brings another."""
        assert self._identity is not None
        self._conflict = True
        self.header = None
        self._hops.clear()
        self._lose_waiting(Loss.DUPLICATE_ADDRESS)
        self._on_conflict(self._identity[0])

    def _lose_waiting(self, reason: Loss) -> None:
        while self._waiting:
            self._waiting.popleft()
            self._counters.to_ipv6.drop(reason)
