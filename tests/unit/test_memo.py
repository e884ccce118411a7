# SPDX-License-Identifier: GPL-2.0-or-later
"""What is written down about a translator is read again as it was, or not at all."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clatnm import memo
from clatnm.errors import ParseError
from clatnm.memo import Memo, Past
from clatnm.model import Plan, Relay
from clatnm.proto.eam import EamTable

PLAN = Plan(
    interface="wlan0",
    ifindex=3,
    uuid="6a2d…",
    device="clat-wlan0",
    backend="ebpf",
    clat_v4=IPv4Address("192.0.0.4"),
    clat_v6=IPv6Address("2001:db8:a::c0df"),
    prefix=IPv6Network("64:ff9b::/96"),
    gateway=IPv6Address("fe80::1"),
    link_address=bytes.fromhex("020000000001"),
    ipv6_mtu_bytes=1500,
    ipv4_mtu_bytes=1472,
    metric=650,
)
RELAY = Relay(
    mappings=EamTable(
        [
            (IPv4Network("192.0.2.1/32"), IPv6Network("2001:db8:12:34::1/128")),
            (IPv4Network("198.51.100.0/24"), IPv6Network("2001:db8:ffff::/120")),
        ]
    ),
    addresses=(IPv4Address("192.0.2.1"),),
    routes=(IPv4Network("10.0.0.0/8"),),
)
MEMO = Memo(version=1, past=Past(plan=PLAN, began=1234.5), index=9)
MEMOS = {
    "plain": MEMO,
    "all": Memo(
        version=7,
        past=Past(
            plan=replace(PLAN, offered=False, shared=True, gateway=None, link_address=None, static="far"),
            began=0.25,
            start_ms=12.5,
            withdrawn_at=99.0,
            script_down="/usr/local/bin/down",
            environment={"clat_dev": "clat-wlan0", "PATH": "/bin", "LANG": ""},
            collisions=2,
        ),
        index=17,
        held=("map counters", "link device_egress"),
        programs="abc",
        clsact=True,
        process="4711 pidfs 815",
        daemon="1 started 17 user 0",
    ),
    "relay": replace(MEMO, past=replace(MEMO.past, plan=replace(PLAN, relay=RELAY))),
    "relay-without-mappings": replace(
        MEMO, past=replace(MEMO.past, plan=replace(PLAN, relay=replace(RELAY, mappings=EamTable())))
    ),
}


@pytest.mark.parametrize("told", MEMOS.values(), ids=MEMOS)
def test_memo_is_read_as_it_was_written(told: Memo) -> None:
    assert memo.from_bytes(memo.to_bytes(told)) == told


@pytest.mark.parametrize("told", MEMOS.values(), ids=MEMOS)
def test_memo_that_was_cut_off_is_none(told: Memo) -> None:
    data = memo.to_bytes(told)
    line_end = data.index(b"\n")
    for end in range(line_end):
        with pytest.raises(ParseError, match="not a memo"):
            memo.from_bytes(data[:end])


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"null\n", id="no-record"),
        pytest.param(b'{"version":1}\n', id="no-past"),
        pytest.param(memo.to_bytes(MEMO).replace(b"wlan0", b"wlan0\xff", 1), id="no-text"),
        pytest.param(memo.to_bytes(MEMO).replace(b'"index":9', b'"index":"9"'), id="wrong-kind"),
        pytest.param(memo.to_bytes(MEMO).replace(b'"index":9', b'"index":9,"mood":1'), id="unknown-field"),
        pytest.param(memo.to_bytes(MEMO) + b"x", id="more"),
        pytest.param(memo.to_bytes(MEMOS["relay"])[:-1], id="half-a-mapping"),
        pytest.param(b"[" * 100_000, id="deep"),
    ],
)
def test_what_is_no_memo_is_refused(data: bytes) -> None:
    with pytest.raises(ParseError, match="not a"):
        memo.from_bytes(data)


@given(st.sampled_from(list(MEMOS.values())), st.integers(0, 10_000), st.binary(min_size=1, max_size=4))
def test_damage_is_noticed_or_gives_a_memo(told: Memo, at: int, damage: bytes) -> None:
    data = memo.to_bytes(told)
    at %= len(data)
    try:
        assert isinstance(memo.from_bytes(data[:at] + damage + data[at + len(damage) :]), Memo)
    except ParseError:
        pass
