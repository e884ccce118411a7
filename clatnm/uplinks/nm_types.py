# SPDX-License-Identifier: GPL-2.0-or-later
"""What of NetworkManager's answers has the form that is counted on. Pure.

Another version may have a property in another form. It is as if it were not there then, which every reader of
properties is prepared for, because older versions lack some.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

NM = "org.freedesktop.NetworkManager"
_Is = Callable[[Any], bool]


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _map(value: Any) -> bool:
    return isinstance(value, dict)


def _list_of(is_one: _Is) -> _Is:
    return lambda value: isinstance(value, list) and all(map(is_one, value))


_CONFIGS: Mapping[str, _Is] = {"Ip4Config": _text, "Ip6Config": _text}
_RESOLVERS: Mapping[str, _Is] = {
    "NameserverData": _list_of(_map),
    "Nameservers": _list_of(lambda value: isinstance(value, (bytes, int))),
}
# Interface → property → its form. Those that nobody here reads may have any.
_PROPERTIES: Mapping[str, Mapping[str, _Is]] = {
    NM: {"Startup": _flag},
    f"{NM}.Connection.Active": {
        **dict.fromkeys(("Connection", "Id", "Type", "Uuid"), _text),
        **dict.fromkeys(("State", "StateFlags"), _number),
        "Devices": _list_of(_text),
        "Vpn": _flag,
        **_CONFIGS,
    },
    f"{NM}.Device": {
        **dict.fromkeys(("ActiveConnection", "Dhcp6Config", "Interface", "IpInterface"), _text),
        "State": _number,
        **_CONFIGS,
    },
    f"{NM}.Device.Wireless": {"ActiveAccessPoint": _text},
    f"{NM}.AccessPoint": {"HwAddress": _text},
    f"{NM}.IP4Config": {"ClatAddress": _text, **_RESOLVERS},
    f"{NM}.IP6Config": _RESOLVERS,
    f"{NM}.DHCP6Config": {"Options": _map},
}
# Setting → key → its form, as in `_PROPERTIES`.
_SETTINGS: Mapping[str, Mapping[str, _Is]] = {
    "user": {"data": _map},
    "ipv4": {
        **dict.fromkeys(("clat", "route-metric"), _number),
        **dict.fromkeys(("may-fail", "never-default"), _flag),
        "method": _text,
        "dns-options": _list_of(_text),
    },
    "ipv6": {"dns-options": _list_of(_text)},
}


def properties_from(interface: Any, told: Any) -> dict[str, Any]:
    """The properties of one interface that have the form counted on."""
    return _sound(told, _PROPERTIES.get(interface, {})) if _text(interface) else {}


def interfaces_from(told: Any) -> dict[str, dict[str, Any]]:
    """The interfaces of one object, with their properties."""
    return {name: properties_from(name, told[name]) for name in _keys(told)}


def objects_from(told: Any) -> dict[str, dict[str, dict[str, Any]]]:
    """The answer of GetManagedObjects."""
    return {path: interfaces_from(told[path]) for path in _keys(told)}


def profile_from(told: Any) -> dict[str, dict[str, Any]]:
    """The answer of GetSettings."""
    return {name: _sound(told[name], _SETTINGS.get(name, {})) for name in _keys(told)}


def _keys(told: Any) -> list[str]:
    return [key for key in told if _text(key)] if _map(told) else []


def _sound(told: Any, forms: Mapping[str, _Is]) -> dict[str, Any]:
    return {key: told[key] for key in _keys(told) if key not in forms or forms[key](told[key])}
