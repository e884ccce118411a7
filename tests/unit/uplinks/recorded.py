# SPDX-License-Identifier: GPL-2.0-or-later
"""What a real NetworkManager said, word for word, and short ways to say more of the same kind.

`nm-1.42.4.json` is a recording of Debian's NetworkManager 1.42.4 with two Ethernet devices, up0 (in an IPv6-only
network) and up1 (unplugged): its objects at the start, then, for each thing that was done, the signals in order and its
objects afterwards. `nm-1.42.4-restart.json` is what it says when it is stopped (up to the loss of its name) and when it
is started again (from its name on), with up0 connected all the time. Left out is what says nothing about which
connections exist; names are shortened.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clatnm.dbus.bus import Signal
from clatnm.dbus.names import OBJECT_MANAGER, PROPERTIES
from clatnm.uplinks.nm_modes import Profile
from clatnm.uplinks.nm_objects import ACTIVE, DEVICE, IP4_CONFIG, NM, NM_PATH, ROOT_PATH, Objects

OWNER = ":1.2"
_SHORT = {"/NM": NM_PATH, '"NM': f'"{NM}', "DBus.": "org.freedesktop.DBus."}


@dataclass(frozen=True)
class Phase:
    """One thing that was done (`nmcli con up`, …) and what came of it."""

    what: str
    signals: tuple[Signal, ...]
    objects: Objects


def recording(name: str = "nm-1.42.4") -> tuple[Objects, tuple[Phase, ...]]:
    """NetworkManager's objects at the start of the recording, and its phases."""
    text = (Path(__file__).parent / f"{name}.json").read_text()
    for short, full in _SHORT.items():
        text = text.replace(short, full)
    told = json.loads(text)
    phases = (
        Phase(
            phase["what"],
            tuple(
                Signal(sender=OWNER, path=path, interface=interface, member=member, body=tuple(body))
                for path, interface, member, body in phase["signals"]
            ),
            phase["objects"],
        )
        for phase in told["phases"]
    )
    return told["start"], tuple(phases)


def known(objects: Objects) -> Objects:
    """Without the properties and objects that a recording of ours leaves out of its signals, too."""
    kept = (ACTIVE, DEVICE, IP4_CONFIG, NM, f"{NM}.Settings.Connection")
    trimmed = {
        path: {name: values for name, values in interfaces.items() if name in kept and values}
        for path, interfaces in objects.items()
    }
    return {path: interfaces for path, interfaces in trimmed.items() if interfaces}


# Objects and signals by hand


def active_path(number: int) -> str:
    return f"{NM_PATH}/ActiveConnection/{number}"


def device_path(number: int) -> str:
    return f"{NM_PATH}/Devices/{number}"


def profile_path(number: int) -> str:
    return f"{NM_PATH}/Settings/{number}"


def an_active(number: int = 1, *, device: int = 1, profile: int = 1, **other: Any) -> Objects:
    """An activated Ethernet connection; `other` are properties of it."""
    properties = {
        "Connection": profile_path(profile),
        "Id": f"Net {number}",
        "Uuid": f"uuid-{number}",
        "Type": "802-3-ethernet",
        "Devices": [device_path(device)],
        "State": 2,
        "StateFlags": 28,
        "Ip4Config": f"{NM_PATH}/IP4Config/{device}",
        "Vpn": False,
    }
    return {active_path(number): {ACTIVE: {**properties, **other}}}


def a_device(number: int = 1, *, active: int = 1, clat: str | None = None, **other: Any) -> Objects:
    """An activated Ethernet device with its IPv4 configuration; `clat`: its ClatAddress, None: before 1.57.2."""
    properties = {
        "Interface": f"eth{number}",
        "IpInterface": f"eth{number}",
        "State": 100,
        "ActiveConnection": active_path(active),
        "Ip4Config": f"{NM_PATH}/IP4Config/{number}",
        "DeviceType": 1,
    }
    config: dict[str, Any] = {"AddressData": [], "Gateway": ""}
    if clat is not None:
        config["ClatAddress"] = clat
    return {
        device_path(number): {DEVICE: {**properties, **other}, f"{DEVICE}.Statistics": {}},
        f"{NM_PATH}/IP4Config/{number}": {IP4_CONFIG: config},
    }


def the_manager(*, startup: bool = False) -> Objects:
    return {NM_PATH: {NM: {"Startup": startup}}}


def a_profile(mode: str | None = None, *, number: int = 1) -> Profile:
    """What GetSettings gives, as far as it matters here; `mode` is the value in its user data."""
    settings: dict[str, dict[str, Any]] = {
        "connection": {"id": f"Net {number}", "uuid": f"uuid-{number}", "type": "802-3-ethernet"},
        "ipv4": {"method": "auto"},
    }
    if mode is not None:
        settings["user"] = {"data": {"clatnm.mode": mode}}
    return settings


def changed(path: str, interface: str, properties: Mapping[str, Any], gone: tuple[str, ...] = ()) -> Signal:
    body = (interface, dict(properties), list(gone))
    return Signal(sender=OWNER, path=path, interface=PROPERTIES, member="PropertiesChanged", body=body)


def added(objects: Objects) -> list[Signal]:
    return [
        Signal(sender=OWNER, path=ROOT_PATH, interface=OBJECT_MANAGER, member="InterfacesAdded", body=item)
        for item in objects.items()
    ]


def removed(path: str, *interfaces: str) -> Signal:
    body = (path, list(interfaces))
    return Signal(sender=OWNER, path=ROOT_PATH, interface=OBJECT_MANAGER, member="InterfacesRemoved", body=body)
