# SPDX-License-Identifier: GPL-2.0-or-later
"""A NetworkManager without a network: tells the objects it is given, and does what a test says on a real bus."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterable
from typing import Any

from clatnm.dbus import bus as library
from clatnm.dbus import names
from clatnm.dbus.bus import Bus, Signal, Variant, unwrap
from clatnm.uplinks import nm_objects
from clatnm.uplinks.nm_modes import Profile
from clatnm.uplinks.nm_objects import NM, NM_PATH, ROOT_PATH, SETTINGS_CONNECTION, Objects

# The library that clatnm uses here, whichever that is
Message: Any = vars(library)["Message"]
MessageType: Any = vars(library)["MessageType"]


def variant(value: Any) -> Any:
    """`value` as NetworkManager would send it, as far as anybody could tell afterwards."""
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return Variant("aa{sv}", [{key: variant(item) for key, item in entry.items()} for entry in value])
    if isinstance(value, dict) and all(isinstance(item, str) for item in value.values()):
        return Variant("a{ss}", value)
    kinds = {bool: "b", int: "u", str: "s", list: "au" if value and not isinstance(value, str) else "as"}
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return Variant("as", value)
    return Variant(kinds[type(value)], value)


def variants(settings: Any) -> Any:
    """Setting or interface → key → Variant."""
    return {name: {key: variant(value) for key, value in keys.items()} for name, keys in settings.items()}


class FakeNetworkManager:
    """`refuse` maps a member (or member and path) to the D-Bus error it gets; `mute` members are never answered."""

    def __init__(self, objects: Objects, profiles: dict[str, Profile]) -> None:
        self.objects = copy.deepcopy(objects)
        self.profiles: dict[str, Any] = {path: variants(profile) for path, profile in profiles.items()}
        self.refuse: dict[str, str] = {}
        self.mute: set[str] = set()
        self.calls: list[tuple[str, str]] = []
        self.updates: list[tuple[str, list[Any]]] = []
        self.version = "1.42.4"
        self.version_ids: dict[str, int] = {}
        """Per path; profiles have none before 1.44."""
        self.racing = 0
        """So many times somebody else changes a profile, just after its version was read."""
        self.forgetful = False
        """Accept updates and lose user data, as a lossy profile store does."""
        self._held: dict[str, list[Any]] = {}
        self._bus: Bus | None = None

    async def start(self) -> None:
        self._bus = await Bus.connect()
        self._bus._connection.add_message_handler(self._handle)
        await self._bus.own_name(NM)

    def stop(self) -> None:
        assert self._bus is not None
        self._bus.close()

    @property
    def unique_name(self) -> str:
        assert self._bus is not None
        return str(self._bus._connection.unique_name)

    async def say(self, signals: Iterable[Signal]) -> None:
        """Let things happen: to our own objects, and as signals to everybody."""
        for signal in signals:
            nm_objects.apply(self.objects, copy.deepcopy(signal))
            await self._send(signal)

    def hold(self, member: str) -> None:
        """Answer `member` with what is true when it is asked, but only after `release`."""
        self._held[member] = []

    async def release(self, member: str) -> None:
        """Send what was held back, in order."""
        assert self._bus is not None
        for reply in self._held.pop(member):
            await self._bus._connection.send(reply)
        await self.flush()

    def holding(self, member: str) -> int:
        """How many answers are held back."""
        return len(self._held[member])

    def count(self, member: str, path: str | None = None) -> int:
        """How often `member` has been called (on `path`)."""
        return sum(call[0] == member and path in (None, call[1]) for call in self.calls)

    async def flush(self) -> None:
        """Return when the bus has all we said."""
        assert self._bus is not None
        await self._bus.call(destination=names.DBUS, path=names.DBUS_PATH, interface=names.DBUS, member="GetId")

    async def others(self) -> int:
        """How many more connections there are on the bus."""
        assert self._bus is not None
        (found,) = await self._bus.call(
            destination=names.DBUS, path=names.DBUS_PATH, interface=names.DBUS, member="ListNames"
        )
        return len([name for name in found if name.startswith(":")]) - 1

    async def _send(self, signal: Signal) -> None:
        assert self._bus is not None
        body: list[Any] = list(signal.body)
        signature = "".join("s" if isinstance(item, str) else "u" for item in body)
        if signal.member == "InterfacesAdded":
            signature, body[1] = "oa{sa{sv}}", variants(body[1])
        elif signal.member == "InterfacesRemoved":
            signature = "oas"
        elif signal.member == "PropertiesChanged":
            signature, body[1] = "sa{sv}as", variants({"": body[1]})[""]
        message = Message.new_signal(signal.path, signal.interface, signal.member, signature, body)
        await self._bus._connection.send(message)

    def _handle(self, message: Any) -> Any:
        if message.message_type is not MessageType.METHOD_CALL or not message.interface.startswith(
            (NM, names.OBJECT_MANAGER, names.PROPERTIES)
        ):
            return None
        self.calls.append((message.member, message.path))
        if message.member in self.mute:
            return True
        reply = self._answer(message)
        if message.member in self._held:
            self._held[message.member].append(reply)
            return True
        return reply

    def _answer(self, message: Any) -> Any:
        error = self.refuse.get(f"{message.member} {message.path}") or self.refuse.get(message.member)
        if error:
            return Message.new_error(message, error, "refused by the test")
        match message.member:
            case "GetManagedObjects" if message.path == ROOT_PATH:
                told = {path: variants(interfaces) for path, interfaces in self.objects.items()}
                return Message.new_method_return(message, "a{oa{sa{sv}}}", [told])
            case "ListConnections" if message.path == f"{NM_PATH}/Settings":
                return Message.new_method_return(message, "ao", [list(self.profiles)])
            case "GetSettings" if message.path in self.profiles:
                return Message.new_method_return(message, "a{sa{sv}}", [self.profiles[message.path]])
            case "Update2" if message.path in self.profiles:
                return self._update(message)
            case "Get" if message.body == [NM, "Version"]:
                return Message.new_method_return(message, "v", [Variant("s", self.version)])
            case "Get" if message.body[1] == "VersionId" and message.path in self.version_ids:
                version = self.version_ids[message.path]
                if self.racing:
                    self.racing -= 1
                    self.version_ids[message.path] += 1
                return Message.new_method_return(message, "v", [Variant("t", version)])
        return Message.new_error(message, "org.freedesktop.DBus.Error.UnknownMethod", f"no {message.member} here")

    def _update(self, message: Any) -> Any:
        settings, _, arguments = message.body
        told, version = unwrap(arguments), self.version_ids.get(message.path)
        if told and version is None:
            return Message.new_error(message, f"{NM}.Settings.InvalidArguments", "unsupported argument")
        if told.get("version-id", version) != version:
            return Message.new_error(message, f"{NM}.Settings.VersionIdMismatch", "it has changed")
        self.updates.append((message.path, message.body))
        if self.forgetful:
            settings.pop("user", None)
        self.profiles[message.path] = settings
        self._spawn_updated(message.path)
        return Message.new_method_return(message, "a{sv}", [{}])

    def _spawn_updated(self, path: str) -> None:
        assert self._bus is not None
        self._bus._connection.send(Message.new_signal(path, SETTINGS_CONNECTION, "Updated"))

    def profile(self, path: str) -> Any:
        """A stored profile as plain values."""
        return unwrap(self.profiles[path])


async def forge(bus: Bus, victim: str, signal: Signal, signature: str, body: list[Any]) -> None:
    """Send `signal` to `victim` alone, which needs no match rule: any program on the bus can."""
    message = Message(
        message_type=MessageType.SIGNAL,
        destination=victim,
        path=signal.path,
        interface=signal.interface,
        member=signal.member,
        signature=signature,
        body=body,
    )
    await bus._connection.send(message)
    await bus.call(destination=names.DBUS, path=names.DBUS_PATH, interface=names.DBUS, member="GetId")


async def round_trip(bus: Bus) -> None:
    """Return when `bus` has heard all that was said to it before."""
    await bus.call(destination=names.DBUS, path=names.DBUS_PATH, interface=names.DBUS, member="GetId")
    await asyncio.sleep(0)
