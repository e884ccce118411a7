# SPDX-License-Identifier: GPL-2.0-or-later
"""One translator without a daemon: the same world, decision and backend, for an uplink and a prefix given by hand."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Network

from clatnm import config, relay
from clatnm.errors import ConfigError, TranslatorError
from clatnm.kernel.changes import Monitor
from clatnm.kernel.host import Host
from clatnm.model import (
    Choices,
    Link,
    Mode,
    Plan,
    PrefixCandidate,
    PrefixSource,
    Running,
    RunState,
    Settings,
    Uplink,
    World,
)
from clatnm.policy.addressing import device_name
from clatnm.policy.plan import decide
from clatnm.status import EXPLANATIONS
from clatnm.translators.backends import available, faults, sharing
from clatnm.translators.base import Translator
from clatnm.translators.leftovers import clean_first

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the user asked for; None leaves the choice to the same policy that the daemon follows."""

    uplink: str
    prefix: IPv6Network
    choices: Choices
    backend: str = "auto"


async def translate(wish: Wish, *, ready: Callable[[str], None]) -> None:
    """Run a translator until SIGTERM or SIGINT; `ready` gets one line once packets flow.

    ConfigError: no such interface, or addresses that are in use. TranslatorError: not possible on this uplink, or the
    translator died. HostError.
    """
    host = Host()
    changed, stop = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    monitor = Monitor(changed.set)
    try:
        planner = _Planner(wish, host)
        plan = await planner.plan(None)
        if isinstance(plan, str):
            raise TranslatorError(f"{wish.uplink}: {plan}")
        await clean_first(host)
        translator = await planner.backends[plan.backend].start(plan)
        try:
            mapped = "" if plan.relay is None else f" mappings={len(plan.relay.mappings)}"
            ready(f"ready {plan.device} {plan.clat_v4} {plan.clat_v6} {plan.prefix} {plan.backend}{mapped}")
            await _keep(translator, plan, planner, changed=changed, stop=stop)
        finally:
            await translator.stop()
    finally:
        monitor.close()
        await host.close()


class _Planner:
    def __init__(self, wish: Wish, host: Host) -> None:
        self._wish = wish
        self._host = host
        self.backends = available(host)
        self._secret = config.some_secret(config.STATE_DIR)

    async def plan(self, current: Plan | None) -> Plan | str:
        """The plan for the world as it is now, or why there is none."""
        wish = self._wish
        links = await self._host.do(lambda kernel: kernel.links())
        if wish.uplink not in links:
            raise ConfigError(f"there is no interface '{wish.uplink}'", hint="see: ip link")
        if current is None:
            _check(wish, links)
        candidate = PrefixCandidate(prefix=wish.prefix, source=PrefixSource.STATIC)
        world = World(
            uplinks=(
                Uplink(
                    interface=wish.uplink,
                    uuid="",
                    name=wish.uplink,
                    manager="none",
                    choices=wish.choices,
                ),
            ),
            links=links,
            prefixes={wish.uplink: (candidate,)},
            running={} if current is None else {current.key: Running(plan=current, state=RunState.ON)},
            # What was not asked for need not be tried: that takes longer than all of deciding.
            backends=faults({name: it for name, it in self.backends.items() if wish.backend in ("auto", name)}),
            sharing_backends=sharing(self.backends),
            # One device, and it stays: what changes, changes in it.
            settings=Settings(mode=Mode.FORCE, backend=wish.backend, drain_s=0),
            secret=self._secret,
        )
        (verdict,) = decide(world, now=0.0)
        log.debug("%s %s", wish.uplink, verdict.line())
        if verdict.plan is None:
            return EXPLANATIONS[verdict.reason] if verdict.reason else "no plan"
        return verdict.plan


def _check(wish: Wish, links: Mapping[str, Link]) -> None:
    """What can be told in plainer words than by failing later. ConfigError, TranslatorError."""
    device, edge = device_name(wish.uplink), wish.choices.relay
    beside = edge is not None and not edge.has_default and wish.choices.device not in (None, device)
    if device in links and not beside:
        hint = f"stop the other one; or `clatnm set` the connection on {wish.uplink} to no"
        raise TranslatorError(f"{wish.uplink} has a translator already, on {device}", hint=hint)
    if edge is not None:
        others = {address: name for name, link in links.items() for address in link.addresses4}
        relay.check_link(edge, links[wish.uplink], others=others)
        if any(own.address == wish.choices.clat_v6 for own in links[wish.uplink].addresses6):
            what = f"{wish.choices.clat_v6} is an address of {wish.uplink}, and an Edge Relay shares none"
            raise ConfigError(what, hint="--clat-v6-addr: one of its own, or none")
    for name, link in links.items():
        if wish.choices.clat_v4 in link.addresses4:
            raise ConfigError(f"{wish.choices.clat_v4} is in use on {name}", hint="choose another --clat-v4-addr")
    for own in links[wish.uplink].addresses6:
        if own.address in wish.prefix:
            what = f"{wish.prefix} contains {own.address}, an address of {wish.uplink}"
            raise ConfigError(what, hint="--plat-prefix is the prefix of the network's NAT64")


async def _keep(
    translator: Translator, plan: Plan, planner: _Planner, *, changed: asyncio.Event, stop: asyncio.Event
) -> None:
    """Follow the uplink's next hop, MTU and metric until told to stop. TranslatorError when the translator dies."""
    ended = asyncio.ensure_future(translator.ended())
    stopped = asyncio.ensure_future(stop.wait())
    try:
        while True:
            moved = asyncio.ensure_future(changed.wait())
            await asyncio.wait({ended, stopped, moved}, return_when=asyncio.FIRST_COMPLETED)
            moved.cancel()
            if stopped.done():
                return
            if ended.done():
                raise TranslatorError(ended.result().error)
            changed.clear()
            new = await planner.plan(plan)
            # Without IPv6 for a while there is nothing better to do than to wait for it with what we have.
            if isinstance(new, Plan) and new != plan:
                if not plan.same_translator(new):
                    raise TranslatorError(f"the addresses of {plan.interface} have changed", hint="start it again")
                await translator.update(new)
                plan = new
    finally:
        ended.cancel()
        stopped.cancel()
