# SPDX-License-Identifier: GPL-2.0-or-later
"""Stored NetworkManager profiles: finding one by name, and writing our mode into the place that suits."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from clatnm.dbus import names
from clatnm.dbus.bus import Bus, Variant, unwrap
from clatnm.errors import BusError, ConfigError
from clatnm.model import Mode
from clatnm.uplinks.nm_modes import MODE_KEY, NUMBERS, is_token, modes_from
from clatnm.uplinks.nm_objects import (
    NM,
    NM_PATH,
    ROOT_PATH,
    SETTINGS_CONNECTION,
    active_profiles,
    uplinks_from,
)
from clatnm.uplinks.nm_types import objects_from, profile_from

_SETTINGS = f"{NM}.Settings"
_SETTINGS_PATH = f"{NM_PATH}/Settings"
_UPDATE2_TO_DISK = 0x1
_KNOWS_CLAT = (1, 57, 2)
_CHANGED_MEANWHILE = f"{_SETTINGS}.VersionIdMismatch"

# setting → key → Variant, exactly as GetSettings gives and Update2 takes it
_Raw = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of `set_mode`."""

    uuid: str
    place: str
    """Where the profile has its mode now; empty: it has none."""
    changed: bool
    kept: bool = True
    """False: NetworkManager took it, but its profile store lost it (netplan)."""
    translating: tuple[str, ...] = ()
    """Interfaces on which NetworkManager itself goes on translating until the connection is activated again."""


async def set_mode(connection: str, mode: Mode | None) -> Outcome:
    """Give the profile with this name or UUID a mode, in one place of it; None: no mode, in any place.

    ConfigError: no such profile, or several of that name. BusError: NetworkManager is away or refuses (polkit).
    """
    bus = await Bus.connect()
    try:
        return await _set_mode(bus, connection, mode)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        what = "NetworkManager's answer is not understood"
        raise BusError(what, hint="see: nmcli --version; docs/networkmanager.md has those that were tried") from error
    finally:
        bus.close()


async def _set_mode(bus: Bus, connection: str, mode: Mode | None) -> Outcome:
    path, settings = await _find(bus, connection)
    native = await _knows_clat(bus)
    wanted = with_mode(settings, mode, native=native)
    changed = wanted != settings
    if changed:
        try:
            await _write(bus, path, mode, native=native)
        except BusError as error:
            if error.name != _CHANGED_MEANWHILE:
                raise
            await _write(bus, path, mode, native=native)
        settings = await _settings(bus, path)
    uuid = str(unwrap(settings["connection"]["uuid"]))
    told = modes_from(profile_from(unwrap(settings)))
    return Outcome(
        uuid=uuid,
        place=told[0].source if told else "",
        changed=changed,
        kept=[each.mode for each in told] == ([] if mode is None else [mode]),
        translating=await _translating(bus, uuid) if mode is Mode.NO and native else (),
    )


def with_mode(settings: _Raw, mode: Mode | None, *, native: bool) -> _Raw:
    """The settings with `mode` in one place and in no other; `native`: NetworkManager has a place for it.

    All else stays as it is. There are no secrets in it: then NetworkManager keeps those it has.
    """
    changed = {name: dict(keys) for name, keys in settings.items()}
    for name in ("ipv4", "ipv6"):
        _drop_token(changed.get(name, {}))
    _put_user_data(changed, None)
    changed.get("ipv4", {}).pop("clat", None)
    if mode is not None and native and "ipv4" in changed:
        changed["ipv4"]["clat"] = Variant("i", NUMBERS[mode])
    elif mode is not None:
        _put_user_data(changed, mode)
    return changed


def _drop_token(keys: dict[str, Any]) -> None:
    options = keys.get("dns-options")
    kept = [option for option in options.value if not is_token(option)] if options else []
    if options and len(kept) < len(options.value):
        # An empty list is a statement about DNS; the one who added ours made none.
        keys.pop("dns-options")
        if kept:
            keys["dns-options"] = Variant("as", kept)


def _put_user_data(settings: _Raw, mode: Mode | None) -> None:
    data = dict(settings.get("user", {}).get("data", Variant("a{ss}", {})).value)
    before = dict(data)
    data.pop(MODE_KEY, None)
    if mode is not None:
        data[MODE_KEY] = str(mode)
    if data != before:
        # Empty perhaps, but there: NetworkManager (1.42 to 1.58 at least) forgets all secrets of a profile from which
        # a setting is missing that it had before.
        settings.setdefault("user", {})["data"] = Variant("a{ss}", data)


async def _write(bus: Bus, path: str, mode: Mode | None, *, native: bool) -> None:
    """Store the profile as it is this moment, with the mode. Where NetworkManager can tell (1.44), it refuses if the
    profile has changed in between."""
    version = await _version_id(bus, path)
    settings = with_mode(await _settings(bus, path), mode, native=native)
    arguments = {} if version is None else {"version-id": Variant("t", version)}
    await bus.call(
        destination=NM,
        path=path,
        interface=SETTINGS_CONNECTION,
        member="Update2",
        signature="a{sa{sv}}ua{sv}",
        body=[settings, _UPDATE2_TO_DISK, arguments],
    )


async def _version_id(bus: Bus, path: str) -> int | None:
    try:
        return int(await _property(bus, path, SETTINGS_CONNECTION, "VersionId"))
    except BusError as error:
        if error.name:  # it has no such property
            return None
        raise


async def _knows_clat(bus: Bus) -> bool:
    """Whether profiles can have `ipv4.clat`. If NetworkManager was built without its CLAT, we do what stands there."""
    try:
        version = str(await _property(bus, NM_PATH, NM, "Version"))
    except BusError:
        return False
    return tuple(map(int, re.findall(r"\d+", version)[:3])) >= _KNOWS_CLAT


async def _translating(bus: Bus, uuid: str) -> tuple[str, ...]:
    reply = await bus.call(destination=NM, path=ROOT_PATH, interface=names.OBJECT_MANAGER, member="GetManagedObjects")
    objects = objects_from(unwrap(reply[0]))
    uplinks = uplinks_from(objects, {path: {} for path in active_profiles(objects)})
    return tuple(uplink.interface for uplink in uplinks if uplink.uuid == uuid and uplink.manager_clat)


async def _property(bus: Bus, path: str, interface: str, name: str) -> Any:
    reply = await bus.call(
        destination=NM, path=path, interface=names.PROPERTIES, member="Get", signature="ss", body=[interface, name]
    )
    return unwrap(reply[0])


async def _find(bus: Bus, wanted: str) -> tuple[str, _Raw]:
    try:
        reply = await bus.call(destination=NM, path=_SETTINGS_PATH, interface=_SETTINGS, member="ListConnections")
    except BusError as error:
        raise BusError(f"NetworkManager does not answer: {error}", hint="is it running?", name=error.name) from error
    by_name: list[tuple[str, _Raw]] = []
    for path in reply[0]:
        try:
            settings = await _settings(bus, path)
        except BusError:  # deleted meanwhile, or another user's
            continue
        identity = unwrap(settings.get("connection", {}))
        if identity.get("uuid") == wanted.lower():
            return path, settings
        if identity.get("id") == wanted:
            by_name.append((path, settings))
    if len(by_name) == 1:
        return by_name[0]
    if by_name:
        uuids = ", ".join(str(unwrap(settings["connection"]["uuid"])) for _, settings in by_name)
        raise ConfigError(f"{len(by_name)} connections are named '{wanted}'", hint=f"use a UUID: {uuids}")
    raise ConfigError(f"there is no connection '{wanted}'", hint="see: nmcli connection show")


async def _settings(bus: Bus, path: str) -> _Raw:
    reply = await bus.call(destination=NM, path=path, interface=SETTINGS_CONNECTION, member="GetSettings")
    settings: _Raw = reply[0]
    return settings
