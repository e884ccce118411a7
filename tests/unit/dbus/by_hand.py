# SPDX-License-Identifier: GPL-2.0-or-later
"""D-Bus messages put together by hand, as no library would (D-Bus Specification, Message Protocol)."""

from __future__ import annotations

import struct

CALL, SIGNAL, SILENT = 1, 4, 1


def text(value: str) -> bytes:
    return struct.pack("<I", len(value)) + value.encode() + b"\0"


def field(number: int, kind: str, value: str) -> bytes:
    """A header field, padded."""
    data = bytes([number, 1]) + kind.encode() + b"\0"
    data += bytes([len(value)]) + value.encode() + b"\0" if kind == "g" else text(value)
    return data + bytes(-len(data) % 8)


def message(kind: int, fields: bytes, *, flags: int = 0, serial: int = 7, body: bytes = b"") -> bytes:
    """A whole message, in little endian."""
    end = fields.rstrip(b"\0") + b"\0"  # the last one's padding is not part of the array
    head = struct.pack("<cBBBIII", b"l", kind, flags, 1, len(body), serial, len(end)) + end
    return head + bytes(-len(head) % 8) + body


def to_daemon(member: str = "Status", *more: bytes) -> bytes:
    """The fields of what is for the daemon's object."""
    names = field(1, "o", "/org/clatnm1") + field(2, "s", "org.clatnm1.Manager") + field(3, "s", member)
    return names + field(6, "s", "org.clatnm1") + b"".join(more)


def hello() -> bytes:
    """What everybody has to say first."""
    dbus = field(1, "o", "/org/freedesktop/DBus") + field(2, "s", "org.freedesktop.DBus")
    return message(CALL, dbus + field(3, "s", "Hello") + field(6, "s", "org.freedesktop.DBus"), serial=1)
