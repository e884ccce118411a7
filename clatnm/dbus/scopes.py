# SPDX-License-Identifier: GPL-2.0-or-later
"""Units of their own for the processes that outlive us: transient scopes, which systemd makes over the bus.

Whatever is in a service's cgroup when that is started again, systemd calls left over from an unclean end; and
`systemctl status` does not tell a translator from the daemon. A scope changes nothing for the process in it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from clatnm.dbus.bus import Bus, Variant
from clatnm.dbus.names import SYSTEMD1, SYSTEMD1_MANAGER, SYSTEMD1_PATH
from clatnm.errors import BusError

log = logging.getLogger(__name__)

_UNIT_EXISTS: Final = f"{SYSTEMD1}.UnitExists"
# systemd.unit(5), of what may be in a name; `@` and `\` mean something.
_LETTERS: Final = frozenset((string.ascii_letters + string.digits + ":-_.").encode())
_PREFIX: Final = "clat"
# For one that hangs while the machine is shut down, and whose daemon is gone.
_STOP_US: Final = 5_000_000
# systemd answers before it has done it.
_LOOKS_S: Final = (0.0, 0.02, 0.1, 0.5, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Processes that are one unit. They are there as long as the first of them is."""

    name: str
    """What the unit is called after: a device, or what else is called clat-something."""
    description: str
    pids: tuple[int, ...]


class Scopes:
    """Puts every group that it was last told to `want` into a unit of its own, once; where that fails, they stay.

    Nothing is done in a process that systemd has not itself started as a service.
    """

    def __init__(self, *, environment: Mapping[str, str] = os.environ) -> None:
        # systemd.exec(5): so a process finds out that it is the unit's own, and nobody's who inherited that.
        self._is_service = environment.get("SYSTEMD_EXEC_PID") == str(os.getpid())
        self._bus: Bus | None = None
        self._wanted: tuple[Group, ...] = ()
        self._units: dict[tuple[int, ...], str] = {}
        """By pids; "" while it was in vain."""
        self._work: asyncio.Task[None] | None = None

    def attach(self, bus: Bus) -> None:
        """Ask over `bus` from now on, also what was asked in vain before."""
        self._bus = bus
        self._units = {pids: unit for pids, unit in self._units.items() if unit}
        self._begin()

    def want(self, groups: Iterable[Group]) -> None:
        """These are all that there are now. A unit keeps its name as long as its processes are there."""
        self._wanted = tuple(groups)
        there = {group.pids for group in self._wanted}
        self._units = {pids: unit for pids, unit in self._units.items() if pids in there}
        self._begin()

    def unit(self, pid: int) -> str:
        """The unit that a process has been put into; "" for none."""
        return next((unit for pids, unit in self._units.items() if pid in pids), "")

    def close(self) -> None:
        """Put nothing anywhere any more."""
        self._is_service = False
        if self._work is not None:
            self._work.cancel()

    def _begin(self) -> None:
        if self._is_service and self._bus is not None and (self._work is None or self._work.done()) and self._next():
            self._work = asyncio.ensure_future(self._settle())

    def _next(self) -> Group | None:
        return next((group for group in self._wanted if group.pids not in self._units), None)

    async def _settle(self) -> None:
        while (group := self._next()) is not None:
            bus = self._bus
            assert bus is not None
            try:
                self._units[group.pids] = await _settled(bus, group)
            except BusError as error:
                if bus is self._bus:  # else the next one is asked
                    self._units[group.pids] = ""
                    log.debug("%s stays in the daemon's unit: %s", group.name, error)


def unit_name(name: str, *, pid: int = 0) -> str:
    """`clat-wlan0.scope`; with a `pid`, one that nobody else has."""
    escaped = "".join(chr(byte) if byte in _LETTERS else f"\\x{byte:02x}" for byte in os.fsencode(name))
    # Not anybody's name: a device may be called `init`.
    return f"{'' if name.startswith(_PREFIX) else f'{_PREFIX}-'}{escaped}{f'-{pid}' if pid else ''}.scope"


def unit_behind(path: str) -> str:
    """The name of the unit whose object this is: `…/clat_2dwlan0_2escope` is `clat-wlan0.scope`."""
    return re.sub(r"_([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), path.rpartition("/")[2])


async def _settled(bus: Bus, group: Group) -> str:
    """Have it in a unit of its own, unless an earlier daemon has seen to that: which one. BusError."""
    ours, found = await _unit_of(bus, os.getpid()), await _unit_of(bus, group.pids[0])
    # Only what is in our own is moved: should they have ended, their numbers may be somebody else's by now.
    if found == ours:
        try:
            await _start(bus, unit_name(group.name), group, ours)
        except BusError as error:
            if error.name != _UNIT_EXISTS:
                raise
            # One with its name before is not quite gone, or its device is called otherwise by now.
            await _start(bus, unit_name(group.name, pid=group.pids[0]), group, ours)
        for pause_s in _LOOKS_S:
            await asyncio.sleep(pause_s)
            found = await _unit_of(bus, group.pids[0])
            if found != ours:
                break
    if not (found.startswith(_PREFIX) and found.endswith(".scope")):
        raise BusError(f"systemd counts it to {found}")
    return found


async def _unit_of(bus: Bus, pid: int) -> str:
    """What systemd counts a process to. BusError: it is gone, or there is no systemd."""
    answer = await _ask(bus, "GetUnitByPID", "u", [pid])
    return unit_behind(str(answer[0])) if answer else ""


async def _start(bus: Bus, name: str, group: Group, ours: str) -> None:
    """BusError: nothing has changed."""
    description = os.fsencode(group.description).decode(errors="replace")
    properties: Mapping[str, Any] = {
        "PIDs": Variant("au", list(group.pids)),
        "Description": Variant("s", description),
        "Documentation": Variant("as", ["man:clatnm(8)"]),
        # What is stopped at the same time is stopped in the other order: we end them ourselves, routes first, and
        # start none anew because systemd was quicker.
        "Before": Variant("as", [ours]),
        # All that the service's cgroup has forbidden, so that nothing is allowed by the move.
        "DevicePolicy": Variant("s", "closed"),
        "CollectMode": Variant("s", "inactive-or-failed"),
        "TimeoutStopUSec": Variant("t", _STOP_US),
    }
    # fail: it is not to come in the way of a shutdown.
    await _ask(bus, "StartTransientUnit", "ssa(sv)a(sa(sv))", [name, "fail", [list(p) for p in properties.items()], []])


async def _ask(bus: Bus, member: str, signature: str, body: list[Any]) -> list[Any]:
    return await bus.call(
        destination=SYSTEMD1,
        path=SYSTEMD1_PATH,
        interface=SYSTEMD1_MANAGER,
        member=member,
        signature=signature,
        body=body,
    )
