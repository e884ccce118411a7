# SPDX-License-Identifier: GPL-2.0-or-later
"""One line a change, for pipes and logs."""

from __future__ import annotations

from clatnm.monitor.plain import Plain
from tests.unit.monitor.readings import a_flow, a_sample, counters, off, on

ANSWERS = "clatnm 0.1.0 answers, default mode auto"
WLAN0_ON = "wlan0 “Net of wlan0”: CLAT on"
ETH0_OFF = "eth0 “Net of eth0”: no CLAT: the connection has native IPv4 (native-ipv4)"


def a_view(*, rates_s: float | None = None) -> tuple[Plain, list[str]]:
    said: list[str] = []
    return Plain(said.append, rates_s=rates_s), said


def test_what_is_there_is_said_once_and_changes_as_they_are_decided() -> None:
    view, said = a_view()
    view.sampled(a_sample(on(), off()))
    view.sampled(a_sample(on(), off()))
    view.decided("wlan0: no CLAT, CLAT is switched off for this connection [mode=no ret=opted-out]")
    view.sampled(a_sample(off("wlan0"), off()))
    assert said == [
        ANSWERS,
        WLAN0_ON,
        ETH0_OFF,
        "wlan0: no CLAT, CLAT is switched off for this connection [mode=no ret=opted-out]",
    ]


def test_connections_that_come_and_go_are_said() -> None:
    view, said = a_view()
    view.sampled(a_sample(on()))
    view.sampled(a_sample(on(), off()))
    view.sampled(a_sample(off()))
    assert said == [ANSWERS, WLAN0_ON, ETH0_OFF, "wlan0 “Net of wlan0” is gone"]


def test_daemon_that_goes_and_comes_is_said_with_all_there_is_then() -> None:
    view, said = a_view(rates_s=1.0)
    view.sampled(a_sample(on(), at=0.0))
    view.absent("the clatnm daemon does not run (systemctl start clatnm)")
    view.sampled(a_sample(on(counted=counters(a_flow(9))), at=5.0))
    assert said == [
        ANSWERS,
        WLAN0_ON,
        "the clatnm daemon does not run (systemctl start clatnm); waiting for it",
        ANSWERS,
        WLAN0_ON,
    ]


def test_rates_are_told_every_so_often_if_wanted() -> None:
    view, said = a_view(rates_s=5.0)
    for at, packets in ((0.0, 0), (1.0, 10), (5.0, 50), (5.1, 51), (10.0, 50)):
        view.sampled(a_sample(on(counted=counters(a_flow(packets))), off(), at=at))
    assert said[3:] == [
        "wlan0 “Net of wlan0”: IPv4→IPv6 10 packets/s, 1.0 kB/s (tcp 10)",
        "wlan0 “Net of wlan0”: IPv6→IPv4 0 packets/s, 0 B/s",
        "wlan0 “Net of wlan0”: IPv4→IPv6 0 packets/s, 0 B/s",
        "wlan0 “Net of wlan0”: IPv6→IPv4 0 packets/s, 0 B/s",
    ]
