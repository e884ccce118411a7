# SPDX-License-Identifier: GPL-2.0-or-later
"""What the translator has done, in numbers; the only trace that a malformed packet leaves."""

from __future__ import annotations

from typing import Any

from clatnm.compat import StrEnum

_PROTOCOLS = {1: "icmp", 58: "icmp", 6: "tcp", 17: "udp"}


class Loss(StrEnum):
    """Why a packet was lost outside the translation proper, whose own reasons are `proto.siit.DropReason`."""

    BAD_OFFLOAD = "bad-offload"  # vnet header that contradicts its packet, or of a kind nobody offered
    UNRESOLVED = "unresolved"  # the next hop's link address was not known in time
    DUPLICATE_ADDRESS = "duplicate-address"  # somebody else on the link has the CLAT address
    BUSY = "busy"  # EAGAIN, ENOBUFS, ENOMEM: queues are full
    REFUSED = "refused"  # EINVAL, EMSGSIZE: the kernel does not take such a packet
    LINK_DOWN = "link-down"  # ENETDOWN, EIO: the device is not up
    FAILED = "failed"  # anything else
    NOT_IPV4 = "not-ipv4"  # from the host: what its kernel forwards to us of what we hear ourselves
    MALFORMED_NEIGHBOUR = "malformed-neighbour"  # neighbour discovery that must be discarded


class Flow:
    """One direction. A packet counts once, however many segments its offload stands for; bytes are those that came."""

    def __init__(self) -> None:
        self.packets = [0] * 256  # by IP protocol number, as the fast path finds it
        self.bytes = [0] * 256
        self.fast = 0
        self.slow = 0
        self.held = 0  # fragments kept to be put together
        self.replies = 0  # ICMP errors sent back
        self.drops: dict[str, int] = {}

    def drop(self, reason: str) -> None:
        self.drops[str(reason)] = self.drops.get(str(reason), 0) + 1

    def snapshot(self) -> dict[str, Any]:
        protocols: dict[str, dict[str, int]] = {}
        for number, packets in enumerate(self.packets):
            if packets:
                row = protocols.setdefault(_PROTOCOLS.get(number, "other"), {"packets": 0, "bytes": 0})
                row["packets"] += packets
                row["bytes"] += self.bytes[number]
        return {
            "protocols": protocols,
            "fast": self.fast,
            "slow": self.slow,
            "held": self.held,
            "replies": self.replies,
            "drops": dict(self.drops),
        }


class Counters:
    """Both directions and neighbour discovery."""

    def __init__(self) -> None:
        self.to_ipv6 = Flow()
        self.to_ipv4 = Flow()
        self.neighbour_received = 0
        self.neighbour_sent = 0
        self.reassembly_timeouts = 0  # datagrams of which fragments were held in vain

    def snapshot(self) -> dict[str, Any]:
        """JSON values: `Flow.snapshot` of either direction, messages received and sent, reassembly timeouts."""
        return {
            "ipv4_to_ipv6": self.to_ipv6.snapshot(),
            "ipv6_to_ipv4": self.to_ipv4.snapshot(),
            "neighbour": {"received": self.neighbour_received, "sent": self.neighbour_sent},
            "reassembly_timeouts": self.reassembly_timeouts,
        }
