# SPDX-License-Identifier: GPL-2.0-or-later
"""The life of a PLAT on a clock that only moves when told: networks that answer pings and networks that do not."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, IPv6Network

import pytest

from clatnm.model import PlatState
from clatnm.policy import plat
from clatnm.proto import nat64
from tests.unit.policy.worlds import NOW

PREFIX = IPv6Network("64:ff9b::/96")
TARGETS = frozenset(map(IPv4Address, ("1.1.1.1", "8.8.8.8", "9.9.9.9")))
ROUTER = IPv6Address("2001:db8::1")
READING_S = 5.0
UNKNOWN, ALIVE, SILENT, DEAD = PlatState.UNKNOWN, PlatState.ALIVE, PlatState.SILENT, PlatState.DEAD

Answer = float | str | None
"""To a ping: seconds until the reply, "refused" by a router, or None."""
Pings = Callable[[float], Answer]
Flow = Callable[[float], tuple[int, int]]
"""Packets (sent, received) in the `READING_S` before that second."""


def always(answer: Answer) -> Pings:
    return lambda _: answer


def idle(_: float) -> tuple[int, int]:
    return 0, 0


class Life:
    """One PLAT, asked whenever it is due; times are in seconds since the link came up."""

    def __init__(self, pings: Pings, flow: Flow = idle) -> None:
        self.pings, self.flow = pings, flow
        self.plat = plat.new(NOW)
        self.rounds: list[float] = []
        self.states: list[tuple[float, PlatState]] = [(0.0, UNKNOWN)]
        self._answers: list[tuple[float, float, IPv4Address]] = []
        self._reading = NOW + READING_S
        self._now = NOW

    def run(self, until_s: float) -> Life:
        end = NOW + until_s
        while (now := self._next()) <= end:
            self._step(now)
            self._note(now)
        return self

    def at(self, second: float) -> PlatState:
        return [state for when, state in self.states if when <= second][-1]

    @property
    def detail(self) -> str:
        return self.plat.judged.detail

    def _next(self) -> float:
        due = plat.next_probe(self.plat, self._now)
        change = plat.next_change(self.plat)
        now = min(x for x in (self._reading, due, change, *(a[0] for a in self._answers[:1])) if x is not None)
        return max(now, self._now)

    def _step(self, now: float) -> None:
        self._now = now
        self.plat = plat.passed(self.plat, now)
        while self._answers and self._answers[0][0] <= now:
            _, asked_at, target = heapq.heappop(self._answers)
            self.plat = plat.replied(self.plat, now, target=target, rtt_s=now - asked_at)
        if now >= self._reading:
            sent, received = self.flow(now - NOW)
            self._reading += READING_S
            self.plat = plat.traffic(self.plat, now, sent=sent, received=received)
        due = plat.next_probe(self.plat, now)
        if due is not None and due <= now:
            self._ask(now)

    def _ask(self, now: float) -> None:
        self.rounds.append(now - NOW)
        self.plat = plat.asked(self.plat, now, TARGETS)
        answer = self.pings(now - NOW)
        for target in sorted(TARGETS):
            if isinstance(answer, float):
                heapq.heappush(self._answers, (now + answer, now, target))
            elif answer == "refused":
                self.plat = refused_by(ROUTER, self.plat, now, target)

    def _note(self, now: float) -> None:
        state = plat.health(self.plat, now).state
        if state is not self.states[-1][1]:
            self.states.append((now - NOW, state))


def refused_by(offender: IPv6Address, p: plat.Plat, now: float, target: IPv4Address, code: int = 0) -> plat.Plat:
    return plat.error(p, now, prefix=PREFIX, target=target, kind=1, code=code, offender=offender)


def talking(_: float) -> tuple[int, int]:
    return 50, 60


def shouting(_: float) -> tuple[int, int]:
    """The user wants something, and nothing comes back."""
    return 5, 0


def beacon(second: float) -> tuple[int, int]:
    """One packet a minute into the void."""
    return int(second % 60 == 0), 0


def knocking(second: float) -> tuple[int, int]:
    """One connection to a host that is down: SYNs after 1, 3, 7, 15, 31, 63 seconds, again every two minutes."""
    return sum(
        1 for syn in (0, 1, 3, 7, 15, 31, 63) if second - READING_S < 20 + syn + second // 120 * 120 <= second
    ), 0


def gaps(rounds: list[float]) -> list[float]:
    return [rounds[n + 1] - rounds[n] for n in range(len(rounds) - 1)]


@pytest.mark.parametrize(
    ("pings", "flow", "states"),
    [
        pytest.param(always(0.012), idle, [(0, UNKNOWN), (0, ALIVE)], id="answers-at-once"),
        pytest.param(always(3.0), idle, [(0, UNKNOWN), (3, ALIVE)], id="answers-after-three-seconds"),
        pytest.param(always("refused"), idle, [(0, UNKNOWN), (2, DEAD)], id="no-route-from-the-start"),
        pytest.param(always(None), idle, [(0, UNKNOWN), (4, SILENT)], id="never-says-anything-nobody-cares"),
        pytest.param(always(None), talking, [(0, UNKNOWN), (4, SILENT), (5, ALIVE)], id="pings-dropped-traffic-fine"),
        pytest.param(
            always(None),
            shouting,
            [(0, UNKNOWN), (4, SILENT), (22, DEAD), (82, SILENT)],
            id="never-says-anything-user-shouts",
        ),
        pytest.param(lambda s: 0.01 if s < 90 else None, idle, [(0, UNKNOWN), (0, ALIVE)], id="dies-and-nobody-cares"),
        pytest.param(always(None), beacon, [(0, UNKNOWN), (4, SILENT)], id="pings-dropped-a-packet-a-minute"),
        pytest.param(always(0.01), shouting, [(0, UNKNOWN), (0, ALIVE)], id="answers-but-the-users-host-is-down"),
    ],
)
def test_first_hundred_seconds(pings: Pings, flow: Flow, states: list[tuple[float, PlatState]]) -> None:
    life = Life(pings, flow).run(100)
    assert [(round(when), state) for when, state in life.states] == states


def test_dead_plat_comes_back() -> None:
    life = Life(lambda s: 0.01 if s < 60 or s > 200 else None, lambda s: talking(s) if s < 60 else shouting(s)).run(400)
    (_, _), (_, alive), (dead_s, dead), (back_s, back) = life.states
    assert (alive, dead, back) == (ALIVE, DEAD, ALIVE)
    assert 70 <= dead_s <= 85
    assert 200 <= back_s <= 261


def test_refused_plat_comes_back_at_the_next_round() -> None:
    life = Life(lambda s: "refused" if s < 30 else 0.01).run(200)
    assert [state for _, state in life.states] == [UNKNOWN, DEAD, ALIVE]
    assert life.rounds == [0, 2, 5, 10, 20, 40]
    assert life.detail == "1.1.1.1 answered in 10 ms"


def test_traffic_revives_at_once() -> None:
    life = Life(always("refused"), lambda s: talking(s) if s > 20 else idle(s)).run(24)
    assert life.at(20) is DEAD
    life.run(25)
    assert life.at(25) is ALIVE
    assert life.detail == "translated packets come back"


def test_dead_plat_is_asked_once_a_minute_for_ever() -> None:
    life = Life(always("refused")).run(3600)
    assert life.at(3600) is DEAD
    assert life.rounds[:8] == [0, 2, 5, 10, 20, 40, 80, 140]
    assert {round(gap) for gap in gaps(life.rounds[7:])} == {60}


def test_working_plat_is_asked_once_in_an_hour() -> None:
    assert Life(always(0.01), talking).run(3600).rounds == [0]
    assert Life(always(0.01)).run(3600).rounds == [0]


def test_network_that_drops_pings_keeps_ipv4_and_is_left_alone() -> None:
    life = Life(always(None), talking).run(3600)
    assert [state for _, state in life.states] == [UNKNOWN, SILENT, ALIVE]
    assert life.rounds == [0, 2]


def test_silent_network_without_users_is_asked_every_five_minutes() -> None:
    life = Life(always(None)).run(3600)
    assert [state for _, state in life.states] == [UNKNOWN, SILENT]
    assert life.rounds[:4] == [0, 2, 5, 10]
    assert life.rounds[4:] == [310 + 300 * n for n in range(11)]


def test_host_that_is_down_is_not_a_plat_that_is_down() -> None:
    """Pings are dropped; the user talks, then has only connections to hosts that do not answer."""
    life = Life(always(None), lambda s: talking(s) if s < 60 else knocking(s)).run(3600)
    assert [state for _, state in life.states] == [UNKNOWN, SILENT, ALIVE]
    assert len(life.rounds) <= 3 + 31 * 6


def test_plat_that_dies_where_pings_are_dropped_gets_rarer_chances() -> None:
    life = Life(always(None), lambda s: talking(s) if s < 60 else shouting(s)).run(2400)
    deaths = [when for when, state in life.states if state is DEAD]
    trials = [when for when, state in life.states if state is SILENT][1:]
    assert 90 <= deaths[0] <= 100
    assert [round(trial - death) for death, trial in zip(deaths, trials, strict=False)][:4] == [60, 120, 300, 600]


def test_one_way_user_causes_no_storm() -> None:
    life = Life(always(0.01), shouting).run(3600)
    assert [state for _, state in life.states] == [UNKNOWN, ALIVE]
    assert len(life.rounds) <= 64


def test_rounds_are_never_less_than_a_second_apart() -> None:
    for pings in (always(None), always(0.01), always(3.0), always("refused")):
        for flow in (idle, talking, shouting, knocking):
            assert min(gaps(Life(pings, flow).run(1200).rounds), default=1) >= plat.MIN_WAIT_S


def test_death_where_pings_were_answered_takes_ten_seconds_of_silence() -> None:
    life = Life(lambda s: 0.01 if s < 1 else None, shouting).run(100)
    first = life.rounds[1]
    assert life.rounds[1:4] == [first, first + 2, first + 5]
    assert life.states[-1] == (first + 10, DEAD)
    assert life.detail == "no answer for 10 s, though it answered before"


def test_plat_that_answered_gets_no_other_chance_but_an_answer() -> None:
    life = Life(lambda s: 0.01 if s < 1 else None, shouting).run(3600)
    assert life.at(3600) is DEAD


def test_two_prefixes_one_dead() -> None:
    dead, working = Life(always("refused")).run(10), Life(always(0.03)).run(10)
    assert (dead.at(2), working.at(2)) == (DEAD, ALIVE)
    assert dead.detail == f"no route (from {ROUTER})"
    assert working.detail == "1.1.1.1 answered in 30 ms"


# One event


def asked(now: float = NOW) -> plat.Plat:
    return plat.asked(plat.new(NOW), now, TARGETS)


def test_one_target_refused_is_no_refusal() -> None:
    p = asked()
    for second in (0, 2, 5):
        p = plat.asked(p, NOW + second, TARGETS)
        for target in sorted(TARGETS)[1:]:
            p = refused_by(ROUTER, p, NOW + second, target)
    assert plat.health(p, NOW + 7).state is SILENT


def test_refusal_said_twice_counts_once() -> None:
    p = asked()
    for _ in range(9):
        p = refused_by(ROUTER, p, NOW, min(TARGETS))
    assert p.open
    assert plat.health(p, NOW).state is UNKNOWN


@pytest.mark.parametrize("code", [1, 2, 4, 5, 7], ids=lambda code: f"rfc4443-3.1-code-{code}")
def test_filter_that_rejects_pings_is_silence(code: int) -> None:
    p = plat.new(NOW)
    for second in (0, 2, 5):
        p = plat.asked(p, NOW + second, TARGETS)
        for target in TARGETS:
            p = refused_by(ROUTER, p, NOW + second, target, code)
    assert plat.health(p, NOW + 7).state is SILENT


def test_routing_loop_is_a_refusal() -> None:
    p = plat.new(NOW)
    for second in (0, 2):
        p = plat.asked(p, NOW + second, TARGETS)
        for target in TARGETS:
            p = plat.error(p, NOW + second, prefix=PREFIX, target=target, kind=3, code=0, offender=ROUTER)
    judged = plat.health(p, NOW + 2)
    assert (judged.state, judged.detail) == (DEAD, f"routing loop (from {ROUTER})")


def test_translated_error_is_a_sign_of_life() -> None:
    behind = IPv6Address("64:ff9b::cb00:7101")
    p = refused_by(behind, asked(), NOW, min(TARGETS))
    judged = plat.health(p, NOW)
    assert (judged.state, judged.detail) == (ALIVE, "203.0.113.1 answered through it")
    assert plat.next_probe(p, NOW) is None


def test_error_in_the_name_of_the_target_is_a_routers() -> None:
    p = plat.new(NOW)
    for second in (0, 2):
        p = plat.asked(p, NOW + second, TARGETS)
        for target in TARGETS:
            p = refused_by(nat64.embed(PREFIX, target), p, NOW + second, target)
    assert plat.health(p, NOW + 2).state is DEAD


def test_further_proofs_of_life_are_no_news() -> None:
    p = plat.replied(asked(), NOW + 0.2, target=min(TARGETS), rtt_s=0.2)
    first = plat.health(p, NOW + 1)
    p = plat.replied(p, NOW + 1, target=max(TARGETS), rtt_s=1.0)
    p = plat.traffic(p, NOW + 5, sent=3, received=4)
    assert plat.health(p, NOW + 9) == first


def test_answer_after_the_verdict_still_counts() -> None:
    p = asked()
    for second in (2, 5):
        p = plat.asked(p, NOW + second, TARGETS)
    assert plat.health(p, NOW + 7).state is SILENT
    p = plat.replied(p, NOW + 8, target=min(TARGETS), rtt_s=8.0)
    assert plat.health(p, NOW + 8).detail == "1.1.1.1 answered in 8.0 s"


def test_spoiled_round_says_nothing() -> None:
    p = plat.new(NOW)
    for second in (0, 2, 5, 10):
        p = plat.spoiled(plat.asked(p, NOW + second, TARGETS))
    assert plat.health(p, NOW + 20).state is UNKNOWN


def test_refusals_that_cease_give_another_chance_where_pings_were_never_answered() -> None:
    life = Life(lambda s: "refused" if s < 100 else None).run(400)
    assert [state for _, state in life.states] == [UNKNOWN, DEAD, SILENT]
    assert life.rounds[7] == 140  # the first round that nobody refuses is over at 142
    assert life.states[-1][0] == pytest.approx(202)


def test_doubt_is_over_when_nobody_sends_any_more() -> None:
    life = Life(always(None), lambda s: talking(s) if s <= 10 else shouting(s) if s <= 30 else idle(s)).run(3600)
    assert life.at(3600) is ALIVE
    assert len(life.rounds) <= 3 + 7


def test_doubt_of_others_asks_again() -> None:
    p = plat.replied(asked(), NOW, target=min(TARGETS), rtt_s=0.01)
    p = plat.doubted(p, NOW + 500)
    assert plat.next_probe(p, NOW + 500) == NOW + plat.MIN_WAIT_S
    p = plat.asked(p, NOW + 500, TARGETS)
    assert plat.next_probe(plat.replied(p, NOW + 501, target=min(TARGETS), rtt_s=1.0), NOW + 501) is None
