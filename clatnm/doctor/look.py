# SPDX-License-Identifier: GPL-2.0-or-later
"""The world without a daemon: what one would see some seconds after its start. Root only."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from clatnm.clock import boottime
from clatnm.dbus.bus import Bus
from clatnm.errors import BusError
from clatnm.kernel.host import Host
from clatnm.model import Settings, World
from clatnm.observer import Observer
from clatnm.policy.plan import decide
from clatnm.translators.backends import BACKENDS, available, faults, sharing
from clatnm.waiting import wait_for

# A router answers within half a second, a resolver within two; where nobody answers, somebody waits for us.
_WAIT_S = 4.0
_AT_LEAST_S = 1.0


async def look_around(settings: Settings) -> tuple[float, World, Mapping[str, str]]:
    """CLOCK_BOOTTIME seconds, the world then, and who manages each link, "" for nobody. HostError: not root."""
    host, changed = Host(), asyncio.Event()
    observer = Observer(host, clock=boottime, changed=changed.set, backends=tuple(BACKENDS))
    backends = available(host)
    bus: Bus | None = None
    try:
        try:
            bus = await Bus.connect()
            await observer.attach(bus)
        except BusError:
            observer.without_bus()
        begun = boottime()
        while True:
            changed.clear()
            await observer.look(settings, {})
            at = boottime()
            known = observer.world(settings, at)
            known = replace(known, backends=faults(backends), sharing_backends=sharing(backends))
            if at >= begun + _WAIT_S or (at >= begun + _AT_LEAST_S and _is_settled(known, at)):
                return at, known, {name: observer.manager_of(name) for name in known.links}
            try:
                await wait_for(changed.wait(), _AT_LEAST_S / 2)
            except asyncio.TimeoutError:
                continue
    finally:
        observer.close()
        if bus is not None:
            bus.close()
        await host.close()


def _is_settled(world: World, at: float) -> bool:
    """Nobody is still to say whether there is a prefix."""
    waiting = {v.uplink.interface for v in decide(world, at) if v.reason == "no-pref64"}
    return bool(world.uplinks) and all(report.settled for name in waiting for report in world.reports.get(name, ()))
