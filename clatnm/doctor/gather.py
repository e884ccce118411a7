# SPDX-License-Identifier: GPL-2.0-or-later
"""The facts: of the daemon where it answers, else of our own eyes as far as this user may look."""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

from clatnm.clock import boottime
from clatnm.doctor import asking, probing
from clatnm.doctor.asking import Told
from clatnm.doctor.facts import Conf, DaemonState, Facts, Machine, Subject
from clatnm.doctor.look import look_around
from clatnm.errors import ConfigError, HostError
from clatnm.explain import unfollowed
from clatnm.facts import TUNNEL_KINDS
from clatnm.kernel import clsact
from clatnm.kernel import machine as kernel
from clatnm.kernel.netlink import Netlink
from clatnm.model import DEVICE_PREFIX, Link, RunState, Settings, Verdict, World
from clatnm.policy.addressing import CONTINUITY_PREFIX, best_default
from clatnm.policy.modes import told_modes
from clatnm.policy.others import own_devices
from clatnm.policy.plan import decide
from clatnm.policy.verdict import case
from clatnm.status import names, run_of

# A translator that is about to start is there within this time.
_START_S, _PAUSE_S = 3.0, 0.3
_THREADS = 16


async def gather(wanted: str | None, *, config_dir: Path) -> Facts:
    """About one connection, by name, UUID or interface, or about all. ConfigError: there is no such."""
    # On a small machine there would be too few for all that waits for somebody.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS))
    as_root = os.geteuid() == 0
    settings, machine = asking.read_config(config_dir, Machine(as_root=as_root))
    machine = replace(
        machine,
        bus_fault=await asking.bus_fault(),
        ipv6=kernel.has_ipv6(),
        tun_fault=kernel.tun_fault(),
        leftovers=await asyncio.to_thread(_leftovers),
    )
    told = Told(state=DaemonState.UNKNOWN) if machine.bus_fault else await _settled()
    machine = replace(
        machine,
        daemon=told.state,
        daemon_words=told.words,
        daemon_pid=told.pid,
        capabilities=kernel.capabilities(told.pid) if told.pid else None,
        statics=await asking.statics(told.status),
    )
    managers: Mapping[str, str] = {}
    at, world = told.at, told.world
    if world is None and as_root:
        try:
            at, world, managers = await look_around(settings)
        except HostError:
            world = None
    if world is not None:
        machine = replace(machine, backends=world.backends)
    links = world.links if world is not None else await asyncio.to_thread(_links)
    subjects = await _subjects(wanted, world, at, links=links, managers=managers, machine=machine)
    done = [await probing.probed(s, _settings(s, world, settings), told.counters) for s in subjects]
    return Facts(
        machine=machine,
        subjects=tuple(done),
        world=world,
        at=at or boottime(),
        status=told.status,
        interfaces=tuple(sorted(link.name for link in links.values() if link.carrier and not _is_no_uplink(link))),
    )


async def _settled() -> Told:
    """What the daemon says, once all that is to run does."""
    end = boottime() + _START_S
    while True:
        told = await asking.ask_daemon()
        if told.world is None or boottime() >= end or not _is_starting(told.world, told.at):
            return told
        await asyncio.sleep(_PAUSE_S)


def _is_starting(world: World, at: float) -> bool:
    planned = [v for v in decide(world, at) if v.plan is not None]
    runs = [run_of(verdict, world.running) for verdict in planned]
    return any(run is None or run.state is not RunState.ON for run in runs)


def _settings(s: Subject, world: World | None, settings: Settings) -> Settings:
    known = world.settings if world is not None else settings
    return known.of(s.verdict.uplink.uuid) if s.verdict is not None else known


def _leftovers() -> tuple[str, ...] | None:
    try:
        with Netlink() as netlink:
            hooks = [f"the hook on {name}" for name in clsact.left(netlink)]
            return (*hooks, *(f"the rule for {source}" for source, _ in netlink.left_pins()))
    except HostError:
        return None


async def _subjects(
    wanted: str | None,
    world: World | None,
    at: float,
    *,
    links: Mapping[str, Link],
    managers: Mapping[str, str],
    machine: Machine,
) -> list[Subject]:
    decided = decide(world, at) if world is not None else ()
    verdicts = [verdict for verdict in decided if not verdict.uplink.static]
    statics = [verdict for verdict in decided if verdict.uplink.static]
    if wanted is not None:
        asked = [verdict for verdict in verdicts if wanted in names(verdict)]
        loose = [wanted] if not asked and wanted in links else []
        if not asked and not loose:
            if any(wanted in names(static) for static in statics):
                hint = f"clatnm doctor looks at all of them; or: clatnm explain {shlex.quote(wanted)}"
                raise ConfigError(f"'{wanted}' is a static translator, not a connection", hint=hint)
            raise ConfigError(f"there is no active connection '{wanted}'", hint="see: clatnm status; or its interface")
    else:
        asked = [v for v in verdicts if world is not None and case(v.uplink, None, world, at).uplink_itself]
        by_file = {static.uplink.interface for static in statics}  # is not meant to be a connection
        loose = [] if asked else sorted(link.name for link in links.values() if _leads_on(link, but=by_file))
    subjects = [_of_verdict(verdict, world, at, machine) for verdict in asked if world is not None]
    for name in loose:
        subjects.append(await _of_link(links[name], decided=world is not None, managers=managers, machine=machine))
    return subjects


def _leads_on(link: Link, *, but: Collection[str]) -> bool:
    """Whoever has no connection might mean this one."""
    return not _is_no_uplink(link) and link.name not in but and bool(link.default6 or link.default4)


def _is_no_uplink(link: Link) -> bool:
    return link.name == "lo" or link.name.startswith(DEVICE_PREFIX) or link.kind in TUNNEL_KINDS


def _links() -> Mapping[str, Link]:
    try:
        with Netlink() as netlink:
            return netlink.links()
    except HostError:
        return {}


async def _of_link(link: Link, *, decided: bool, managers: Mapping[str, str], machine: Machine) -> Subject:
    """An interface that is no connection, or of which nobody knows whether it is."""
    told = (await asking.explained(link.name)) if machine.daemon is DaemonState.ANSWERS else []
    words, manager = None, managers.get(link.name, "")
    if told and not told[0].get("questions"):
        words = (str(told[0].get("explanation", "")), str(told[0].get("change", "")))
        manager = "" if words[0].startswith("nobody") else words[0].partition(" ")[0]
    elif decided:
        own = unfollowed(link.name, manager)
        words = (own["explanation"], own["change"])
    conf = machine.conf
    subject = Subject(interface=link.name, name=link.name, manager=manager, unfollowed=words, conf=conf)
    return _with_kernel(replace(subject, as_root=machine.as_root, link=link))


def _of_verdict(verdict: Verdict, world: World, at: float, machine: Machine) -> Subject:
    uplink = verdict.uplink
    run = run_of(verdict, world.running)
    retry = world.retries.get(uplink.owner)
    ours = own_devices(world)
    device = run.plan.device if run is not None else verdict.plan.device if verdict.plan else ""
    wanted = device or uplink.choices.device or f"{DEVICE_PREFIX}{uplink.interface}"
    strangers = [link for link in world.links.values() if link.name not in ours]
    subject = Subject(
        interface=uplink.interface,
        name=uplink.name,
        as_root=machine.as_root,
        link=world.links.get(uplink.interface),
        manager=uplink.manager,
        verdict=verdict,
        this=case(uplink, verdict.candidate, world, at),
        told_modes=told_modes(uplink, world),
        run=run,
        device=world.links.get(device),
        error=retry.error if retry is not None and run is None else "",
        foreign_device=wanted if run is None and wanted in world.links else "",
        # What others have made, NetworkManager shows as a connection named after the device.
        vpn_names={u.interface: shlex.quote(u.name) for u in world.uplinks if u.is_vpn and u.name != u.interface},
        pool=tuple((link.name, a) for link in strangers for a in link.addresses4 if a in CONTINUITY_PREFIX),
        metrics=_metrics(world.links.values()),
        lans=tuple(_lans(strangers)) if run is not None else (),
        sources=tuple((str(r.source), r.detail) for r in world.reports.get(uplink.interface, ())),
        conf=_conf(machine, world, uplink.uuid),
    )
    return _with_kernel(subject)


def _lans(strangers: Iterable[Link]) -> Iterator[tuple[str, IPv4Address]]:
    """Containers, virtual machines and shared connections are behind these, if anybody is."""
    for link in strangers:
        leads_on = link.default4 or link.default6 or _is_no_uplink(link)
        if link.carrier and link.addresses4 and not leads_on and kernel.forwards4(link.name):
            yield link.name, min(link.addresses4)


def _conf(machine: Machine, world: World, uuid: str) -> Conf:
    """Where a key for a connection is to be set: in the file for all, unless one of its own has it."""
    return replace(machine.conf, has_section=machine.conf.has_section and uuid not in world.settings.connections)


def _metrics(links: Iterable[Link]) -> dict[str, tuple[int, str]]:
    best = {link.name: best_default(link.default4) for link in links}
    return {name: (route.metric, str(route.gateway or "")) for name, route in best.items() if route is not None}


def _with_kernel(s: Subject) -> Subject:
    """What the kernel lists, and netlink's dumps leave out."""
    own = [own for own in kernel.own_addresses6() if own.interface == s.interface]
    return replace(
        s,
        up=kernel.is_up(s.interface),
        ipv6_off=kernel.ipv6_switched_off(s.interface),
        duplicates=tuple(address.address for address in own if address.duplicate),
    )
