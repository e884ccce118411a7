# SPDX-License-Identifier: GPL-2.0-or-later
"""Behind hooks in the kernel that alone can send: what they declined comes out of the TUN in either family, and goes
back into it. So it is with the host's own address, which the kernel speaks for.

An IPv6 packet written into the TUN is sent on by the hooks, an IPv4 packet is received by the host. The uplink's socket
hears neighbour discovery only.
"""

from __future__ import annotations

import os
from typing import Final

from clatnm.clock import boottime
from clatnm.worker import vnet
from clatnm.worker.counters import Counters, Flow, Loss
from clatnm.worker.forward import BATCH
from clatnm.worker.link import Link
from clatnm.worker.port import Port
from clatnm.worker.slow import SlowPath
from clatnm.worker.wire import WorkerConfig

_BUFFER_BYTES: Final = vnet.SIZE + 65536 + 256


class HookedForwarder:
    """Does what `Forwarder` does, packet by packet, for the few that the hooks leave."""

    def __init__(self, config: WorkerConfig, *, tun: Port, uplink: Port, link: Link, counters: Counters) -> None:
        self.used = False
        self._tun = tun
        self._uplink = uplink
        self._link = link
        self._counters = counters
        self._slow = SlowPath(config, counters)

    def reconfigure(self, config: WorkerConfig) -> None:
        """Translate by another config from the next packet on."""
        self._slow.reconfigure(config)

    def deadline(self) -> float | None:
        """When `expire` is due next, None while nothing waits."""
        return self._slow.deadline()

    def expire(self, now: float) -> None:
        """Give up on fragments whose time is over."""
        self._slow.expire(now)

    def from_tun(self) -> None:
        """Translate what the hooks declined, up to `BATCH` packets. HostError when the device is gone."""
        for _ in range(BATCH):
            try:
                data = os.read(self._tun.fd, _BUFFER_BYTES)
            except OSError as error:
                self._tun.unread(error, self._counters.to_ipv6)
                return
            version = data[vnet.SIZE] >> 4 if len(data) > vnet.SIZE else 0
            if version == 6:
                self._slow.to_ipv4(data, link_bytes=0, forward=self._write, reply=self._write)
            else:
                self._slow.to_ipv6(data, link_bytes=0, forward=self._write, reply=self._write)

    def from_uplink(self) -> None:
        """Take in neighbour discovery. HostError when the uplink is gone."""
        for _ in range(BATCH):
            try:
                frame = os.read(self._uplink.fd, _BUFFER_BYTES)
            except OSError as error:
                self._uplink.unread(error, self._counters.to_ipv4)
                return
            if len(frame) <= vnet.SIZE:
                self._counters.to_ipv4.drop(Loss.MALFORMED_NEIGHBOUR)
            else:
                self._link.receive(frame[vnet.SIZE :], boottime())

    def _write(self, packet: bytes, flow: Flow, now: float) -> bool:
        return self._tun.send(vnet.BLANK + packet, flow)
