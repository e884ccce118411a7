# SPDX-License-Identifier: GPL-2.0-or-later
"""Test packets and questions to the kernel about one connection; all of it beside each other, and over in seconds."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Any, TypeVar

from clatnm.doctor import asking, filters, ruleset
from clatnm.doctor.facts import Behind, Subject
from clatnm.doctor.ruleset import Passing
from clatnm.errors import HostError
from clatnm.kernel import machine, overhear, ping
from clatnm.kernel.machine import Neighbour
from clatnm.kernel.netlink import Netlink
from clatnm.kernel.overhear import Overheard
from clatnm.kernel.ping import Outcome, Trial
from clatnm.model import Plan, RunState, Settings
from clatnm.policy.addressing import best_default
from clatnm.proto import nat64

_T = TypeVar("_T")
_CHAINS = ("nft", "-j", "list", "chains")
_RULES = ("nft", "-j", "-t", "list", "ruleset")
_NFT_S = 5.0
_MIN_BYTES = 1260  # with an IPv6 header in its place, what every link carries (RFC 8200 section 5)
_LENGTHS = (1472, 1452, 1432, 1412, 1400, 1380, 1352, 1320, 1300, 1280, _MIN_BYTES)
_TARGETS = 3


async def probed(s: Subject, settings: Settings, counters: Mapping[str, Mapping[str, Any]]) -> Subject:
    """The subject with everything that packets tell. `counters`: as of just before."""
    targets = settings.plat_check_targets[:_TARGETS]
    plan = _plan(s)
    # All of them wait for somebody; together they take as long as the slowest.
    adverts = _thread(lambda: _adverts(s))
    router = _thread(lambda: _router(s))
    plat = _thread(lambda: _plat(s, _prefix(s), targets))
    unannounced = _thread(lambda: _plat(s, None if _prefix(s) else nat64.WELL_KNOWN, targets))
    ipv4 = _thread(lambda: ping.ask4(targets))
    by_device = _thread(lambda: ping.ask4(targets, interface=plan.device) if plan else ping.NOT_TRIED)
    way = _thread(lambda: _way(targets))
    chains = _thread(lambda: filters.chains(_nft(_CHAINS)))
    behind = _thread(lambda: _behind(s, plan, targets))
    answering, known = await router
    s = replace(
        s,
        adverts=await adverts,
        router=answering,
        neighbour=known,
        plat=await plat,
        unannounced=await unannounced,
        ipv4=await ipv4,
        by_device=await by_device,
        way=await way,
        chains=await chains if s.as_root else (),
        behind=await behind,
    )
    if plan is None:
        return s
    return await _counted(s, plan, counters, targets)


async def _counted(
    s: Subject, plan: Plan, counters: Mapping[str, Mapping[str, Any]], targets: Sequence[IPv4Address]
) -> Subject:
    """What the translator saw of it; how long packets may be."""
    zones = await asking.zones(s.interface, plan.device)
    if s.by_device.outcome is Outcome.SILENT:
        after = await asking.count()
        went, came = (_difference(counters, after, s, way) for way in ("ipv4_to_ipv6", "ipv6_to_ipv4"))
        return replace(s, went=went, came=came, zones=zones)
    if not s.by_device.answered:
        return replace(s, zones=zones)
    lengths = [length for length in _LENGTHS if length < plan.ipv4_mtu_bytes]
    answering = _answering(s.by_device, targets)
    reach = await _thread(lambda: _reach(answering, [plan.ipv4_mtu_bytes, *lengths], plan.device))
    return replace(s, zones=zones, reach=reach)


def _thread(work: Callable[[], _T]) -> asyncio.Future[_T]:
    return asyncio.get_running_loop().run_in_executor(None, work)


def _plan(s: Subject) -> Plan | None:
    return s.run.plan if s.run is not None and s.run.state is RunState.ON else None


def _prefix(s: Subject) -> IPv6Network | None:
    candidate = s.verdict.candidate if s.verdict else None
    return candidate.prefix if candidate else None


def _adverts(s: Subject) -> Overheard | None:
    if s.link is None or not s.as_root:
        return None
    try:
        return overhear.routers(s.link.index, s.interface, s.link.link_address)
    except HostError:
        return None


def _router(s: Subject) -> tuple[Trial, Neighbour]:
    route = best_default(s.link.default6) if s.link is not None else None
    if s.link is None or route is None or not isinstance(route.gateway, IPv6Address):
        return ping.NOT_TRIED, Neighbour.UNKNOWN
    trial = ping.ask6([route.gateway], interface=s.interface, own=_own(s)) if s.as_root else ping.NOT_TRIED
    try:
        with Netlink() as kernel:
            return trial, machine.neighbour(kernel, s.link.index, route.gateway)
    except HostError:
        return trial, Neighbour.UNKNOWN


def _own(s: Subject) -> frozenset[IPv6Address]:
    return frozenset(own.address for own in s.link.addresses6) if s.link is not None else frozenset()


def _plat(s: Subject, prefix: IPv6Network | None, targets: Sequence[IPv4Address]) -> Trial:
    if s.link is None or not s.as_root or prefix is None or not s.link.default6:
        return ping.NOT_TRIED
    # RFC 6052 section 3.1: the well-known prefix stands for global addresses only.
    asked = [t for t in targets if prefix != nat64.WELL_KNOWN or nat64.is_global(t)]
    if not asked:
        return ping.NOT_TRIED
    return ping.ask6([nat64.embed(prefix, target) for target in asked], interface=s.interface, own=_own(s))


def _way(targets: Sequence[IPv4Address]) -> machine.Way4 | None:
    try:
        with Netlink() as kernel:
            return machine.way4(kernel, targets[0]) if targets else None
    except HostError:
        return None


def _reach(target: IPv4Address | None, lengths: Sequence[int], device: str) -> ping.Reach | None:
    if target is None:
        return None
    try:
        return ping.longest4(target, lengths, interface=device)
    except HostError:
        return None


def _answering(trial: Trial, targets: Sequence[IPv4Address]) -> IPv4Address | None:
    """Who answered; nobody else is asked for long packets."""
    return next((target for target in targets if trial.detail.startswith(f"{target} ")), None)


def _difference(
    before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]], s: Subject, way: str
) -> int | None:
    """How many test packets the translator has counted; None where it does not say."""
    try:
        return _count(after[s.interface], way, s) - _count(before[s.interface], way, s)
    except (KeyError, TypeError):
        return None


def _count(counters: Mapping[str, Any], way: str, s: Subject) -> int:
    """Others may use TCP meanwhile; without the right to ping, so do we."""
    kinds = ("icmp",) if s.as_root else ("icmp", "tcp")
    rows = counters[way]["protocols"]
    return sum(int(rows[kind]["packets"]) for kind in kinds if kind in rows)


def _behind(s: Subject, plan: Plan | None, targets: Sequence[IPv4Address]) -> tuple[Behind, ...] | None:
    """Who has IPv4 by this host and its translator, as the rules say. Without forwarding they are not even read."""
    if plan is None or not s.lans or not targets:
        return ()
    if not s.as_root:
        return None
    rules = ruleset.parse(_nft(_RULES))
    found = []
    for device, own in s.lans:
        there = Passing(comes=device, goes=plan.device, source=own, target=targets[0])
        back = Passing(comes=plan.device, goes=device, source=targets[0], target=own, answer=True)
        if rules.masks(there):  # else nobody wants it
            found.append(Behind(device=device, drop_out=rules.droppers(there), drop_back=rules.droppers(back)))
    return tuple(found)


def _nft(argv: Sequence[str]) -> str:
    """What nft(8) says, where there is one."""
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=_NFT_S, check=False, env=environment, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""
    return done.stdout
