# SPDX-License-Identifier: GPL-2.0-or-later
"""firewalld judges packets by the zone of their interface: a device of ours belongs in that of its uplink.

Only while firewalld runs, and only in what it has at run time: nothing is stored, no rule made, no other interface
moved. What an administrator has stored for a device of that name is left as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Any, Final

from clatnm.dbus.bus import Bus, Signal
from clatnm.errors import BusError
from clatnm.firewall.memory import Memory
from clatnm.log import Message, about
from clatnm.waiting import wait_for

log = logging.getLogger(__name__)

NAME: Final = "org.fedoraproject.FirewallD1"
PATH: Final = "/org/fedoraproject/FirewallD1"
CONFIG_PATH: Final = f"{PATH}/config"
ZONE: Final = f"{NAME}.zone"
CONFIG: Final = f"{NAME}.config"
_AGAIN_S, _LONGEST_S = 5.0, 300.0
_FAREWELL_S = 2.0


class Firewalld:
    """Follows firewalld over a bus, and keeps what it was last told to `want`. A failure is one warning.

    `memory`: what an earlier daemon has put into zones, and where we write that down.
    """

    def __init__(self, memory: Memory | None = None) -> None:
        self._memory = memory
        self._inherited = memory is None
        self._wanted: Mapping[str, str] | None = None
        """None: nobody has told yet, so everything stays as it is."""
        self._placed: dict[str, str] = {}
        self._bus: Bus | None = None
        self._owner = ""
        self._complained = False
        self._again = asyncio.Event()
        self._done = asyncio.Event()
        self._work: asyncio.Task[None] | None = None

    async def attach(self, bus: Bus) -> None:
        """Follow firewalld, now or when it comes, over `bus`. BusError."""
        self._bus, self._owner = bus, ""
        bus.on_signal(self._hear)
        self._owner = await bus.follow(NAME)
        if self._memory is not None and not self._inherited:
            self._inherited = True
            self._placed = self._memory.read() if self._owner else {}
            self._remember()
        self._look_again()

    def want(self, devices: Mapping[str, str]) -> None:
        """From now on each of these devices is to be in the zone of its uplink, and none that was before."""
        if devices != self._wanted:
            self._wanted = dict(devices)
            self._look_again()

    async def close(self) -> None:
        """Take every device out of its zone again, as far as that is quickly done."""
        self._wanted = {}
        if self._placed and self._owner:
            self._look_again()
            with contextlib.suppress(asyncio.TimeoutError):
                await wait_for(self._done.wait(), _FAREWELL_S)
        if self._work is not None:
            self._work.cancel()

    def _look_again(self) -> None:
        self._done.clear()
        self._again.set()
        if self._work is None:
            self._work = asyncio.ensure_future(self._keep())

    def _hear(self, message: Signal) -> None:
        match message.member, message.body:
            case "NameOwnerChanged", (str(name), _, str(owner)) if name == NAME:
                self._owner = owner
                self._placed.clear()  # it begins with what is stored
                self._remember()
            case "ZoneOfInterfaceChanged" | "InterfaceAdded" | "InterfaceRemoved", (_, str(interface)):
                if message.sender != self._owner or interface not in (self._wanted or {}).values():
                    return
            # Devices mostly stay where they are in a reload.
            case "Reloaded" | "DefaultZoneChanged", _ if message.sender == self._owner:
                pass
            case _:
                return
        self._look_again()

    async def _keep(self) -> None:
        patience_s = _AGAIN_S
        while True:
            await self._again.wait()
            self._again.clear()
            if await self._reconcile():
                patience_s = _AGAIN_S
                if not self._again.is_set():
                    self._done.set()
            else:
                with contextlib.suppress(asyncio.TimeoutError):
                    await wait_for(self._again.wait(), patience_s)
                patience_s = min(2 * patience_s, _LONGEST_S)
                self._again.set()

    async def _reconcile(self) -> bool:
        """One round; False: it failed, and is worth another try."""
        bus, wanted = self._bus, self._wanted
        if bus is None or wanted is None or not self._owner:
            return True
        try:
            # All of them now: should firewalld end meanwhile, they are forgotten.
            for device, zone in [placed for placed in self._placed.items() if placed[0] not in wanted]:
                await self._leave(bus, device, zone)
            for device, uplink in wanted.items():
                await self._join(bus, device, uplink)
        except BusError as error:
            if not self._owner or bus is not self._bus:
                return True  # it went away meanwhile; when it comes back, that is heard
            if not self._complained:
                told = about(Message.ZONE_UNKNOWN, error=error)
                log.warning("firewalld: devices may not be in the zones of their uplinks: %s", error, extra=told)
            self._complained = True
            return False
        self._complained = False
        return True

    async def _join(self, bus: Bus, device: str, uplink: str) -> None:
        zone, own = await self._zone(bus, uplink), await self._zone(bus, device)
        if zone == own and (not zone or self._placed.get(device) == zone):
            return
        if await self._stored_zone(bus, device):
            log.debug("firewalld: %s stays in the zone that is stored for it", device)
            return
        if not zone:  # the default zone has whoever is in none
            await self._leave(bus, device, own)
            return
        self._placed[device] = zone  # before it is: should we end meanwhile, it has to leave
        self._remember()
        if zone == own:  # since an earlier daemon, which was killed
            return
        await self._ask(bus, "changeZoneOfInterface", zone, device)
        told = about(Message.ZONE_JOINED, uplink=uplink, device=device, zone=zone)
        log.info("firewalld: %s is in zone %s, as %s is", device, zone, uplink, extra=told)

    async def _leave(self, bus: Bus, device: str, zone: str) -> None:
        # What has been stored for it since then stays.
        if await self._zone(bus, device) == zone and not await self._stored_zone(bus, device):
            await self._ask(bus, "removeInterface", zone, device)
        self._placed.pop(device, None)
        self._remember()

    def _remember(self) -> None:
        if self._memory is not None:
            self._memory.write(self._placed)

    async def _zone(self, bus: Bus, interface: str) -> str:
        """Its zone at run time; "" for none, which is the default zone."""
        return await self._ask(bus, "getZoneOfInterface", interface)

    async def _stored_zone(self, bus: Bus, interface: str) -> str:
        answer = await bus.call(
            destination=NAME,
            path=CONFIG_PATH,
            interface=CONFIG,
            member="getZoneOfInterface",
            signature="s",
            body=[interface],
        )
        return _word(answer)

    async def _ask(self, bus: Bus, member: str, *words: str) -> str:
        answer = await bus.call(
            destination=NAME, path=PATH, interface=ZONE, member=member, signature="s" * len(words), body=words
        )
        return _word(answer)


async def release(zones: Mapping[str, str]) -> None:
    """Take these devices, which are gone, out of the zones that they were put into. BusError."""
    bus = await Bus.connect()
    try:
        left = Firewalld()
        left._placed = dict(zones)
        await left.attach(bus)
        await left.close()
    finally:
        bus.close()


def _word(answer: list[Any]) -> str:
    """The text that an answer is. BusError for another one: then this is no firewalld that we know."""
    if not answer or not isinstance(answer[0], str):
        raise BusError("firewalld's answer is not understood")
    return answer[0]
