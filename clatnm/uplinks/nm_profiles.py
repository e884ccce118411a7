# SPDX-License-Identifier: GPL-2.0-or-later
"""Stored NetworkManager profiles: finding one by name, and writing our mode into its user data."""

from __future__ import annotations

from typing import Any

from clatnm.dbus.bus import Bus, Variant, unwrap
from clatnm.errors import BusError, ConfigError
from clatnm.model import Mode
from clatnm.uplinks.nm_objects import MODE_KEY, NM, NM_PATH, SETTINGS_CONNECTION, profile_mode

_SETTINGS = f"{NM}.Settings"
_SETTINGS_PATH = f"{NM_PATH}/Settings"
_UPDATE2_TO_DISK = 0x1

# setting → key → Variant, exactly as GetSettings gives and Update2 takes it
_Raw = dict[str, dict[str, Any]]


async def set_mode(connection: str, mode: Mode) -> bool:
    """Set the mode of the profile with this name or UUID; False when it has it already.

    ConfigError: no such profile, or several of that name. BusError: NetworkManager is away or refuses (polkit).
    """
    bus = await Bus.connect()
    try:
        path, settings = await _find(bus, connection)
        if profile_mode(unwrap(settings)) is mode:
            return False
        # Everything as it was, and no secret: then NetworkManager keeps those it has.
        data = dict(settings.get("user", {}).get("data", Variant("a{ss}", {})).value)
        data[MODE_KEY] = str(mode)
        settings.setdefault("user", {})["data"] = Variant("a{ss}", data)
        await bus.call(
            destination=NM,
            path=path,
            interface=SETTINGS_CONNECTION,
            member="Update2",
            signature="a{sa{sv}}ua{sv}",
            body=[settings, _UPDATE2_TO_DISK, {}],
        )
        if profile_mode(unwrap(await _settings(bus, path))) is not mode:
            raise BusError(
                "NetworkManager accepted the change but did not keep it",
                hint="its profile store loses user data; use the global default in /etc/clatnm/clatnm.conf",
            )
        return True
    finally:
        bus.close()


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
