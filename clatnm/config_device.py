# SPDX-License-Identifier: GPL-2.0-or-later
"""Keys of `/etc/clatnm/` about a translator's own device, addresses and route: how their values are read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Any

from clatnm.errors import ConfigError
from clatnm.model import AddressKind, Settings

AUTO, NONE = "auto", "none"
MAX_METRIC = 0xFFFFFFFF
_MAX_DEVICE_BYTES = 15
# What every IPv4 host takes (RFC 791), and the longest packet there is.
MIN_MTU, MAX_MTU = 576, 65535


def device(value: str) -> str | None:
    """A name the kernel takes (dev_valid_name), and takes as it is; None for `auto`. ConfigError."""
    if value == AUTO:
        return None
    wrong = not value or value in (".", "..", "lo") or any(char in "/:%" or char.isspace() for char in value)
    if wrong or len(value.encode()) > _MAX_DEVICE_BYTES:
        hint = "1 to 15 bytes, without space, /, : and %; or auto"
        raise ConfigError(f"{value!r} is no name of a device", hint=hint)
    return value


def clat_v4(value: str) -> IPv4Address | None:
    """The IPv4 address of the device; None for `auto`. ConfigError."""
    if value == AUTO:
        return None
    try:
        address = IPv4Address(value)
    except AddressValueError:
        raise ConfigError(f"{value!r} is no IPv4 address", hint="an address, as 192.0.0.1; or auto") from None
    if address.is_multicast or address.is_loopback or address.is_unspecified or address.is_link_local:
        raise ConfigError(f"no translator can have the address {address}", hint="an address, as 192.0.0.1; or auto")
    return address


def clat_v6(value: str) -> IPv6Address | AddressKind:
    """The IPv6 address of translated traffic, or whose it is to be. ConfigError."""
    if value in tuple(AddressKind):
        return AddressKind(value)
    hint = "auto, dedicated, shared, or an address"
    try:
        address = IPv6Address(value)
    except AddressValueError:
        raise ConfigError(f"{value!r} is no IPv6 address", hint=hint) from None
    if address.is_multicast or address.is_loopback or address.is_unspecified or address.is_link_local:
        raise ConfigError(f"no translator can have the address {address}", hint=hint)
    return address


def metric(value: str) -> int | None:
    """The metric of the default route; None for `auto`. ConfigError."""
    return _number(value, 0, MAX_METRIC, "metric")


def mtu(value: str) -> int | None:
    """The longest IPv4 packet; None for `auto`. ConfigError."""
    return _number(value, MIN_MTU, MAX_MTU, "MTU")


def _number(value: str, least: int, most: int, what: str) -> int | None:
    if value == AUTO:
        return None
    if not re.fullmatch(r"[0-9]{1,10}", value) or not least <= int(value) <= most:
        raise ConfigError(f"{value!r} is no {what}", hint=f"{least} to {most}, or auto")
    return int(value)


def script(value: str) -> str:
    """The absolute path of a program; "" for `none`. ConfigError."""
    if value == NONE:
        return ""
    if not value.startswith("/") or not value.isprintable():
        hint = "a program without arguments, as /etc/clatnm/up; or none"
        raise ConfigError(f"{value!r} is no absolute path", hint=hint)
    return value


SCRIPTS: Mapping[str, Callable[[str], str]] = {"script-up": script, "script-down": script}
READERS: Mapping[str, Callable[[str], Any]] = {
    "device": device,
    "clat-v4-addr": clat_v4,
    "clat-v6-addr": clat_v6,
    "metric": metric,
    "mtu": mtu,
}
FIELDS = {"clat-v4-addr": "clat_v4", "clat-v6-addr": "clat_v6", "mtu": "mtu_bytes"}
"""Key → field of `Settings`, where the one does not follow from the other."""


def for_one(settings: Settings) -> str:
    """The key in `settings` that no two connections can have the same value for; "" if there is none."""
    if settings.device is not None:
        return "device"
    if settings.clat_v4 is not None:
        return "clat-v4-addr"
    return "clat-v6-addr" if isinstance(settings.clat_v6, IPv6Address) else ""
