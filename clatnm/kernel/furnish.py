# SPDX-License-Identifier: GPL-2.0-or-later
"""All that a device of ours needs, asked of the kernel in one message.

A user waits for this. The library takes half a millisecond for each request, of which the kernel needs a tenth, and
after each of them other threads want their turn; so these few are put together here.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from clatnm.errors import HostError
from clatnm.proto import nlmsg
from clatnm.proto.nlmsg import attribute

# The protocol that marks routes and rules as ours (`ip route` shows the number); free in iproute2's rt_protos.
ROUTE_PROTOCOL: Final = 164

# linux/netlink.h, linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h, linux/if.h
_RTM_NEWLINK, _RTM_NEWADDR, _RTM_NEWROUTE, _RTM_DELROUTE = 16, 20, 24, 25
_EXCL, _REPLACE, _CREATE = 0x200, 0x100, 0x400
_IFLA_MTU, _IFLA_TXQLEN, _IFLA_AF_SPEC, _IFLA_INET6_ADDR_GEN_MODE = 4, 13, 26, 8
_ADDR_GEN_MODE_NONE: Final = 1
_IFF_UP: Final = 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_DST, _RTA_OIF, _RTA_PRIORITY, _RTA_PREFSRC, _RTA_METRICS, _RTAX_MTU = 1, 4, 6, 7, 8, 2
_RT_TABLE_MAIN, _RT_SCOPE_UNIVERSE, _RT_SCOPE_LINK, _RTN_UNICAST = 254, 0, 253, 1
_QUEUE_PACKETS: Final = 1000
_ANSWER_BYTES: Final = 16384
_ANSWER_S: Final = 10.0
_AT_ONCE: Final = 64  # requests in one message: all of the answers to them fit a socket's buffer
_EVERYWHERE = IPv4Network("0.0.0.0/0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ipv4Default:
    """An IPv4 default route into one of our devices."""

    source: IPv4Address
    metric: int
    mtu_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaying:
    """What the device of an Edge Relay has: addresses of services here, and routes to their clients.

    `taken_in`: see `Netlink.take_in`, of whole networks.
    """

    addresses: tuple[IPv4Address, ...]
    routes: tuple[IPv4Network, ...]
    metric: int
    mtu_bytes: int
    taken_in: frozenset[IPv6Network]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """One netlink message: what it is for, and whether all is lost when it is refused."""

    what: str
    kind: int
    flags: int
    body: bytes
    needed: bool = True


def furnish(
    index: int,
    *,
    address: IPv4Address,
    mtu_bytes: int,
    take_in: IPv6Address | None = None,
    route: Ipv4Default | None = None,
) -> None:
    """Give a device its address and bring it up, with no IPv6 of its own; then lead packets into it. HostError.

    `take_in`: see `Netlink.take_in`; the kernel may refuse that. `route`: see `Netlink.add_default_route`.
    """
    requests = [*_device(index, (address,), mtu_bytes)]
    if take_in is not None:
        requests.append(_host_route(index, IPv6Network(take_in)))
    if route is not None:
        requests.append(_route_into(index, _EVERYWHERE, route.source, metric=route.metric, mtu_bytes=route.mtu_bytes))
    _insist(requests)


def furnish_relay(index: int, relaying: Relaying, *, mtu_bytes: int) -> None:
    """The same for an Edge Relay's device. HostError."""
    requests = [*_device(index, relaying.addresses, mtu_bytes)]
    requests += [_host_route(index, network, flags=_CREATE | _EXCL) for network in sorted(relaying.taken_in)]
    requests += _relay_routes(index, relaying, flags=_CREATE | _EXCL)
    _insist(requests)


def change_relay(index: int, old: Relaying | None, new: Relaying) -> None:
    """Lead into the device what `new` says, whose addresses are those of `old`, instead of what `old` said. HostError.

    No `old`: the device was down, and has lost its routes.
    """
    before = frozenset() if old is None else old.taken_in
    requests = [_host_route(index, network, flags=_CREATE | _EXCL) for network in sorted(new.taken_in - before)]
    requests += [_host_route(index, network, gone=True) for network in sorted(before - new.taken_in)]
    if old is None or (old.metric, old.mtu_bytes) != (new.metric, new.mtu_bytes):
        replace = _REPLACE if old is not None and old.metric == new.metric else _EXCL
        requests += _relay_routes(index, new, flags=_CREATE | replace)
        if old is not None and old.metric != new.metric:
            requests += _relay_routes(index, old, flags=0, gone=True)
    _insist(requests)


def _insist(requests: Sequence[_Request]) -> None:
    """Ask, and raise HostError for the first that was needed and refused, or that somebody else has."""
    for at in range(0, len(requests), _AT_ONCE):
        some = list(requests[at : at + _AT_ONCE])
        for request, code in zip(some, _ask(some), strict=True):
            if code and (request.needed or code == errno.EEXIST):
                hint = {errno.EPERM: "run as root", errno.EEXIST: "somebody else has it; see: ip route"}.get(code, "")
                raise HostError(f"{request.what}: {os.strerror(code)}", errno=code, hint=hint)


def _device(index: int, addresses: Iterable[IPv4Address], mtu_bytes: int) -> Iterator[_Request]:
    what = "cannot set up the device"
    # Without this the kernel would send router solicitations and MLD reports into the translator; once it is up it is
    # too late for it.
    no_ipv6 = attribute(socket.AF_INET6, attribute(_IFLA_INET6_ADDR_GEN_MODE, bytes((_ADDR_GEN_MODE_NONE,))))
    settings = _number(_IFLA_MTU, mtu_bytes) + _number(_IFLA_TXQLEN, _QUEUE_PACKETS) + attribute(_IFLA_AF_SPEC, no_ipv6)
    yield _Request(what=what, kind=_RTM_NEWLINK, flags=0, body=_link(index, 0) + settings)
    yield _Request(what=what, kind=_RTM_NEWLINK, flags=0, body=_link(index, _IFF_UP))
    for address in addresses:
        body = struct.pack("=BBBBI", socket.AF_INET, 32, 0, _RT_SCOPE_UNIVERSE, index)
        body += attribute(_IFA_LOCAL, address.packed) + attribute(_IFA_ADDRESS, address.packed)
        yield _Request(what=what, kind=_RTM_NEWADDR, flags=_CREATE | _EXCL, body=body)


def _host_route(index: int, network: IPv6Network, *, flags: int = _CREATE | _REPLACE, gone: bool = False) -> _Request:
    body = _route(socket.AF_INET6, network.prefixlen, _RT_SCOPE_UNIVERSE)
    body += attribute(_RTA_DST, network.network_address.packed)
    return _Request(
        what=f"cannot take in {network}",
        kind=_RTM_DELROUTE if gone else _RTM_NEWROUTE,
        flags=0 if gone else flags,
        body=body + _number(_RTA_OIF, index),
        needed=False,
    )


def _relay_routes(index: int, relaying: Relaying, *, flags: int, gone: bool = False) -> list[_Request]:
    source = relaying.addresses[0] if relaying.addresses else None
    metric, mtu_bytes = relaying.metric, None if gone else relaying.mtu_bytes  # if it is given, it must be the same
    return [
        _route_into(index, network, source, metric=metric, mtu_bytes=mtu_bytes, flags=flags, gone=gone)
        for network in relaying.routes
    ]


def _route_into(
    index: int,
    network: IPv4Network,
    source: IPv4Address | None,
    *,
    metric: int,
    mtu_bytes: int | None,
    flags: int = _CREATE | _EXCL,
    gone: bool = False,
) -> _Request:
    # of that scope: there is no gateway
    body = _route(socket.AF_INET, network.prefixlen, _RT_SCOPE_LINK) + _number(_RTA_OIF, index)
    body += attribute(_RTA_DST, network.network_address.packed) if network.prefixlen else b""
    body += b"" if source is None else attribute(_RTA_PREFSRC, source.packed)
    body += _number(_RTA_PRIORITY, metric)
    body += b"" if mtu_bytes is None else attribute(_RTA_METRICS, _number(_RTAX_MTU, mtu_bytes))
    kind = _RTM_DELROUTE if gone else _RTM_NEWROUTE
    what = f"cannot lead {network} into the device" if network.prefixlen else "cannot add the IPv4 default route"
    return _Request(what=what, kind=kind, flags=flags, body=body, needed=not gone)


def _ask(requests: list[_Request]) -> list[int]:
    """Send them all at once; what the kernel says to each, an errno or 0. It answers before this returns. HostError."""
    message = b"".join(
        nlmsg.message(request.kind, request.body, flags=nlmsg.REQUEST | nlmsg.ACK | request.flags, number=number)
        for number, request in enumerate(requests)
    )
    codes: dict[int, int] = {}
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as netlink:
            netlink.settimeout(_ANSWER_S)
            netlink.sendto(message, (0, 0))
            while len(codes) < len(requests):
                for answer in nlmsg.messages(netlink.recv(_ANSWER_BYTES)):
                    if answer.kind == nlmsg.ERROR:
                        codes[answer.number] = nlmsg.error_code(answer.body)
    except OSError as error:
        code = error.errno or errno.ETIMEDOUT
        raise HostError(f"cannot set up the device: {os.strerror(code)}", errno=code) from error
    return [codes[number] for number in range(len(requests))]


def _link(index: int, flags: int) -> bytes:
    return struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, flags, flags)


def _route(family: int, prefixlen: int, scope: int) -> bytes:
    return struct.pack("=8BI", family, prefixlen, 0, 0, _RT_TABLE_MAIN, ROUTE_PROTOCOL, scope, _RTN_UNICAST, 0)


def _number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))
