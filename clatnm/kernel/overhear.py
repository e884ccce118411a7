# SPDX-License-Identifier: GPL-2.0-or-later
"""Router Advertisements as they come in by the wire, before any firewall of this host: asked for, and compared with
what programs hear of them."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from dataclasses import dataclass
from ipaddress import IPv6Address

from clatnm.errors import HostError, ParseError
from clatnm.kernel.icmp6 import RouterSocket
from clatnm.proto import ndp
from clatnm.proto.ndp import RouterAdvert

_ETH_P_IPV6, _ICMPV6, _HEADER_BYTES = 0x86DD, 58, 40
# RFC 4861 6.2.6: half a second, and three seconds after the last one that went to all.
_PATIENCE_S, _MORE_S = 3.5, 0.3
_MAX_ADVERTS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Overheard:
    """What routers of a link said within some seconds after they were asked."""

    adverts: tuple[RouterAdvert, ...]
    """As they came in."""
    heard: bool
    """Programs hear them, too."""


def routers(index: int, interface: str, link_address: bytes | None) -> Overheard:
    """Ask the routers of a link, and listen. HostError: root only, no such device."""
    with contextlib.closing(RouterSocket()) as ordinary, contextlib.closing(_tap(interface)) as tap:
        with contextlib.suppress(HostError):  # without an address there is nobody to ask, and still somebody to hear
            ordinary.solicit(
                index,
                from_link_local=ndp.router_solicitation(link_address=link_address),
                from_unspecified=ndp.router_solicitation_packet(source=ndp.UNSPECIFIED),
            )
        adverts: dict[IPv6Address, RouterAdvert] = {}
        heard = False
        until = time.monotonic() + _PATIENCE_S
        while (left_s := until - time.monotonic()) > 0:
            ready = select.select([tap.fileno(), ordinary.fileno()], [], [], left_s)[0]
            if ordinary.fileno() in ready:
                heard |= any(message.ifindex == index for message in ordinary.receive())
            if tap.fileno() in ready:
                advert = _advert(tap)
                if advert is not None and (len(adverts) < _MAX_ADVERTS or advert.router in adverts):
                    adverts[advert.router] = advert
                    until = min(until, time.monotonic() + _MORE_S)
        return Overheard(adverts=tuple(adverts.values()), heard=heard)


def _tap(interface: str) -> socket.socket:
    """All IPv6 that comes in by one device. HostError."""
    try:
        # Protocol 0 hears nothing before it is bound, or it would hear all devices for a moment.
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0)
    except OSError as error:
        raise HostError(f"cannot listen on {interface}: {error.strerror}", errno=error.errno or 0) from error
    try:
        tap.bind((interface, _ETH_P_IPV6))
    except OSError as error:
        tap.close()
        code = error.errno or 0
        raise HostError(f"cannot listen on {interface}: {os.strerror(code)}", errno=code) from error
    return tap


def _advert(tap: socket.socket) -> RouterAdvert | None:
    """The next packet, if it is one that a host has to believe (RFC 4861 6.1.2)."""
    try:
        packet = tap.recv(65535)
    except OSError:
        return None
    if len(packet) <= _HEADER_BYTES or packet[6] != _ICMPV6 or packet[_HEADER_BYTES] != ndp.ROUTER_ADVERTISEMENT:
        return None
    with contextlib.suppress(ParseError):
        source = IPv6Address(packet[8:24])
        return ndp.parse_router_advertisement(packet[_HEADER_BYTES:], source=source, hop_limit=packet[7])
    return None
