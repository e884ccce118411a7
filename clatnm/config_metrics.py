# SPDX-License-Identifier: GPL-2.0-or-later
"""The key `metrics` of `/etc/clatnm/clatnm.conf`: where the daemon hands out its numbers. This machine only."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from clatnm.errors import ConfigError

_NONE = "none"
_HINT = "a path, as /run/clatnm/metrics.sock; or [::1]:9864, or 127.0.0.1:9864; or none"
_PLACE = re.compile(r"(?:\[(?P<six>[^]]*)\]|(?P<four>[0-9.]+)):(?P<port>[0-9]{1,5})", re.ASCII)
# sockaddr_un has 108 bytes, and its text ends with a zero.
_MAX_PATH_BYTES = 107


def metrics(value: str) -> str:
    """The place in one form: an absolute path, or a loopback address with a port; "" for `none`. ConfigError."""
    if value == _NONE:
        return ""
    if value.startswith("/"):
        return _path(value)
    found = _PLACE.fullmatch(value)
    if found is None:
        raise ConfigError(f"{value!r} is neither a path nor a loopback address with a port", hint=_HINT)
    port = int(found["port"])
    if not 0 < port < 1 << 16:
        raise ConfigError(f"{port} is no port", hint=_HINT)
    try:
        address = IPv6Address(found["six"]) if found["four"] is None else IPv4Address(found["four"])
    except AddressValueError:
        raise ConfigError(f"{found['six'] or found['four']!r} is no address", hint=_HINT) from None
    # ::ffff:127.0.0.1 is one too, by some counts; what it means depends on more than one setting of the host.
    if not address.is_loopback or (address.version == 6 and address != IPv6Address("::1")):
        raise ConfigError(f"metrics are for this machine alone, and {address} is no loopback address", hint=_HINT)
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def _path(value: str) -> str:
    if not value.isprintable() or value.endswith("/") or len(value.encode()) > _MAX_PATH_BYTES:
        raise ConfigError(f"{value!r} is no path for a socket", hint=f"at most {_MAX_PATH_BYTES} bytes, as {_HINT}")
    return value


def host_and_port(place: str) -> tuple[str, int]:
    """The address and port of what `metrics` gave, where that is no path."""
    host, _, port = place.rpartition(":")
    return host.strip("[]"), int(port)
