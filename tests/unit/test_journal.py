# SPDX-License-Identifier: GPL-2.0-or-later
"""One line a change, and none for what is on its way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from clatnm.journal import REMEMBERED, Journal, News
from clatnm.log import Message
from clatnm.model import Mode, PrefixSource, Running, RunState, SourceReport, World
from clatnm.policy.plan import decide
from tests.unit.policy.worlds import NOW, UUID, a_link, a_route4, a_world, an_uplink, run_all, the_plan

PLAN = the_plan(a_world())
ON = run_all(PLAN)
UNTOLD = "wlan0: no CLAT, the network tells no NAT64 prefix, neither by its routers nor by DNS"
NATIVE = a_world(a_link(ipv4=("192.168.2.7",), default4=(a_route4(),)))
PENDING = replace(
    a_world(prefixes={}),
    reports={"wlan0": (SourceReport(source=PrefixSource.RA, settled=False, detail="asked once", since=NOW),)},
)


class Written:
    """A journal and its clock."""

    def __init__(self) -> None:
        self.now = 5000.0
        self.journal = Journal(wall_clock=lambda: self.now)
        self.news: list[News] = []

    def note(self, world: World, running: Mapping[str, Running] | None = None, *, start_ms: float = 41) -> list[str]:
        """The lines without their evidence."""
        own = replace(world, running=running or {})
        self.news = self.journal.note(decide(own, NOW), own.running, lambda _: start_ms)
        return [each.text.split(" [")[0] for each in self.news]

    @property
    def fields(self) -> dict[str, str]:
        """The fields of the only news, without those that are always there."""
        (news,) = self.news
        told = dict(news.extra["journal"])
        always = {"CLATNM_CONNECTION": UUID, "CLATNM_UPLINK": "wlan0"}
        assert told.items() >= always.items()
        return {key: value for key, value in told.items() if key not in always}


@pytest.fixture
def written() -> Written:
    return Written()


def test_state_is_told_once(written: Written) -> None:
    assert written.note(a_world(prefixes={})) == [UNTOLD]
    assert written.note(a_world(prefixes={})) == []


def test_connection_that_comes_up_is_no_news_until_it_has_ipv6(written: Written) -> None:
    assert written.note(a_world(a_link(ipv6=()))) == []
    assert written.note(a_world(prefixes={})) != []
    assert written.note(a_world(a_link(ipv6=()))) == ["wlan0: no CLAT, the connection has no working IPv6"]


def test_prefix_that_is_still_being_asked_for_is_not_missed_yet(written: Written) -> None:
    assert written.note(PENDING) == []
    settled = replace(PENDING, reports={})
    assert written.note(settled) == [UNTOLD]


def test_manager_that_goes_first_is_told_when_it_has_come(written: Written) -> None:
    waited_for = replace(a_world(uplinks=[replace(an_uplink(), manager_wait_s=0.3)]), told_since={"wlan0": NOW})
    assert written.note(waited_for) == []
    come = a_world(uplinks=[an_uplink(manager_clat="192.0.0.5")])
    assert written.note(come) == ["wlan0: no CLAT, the network manager translates this connection itself"]


def test_translator_is_told_when_it_is_up_and_when_it_is_another_one(written: Written) -> None:
    assert written.note(a_world(), run_all(PLAN, state=RunState.STARTING)) == []
    assert written.note(a_world(), ON) == ["wlan0: CLAT up, 64:ff9b::/96 from ra, tun, 41 ms"]
    assert written.note(a_world(), ON) == []
    assert written.note(a_world(), ON, start_ms=12) == ["wlan0: CLAT up, 64:ff9b::/96 from ra, tun, 12 ms"]


def test_native_ipv4_is_told_at_once_though_old_connections_go_on(written: Written) -> None:
    written.note(a_world(), ON)
    assert written.note(NATIVE, ON) == []
    draining = run_all(replace(PLAN, offered=False))
    assert written.note(NATIVE, draining) == ["wlan0: no CLAT, the connection has native IPv4"]
    assert written.note(NATIVE) == []


def test_connection_that_goes_takes_its_translator_along_and_says_so(written: Written) -> None:
    written.note(a_world(), ON)
    assert written.note(a_world(uplinks=[])) == ["wlan0: CLAT down, the connection is gone"]
    assert written.note(a_world(uplinks=[])) == []


def test_connection_that_goes_without_a_translator_says_nothing(written: Written) -> None:
    written.note(NATIVE)
    assert written.note(a_world(uplinks=[])) == []


def test_last_decisions_are_remembered_with_their_times(written: Written) -> None:
    for number in range(REMEMBERED + 5):
        written.now = 5000.0 + number
        written.note(a_world(uplinks=[an_uplink(mode=Mode.NO)]) if number % 2 else NATIVE)
    told = written.journal.decisions("wlan0")
    assert [decision.at for decision in told] == [5005.0 + number for number in range(REMEMBERED)]
    assert told[-1].text.startswith("wlan0: no CLAT, the connection has native IPv4 [")
    assert written.journal.decisions("eth0") == ()


def test_decisions_outlive_a_connection_that_comes_back(written: Written) -> None:
    written.note(a_world(), ON)
    written.note(a_world(uplinks=[]))
    written.note(NATIVE)
    texts = [decision.text.split(" [")[0] for decision in written.journal.decisions("wlan0")]
    assert texts == [
        "wlan0: CLAT up, 64:ff9b::/96 from ra, tun, 41 ms",
        "wlan0: CLAT down, the connection is gone",
        "wlan0: no CLAT, the connection has native IPv4",
    ]


def test_interfaces_that_never_come_back_are_forgotten_in_the_end(written: Written) -> None:
    names = [f"veth{number}" for number in range(200)]
    for name in names:
        written.note(a_world(a_link(name), prefixes={}))
    written.note(a_world(uplinks=[]))
    for name, remembered in ((names[0], 1), (names[-1], 2)):
        written.note(a_world(a_link(name, carrier=False), uplinks=[an_uplink(name, mode=Mode.NO)]))
        assert len(written.journal.decisions(name)) == remembered


def test_news_have_an_id_and_fields(written: Written) -> None:
    known = {"CLATNM_MANAGER": "NetworkManager", "CLATNM_MODE": "auto"}
    prefix = {"CLATNM_PREFIX": "64:ff9b::/96", "CLATNM_SOURCE": "ra"}
    device = {"CLATNM_DEVICE": "clat-wlan0", "CLATNM_BACKEND": "tun"}
    written.note(a_world(), ON)
    assert written.fields == {"MESSAGE_ID": str(Message.CLAT_UP), **known, **prefix, **device}
    written.note(a_world(prefixes={}))
    assert written.fields == {"MESSAGE_ID": str(Message.CLAT_ABSENT), **known, "CLATNM_REASON": "no-pref64"}
    written.note(NATIVE, run_all(replace(PLAN, offered=False)))
    assert written.fields == {
        "MESSAGE_ID": str(Message.CLAT_ABSENT),
        "CLATNM_REASON": "native-ipv4",
        **known,
        **prefix,
    }
    written.note(a_world(), ON)
    written.note(a_world(uplinks=[]))
    assert written.fields == {"MESSAGE_ID": str(Message.CLAT_GONE)}


def test_news_do_not_name_networks(written: Written) -> None:
    written.note(a_world(), ON)
    assert "Net of wlan0" not in str(written.news)
