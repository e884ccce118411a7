# SPDX-License-Identifier: GPL-2.0-or-later
"""IPv4-embedded IPv6 addresses (RFC 6052): NAT64 prefixes and the addresses made from them."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, NetmaskValueError

from clatnm.errors import ParseError

LENGTHS = (32, 40, 48, 56, 64, 96)  # RFC 6052 2.2
WELL_KNOWN = IPv6Network("64:ff9b::/96")  # RFC 6052 2.1
LOCAL_USE = IPv6Network("64:ff9b:1::/48")  # RFC 8215: may carry private IPv4

_U_OCTET = 8  # bits 64 to 71, always zero (RFC 6052 2.2)

# A prefix here could never be routed to a translator (RFC 4291 2.5.2, 2.5.3, 2.5.5, 2.5.6, 2.7).
_NOT_UNICAST = tuple(IPv6Network(text) for text in ("::/16", "fe80::/10", "ff00::/8"))

# RFC 6052 3.1 names RFC 1918 and RFC 5735 3; the registry that replaced the latter (RFC 6890) adds 100.64.0.0/10.
# Documentation addresses (RFC 5737) are left to the PLAT: no host has one, so nothing is kept from leaking, while
# demonstrations and laboratories use them as the Internet.
_NON_GLOBAL = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
# Two anycast services inside 192.0.0.0/24 are reachable globally (RFC 7723, RFC 8155).
_GLOBAL_ANYCAST = (int(IPv4Address("192.0.0.9")), int(IPv4Address("192.0.0.10")))
_NON_GLOBAL_BITS = tuple((int(net.netmask), int(net.network_address)) for net in _NON_GLOBAL)


def parse_prefix(text: str) -> IPv6Network:
    """A NAT64 prefix written as `2001:db8::/96`; ParseError when it is none (RFC 6052 2.2)."""
    try:
        prefix = IPv6Network(text.strip())
    except (AddressValueError, NetmaskValueError, ValueError) as error:
        raise ParseError(f"{text!r} is not an IPv6 prefix", hint=str(error)) from None
    return check_prefix(prefix)


def check_prefix(prefix: IPv6Network) -> IPv6Network:
    """The prefix itself when IPv4 addresses can be embedded in it, else ParseError (RFC 6052 2.2)."""
    if prefix.prefixlen not in LENGTHS:
        raise ParseError(f"{prefix}: a NAT64 prefix has 32, 40, 48, 56, 64 or 96 bits", hint="RFC 6052 section 2.2")
    if prefix.network_address.packed[_U_OCTET]:
        raise ParseError(f"{prefix}: bits 64 to 71 of a NAT64 prefix are zero", hint="RFC 6052 section 2.2")
    if any(prefix.overlaps(net) for net in _NOT_UNICAST):
        raise ParseError(f"{prefix}: not a prefix of unicast addresses")
    return prefix


def embed(prefix: IPv6Network, address: IPv4Address) -> IPv6Address:
    """The IPv6 address standing for an IPv4 one (RFC 6052 2.3). The prefix is one `check_prefix` accepts."""
    return IPv6Address(embedder(prefix)(address.packed))


def extract(prefix: IPv6Network, address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address inside, None when there is none.

    Suffix bits are ignored on receipt (RFC 6052 2.2). An address whose octet u is not zero is not an
    IPv4-embedded address at all (RFC 6052 2.2: "MUST be set to zero"), so it yields None.
    """
    packed = extractor(prefix)(address.packed)
    return None if packed is None else IPv4Address(packed)


def embedder(prefix: IPv6Network) -> Callable[[bytes], bytes]:
    """`embed` for the packet path: 4 packed bytes in, 16 out."""
    size = prefix.prefixlen // 8
    head = prefix.network_address.packed[:size]
    if size == 12:
        return lambda v4: head + v4
    before_u = _U_OCTET - size
    tail = bytes(16 - 1 - size - 4)
    return lambda v4: head + v4[:before_u] + b"\0" + v4[before_u:] + tail


def extractor(prefix: IPv6Network) -> Callable[[bytes], bytes | None]:
    """`extract` for the packet path: 16 packed bytes in, 4 out, or None."""
    size = prefix.prefixlen // 8
    head = prefix.network_address.packed[:size]
    if size == 12:
        return lambda v6: v6[12:] if v6[:12] == head else None
    after_u = size + 4 + 1

    def pick(v6: bytes) -> bytes | None:
        if v6[:size] != head or v6[_U_OCTET]:
            return None
        return v6[size:_U_OCTET] + v6[_U_OCTET + 1 : after_u]

    return pick


def is_global(address: IPv4Address) -> bool:
    """May the well-known prefix stand for this address (RFC 6052 3.1)? Private and shared ones may not."""
    return is_global_bits(int(address))


def is_global_bits(address: int) -> bool:
    """`is_global` for the packet path: the address as a 32-bit number."""
    if address in _GLOBAL_ANYCAST:
        return True
    return all(address & mask != net for mask, net in _NON_GLOBAL_BITS)
