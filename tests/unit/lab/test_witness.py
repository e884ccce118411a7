# SPDX-License-Identifier: GPL-2.0-or-later
"""The witness of who translates, on lines as `ip -o monitor address` prints them."""

from __future__ import annotations

from tests.e2e.native.witness import translating

NATIVE = r"2: up0    inet 192.0.0.5/32 scope global noprefixroute up0\       valid_lft forever preferred_lft forever"
OURS = r"4: clat-up0    inet 192.0.0.4/32 scope global clat-up0\       valid_lft forever preferred_lft forever"
LEASE = r"2: up0    inet 192.168.1.7/24 brd 192.168.1.255 scope global dynamic up0\       valid_lft 600sec"
IPV6 = r"2: up0    inet6 2001:db8:a::ff:fe00:0/64 scope global dynamic noprefixroute \       valid_lft 3600sec"


def gone(line: str) -> str:
    return f"Deleted {line}"


def test_other_addresses_make_no_translator() -> None:
    assert list(translating([LEASE, IPV6, gone(LEASE), ""])) == []


def test_handover_has_nobody_in_between() -> None:
    said = [NATIVE, gone(NATIVE), OURS]
    assert list(translating(said)) == [{"up0"}, set(), {"clat-up0"}]


def test_overlap_is_seen() -> None:
    assert {"up0", "clat-up0"} in list(translating([OURS, NATIVE, gone(OURS)]))


def test_address_told_again_is_no_change() -> None:
    assert list(translating([NATIVE, IPV6, NATIVE])) == [{"up0"}]
