# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs of the administrator's that are run when a translator is there, and when it is gone.

What clatd knows as `script-up` and `script-down`, with clatd's names for everything in their environment. Each ends
within a time or is ended, and no connection but its own waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from clatnm.log import Message, about
from clatnm.model import Plan, Settings
from clatnm.waiting import wait_for

log = logging.getLogger(__name__)

UP_S, DOWN_S = 20.0, 5.0
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_KEPT: Final = ("LANG", "LC_ALL", "TZ", "DBUS_SYSTEM_BUS_ADDRESS")
_WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH
_TCP_HEADERS: Final = 40
_ICMP_SOURCE: Final = "192.0.0.8"  # RFC 7600


@dataclass(frozen=True, slots=True, kw_only=True)
class Scripts:
    """The absolute paths of what is to be run; "" for nothing."""

    up: str = ""
    down: str = ""


class Hooks:
    """`settings` gives those in force. What is to be run in the end is settled when a translator comes."""

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self._settings = settings
        self._down: dict[str, tuple[str, Mapping[str, str]]] = {}
        self._running: set[int] = set()
        self._hurried = False

    async def up(self, plan: Plan) -> str:
        """The translator is there: what went wrong, then it is not to stay; "" if nothing did."""
        settings = self._settings()
        scripts, told = scripts_of(plan, settings), environment(plan, settings.of(plan.uuid))
        error = await self._run(scripts.up, told, coming=True) if scripts.up else ""
        if not error and scripts.down:
            self._down[plan.key] = scripts.down, told
        return f"script-up: {error}" if error else ""

    async def down(self, plan: Plan) -> None:
        """It is gone. What goes wrong now is a warning.

        The script is told what `script-up` was, to undo that, whatever has changed since. Only the device's name is the
        last one: its first one may be another translator's by now.
        """
        path, told = self._down.pop(plan.key, ("", {}))
        error = await self._run(path, {**told, "clat_dev": plan.device}, coming=False) if path else ""
        if error:
            extra = about(Message.SCRIPT_FAILED, connection=plan.uuid, uplink=plan.interface, error=error)
            log.warning("%s: script-down: %s", plan.owner, error, extra=extra)

    def down_of(self, plan: Plan) -> tuple[str, Mapping[str, str]]:
        """What is to be run when it is gone, "" for nothing, and its environment."""
        return self._down.get(plan.key, ("", {}))

    def inherit(self, plan: Plan, script_down: str, told: Mapping[str, str]) -> None:
        """It is there since before us, with this to be run in the end, in this environment."""
        if script_down:  # a daemon of an older version has written no environment
            self._down[plan.key] = script_down, told or environment(plan, self._settings().of(plan.uuid))

    def hurry(self) -> None:
        """The daemon ends: nobody waits for what a translator needs to come."""
        self._hurried = True
        for pid in self._running:
            _end(pid)

    async def _run(self, path: str, told: Mapping[str, str], *, coming: bool) -> str:
        """What went wrong; "" when it ended with status 0."""
        fault = unfit(path)
        if fault:
            return fault
        if coming and self._hurried:
            return "the daemon ends"
        patience_s = UP_S if coming else DOWN_S
        try:
            process = await asyncio.create_subprocess_exec(
                path,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=2,  # to the journal, as everything that this process says
                start_new_session=True,
                cwd="/",
                env=told,
            )
        except (OSError, ValueError) as error:
            return f"{path}: {error.strerror if isinstance(error, OSError) else error}"
        if coming:
            self._running.add(process.pid)
        try:
            status = await wait_for(process.wait(), patience_s)
        except asyncio.TimeoutError:
            _end(process.pid)
            await process.wait()
            return f"{path} did not end within {patience_s:g} s"
        finally:
            self._running.discard(process.pid)
        if status < 0:
            return f"{path} was ended by {_signal(-status)}"
        return f"{path} ended with status {status}" if status else ""


def _signal(number: int) -> str:
    """Its name; those between the first and the last real-time signal have none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _end(pid: int) -> None:
    """End it and all that it has started and not let go."""
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)


def scripts_of(plan: Plan, settings: Settings) -> Scripts:
    """What is set for the connection, or the static translator, that a translator is for."""
    if plan.static:
        static = next((one for one in settings.statics if one.name == plan.static), None)
        return Scripts() if static is None else Scripts(up=static.script_up, down=static.script_down)
    own = settings.of(plan.uuid)
    return Scripts(up=own.script_up, down=own.script_down)


def unfit(path: str) -> str:
    """Why nobody should run this program as root; "" if there is no reason."""
    try:
        found = Path(path).stat()
    except OSError as error:
        return f"{path}: {error.strerror}"
    if not stat.S_ISREG(found.st_mode) or not os.access(path, os.X_OK):
        return f"{path} is no program (chmod +x)"
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & _WRITABLE_BY_OTHERS:
        return f"{path} can be changed by others than root (chown root, chmod go-w)"
    return ""


def environment(plan: Plan, settings: Settings) -> Mapping[str, str]:
    """clatd's names for everything, `-` as `_`; what clatnm does without is as if it were switched off in clatd."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    default = plan.default_route if plan.relay is None else any(not route.prefixlen for route in plan.relay.routes)
    return {
        **kept,
        "PATH": os.environ.get("PATH", _PATH),
        "clat_dev": plan.device,
        "clat_v4_addr": str(plan.clat_v4),
        "clat_v6_addr": str(plan.clat_v6),
        "plat_dev": plan.interface,
        "plat_prefix": str(plan.prefix),
        "plat_fallback_prefix": str(settings.fallback_prefix or ""),
        "dns64_servers": ",".join(map(str, settings.dns64_servers)),
        "v4_defaultroute_enable": str(int(default)),
        "v4_defaultroute_metric": str(plan.metric),
        "v4_defaultroute_mtu": str(plan.ipv4_mtu_bytes),
        "v4_defaultroute_advmss": str(plan.ipv4_mtu_bytes - _TCP_HEADERS),
        "v4_defaultroute_replace": "0",
        "v4_conncheck_enable": "1",
        "v4_conncheck_delay": "0",
        "tayga_v4_addr": _ICMP_SOURCE,
        "tayga_conffile": "",
        "script_up": settings.script_up,
        "script_down": settings.script_down,
        **dict.fromkeys(("quiet", "debug", "ctmark", "forwarding_enable", "proxynd_enable", "route_table"), "0"),
        **{f"cmd_{name}": name for name in ("ip", "networkctl", "nft", "tayga", "ufw")},
        "clatnm_uuid": plan.uuid,
    }
