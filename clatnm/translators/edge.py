# SPDX-License-Identifier: GPL-2.0-or-later
"""What an Edge Relay's device has that a CLAT's has not (RFC 7756): addresses or none, chosen routes, a table."""

from __future__ import annotations

import contextlib
import functools
import logging
import socket
from ipaddress import IPv6Network, collapse_addresses
from pathlib import Path

from clatnm.errors import HostError
from clatnm.kernel import hearing
from clatnm.kernel.furnish import Relaying, change_relay, furnish_relay
from clatnm.kernel.host import Host
from clatnm.kernel.netlink import reported
from clatnm.log import Message, about
from clatnm.model import Plan, Relay
from clatnm.proto.eam import EamTable

log = logging.getLogger(__name__)

_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


def furnish(plan: Plan, relay: Relay) -> int:
    """Make the device ready to be used, and have it used. Its ifindex; HostError."""
    with reported(f"cannot set up {plan.device}"):
        index = socket.if_nametoindex(plan.device)
    furnish_relay(index, relaying(plan, relay), mtu_bytes=plan.ipv6_mtu_bytes)
    if not relay.addresses and not _forwards():
        log.warning(
            "%s: net.ipv4.ip_forward is 0, so nobody behind this host reaches %s; it is for you to switch on",
            plan.interface,
            plan.device,
            extra=about(Message.NOT_FORWARDING, uplink=plan.interface, device=plan.device),
        )
    return index


async def change(host: Host, index: int, old: Plan | None, plan: Plan) -> None:
    """Follow the plan in what is led into the device; no `old`: it has lost all of that. HostError."""
    assert plan.relay is not None
    new = relaying(plan, plan.relay)
    before = None if old is None or old.relay is None else relaying(old, old.relay)
    if new != before:
        await host.do(lambda _: change_relay(index, before, new))


async def leave(host: Host, index: int, relay: Relay) -> None:
    """Take its addresses away, so that new connections go elsewhere at once."""
    for address in relay.addresses:
        with contextlib.suppress(HostError):
            await host.do(lambda kernel, address=address: kernel.remove_address(index, address))  # type: ignore[misc]


def hear(packets: socket.socket, group: socket.socket | None, plan: Plan, relay: Relay) -> None:
    """Have what is for mapped addresses come to the packet socket, and solicitations for them reach us. HostError."""
    hearing.refilter(packets, relay.mappings, own=plan.clat_v6, link_layer=group is not None)
    if group is not None:
        hearing.join(packets, group, relay.mappings, ifindex=plan.ifindex)


def relaying(plan: Plan, relay: Relay) -> Relaying:
    """What the kernel is told for it."""
    return Relaying(
        addresses=relay.addresses,
        routes=relay.routes,
        metric=plan.metric,
        mtu_bytes=plan.ipv4_mtu_bytes,
        taken_in=_networks(relay.mappings),
    )


@functools.lru_cache(maxsize=2)
def _networks(mappings: EamTable) -> frozenset[IPv6Network]:
    """All that is mapped, in as few networks as can be. Remembered, since it is asked for at every change of a plan."""
    return frozenset(collapse_addresses(v6 for _, v6 in mappings))


def _forwards() -> bool:
    try:
        return _FORWARDING.read_text(encoding="ascii").strip() != "0"
    except OSError:
        return True
