# SPDX-License-Identifier: GPL-2.0-or-later
"""DHCPv4 messages byte by byte, sound and unsound, in their IPv4 packets."""

from __future__ import annotations

import struct

MAC = bytes.fromhex("020000000005")
XID = 0x1234ABCD
DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM = range(1, 9)
FROM_SERVERS = (OFFER, ACK, NAK)
MAGIC = b"\x63\x82\x53\x63"
END = b"\xff"


def option(code: int, value: bytes) -> bytes:
    """One option (RFC 2132 section 2)."""
    return bytes((code, len(value))) + value


def wait(seconds: int) -> bytes:
    """Option 108 (RFC 8925 section 3.1)."""
    return option(108, struct.pack("!I", seconds))


def kind(number: int) -> bytes:
    return option(53, bytes((number,)))


def body(
    options: bytes,
    *,
    op: int = 1,
    xid: int = XID,
    mac: bytes = MAC,
    address_bytes: int = 6,
    ciaddr: bytes = bytes(4),
    sname: bytes = b"",
    file: bytes = b"",
    magic: bytes = MAGIC,
) -> bytes:
    """RFC 2131 section 2."""
    head = struct.pack("!BBBBIHH4s12x", op, 1, address_bytes, 0, xid, 0, 0, ciaddr)
    return head + mac.ljust(16, b"\0") + sname.ljust(64, b"\0") + file.ljust(128, b"\0") + magic + options


def packet(
    payload: bytes,
    *,
    ports: tuple[int, int] = (68, 67),
    protocol: int = 17,
    fragment: int = 0,
    ip_options: bytes = b"",
    length: int | None = None,
) -> bytes:
    """An IPv4 packet with a UDP datagram, no checksum filled in; `length` is what UDP says."""
    udp = struct.pack("!HHHH", *ports, 8 + len(payload) if length is None else length, 0) + payload
    words = 5 + len(ip_options) // 4
    head = struct.pack("!BBHHHBBH", 0x40 | words, 0, 4 * words + len(udp), 1, fragment, 64, protocol, 0)
    return head + bytes(4) + b"\xff" * 4 + ip_options + udp


def question(number: int = DISCOVER, *, xid: int = XID, v6only: bool = False, how: str = "", mac: bytes = MAC) -> bytes:
    """What a client sends; `how` is "chosen" (it takes an offer) or "renewing" (it has a lease)."""
    options = kind(number) + option(55, bytes((1, 3, 6, 108) if v6only else (1, 3, 6)))
    if how == "chosen":
        options += option(50, bytes((192, 168, 1, 9))) + option(54, bytes((192, 168, 1, 1)))
    ciaddr = bytes((192, 168, 1, 9)) if how == "renewing" else bytes(4)
    return packet(body(options + END, xid=xid, mac=mac, ciaddr=ciaddr))


def answer(number: int = OFFER, *, xid: int = XID, v6only_wait_s: int | None = None, mac: bytes = MAC) -> bytes:
    """What a server sends."""
    options = kind(number) + option(54, bytes((192, 168, 1, 1)))
    if v6only_wait_s is not None:
        options += wait(v6only_wait_s)
    return packet(body(options + END, op=2, xid=xid, mac=mac), ports=(67, 68))
