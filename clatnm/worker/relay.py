# SPDX-License-Identifier: GPL-2.0-or-later
"""Beside another program that translates: packets are carried to it and back, over a socket that leads there.

    host ── TUN ── IPv4 ─► socket ─► the program ─► socket ── IPv6, link header ─► uplink
    host ◄─ TUN ── IPv4 ── socket ◄─ the program ◄─ socket ◄─ IPv6 ─────────────── uplink

Large packets and partial checksums are the kernel's to finish on the way there: the program's device offers nothing.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Final

from clatnm.clock import boottime
from clatnm.proto.checksum import transport_checksum
from clatnm.proto.ndp import NEIGHBOR_ADVERTISEMENT, NEIGHBOR_SOLICITATION
from clatnm.proto.refusal import DropReason
from clatnm.worker import vnet
from clatnm.worker.counters import Counters, Flow, Loss
from clatnm.worker.forward import BATCH
from clatnm.worker.link import Link
from clatnm.worker.port import Port
from clatnm.worker.wire import PROGRAM_V6, WorkerConfig

_AT: Final = 64  # where a vnet header is read to: behind room for a link header
_BUFFER_BYTES: Final = _AT + vnet.SIZE + 65536 + 256
_IPV4_BYTES, _IPV6_BYTES, _ICMP_BYTES = 20, 40, 8
_ABOUT: Final = _IPV6_BYTES + _ICMP_BYTES + 24  # destination of the packet that an ICMPv6 error quotes
_ICMPV6: Final = 58
_NEIGHBOUR: Final = (NEIGHBOR_SOLICITATION, NEIGHBOR_ADVERTISEMENT)


def relay_port(sock: socket.socket) -> Port:
    """The program's side."""
    return Port(
        sock.fileno(),
        sock.send,
        name="the network of the translating program",
        gone=frozenset((errno.ENODEV, errno.ENXIO, errno.EBADF)),
        hint="",
    )


class RelayForwarder:
    """Does what `Forwarder` does, but for the translation. Counted is what the program gives back."""

    def __init__(
        self, config: WorkerConfig, *, tun: Port, uplink: Port, relay: Port, link: Link, counters: Counters
    ) -> None:
        self.used = False
        self._tun = tun
        self._uplink = uplink
        self._relay = relay
        self._link = link
        self._counters = counters
        self._clat_v6 = config.clat_v6.packed
        self._mappings = config.mappings
        self._buf = bytearray(_BUFFER_BYTES)
        self._view = memoryview(self._buf)

    def reconfigure(self, config: WorkerConfig) -> None:
        """Another next hop is the link's business; what the program was told at its start stays."""

    def deadline(self) -> float | None:
        """Nothing waits here."""
        return None

    def expire(self, now: float) -> None:
        """Nothing to give up."""

    def from_tun(self) -> None:
        """Carry what the host has sent to the program, up to `BATCH` packets. HostError when a device is gone."""
        buf, flow, ip = self._buf, self._counters.to_ipv6, _AT + vnet.SIZE
        for _ in range(BATCH):
            end = self._read(self._tun, flow)
            if not end:
                return
            if end < ip + _IPV4_BYTES or buf[ip] >> 4 != 4:
                flow.drop(DropReason.MALFORMED)
                continue
            buf[_AT] &= vnet.NEEDS_CSUM
            self._write(self._relay, _AT, end, flow)

    def from_uplink(self) -> None:
        """Carry what came for the CLAT address to the program, likewise."""
        buf, flow = self._buf, self._counters.to_ipv4
        ip = _AT + vnet.SIZE + self._link.header_bytes
        for _ in range(BATCH):
            end = self._read(self._uplink, flow)
            if not end:
                return
            header = _without_link(buf, self._link.header_bytes)
            if end < ip + _IPV6_BYTES:
                flow.drop(DropReason.TRUNCATED)
            elif buf[ip + 6] == _ICMPV6 and end > ip + _IPV6_BYTES and buf[ip + _IPV6_BYTES] in _NEIGHBOUR:
                self._link.receive(bytes(self._view[_AT + vnet.SIZE : end]), boottime())
            elif self._mappings is not None and not self._is_ours(bytes(self._view[ip + 24 : ip + 40])):
                continue  # the socket's filter knows only about where many mappings are
            elif header is None:
                flow.drop(Loss.BAD_OFFLOAD)
            else:
                buf[ip - vnet.SIZE : ip] = header
                self._write(self._relay, ip - vnet.SIZE, end, flow)

    def from_relay(self) -> None:
        """Carry what the program has translated to where it belongs, up to `BATCH` packets."""
        buf, ip = self._buf, _AT + vnet.SIZE
        for _ in range(BATCH):
            end = self._read(self._relay, self._counters.to_ipv6)
            if not end:
                return
            version = buf[ip] >> 4 if end >= ip + _IPV4_BYTES else 0
            if version == 4:
                self._to_host(ip, end)
            elif version == 6 and end >= ip + _IPV6_BYTES:
                self._to_uplink(ip, end)
            else:
                self._counters.to_ipv6.drop(DropReason.MALFORMED)

    def _to_host(self, ip: int, end: int) -> None:
        # The program's device has no offloads, so what the header says beyond "all is done" is of no use.
        self._buf[_AT:ip] = vnet.BLANK
        if self._write(self._tun, _AT, end, self._counters.to_ipv4):
            _count(self._counters.to_ipv4, self._buf[ip + 9], end - ip)

    def _to_uplink(self, ip: int, end: int) -> None:
        """Only the CLAT address, or mapped ones, may be a source on the network: those alone are ours."""
        buf = self._buf
        if not self._is_ours(bytes(self._view[ip + 8 : ip + 24])):
            self._own_error(bytes(self._view[ip:end]))
            return
        hop, flow = self._link.header, self._counters.to_ipv6
        if hop is None:
            sent = self._link.forward(vnet.BLANK, bytes(self._view[ip:end]), boottime())
        else:
            start = ip - len(hop) - vnet.SIZE
            buf[start:ip] = vnet.BLANK + hop
            sent = self._write(self._uplink, start, end, flow)
            self.used = self.used or sent
        if sent:
            _count(flow, buf[ip + 6], end - ip)

    def _is_ours(self, address: bytes) -> bool:
        """May this IPv6 address be an end of translated traffic here?"""
        if self._mappings is None:
            return address == self._clat_v6
        return self._mappings.packed_to_v4(address) is not None

    def _own_error(self, packet: bytes) -> None:
        """The program's word to a sender, in the name of the address that it is about (RFC 4443 2.2), or our own."""
        if packet[8:24] != PROGRAM_V6.packed or packet[6] != _ICMPV6 or len(packet) < _IPV6_BYTES + _ICMP_BYTES:
            self._counters.to_ipv6.drop(DropReason.SOURCE_UNMAPPED)
            return
        about = packet[_ABOUT : _ABOUT + 16]
        source = about if self._mappings is not None and self._is_ours(about) else self._clat_v6
        blank = packet[40:42] + b"\0\0" + packet[44:]
        field = transport_checksum(source, packet[24:40], _ICMPV6, blank).to_bytes(2, "big")
        packet = packet[:8] + source + packet[24:42] + field + packet[44:]
        self._counters.to_ipv4.replies += self._link.forward(vnet.BLANK, packet, boottime())

    def _read(self, port: Port, flow: Flow) -> int:
        """Read one packet to `_AT`; where it ends, 0 when there is none."""
        try:
            size = os.readv(port.fd, [self._view[_AT:]])
        except OSError as error:
            port.unread(error, flow)
            return 0
        return _AT + size

    def _write(self, port: Port, start: int, end: int, flow: Flow) -> bool:
        try:
            port.write(self._view[start:end])
        except OSError as error:
            port.failed(error, flow)
            return False
        return True


def _without_link(buf: bytearray, link_bytes: int) -> bytes | None:
    """The vnet header at `_AT` as it counts from behind the link header; None when it points before that."""
    flags, kind, length, size, start, offset = vnet.HEADER.unpack_from(buf, _AT)
    flags &= vnet.NEEDS_CSUM
    if flags and start < link_bytes:
        return None
    start -= link_bytes if flags else 0
    return vnet.HEADER.pack(flags, kind, max(0, length - link_bytes), size, start, offset)


def _count(flow: Flow, protocol: int, size: int) -> None:
    flow.packets[protocol] += 1
    flow.bytes[protocol] += size
    flow.fast += 1
