# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever happens in whatever order: no two translators get in each other's way, and in the end only facts count."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from ipaddress import IPv6Network

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clatnm.discovery.ear import Ear
from clatnm.model import (
    Link,
    Mode,
    Plan,
    PlatHealth,
    PlatState,
    RunState,
    Step,
    Stop,
    Update,
    Verdict,
    World,
)
from clatnm.policy import plat, retry
from clatnm.policy.rehearsal import device_of
from clatnm.policy.steps import diff, trying, wanted
from tests.unit.policy.story import NAME, Story
from tests.unit.policy.worlds import (
    NOW,
    OWN_PREFIX,
    UUID,
    WELL_KNOWN,
    a_candidate,
    a_link,
    a_route4,
    a_route6,
    a_told_mode,
    an_address,
    an_uplink,
)

THIRD = IPv6Network("2001:db8:64:ff::/96")
PREFIXES = [WELL_KNOWN, OWN_PREFIX, THIRD]
OTHER = "wwan0"
FOREIGN = "ppp0"
MAX_LOOKS = 40
WORKING: dict[str, str] = {"ebpf": "", "tun": ""}

OLD = an_address("2001:db8:a::5/64", deprecated=True)
ADDRESSES = {
    "one": ("fe80::5/64", "2001:db8:a::5/64"),
    "both": ("fe80::5/64", "2001:db8:a::5/64", "2001:db8:b::5/64"),
    "renumbered": ("fe80::5/64", OLD, "2001:db8:b::5/64"),
    "other": ("fe80::5/64", "2001:db8:b::5/64"),
    "no-64": ("fe80::5/64", "2001:db8:c::5/128"),
    "none": ("fe80::5/64",),
}


class Chaos(Story):
    """A story with two uplinks, where translators take their time and fail, and nobody waits for anybody.

    At each step: nothing that the kernel would refuse. What a translator gives up it has until the change is through.
    """

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        other = a_link(OTHER, index=3, ipv6=("2001:db8:d::5/64",), link_address=None)
        self.facts = replace(
            self.facts,
            links={**self.facts.links, OTHER: other},
            uplinks=(*self.facts.uplinks, an_uplink(OTHER, uuid="other")),
            backends=WORKING,
            sharing_backends=frozenset({"ebpf"}),
        )
        self.rng = rng
        self.patient = False
        self.causes = 0
        self.looks = 0
        self.given_up: dict[str, Plan] = {}

    def world(self) -> World:
        world = super().world()
        other = (a_candidate(WELL_KNOWN, expires_at=None),)
        return replace(world, prefixes={**world.prefixes, OTHER: other}, links=self._kernel_has(world.links))

    def _kernel_has(self, links: Mapping[str, Link]) -> Mapping[str, Link]:
        """Devices on their way are as they were before."""
        found = dict(links)
        for run in self.running.values():
            if run.state is RunState.STARTING:
                found.pop(run.plan.device, None)
        for old in self.given_up.values():
            found[old.device] = device_of(old)
        return found

    def look(self) -> tuple[Step, ...]:
        self.looks += 1
        verdicts = self.verdicts()
        self._forget_failures(verdicts)
        before = dict(self.running)
        for step in (steps := diff(before, wanted(verdicts))):
            others = [run.plan for key, run in before.items() if key != step.plan.key]
            others += [plan for key, plan in self.given_up.items() if key != step.plan.key]
            if not isinstance(step, Stop):
                check_room(step.plan, others)
            if isinstance(step, Update):
                self.given_up[step.plan.key] = step.old
        taken = super().look()
        assert taken == steps
        for step in taken:
            self._count(step)
        check_apart([run.plan for run in self.running.values()])
        return taken

    def _forget_failures(self, verdicts: tuple[Verdict, ...]) -> None:
        """As the daemon does."""
        counting = trying(verdicts, self.running)
        self.retries = {name: entry for name, entry in self.retries.items() if name in counting}

    def finish(self, key: str) -> None:
        super().finish(key)
        self.given_up.pop(key, None)

    def fail(self, key: str) -> None:
        super().fail(key)
        self.given_up.pop(key, None)

    def at(self, second: float, *events: Callable[[], object]) -> None:
        """Time goes on, and what time does is noticed in time."""
        while (wake := self._next()) is not None and wake <= NOW + second:
            self.now = wake
            self._rest()
        self.now = NOW + second
        if self.patient:
            assert diff(self.running, wanted(self.verdicts())) == (), "slept too long"
        for event in events:
            self.causes += 1
            event()
        self._rest()

    def _rest(self) -> None:
        for prefix, known in self.plats.items():
            self.plats[prefix] = plat.passed(known, self.now)
        if self.patient:
            self.settle()
            return
        for _ in range(self.rng.randrange(4)):
            waiting = self.on_the_way()
            if waiting and self.rng.randrange(2):
                self.finish(self.rng.choice(waiting))
            else:
                self.look()

    # What else happens

    def setting(self, **fields: object) -> None:
        self.facts = replace(self.facts, settings=replace(self.facts.settings, **fields))  # type: ignore[arg-type]

    def uplink(self, **fields: object) -> None:
        first = replace(an_uplink(NAME), **fields)  # type: ignore[arg-type]
        self.facts = replace(self.facts, uplinks=(first, *self.facts.uplinks[-1:]))

    def no_uplink(self) -> None:
        self.facts = replace(self.facts, uplinks=self.facts.uplinks[-1:])

    def link(self, **fields: object) -> None:
        link = replace(self.facts.links[NAME], **fields)  # type: ignore[arg-type]
        self.facts = replace(self.facts, links={**self.facts.links, NAME: link})

    def flap(self) -> None:
        """The carrier goes and comes: all that was known of the network is forgotten."""
        self.ear = Ear(self.now)
        self.dns, self.dns_settled, self.plats = (), False, {}

    def end(self) -> None:
        """Nobody uses an older translator any more, and every source has had its chance."""
        self.users(0)
        self.dns_settled = self.ear.settled = True

    def foreign(self, address: str | None, metric: int) -> None:
        """Somebody else has an address of 192.0.0.0/29, and a default route."""
        links = {name: link for name, link in self.facts.links.items() if name != FOREIGN}
        if address is not None:
            route = a_route4(gateway=None, metric=metric)
            links[FOREIGN] = a_link(FOREIGN, index=9, ipv6=(), ipv4=(address,), default4=(route,), default6=())
        self.facts = replace(self.facts, links=links)

    def backends(self, **faults: str) -> None:
        self.facts = replace(self.facts, backends=faults)

    def judge(self, prefix: IPv6Network, state: PlatState, trial_s: float | None) -> None:
        """What is known of a PLAT from now on."""
        known = plat.new(self.now)
        trial_at = None if trial_s is None or state is not PlatState.DEAD else self.now + trial_s
        self.plats[prefix] = replace(known, judged=PlatHealth(state=state, since=self.now), trial_at=trial_at)

    def crash(self, number: int) -> None:
        if self.running:
            self.fail(sorted(self.running)[number % len(self.running)])

    def collide(self, number: int) -> None:
        """Another host has the address of a translator."""
        if self.running:
            key = sorted(self.running)[number % len(self.running)]
            run = self.running[key]
            if run.state is not RunState.STOPPING:
                name, address = run.plan.interface, str(run.plan.clat_v6)
                before = self.retries.get(name)
                self.fail(key)
                self.retries[name] = retry.collided(before, address=address, now=self.now)


def check_room(plan: Plan, others: list[Plan]) -> None:
    """The kernel has room for this translator beside what the others have."""
    assert plan.device not in {other.device for other in others}, "two devices of one name"
    if plan.offered:
        assert plan.metric not in {other.metric for other in others if other.offered}, "two routes of one metric"


def check_apart(plans: list[Plan]) -> None:
    assert len({plan.device for plan in plans}) == len(plans)
    assert len({plan.clat_v4 for plan in plans}) == len(plans)
    # Two translators with the host's own address are told apart by their prefixes.
    assert len({(plan.interface, plan.clat_v6, plan.prefix if plan.shared else None) for plan in plans}) == len(plans)


# Each event: the name of a method and its arguments, so that a failure reads like a story.
Event = tuple[str, tuple[object, ...], dict[str, object]]


def event(
    name: str, *arguments: st.SearchStrategy[object], **fields: st.SearchStrategy[object]
) -> st.SearchStrategy[Event]:
    return st.tuples(st.just(name), st.tuples(*arguments), st.fixed_dictionaries(fields))


def one_setting(name: str, *values: object) -> st.SearchStrategy[Event]:
    return event("setting", **{name: st.sampled_from(values)})


prefixes = st.sampled_from(PREFIXES)
EVENTS = [
    event("lease"),
    event("no_lease"),
    event("refused"),
    event(
        "ra",
        prefixes,
        lifetime_s=st.sampled_from([0, 64, 600, 65528]),
        router=st.sampled_from(["fe80::1", "fe80::2"]),
        router_lifetime_s=st.sampled_from([0, 1800, 1800]),
    ),
    event("ra", prefixes, prefixes),
    event("ra"),
    event("dns64", prefixes, ttl_s=st.sampled_from([60, 600])),
    event("dns64"),
    event("dns64_is_asked"),
    st.sampled_from(sorted(ADDRESSES.values(), key=str)).map(lambda some: ("addresses", some, {})),
    event("users", st.integers(0, 1)),
    event("judge", prefixes, st.sampled_from(PlatState), st.sampled_from([None, 60.0])),
    one_setting("mode", *Mode),
    one_setting("drain_s", 0, 30, 3600),
    one_setting("prefix", None, THIRD),
    one_setting("fallback_prefix", None, THIRD, OWN_PREFIX),
    one_setting("plat_check", True, False),
    one_setting("backend", "auto", "tun"),
    event("uplink"),
    event("uplink", uuid=st.sampled_from([UUID, "another"])),
    event("uplink", manager_clat=st.just("192.0.0.5")),
    event("uplink", told_modes=st.sampled_from([(a_told_mode(mode),) for mode in Mode])),
    event("no_uplink"),
    event("link", carrier=st.booleans()),
    event("link", default6=st.sampled_from([(), (a_route6(),), (a_route6(metric=600, gateway="fe80::2"),)])),
    event("link", ipv6_mtu_bytes=st.sampled_from([1280, 1500])),
    event("link", index=st.sampled_from([2, 22])),
    event("flap"),
    event("foreign", st.sampled_from([None, "192.0.0.4", "192.0.0.3"]), st.sampled_from([150, 151])),
    event("backends", ebpf=st.sampled_from(["", "no"]), tun=st.sampled_from(["", "no"])),
    event("crash", st.integers(0, 3)),
    event("collide", st.integers(0, 3)),
]
waits = st.sampled_from([0, 0, 0, 0.5, 3, 11, 70, 700])
histories = st.lists(st.tuples(waits, st.one_of(EVENTS)), min_size=3, max_size=20)


def play(history: list[tuple[float, Event]], rng: random.Random) -> Chaos:
    """Let all of this happen; then all goes well, nobody uses an old translator any more, and two hours pass."""
    story, second = Chaos(rng), 0.0
    story.at(0, lambda: story.ra(WELL_KNOWN))
    for wait_s, (name, arguments, fields) in history:
        second += wait_s
        story.at(second, lambda name=name, a=arguments, f=fields: getattr(story, name)(*a, **f))
    story.patient = True
    story.settle()
    story.at(second, story.end)
    story.at(second + 7200)
    story.at(second + 7300)
    return story


def standing(story: Chaos, verdict: Verdict) -> object:
    """What must follow from the facts alone. Of prefixes that are as good as each other, any; of addresses also."""
    plan, chosen = verdict.plan, verdict.candidate
    if plan is None or chosen is None:
        return verdict.uplink.interface, verdict.reason
    known = story.world().plats.get((verdict.uplink.interface, plan.prefix))
    worth = chosen.source, chosen.fading, known.state if known and story.facts.settings.plat_check else None
    network = plan.clat_v6 if plan.shared else IPv6Network((plan.clat_v6, 64), strict=False)
    kind = plan.device, plan.backend, plan.uuid, plan.ifindex, plan.gateway, plan.ipv6_mtu_bytes, plan.shared
    return worth, network, kind, plan.offered


def fresh(story: Chaos) -> Chaos:
    """The same facts, nothing running, nothing remembered."""
    new = Chaos(story.rng)
    new.facts, new.now, new.ear, new.dns = story.facts, story.now, story.ear, story.dns
    new.dns_settled, new.plats, new.patient = story.dns_settled, story.plats, True
    new.settle()
    return new


@given(histories, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=1000, suppress_health_check=[HealthCheck.too_slow])
def test_any_story_ends_where_its_facts_lead(history: list[tuple[float, Event]], rng: random.Random) -> None:
    story = play(history, rng)
    expected = [standing(story, verdict) for verdict in fresh(story).verdicts()]
    assert [standing(story, verdict) for verdict in story.verdicts()] == expected
    plans = [verdict.plan for verdict in story.verdicts() if verdict.plan]
    assert sorted(run.plan.key for run in story.running.values()) == sorted(plan.key for plan in plans)
    assert all(run.plan.offered for run in story.running.values())
    metrics = [run.plan.metric for run in story.running.values()]
    assert len(set(metrics)) == len(metrics)
    assert story.starts <= 4 + 3 * story.causes, "more starts than reasons for them"
