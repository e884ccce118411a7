# SPDX-License-Identifier: GPL-2.0-or-later
"""The slow path: whole packets, complete in themselves, through `proto.siit`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeAlias

from clatnm.clock import boottime
from clatnm.proto.eam import EamTable, host_pair
from clatnm.proto.siit import Outcome, Siit, SiitConfig
from clatnm.worker import offload, vnet
from clatnm.worker.counters import Counters, Flow, Loss
from clatnm.worker.wire import WorkerConfig

Deliver: TypeAlias = "Callable[[bytes, Flow, float], bool]"
Translate: TypeAlias = "Callable[[bytes, float], Outcome]"


def ipv4_mtu_bytes(config: WorkerConfig) -> int:
    """The TUN device has the uplink's MTU: a translated packet is 20 bytes shorter, so it always fits."""
    return min(config.ipv6_mtu_bytes, 0xFFFF)


def random_ident() -> int:
    """Where the identifications of IPv4 packets begin."""
    return int.from_bytes(os.urandom(2), "big")


class SlowPath:
    """Takes what a fast path declined, and counts it."""

    def __init__(self, config: WorkerConfig, counters: Counters) -> None:
        self._counters = counters
        self._siit = Siit(_siit_config(config), first_ident=random_ident())

    def reconfigure(self, config: WorkerConfig) -> None:
        """Translate by another config from the next packet on; half-assembled datagrams are kept."""
        self._siit.reconfigure(_siit_config(config))

    def deadline(self) -> float | None:
        """When `expire` is due next, None while nothing waits to be reassembled."""
        return self._siit.next_deadline()

    def expire(self, now: float) -> None:
        """Give up on fragments whose time is over."""
        self._counters.reassembly_timeouts += self._siit.expire(now)

    def to_ipv6(self, data: bytes, *, link_bytes: int, forward: Deliver, reply: Deliver) -> None:
        """Translate an IPv4 packet behind its vnet header and `link_bytes` of link-layer header."""
        self._translate(data, link_bytes, self._siit.from_ipv4, self._counters.to_ipv6, forward=forward, reply=reply)

    def to_ipv4(self, data: bytes, *, link_bytes: int, forward: Deliver, reply: Deliver) -> None:
        """Translate an IPv6 packet, likewise."""
        self._translate(data, link_bytes, self._siit.from_ipv6, self._counters.to_ipv4, forward=forward, reply=reply)

    @staticmethod
    def _translate(
        data: bytes, link_bytes: int, translate: Translate, flow: Flow, *, forward: Deliver, reply: Deliver
    ) -> None:
        parts = offload.complete(data[vnet.SIZE + link_bytes :], header=data[: vnet.SIZE], link_bytes=link_bytes)
        if parts is None:
            flow.drop(Loss.BAD_OFFLOAD)
            return
        now = boottime()
        for part in parts:
            outcome = translate(part, now)
            forwarded = sum(forward(packet, flow, now) for packet in outcome.forward)
            flow.replies += sum(reply(packet, flow, now) for packet in outcome.reply)
            if forwarded:
                flow.slow += 1
                protocol = part[9] if part[0] >> 4 == 4 else part[6]
                flow.packets[protocol] += 1
                flow.bytes[protocol] += len(part)
            elif outcome.drop is not None:
                flow.drop(outcome.drop)
            elif not outcome.forward:
                flow.held += 1


def _siit_config(config: WorkerConfig) -> SiitConfig:
    return SiitConfig(
        prefix=config.prefix,
        eam=EamTable([host_pair(config.clat_v4, config.clat_v6)]) if config.mappings is None else config.mappings,
        ipv6_mtu_bytes=config.ipv6_mtu_bytes,
        ipv4_mtu_bytes=ipv4_mtu_bytes(config),
        icmp_source=config.icmp_source,
        well_known_strict=config.well_known_strict,
    )
