# SPDX-License-Identifier: GPL-2.0-or-later
"""Moving packets: TUN to uplink and back, in batches, one buffer a direction.

Hooks in the kernel may join in: then there are fewer packets, and what comes from the network comes by the TUN too.

The fast path rewrites headers in place in front of a payload it never touches, so a 64 KiB packet costs what a small
one does. All it declines goes whole through `Siit`.

    TUN reads      ........................[vnet][IPv4 ...]
    and sends      [vnet][Ethernet][IPv6 header      ][...]
    uplink reads   [vnet][Ethernet][IPv6 header      ][...]
    and writes     ........................[vnet][IPv4 ...]
"""

from __future__ import annotations

import os
from typing import Final

from clatnm.clock import boottime
from clatnm.proto.inplace import DECLINED, InPlace
from clatnm.proto.ndp import NEIGHBOR_ADVERTISEMENT, NEIGHBOR_SOLICITATION
from clatnm.worker import vnet
from clatnm.worker.counters import Counters, Flow, Loss
from clatnm.worker.link import Link
from clatnm.worker.port import Port
from clatnm.worker.slow import SlowPath, ipv4_mtu_bytes, random_ident
from clatnm.worker.wire import WorkerConfig

BATCH: Final = 64  # packets a wake-up, so that neither direction starves the other

_IPV6_AT: Final = 64  # where the IPv6 header is in either buffer: behind room for what goes before it
_IPV4_AT: Final = _IPV6_AT + 20
_BUFFER_BYTES: Final = _IPV4_AT + 65536 + 256
_ICMPV6: Final = bytes((58,))
_NEIGHBOUR: Final = (bytes((NEIGHBOR_SOLICITATION,)), bytes((NEIGHBOR_ADVERTISEMENT,)))
_PLAIN: Final = (vnet.BLANK, 0)


class Forwarder:
    """Translates between two descriptors. `used`: packets went to the gateway since somebody reset it."""

    def __init__(self, config: WorkerConfig, *, tun: Port, uplink: Port, link: Link, counters: Counters) -> None:
        self.used = False
        self._tun = tun
        self._uplink = uplink
        self._link = link
        self._counters = counters
        self._hooked, self._expecting = config.hooked, config.expecting
        self._mappings = config.mappings
        self._from_tun = _Buffer(read_at=_IPV4_AT - vnet.SIZE)
        self._from_uplink = _Buffer(read_at=_IPV6_AT - link.header_bytes - vnet.SIZE)
        ipv6_at = link.header_bytes + 40
        self._to_ipv6_header = vnet.rewriter(gso=vnet.TO_IPV6, transport_in=20, transport_out=ipv6_at)
        self._to_ipv4_header = vnet.rewriter(gso=vnet.TO_IPV4, transport_in=ipv6_at, transport_out=20)
        self._inplace = _inplace(config)
        self._slow = SlowPath(config, counters)

    def reconfigure(self, config: WorkerConfig) -> None:
        """Translate by another config from the next packet on. The kind of link stays."""
        self._hooked, self._expecting = config.hooked, config.expecting
        self._mappings = config.mappings
        self._inplace = _inplace(config)
        self._slow.reconfigure(config)

    def deadline(self) -> float | None:
        """When `expire` is due next, None while nothing waits to be reassembled."""
        return self._slow.deadline()

    def expire(self, now: float) -> None:
        self._slow.expire(now)

    def from_tun(self) -> None:
        """Translate what the host has sent, up to `BATCH` packets. HostError when a device is gone."""
        buf, view, at, into = self._from_tun.parts()
        readv, fd, send, link, plain = os.readv, self._tun.fd, self._uplink.write, self._link, _PLAIN
        rewrite, translate = self._to_ipv6_header, self._inplace.to_ipv6
        flow = self._counters.to_ipv6
        packets, sizes = flow.packets, flow.bytes
        for _ in range(BATCH):
            try:
                end = at + readv(fd, into)
            except OSError as error:
                self._tun.unread(error, flow)
                break
            partial = buf[at] & 1 == 1
            header = rewrite(buf, at) if partial or buf[at + 1] else plain
            protocol = buf[_IPV4_AT + 9]
            start = translate(buf, _IPV4_AT, end, partial, header[1]) if header else DECLINED
            if start == DECLINED or header is None:
                if buf[_IPV4_AT] >> 4 == 6:
                    self._ipv6_from_tun(bytes(view[at:end]))
                else:
                    self._odd_from_tun(bytes(view[at:end]))
                continue
            hop = link.header
            if hop is None:
                if not link.forward(header[0], bytes(view[start:end]), boottime()):
                    continue
            else:
                out = start - len(hop) - vnet.SIZE
                buf[out:start] = header[0] + hop
                try:
                    send(view[out:end])
                except OSError as error:
                    self._uplink.failed(error, flow)
                    continue
                self.used = True
            packets[protocol] += 1
            sizes[protocol] += end - _IPV4_AT
            flow.fast += 1

    def from_uplink(self) -> None:
        """Translate what came for the CLAT address, up to `BATCH` packets. HostError when a device is gone."""
        buf, view, at, into = self._from_uplink.parts()
        readv, fd, out_fd, write, plain = os.readv, self._uplink.fd, self._tun.fd, os.write, _PLAIN
        rewrite, translate = self._to_ipv4_header, self._inplace.to_ipv4
        flow = self._counters.to_ipv4
        packets, sizes = flow.packets, flow.bytes
        for _ in range(BATCH):
            try:
                end = at + readv(fd, into)
            except OSError as error:
                self._uplink.unread(error, flow)
                break
            partial = buf[at] & 1 == 1
            header = rewrite(buf, at) if partial or buf[at + 1] else plain
            protocol = buf[_IPV6_AT + 6]
            start = translate(buf, _IPV6_AT, end, partial, header[1]) if header else DECLINED
            if start == DECLINED or header is None:
                self._odd_from_uplink(bytes(view[at:end]))
                continue
            out = start - vnet.SIZE
            buf[out:start] = header[0]
            try:
                write(out_fd, view[out:end])
            except OSError as error:
                self._tun.failed(error, flow)
                continue
            packets[protocol] += 1
            sizes[protocol] += end - _IPV6_AT
            flow.fast += 1

    def _odd_from_tun(self, data: bytes) -> None:
        self._slow.to_ipv6(data, link_bytes=0, forward=self._send_uplink, reply=self._write_tun)

    def _ipv6_from_tun(self, data: bytes) -> None:
        """What hooks on the uplink leave to us. Without them, whatever it is comes from the uplink as well.

        While they are awaited, what they would never leave to us is no work of theirs.
        """
        if self._hooked or (self._expecting and not self._is_simple(data)):
            self._slow.to_ipv4(data, link_bytes=0, forward=self._write_tun, reply=self._send_uplink)
        else:
            self._counters.to_ipv6.drop(Loss.NOT_IPV4)

    def _is_simple(self, data: bytes) -> bool:
        """Would hooks translate it? They take exactly what is translated in place."""
        flags, _, _, gso_size, _, _ = vnet.HEADER.unpack_from(data)
        buf = bytearray(_IPV6_AT) + data[vnet.SIZE :]
        partial = bool(flags & vnet.NEEDS_CSUM)
        return self._inplace.to_ipv4(buf, _IPV6_AT, len(buf), partial, gso_size) != DECLINED

    def _odd_from_uplink(self, data: bytes) -> None:
        """Of many mappings, the socket's filter knows no more than where they are: it may hear what is the host's."""
        link_bytes = self._link.header_bytes
        ip = vnet.SIZE + link_bytes
        if data[ip + 6 : ip + 7] == _ICMPV6 and data[ip + 40 : ip + 41] in _NEIGHBOUR:
            self._link.receive(data[vnet.SIZE :], boottime())
        elif self._mappings is None or self._mappings.packed_to_v4(data[ip + 24 : ip + 40]) is not None:
            self._slow.to_ipv4(data, link_bytes=link_bytes, forward=self._write_tun, reply=self._send_uplink)

    def _send_uplink(self, packet: bytes, flow: Flow, now: float) -> bool:
        return self._link.forward(vnet.BLANK, packet, now)

    def _write_tun(self, packet: bytes, flow: Flow, now: float) -> bool:
        return self._tun.send(vnet.BLANK + packet, flow)


class _Buffer:
    """Where one direction reads a packet at a fixed place, with room to grow in front."""

    def __init__(self, *, read_at: int) -> None:
        self._buf = bytearray(_BUFFER_BYTES)
        self._view = memoryview(self._buf)
        self._read_at = read_at
        self._into = [self._view[read_at:]]

    def parts(self) -> tuple[bytearray, memoryview, int, list[memoryview]]:
        """The buffer, a view of it, where packets are read to, and that place as `os.readv` wants it."""
        return self._buf, self._view, self._read_at, self._into


def _inplace(config: WorkerConfig) -> InPlace:
    return InPlace(
        config.clat_v4,
        config.clat_v6,
        config.prefix,
        ipv6_mtu_bytes=config.ipv6_mtu_bytes,
        ipv4_mtu_bytes=ipv4_mtu_bytes(config),
        well_known_strict=config.well_known_strict,
        first_ident=random_ident(),
        mappings=config.mappings,
    )
