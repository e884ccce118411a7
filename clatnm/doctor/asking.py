# SPDX-License-Identifier: GPL-2.0-or-later
"""What the daemon, the bus and firewalld say, and what the files do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from clatnm import config, trace
from clatnm.dbus import names, service
from clatnm.dbus.bus import Bus
from clatnm.doctor.facts import Conf, DaemonState, Machine, StaticState
from clatnm.errors import BusError, ConfigError, NoDaemonError, ParseError
from clatnm.kernel import machine as kernel
from clatnm.model import Settings, World
from clatnm.translators.backends import BACKENDS

_FORBIDDEN = "org.freedesktop.DBus.Error.AccessDenied"
_FIREWALLD, _FIREWALLD_PATH = "org.fedoraproject.FirewallD1", "/org/fedoraproject/FirewallD1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the daemon said; `world` None where it said nothing."""

    state: DaemonState
    words: str = ""
    pid: int = 0
    at: float = 0.0
    world: World | None = None
    status: str = ""
    counters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By interface, what its translator has counted."""


def read_config(directory: Path, machine: Machine) -> tuple[Settings, Machine]:
    """The settings, those by default where they make no sense, and what there is to say about the files."""
    path = directory / config.CONFIG_NAME
    text = ""
    try:
        text = path.read_text(encoding="utf-8-sig") if path.exists() else ""
    except PermissionError:
        return Settings(), replace(machine, config_hidden=True)
    except (OSError, UnicodeDecodeError):
        pass  # `load` says what is wrong
    conf = Conf(path=str(path), has_section=any(line.strip() == "[clatnm]" for line in text.splitlines()))
    try:
        settings = config.load(directory, backends=tuple(BACKENDS))
    except ConfigError as error:
        hidden = "Permission denied" in error.what and not machine.as_root
        fault = "" if hidden else error.what
        changed = replace(machine, config_hidden=hidden, config_fault=fault, config_hint=error.hint, conf=conf)
        return Settings(), changed
    written = frozenset(key for key in config.KEYS if config.field_of(key) in settings.written)
    conf = replace(conf, written=written)
    changed = replace(machine, conf=conf, backend=settings.backend, plain_only=bool(settings.interfaces))
    return settings, changed


async def bus_fault() -> str:
    """Why there is no bus; "" if there is."""
    try:
        (await Bus.connect()).close()
    except BusError as error:
        return error.what
    return ""


async def ask_daemon() -> Told:
    """Its world and its status. It may be absent, without its name, or stuck."""
    try:
        ((at, world),) = trace.parse([await service.ask("World")])
        status = await service.ask("Status")
        counters = _counters(status)
    except NoDaemonError:
        pids = kernel.daemons()
        state = DaemonState.NAMELESS if pids else DaemonState.ABSENT
        return Told(state=state, pid=pids[0] if pids else 0)
    except BusError as error:
        state = DaemonState.FORBIDDEN if error.name == _FORBIDDEN else DaemonState.MUTE
        return Told(state=state, words=error.what, pid=await _pid())
    except (ParseError, ValueError, KeyError, TypeError, AttributeError):
        return Told(state=DaemonState.MUTE, words="its answer is of another version", pid=await _pid())
    return Told(state=DaemonState.ANSWERS, pid=await _pid(), at=at, world=world, status=status, counters=counters)


async def count() -> Mapping[str, Mapping[str, Any]]:
    """`Told.counters` now; none where the daemon does not say."""
    try:
        return _counters(await service.ask("Status"))
    except (BusError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _counters(status: str) -> Mapping[str, Mapping[str, Any]]:
    told = json.loads(status)["connections"]
    return {item["interface"]: item["translator"]["counters"] for item in told if item["translator"]}


async def explained(which: str) -> list[dict[str, Any]]:
    """What `clatnm explain` has about it; nothing where the daemon says nothing."""
    try:
        told = json.loads(await service.ask("Explain", which))
    except (BusError, ValueError):
        return []
    return [item for item in told if isinstance(item, dict)] if isinstance(told, list) else []


async def statics(status: str) -> tuple[StaticState, ...]:
    """The static translators; none where the daemon tells them in a form of another version."""
    try:
        return tuple([await _static(item) for item in json.loads(status)["static"]]) if status else ()
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()


async def _static(item: Mapping[str, Any]) -> StaticState:
    runs, name = item["state"] == "on", str(item["uuid"])
    told = [] if runs else await explained(name)
    change = str(told[0].get("change", "")) if told else "see: clatnm status"
    why = str(item.get("error") or item.get("explanation") or item["state"])
    return StaticState(name=name, runs=runs, why=why, change=change)


async def _pid() -> int:
    """Of whoever has our name on the bus; 0 where that is not known."""
    try:
        bus = await Bus.connect()
    except BusError:
        return 0
    try:
        return int((await _call(bus, names.DBUS, names.DBUS_PATH, names.DBUS, "GetConnectionUnixProcessID",
                                names.BUS_NAME))[0])  # fmt: skip
    except (BusError, ValueError, IndexError, TypeError):
        return 0
    finally:
        bus.close()


async def zones(uplink: str, device: str) -> tuple[str, str] | None:
    """firewalld's zones of two interfaces; None without firewalld, or where it does not say."""
    try:
        bus = await Bus.connect()
    except BusError:
        return None
    zone = f"{_FIREWALLD}.zone"
    try:
        # A question to it would start it.
        if not (await _call(bus, names.DBUS, names.DBUS_PATH, names.DBUS, "NameHasOwner", _FIREWALLD))[0]:
            return None
        default = (await _call(bus, _FIREWALLD, _FIREWALLD_PATH, _FIREWALLD, "getDefaultZone"))[0]
        found = [
            (await _call(bus, _FIREWALLD, _FIREWALLD_PATH, zone, "getZoneOfInterface", name))[0] or default
            for name in (uplink, device)
        ]
        return str(found[0]), str(found[1])
    except (BusError, IndexError):
        return None
    finally:
        bus.close()


async def _call(bus: Bus, destination: str, path: str, interface: str, member: str, *words: str) -> list[Any]:
    return await bus.call(
        destination=destination, path=path, interface=interface, member=member, signature="s" * len(words), body=words
    )
