# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel says of Wi-Fi stations (nl80211): where they turn to, and nothing from the rest."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clatnm.errors import HostError, ParseError
from clatnm.kernel.wifi import Family, Turn, WifiEvents, family, turns

KIND = 28
OURS, THEIRS = bytes.fromhex("020000000000"), bytes.fromhex("0200000001aa")
AUTHENTICATE, ASSOCIATE, DEAUTHENTICATE, CONNECT, ROAM, SCAN = 37, 38, 39, 46, 47, 34
IFINDEX, MAC, FRAME, TIMED_OUT, STATUS = 3, 6, 51, 65, 72
SAE_ONWARD, COME_BACK = 126, 30


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def message(command: int, told: Mapping[int, bytes], *, kind: int = KIND) -> bytes:
    body = struct.pack("=BBH", command, 1, 0) + b"".join(attribute(*item) for item in told.items())
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def event(command: int, *, kind: int = KIND, **told: bytes) -> bytes:
    names = {"frame": FRAME, "mac": MAC, "timed_out": TIMED_OUT, "status": STATUS}
    return message(
        command, {1: bytes(4), IFINDEX: struct.pack("=I", 7), **{names[k]: v for k, v in told.items()}}, kind=kind
    )


def frame(body: bytes, *, source: bytes = THEIRS) -> bytes:
    """A management frame from an access point to us."""
    return b"\xb0\0\0\0" + OURS + source + source + bytes(2) + body


def authenticated(status: int = 0) -> bytes:
    return frame(struct.pack("<HHH", 0, 2, status))


def associated(status: int = 0) -> bytes:
    return frame(struct.pack("<HHH", 0x411, status, 1))


TURN = [Turn(7, "02:00:00:00:01:AA")]
EVENTS = {
    "authenticated": (event(AUTHENTICATE, frame=authenticated()), TURN),
    "wpa3-goes-on": (event(AUTHENTICATE, frame=authenticated(SAE_ONWARD)), []),
    "authentication-refused": (event(AUTHENTICATE, frame=authenticated(1)), []),
    "authentication-timed-out": (event(AUTHENTICATE, mac=THEIRS, timed_out=b""), []),
    "associated": (event(ASSOCIATE, frame=associated()), TURN),
    "come-back-later": (event(ASSOCIATE, frame=associated(COME_BACK)), []),
    "connected": (event(CONNECT, mac=THEIRS, status=bytes(2)), TURN),
    "connected-without-a-status": (event(CONNECT, mac=THEIRS), TURN),
    "connection-refused": (event(CONNECT, mac=THEIRS, status=b"\1\0"), []),
    "connection-to-nobody": (event(CONNECT), []),
    "driver-roams-by-itself": (event(ROAM, mac=THEIRS), TURN),
    "left": (event(DEAUTHENTICATE, frame=frame(bytes(2))), []),
    "scanned": (event(SCAN), []),
    "frame-cut-short": (event(AUTHENTICATE, frame=authenticated()[:29]), []),
    "no-frame": (event(AUTHENTICATE), []),
    "mac-of-another-length": (event(ROAM, mac=bytes(8)), []),
    "another-family": (event(ROAM, mac=THEIRS, kind=KIND + 1), []),
    "two-in-one": (
        event(SCAN) + event(ROAM, mac=THEIRS) + event(ROAM, mac=OURS),
        [*TURN, Turn(7, "02:00:00:00:00:00")],
    ),
}


@pytest.mark.parametrize(("data", "expected"), EVENTS.values(), ids=EVENTS)
def test_event_says_where_a_station_turns_to(data: bytes, expected: list[Turn]) -> None:
    assert list(turns(data, KIND)) == expected


@pytest.mark.parametrize(
    "data",
    [
        event(ROAM, mac=THEIRS)[:-1],
        event(ROAM, mac=THEIRS)[:10],
        message(ROAM, {MAC: THEIRS}),
        struct.pack("=IHHII", 8, KIND, 0, 0, 0),
        struct.pack("=IHHIIBBHHH", 24, KIND, 0, 0, 0, ROAM, 1, 0, 2, MAC),
    ],
    ids=["cut", "no-header", "no-station", "length-below-a-header", "attribute-below-a-header"],
)
def test_what_is_malformed_is_refused(data: bytes) -> None:
    with pytest.raises(ParseError):
        list(turns(data, KIND))


@given(st.binary(max_size=200))
def test_no_bytes_do_any_harm(data: bytes) -> None:
    with contextlib.suppress(ParseError):
        list(turns(struct.pack("=IHHII", 16 + len(data), KIND, 0, 0, 0) + data, KIND))


def group(number: int, name: bytes) -> bytes:
    return attribute(1 | 0x8000, attribute(2, struct.pack("=I", number)) + attribute(1, name + b"\0"))


def test_family_is_found_by_its_name() -> None:
    told = {2: b"nl80211\0", 1: struct.pack("=H", KIND), 7: group(5, b"scan") + group(6, b"mlme")}
    assert family(message(1, told, kind=16)) == Family(kind=KIND, group=6)


def test_kernel_without_wifi_says_so() -> None:
    with pytest.raises(OSError, match="No such file"):
        family(struct.pack("=IHHIIi", 36, 2, 0, 0, 0, -2) + bytes(16))


def test_family_without_events_is_refused() -> None:
    with pytest.raises(ParseError):
        family(message(1, {1: struct.pack("=H", KIND)}, kind=16))


def test_this_kernel_answers_one_way_or_the_other() -> None:
    try:
        events = WifiEvents()
    except HostError as error:
        assert "nl80211" in str(error)
    else:
        assert list(events.heard()) == []
        events.close()
