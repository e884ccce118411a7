# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's first word of a network manager that begins to translate a link itself.

Its CLAT begins with an address of 192.0.0.0/29 (RFC 7335) on the uplink; its route and its programs come after that.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from clatnm.proto import nlmsg
from clatnm.proto.nlmsg import Message

CONTINUITY: Final = IPv4Network("192.0.0.0/29")

# linux/rtnetlink.h, linux/if_addr.h
GROUP: Final = 0x10
"""RTMGRP_IPV4_IFADDR: who is a member is told of all IPv4 addresses that come and go."""
NEW_ADDRESS: Final = 20
IFADDRMSG: Final = struct.Struct("=BBBBI")
LOCAL: Final = 2


def begins(told: Message, uplink: int) -> bool:
    """Is this that word, of the link with index `uplink`? ParseError."""
    if told.kind != NEW_ADDRESS or IFADDRMSG.unpack_from(told.body)[4] != uplink:
        return False
    local = nlmsg.attributes(told.body[IFADDRMSG.size :]).get(LOCAL, b"")
    return len(local) == 4 and IPv4Address(local) in CONTINUITY
