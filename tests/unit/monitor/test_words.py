# SPDX-License-Identifier: GPL-2.0-or-later
"""The picture for any size of terminal, and rates in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clatnm.monitor.rates import DIRECTIONS, Meter, Rate
from clatnm.monitor.words import Look, State, cut, number, picture, rate_line, size, width
from tests.unit.monitor.readings import a_flow, a_sample, counters, off, on, relay

OUT, BACK = DIRECTIONS
DECISIONS = [f"13:59:{second:02} wlan0: CLAT up, 64:ff9b::/96 from ra, tun, 41 ms [mode=auto]" for second in range(40)]


def a_state(count: int = 2, *, decisions: int = 3) -> State:
    """wlan0 with traffic, eth0 without CLAT, and as many more as are wanted; two seconds after the first look."""
    others = [off(f"eth{number}") for number in range(count - 1)]
    state = State(meter=Meter(interval_s=1.0), absent="", decisions=DECISIONS[:decisions])
    before, after = counters(a_flow(10), a_flow(7)), counters(a_flow(34, 4, slow=7, drops={"ttl": 1}), a_flow(7))
    for at, counted in ((0.0, before), (2.0, after)):
        state.sample = a_sample(on(counted=counted), *others, at=at)
        state.meter.feed(state.sample)
    return state


def text(state: State, columns: int = 80, rows: int = 24) -> list[str]:
    return [line.rstrip() for _, line in picture(state, columns=columns, rows=rows)]


def test_picture_of_80_by_24_shows_everything() -> None:
    lines = text(a_state())
    assert len(lines) == 24
    assert lines[0] == f" clatnm 0.1.0   2 connections{'default mode auto':>50}"
    assert lines[1] == f" wlan0 “Net of wlan0”: CLAT on{'↑ 1.4 kB/s ↓ 0 B/s':>49}"
    assert lines[2] == " eth0 “Net of eth0”: no CLAT: the connection has native IPv4 (native-ipv4)"
    assert lines[3].startswith("── wlan0 “Net of wlan0” ───")
    assert "  device    clat-wlan0, tun, MTU 1472 (IPv6 1500), metric 150" in lines
    assert "  IPv4→IPv6 38 packets, 3.8 kB (tcp 34, udp 4), 7 by the slow path; dropped: ttl" in lines
    assert "            1" in lines
    assert "  now       IPv4→IPv6 14 packets/s, 1.4 kB/s (tcp 12, udp 2.0), 25 % by the slow" in lines
    assert "            path; dropped/s: ttl 0.5" in lines
    assert "  now       IPv6→IPv4 0 packets/s, 0 B/s" in lines
    assert lines.index(next(line for line in lines if line.startswith("── decisions ──"))) > lines.index(lines[3])
    assert any(line.startswith("13:59:02 wlan0: CLAT up") for line in lines)
    assert lines[23] == " ↑ ↓ select   q leave"


@pytest.mark.parametrize("rows", [16, 24, 60])
def test_last_decisions_are_there_however_much_there_is(rows: int) -> None:
    lines = text(a_state(12, decisions=40), rows=rows)
    assert any(line.startswith("13:59:39") for line in lines)


def test_selected_connection_is_what_the_details_are_about() -> None:
    state = a_state(3)
    for steps, title in ((0, "wlan0"), (1, "eth0"), (1, "eth1"), (5, "eth1"), (-1, "eth0"), (-9, "wlan0")):
        state.select(steps)
        lines = picture(state, columns=80, rows=24)
        (selected,) = (line for look, line in lines if look is Look.SELECTED)
        assert selected.startswith(f" {title} ")
        assert next(line for look, line in lines if look is Look.TITLE).startswith(f"── {title} ")


def test_selection_stays_with_its_connection_and_falls_back_when_that_goes() -> None:
    state = a_state(3)
    state.select(2)
    state.sample = a_sample(off("eth1"), on())
    assert state.position() == 0
    state.sample = a_sample(on(), off("eth0"))
    assert state.position() == 0


def test_list_scrolls_to_what_is_selected() -> None:
    state = a_state(40)
    state.select(30)
    lines = picture(state, columns=80, rows=24)
    assert next(line for look, line in lines if look is Look.SELECTED).startswith(" eth29 ")


def test_absent_daemon_is_said_and_decisions_stay() -> None:
    state = a_state()
    state.absent = "the clatnm daemon does not run (systemctl start clatnm)"
    lines = text(state)
    assert lines[:3] == [" clatnm monitor", f" {state.absent}", " waiting for it"]
    assert not any("CLAT on" in line for line in lines)
    assert any(line.startswith("13:59:02") for line in lines)
    assert len(lines) == 24


def test_no_connections_are_said() -> None:
    state = State(meter=Meter(interval_s=1.0), absent="", sample=a_sample())
    assert text(state)[1] == " No active connections."


NAMES = ["Cafe", "咖啡馆" * 9, "e\N{COMBINING ACUTE ACCENT}" * 40]
SIZES = st.tuples(st.integers(0, 200), st.integers(1, 70))


@given(SIZES, st.integers(0, 12), st.integers(0, 40), st.booleans(), st.sampled_from(NAMES))
def test_picture_fits_whatever_the_size(
    shape: tuple[int, int], count: int, decisions: int, absent: bool, name: str
) -> None:
    columns, rows = shape
    state = a_state(1, decisions=decisions)
    others = [off(f"eth{number}") for number in range(count)]
    state.sample = a_sample(*others, on(name=name), static=(relay(),)) if count else a_sample()
    state.absent = "nobody there" if absent else ""
    state.select(count)
    lines = picture(state, columns=columns, rows=rows)
    assert len(lines) == (rows if rows > 2 else min(rows, 2))
    assert max(width(line) for _, line in lines) <= columns
    assert not any("\n" in line for _, line in lines)


@pytest.mark.parametrize(
    ("told", "columns", "shown"),
    [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("abc", 1, "…"), ("abc", 0, ""), ("咖啡", 4, "咖啡"), ("咖啡", 3, "咖…")],
)
def test_text_is_cut_to_columns(told: str, columns: int, shown: str) -> None:
    assert cut(told, columns) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (999, "999 B"), (3400, "3.4 kB"), (5e6, "5.0 MB"), (7e9, "7.0 GB"), (2e12, "2.0 TB")],
)
def test_sizes_are_for_people(count: float, shown: str) -> None:
    assert size(count) == shown


@pytest.mark.parametrize(("count", "shown"), [(0, "0"), (0.25, "0.2"), (9.5, "9.5"), (12.4, "12"), (3400, "3400")])
def test_packets_a_second_are_short(count: float, shown: str) -> None:
    assert number(count) == shown


def test_direction_without_packets_has_no_shares() -> None:
    nothing = Rate(packets=0.0, bytes=0.0, protocols={}, drops={}, slow_share=None)
    assert rate_line(BACK, nothing) == "IPv6→IPv4 0 packets/s, 0 B/s"
