# SPDX-License-Identifier: GPL-2.0-or-later
"""What `ip monitor` says of translators' routes, put together."""

from __future__ import annotations

import pytest

from tests.e2e.native.at_once import Record, Way

OURS, NATIVE = Way("clat-up0", "192.0.0.4", 150), Way("up0", "192.0.0.5", 100)
_DAY = "2026-11-22T08:21:"
OUR_ROUTE = "default dev clat-up0 proto 164 scope link src 192.0.0.4 metric 150 mtu 1472 "
NATIVE_ROUTE = "default via inet6 fe80::1 dev up0 proto static src 192.0.0.5 metric 100 mtu 1472 "
NATIVE_ADDRESS = r"2: up0    inet 192.0.0.5/32 scope global noprefixroute up0\       valid_lft forever"


def read(*lines: str) -> Record:
    """A line each 10 ms."""
    record = Record()
    record.read(f"[{_DAY}30.{number:02}0000] {line}" for number, line in enumerate(lines))
    return record


def test_overlap_lasts_from_the_second_route_to_the_end_of_either() -> None:
    record = read(OUR_ROUTE, NATIVE_ADDRESS, NATIVE_ROUTE, f"Deleted {OUR_ROUTE}")
    assert record.ways == {NATIVE}
    (overlap,) = record.overlaps
    assert (round(overlap.ms), overlap.ways, overlap.native_first) == (10, frozenset({OURS, NATIVE}), True)
    assert list(map(round, record.yielded_ms)) == [20]
    assert (record.native, record.ours) == (1, 1)


@pytest.mark.parametrize(
    "end",
    [
        f"Deleted {OUR_ROUTE}",
        r"Deleted 7: clat-up0    inet 192.0.0.4/32 scope global clat-up0\       valid_lft forever",
        r"Deleted 7: clat-up0: <POINTOPOINT,MULTICAST,NOARP> mtu 1500 qdisc noop state DOWN \    link/none ",
    ],
    ids=["route", "address", "device"],
)
def test_route_goes_with_its_source_and_its_device(end: str) -> None:
    record = read(OUR_ROUTE, end, NATIVE_ROUTE)
    assert record.ways == {NATIVE}
    assert record.overlaps == []
    assert not record.open


@pytest.mark.parametrize(
    "other",
    [
        "default via 192.168.2.1 dev up0 proto dhcp src 192.168.2.7 metric 100 ",
        "default dev clat-up0 table 3248947218 proto 164 scope link src 192.0.0.4 mtu 1472 ",
        "local 192.0.0.4 dev clat-up0 table local proto kernel scope host src 192.0.0.4 ",
        r"4: clat-up0    inet 192.0.0.4/32 scope global clat-up0\       valid_lft forever",
    ],
    ids=["native-ipv4", "rfc7335-drain", "local", "address"],
)
def test_what_is_no_default_route_into_a_translator_does_not_count(other: str) -> None:
    assert read(other).ways == frozenset()


def test_lost_messages_are_not_passed_over() -> None:
    with pytest.raises(AssertionError, match="too many"):
        Record().read(["netlink receive error No buffer space available (105)"])
