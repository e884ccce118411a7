# SPDX-License-Identifier: GPL-2.0-or-later
"""Two samples make rates: exactly so, whatever comes and goes between them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clatnm.errors import BusError
from clatnm.monitor.rates import DIRECTIONS, Meter, Rate, sample
from tests.unit.monitor.readings import WLAN0, a_flow, a_sample, answer, counters, off, on, relay

OUT, BACK = DIRECTIONS


def rates(before: dict[str, Any], after: dict[str, Any], *, seconds: float = 2.0) -> dict[str, Rate]:
    meter = Meter(interval_s=1.0)
    assert not meter.feed(a_sample(on(counted=before), at=10.0))
    assert meter.of(WLAN0) == {}
    assert meter.feed(a_sample(on(counted=after), at=10.0 + seconds))
    return dict(meter.of(WLAN0))


def test_rates_are_differences_by_time() -> None:
    before = counters(a_flow(10, 4, slow=1, drops={"ttl": 1}), a_flow(5))
    after = counters(a_flow(30, 5, slow=8, drops={"ttl": 2, "busy": 3}), a_flow(5))
    found = rates(before, after)
    assert found[OUT] == Rate(
        packets=10.5,
        bytes=1050.0,
        protocols={"tcp": 10.0, "udp": 0.5},
        drops={"ttl": 0.5, "busy": 1.5},
        slow_share=1 / 3,
    )
    assert found[BACK] == Rate(packets=0.0, bytes=0.0, protocols={}, drops={}, slow_share=None)


def test_translator_that_was_started_anew_counts_from_nothing() -> None:
    found = rates(counters(a_flow(1000, 7, drops={"ttl": 5})), counters(a_flow(20, drops={"ttl": 1})))
    assert (found[OUT].packets, found[OUT].protocols, found[OUT].drops) == (10.0, {"tcp": 10.0}, {"ttl": 0.5})


def test_translator_that_has_just_come_counts_from_nothing() -> None:
    meter = Meter(interval_s=1.0)
    meter.feed(a_sample(off("wlan0"), at=0.0))
    meter.feed(a_sample(on(counted=counters(a_flow(6))), at=3.0))
    assert meter.of(WLAN0)[OUT].packets == 2.0


def test_connection_that_was_not_there_has_no_rates_yet() -> None:
    meter = Meter(interval_s=1.0)
    meter.feed(a_sample(at=0.0))
    assert meter.feed(a_sample(on(counted=counters(a_flow(6))), at=1.0))
    assert meter.of(WLAN0) == {}


def test_what_comes_sooner_is_no_reading() -> None:
    meter = Meter(interval_s=1.0)
    meter.feed(a_sample(on(), at=0.0))
    assert not meter.feed(a_sample(on(counted=counters(a_flow(50))), at=0.2))
    assert meter.feed(a_sample(on(counted=counters(a_flow(60))), at=1.0))
    assert meter.of(WLAN0)[OUT].packets == 60.0


@pytest.mark.parametrize("at", [5.0, 4.0], ids=["same-moment", "clock-went-back"])
def test_time_that_stands_still_is_no_division_by_zero(at: float) -> None:
    meter = Meter(interval_s=0.0)
    meter.feed(a_sample(on(), at=5.0))
    assert not meter.feed(a_sample(on(counted=counters(a_flow(5))), at=at))
    assert meter.of(WLAN0) == {}


def test_daemon_that_was_gone_is_no_interval() -> None:
    meter = Meter(interval_s=1.0)
    meter.feed(a_sample(on(), at=0.0))
    meter.forget()
    assert not meter.feed(a_sample(on(counted=counters(a_flow(5))), at=9.0))
    assert meter.of(WLAN0) == {}


COUNT = st.integers(0, 1 << 40)
FLOWS = st.builds(
    lambda tcp, udp, ttl: a_flow(tcp, udp, slow=min(tcp, ttl), drops={"ttl": ttl} if ttl else {}), COUNT, COUNT, COUNT
)


@given(FLOWS, FLOWS, FLOWS, FLOWS, st.floats(1.0, 1e6))
def test_rates_are_never_negative_and_shares_are_shares(a: Any, b: Any, c: Any, d: Any, seconds: float) -> None:
    for found in rates(counters(a, b), counters(c, d), seconds=seconds).values():
        numbers = (found.packets, found.bytes, *found.protocols.values(), *found.drops.values())
        assert min(numbers) >= 0
        assert found.slow_share is None or 0 <= found.slow_share <= 1


# Reading an answer


def test_connections_and_static_translators_are_read() -> None:
    now = a_sample(on(name="Caf\x1b[31mé"), off(), static=(relay(),))
    assert [seen.title for seen in now.seen] == [
        "wlan0 “Caf\N{REPLACEMENT CHARACTER}[31mé”",
        "eth0 “Net of eth0”",
        f"{relay()['uuid']} on {relay()['interface']}",
    ]
    assert [seen.text[0].rpartition(": ")[2] for seen in now.seen] == [
        "CLAT on",
        "the connection has native IPv4 (native-ipv4)",
        "translator on",
    ]
    assert [sorted(seen.flows) for seen in now.seen] == [[OUT, BACK], [], [OUT, BACK]]
    assert (now.version, now.default_mode) == ("0.1.0", "auto")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "7", "null", '{"connections": {}}', '{"connections": [1], "static": []}', "[" * 100_000]
)
def test_answer_that_makes_no_sense_is_one_line(text: str) -> None:
    with pytest.raises(BusError, match="makes no sense"):
        sample(text, at=0.0)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
PLACES = [(), ("translator",), ("translator", "counters"), ("translator", "counters", OUT), ("prefix",), ("evidence",)]


@given(st.sampled_from(PLACES), st.data())
def test_daemon_of_another_version_is_never_a_traceback(place: tuple[str, ...], data: st.DataObject) -> None:
    told = json.loads(answer(on(counted=counters(a_flow(3)))))
    where = told["connections"][0]
    for key in place:
        where = where[key]
    changed = data.draw(st.sampled_from(sorted(where)))
    where[changed] = data.draw(JSON)
    try:
        assert len(sample(json.dumps(told), at=0.0).seen) == 1
    except BusError as error:
        assert "makes no sense" in str(error)
