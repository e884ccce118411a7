# SPDX-License-Identifier: GPL-2.0-or-later
"""A connection as the doctor sees it: well, unless told otherwise."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

from clatnm.doctor.facts import Conf, Facts, Machine, Subject
from clatnm.kernel.machine import Neighbour, Way4
from clatnm.kernel.ping import Outcome, Reach, Trial
from clatnm.model import Address6, Link, Uplink, World
from clatnm.policy.modes import told_modes
from clatnm.policy.plan import decide
from clatnm.policy.verdict import case
from clatnm.status import run_of
from tests.unit.policy.worlds import NOW, a_link, a_world, an_uplink, run_all, the_plan

ANSWERED = Trial(outcome=Outcome.ANSWERED, detail="1.1.1.1 answered in 12 ms")
SILENT = Trial(outcome=Outcome.SILENT, detail="no answer")
REFUSED = Trial(outcome=Outcome.REFUSED, detail="a filter of this host does not let it out")
CONF = Conf(has_section=True)
MACHINE = Machine(
    as_root=True,
    capabilities=frozenset({"CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SETUID", "CAP_SETGID", "CAP_BPF", "CAP_KILL"}),
    backends={"ebpf": "", "tun": ""},
    leftovers=(),
    conf=CONF,
)


def a_subject(world: World | None = None, **changes: Any) -> Subject:
    """Of the only connection of a world; without one, of a translated one."""
    world = a_running_world() if world is None else world
    (verdict,) = decide(world, NOW)
    uplink = verdict.uplink
    run = run_of(verdict, world.running)
    retry = world.retries.get(uplink.owner)
    found = Subject(
        interface=uplink.interface,
        name=uplink.name,
        as_root=True,
        link=world.links.get(uplink.interface),
        up=True,
        manager=uplink.manager,
        verdict=verdict,
        this=case(uplink, verdict.candidate, world, NOW),
        told_modes=told_modes(uplink, world),
        run=run,
        device=world.links.get(run.plan.device) if run else None,
        error=retry.error if retry is not None and run is None else "",
        neighbour=Neighbour.GOOD,
        router=ANSWERED,
        plat=ANSWERED,
        way=Way4(interface=run.plan.device if run else "", source=None),
        ipv4=ANSWERED,
        by_device=ANSWERED,
        reach=Reach(longest_bytes=1472),
        sources=tuple((str(r.source), r.detail) for r in world.reports.get(uplink.interface, ())),
        conf=CONF,
    )
    return replace(found, **changes)


def a_running_world(link: Link | None = None, uplink: Uplink | None = None) -> World:
    """One connection whose translator runs."""
    link = link or a_link()
    uplinks = [uplink or an_uplink(link.name)]
    plan = the_plan(a_world(link, uplinks=uplinks))
    return a_world(link, a_device(), uplinks=uplinks, prefixes=a_world(link).prefixes, running=run_all(plan))


def a_device(*, ipv4: Iterable[str] = ("192.0.0.4",), route: bool = True) -> Link:
    """That of the translator."""
    from clatnm.model import DefaultRoute

    routes = (DefaultRoute(gateway=None, metric=150),) if route else ()
    return a_link("clat-wlan0", index=9, ipv6=(), default6=(), ipv4=ipv4, default4=routes, kind="tun")


def the_facts(*subjects: Subject, machine: Machine = MACHINE) -> Facts:
    return Facts(machine=machine, subjects=subjects, world=None, at=NOW)


def without_global(link: Link) -> Link:
    """Only its link-local addresses are left."""
    own: tuple[Address6, ...] = tuple(a for a in link.addresses6 if a.address.is_link_local)
    return replace(link, addresses6=own)


POOL = tuple(("lo", IPv4Address(f"192.0.0.{n}")) for n in range(8))
