# SPDX-License-Identifier: GPL-2.0-or-later
"""Is the PLAT there? What pings through it and the user's own packets tell about the far end of one prefix.

Pings go out in rounds, one to each target: some when the link is new, and more only when something is wrong. IPv4 never
waits for an answer. A reply, or any translated packet that comes back, proves life and ends the asking. Their absence
proves little, as many networks drop pings: death takes routers that know no way, pings that were answered before, or
packets of the user that go out and never come back. Pure: each event gives a new `Plat`; times are CLOCK_BOOTTIME s.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from clatnm.model import PlatHealth, PlatState
from clatnm.proto import nat64

# Longer than any usual round trip. A later answer still counts: it only comes when the next round is under way.
ANSWER_S = 2.0
# Between the rounds of a doubt. A lost packet or a router that restarts is over within seconds; what lasts is asked for
# once a minute, which costs next to nothing and yet is soon enough to notice that it is back.
WAITS_S = (2.0, 3.0, 5.0, 10.0, 20.0, 40.0, 60.0)
# Whatever happens, a PLAT is not asked more often than this.
MIN_WAIT_S = 1.0
# A new link may lose the first packets, while routers learn where it is; four rounds are not worth saving one.
FIRST_ROUNDS = 4
# Two rounds, so that a PLAT which takes three seconds is not called silent first and alive then.
SILENT_ROUNDS = 2
# Nobody misses it: then only to have an answer in `status` that is not of yesterday.
CALM_S = 300.0

# Fewer packets, or a shorter time, are the usual life of a connection to a host that is down.
DOUBT_PACKETS, DOUBT_S = 5, 10.0
# A doubt that the answer to a ping removed comes back later each time: some host sends into the void for ever.
MAX_DOUBT_S = 60.0
# Packets so far apart belong to no conversation that anybody waits for; what counts is one burst of them.
PAUSE_S = 10.0
# A doubt ends when the user has stopped to send.
FADE_S = 60.0

# One router may be wrong for a moment, while its routing table changes.
REFUSED_ROUNDS, REFUSED_S = 2, 2.0
# A PLAT that answered before and does not now; longer than a Wi-Fi roam takes, or a restart of TAYGA.
LOST_ROUNDS, LOST_S = 3, 10.0
# Pings never answered prove nothing by themselves. More than a browser needs to give up and a user to complain...
ONE_WAY_PACKETS, ONE_WAY_S = 10, 15.0
# ...and twice that where packets came back before: more likely it is the one host they go to that is down.
ONE_WAY_AFTER_LIFE_PACKETS, ONE_WAY_AFTER_LIFE_S = 20, 30.0
# Where no ping ever was answered none will tell that the PLAT is back. IPv4 is offered again, and the packets decide.
TRIALS_S = (60.0, 120.0, 300.0, 600.0)

# No way to the prefix (RFC 4443 section 3.1 codes 0, 3 and 6; section 3.3 code 0). The other codes come from filters,
# which may well let through what is no ping.
_NO_WAY = {(1, 0): "no route", (1, 3): "no such host", (1, 6): "route rejected", (3, 0): "routing loop"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plat:
    """All that is known about the PLAT behind one prefix of one link since the link was attached."""

    judged: PlatHealth
    lived: bool = False
    """Something came back through it."""
    answers: bool = False
    """It has answered a ping: then silence means something."""
    asked_at: float | None = None
    """When the last round went out."""
    open: bool = False
    """That round still has time for an answer."""
    targets: frozenset[IPv4Address] = frozenset()
    refusals: frozenset[IPv4Address] = frozenset()
    """The targets of this round, and those of them that a router knows no way to."""
    detail: str = ""
    """What the router said."""
    rounds: int = 0
    """How many have gone out since the link is new, or since the last doubt began."""
    failed: int = 0
    failing_since: float | None = None
    """How many in a row had no answer, and when the first of them went out."""
    refused: int = 0
    refused_since: float | None = None
    """How many in a row were refused altogether, and when the first of them was."""
    sent: int = 0
    sent_since: float | None = None
    sent_at: float | None = None
    """The user's packets since the last one came back, without a pause: how many, when first seen, when last."""
    doubt_at: float | None = None
    """When there was last a reason to doubt; None: no doubt."""
    removed_doubts: int = 0
    """How many doubts in a row a ping removed, without any packet of the user that came back."""
    trials: int = 0
    trial_at: float | None = None
    """How often it was given another chance, and when it is next."""


def new(now: float) -> Plat:
    """The PLAT of a link just attached, or of a prefix just learnt."""
    return Plat(judged=PlatHealth(state=PlatState.UNKNOWN, since=now))


def health(p: Plat, now: float) -> PlatHealth:
    """The judgement."""
    return passed(p, now).judged


def next_probe(p: Plat, now: float) -> float | None:
    """When the next round is to go out, which may be in the past; None when no question is open."""
    p = passed(p, now)
    if p.open:
        return None
    if p.asked_at is None:
        return now
    if p.doubt_at is None and p.judged.state is not PlatState.DEAD:
        if p.judged.state is PlatState.ALIVE:
            return None
        if p.rounds >= FIRST_ROUNDS:
            return p.asked_at + CALM_S
    return p.asked_at + (WAITS_S[min(p.rounds, len(WAITS_S)) - 1] if p.rounds else MIN_WAIT_S)


def next_change(p: Plat) -> float | None:
    """When time alone changes something: see `passed`."""
    ends = [p.trial_at] if p.trial_at is not None else []
    if p.open and p.asked_at is not None:
        ends.append(p.asked_at + ANSWER_S)
    return min(ends, default=None)


def passed(p: Plat, now: float) -> Plat:
    """What time alone has done: a round without an answer, another chance, a doubt that nobody has any more."""
    if p.open and p.asked_at is not None and now >= p.asked_at + ANSWER_S:
        p = unanswered(p, p.asked_at + ANSWER_S)
    if p.trial_at is not None and now >= p.trial_at:
        judged = PlatHealth(
            state=PlatState.SILENT, since=p.trial_at, detail=f"another chance after {p.trial_at - p.judged.since:.0f} s"
        )
        p = replace(_calm(p), judged=judged, trials=p.trials + 1, trial_at=None)
    if p.doubt_at is not None and p.judged.state is not PlatState.DEAD and now >= p.doubt_at + FADE_S:
        p = _calm(p)
    return p


def asked(p: Plat, now: float, targets: frozenset[IPv4Address]) -> Plat:
    """A round has gone out."""
    p = passed(p, now)
    return replace(p, asked_at=now, open=True, targets=targets, refusals=frozenset(), rounds=p.rounds + 1)


def spoiled(p: Plat) -> Plat:
    """The round never went out, or the link could not carry it: neither its silence nor that before says anything."""
    return _forget_rounds(p)


def replied(p: Plat, now: float, *, target: IPv4Address, rtt_s: float) -> Plat:
    """A target answered, however late."""
    words = f"{rtt_s * 1000:.0f} ms" if rtt_s < 1 else f"{rtt_s:.1f} s"
    return replace(_alive(p, now, f"{target} answered in {words}"), answers=True)


def error(
    p: Plat, now: float, *, prefix: IPv6Network, target: IPv4Address, kind: int, code: int, offender: IPv6Address
) -> Plat:
    """An ICMPv6 error about a ping (RFC 4443 section 3) came from `offender`."""
    behind = nat64.extract(prefix, offender)
    # An error that was translated itself: the translator works. But one in the name of the target comes from a router
    # that rewrites addresses before the translator, as Linux does to errors about what it has rewritten.
    if behind is not None and behind != target:
        return _alive(p, now, f"{behind} answered through it")
    if (kind, code) not in _NO_WAY:
        return p
    return refused(p, now, target=target, detail=f"{_NO_WAY[kind, code]} (from {offender})")


def refused(p: Plat, now: float, *, target: IPv4Address, detail: str) -> Plat:
    """Some router, or this host itself, knows no way to the target behind the prefix."""
    if not p.open or target not in p.targets:
        return p
    p = replace(p, refusals=p.refusals | {target}, detail=detail)
    return unanswered(p, now) if p.refusals == p.targets else p


def unanswered(p: Plat, now: float) -> Plat:
    """The time for an answer to the open round is over, or nobody is left who could give one."""
    if not p.open:
        return p
    since = p.asked_at if p.failing_since is None else p.failing_since
    p = replace(p, open=False, failed=p.failed + 1, failing_since=since)
    if p.targets and p.refusals == p.targets:
        p = replace(p, refused=p.refused + 1, refused_since=p.asked_at if p.refused_since is None else p.refused_since)
    else:
        p = replace(p, refused=0, refused_since=None)
    return _judge(p, now)


def traffic(p: Plat, now: float, *, sent: int, received: int) -> Plat:
    """So many packets of the user went to IPv6, and came back to IPv4, since the last call. No ICMP, which routers on
    the way send as well."""
    p = passed(p, now)
    if received > 0:
        return replace(_alive(p, now, "translated packets come back"), removed_doubts=0)
    if p.judged.state is PlatState.DEAD:
        return p
    if sent > 0:
        p = replace(p, sent=p.sent + sent, sent_since=now if p.sent_since is None else p.sent_since, sent_at=now)
        p = p if p.doubt_at is None else replace(p, doubt_at=now)
    elif p.sent_at is not None and now >= p.sent_at + PAUSE_S:
        p = _nothing_sent(p)
    if p.doubt_at is not None:
        return _judge(p, now)
    patience_s = min(DOUBT_S * 2**p.removed_doubts, MAX_DOUBT_S)
    if p.sent >= DOUBT_PACKETS and p.sent_since is not None and now >= p.sent_since + patience_s:
        return doubted(p, now)
    return p


def doubted(p: Plat, now: float) -> Plat:
    """Something suggests trouble, or what is known is old: ask, beginning with the shortest wait."""
    if p.doubt_at is not None or p.judged.state is PlatState.DEAD:
        return p
    return replace(_forget_rounds(p), doubt_at=now, rounds=0)


def _judge(p: Plat, now: float) -> Plat:
    """What follows from rounds without an answer and packets that did not come back."""
    if p.judged.state is PlatState.DEAD:
        # A router that says no is an answer each time; when even that has ceased, only packets can tell.
        if p.refusals or p.answers:
            return replace(p, trial_at=None)
        return p if p.trial_at is not None else _allow_trial(p, now)
    if p.refused >= REFUSED_ROUNDS and p.refused_since is not None and now >= p.refused_since + REFUSED_S:
        return _dead(p, now, p.detail)
    if p.failed >= LOST_ROUNDS and p.failing_since is not None:
        silent_s = now - p.failing_since
        if p.answers and silent_s >= LOST_S:
            return _dead(p, now, f"no answer for {silent_s:.0f} s, though it answered before")
        if not p.answers and _goes_one_way(p, now):
            for_s = now - (p.sent_since or now)
            return _allow_trial(_dead(p, now, f"{p.sent} packets in {for_s:.0f} s, and none came back"), now)
    if p.judged.state is PlatState.UNKNOWN and p.failed >= SILENT_ROUNDS:
        return replace(p, judged=PlatHealth(state=PlatState.SILENT, since=now, detail="no answer to pings"))
    return p


def _goes_one_way(p: Plat, now: float) -> bool:
    packets, for_s = (ONE_WAY_AFTER_LIFE_PACKETS, ONE_WAY_AFTER_LIFE_S) if p.lived else (ONE_WAY_PACKETS, ONE_WAY_S)
    return p.sent >= packets and p.sent_since is not None and now >= p.sent_since + for_s


def _alive(p: Plat, now: float, detail: str) -> Plat:
    """The first proof of life stays the reason, so that no further one is news."""
    alive = p.judged.state is PlatState.ALIVE
    judged = p.judged if alive else PlatHealth(state=PlatState.ALIVE, since=now, detail=detail)
    removed = p.removed_doubts + (p.doubt_at is not None)
    return replace(_calm(p), judged=judged, lived=True, open=False, removed_doubts=removed, trials=0, trial_at=None)


def _dead(p: Plat, now: float, detail: str) -> Plat:
    judged = PlatHealth(state=PlatState.DEAD, since=now, detail=detail)
    return replace(_nothing_sent(p), judged=judged, doubt_at=None)


def _allow_trial(p: Plat, now: float) -> Plat:
    return replace(p, trial_at=now + TRIALS_S[min(p.trials, len(TRIALS_S) - 1)])


def _calm(p: Plat) -> Plat:
    """No doubt, and nothing left of the last one."""
    return replace(_nothing_sent(_forget_rounds(p)), rounds=FIRST_ROUNDS, doubt_at=None)


def _nothing_sent(p: Plat) -> Plat:
    return replace(p, sent=0, sent_since=None, sent_at=None)


def _forget_rounds(p: Plat) -> Plat:
    return replace(p, open=False, failed=0, failing_since=None, refused=0, refused_since=None)
