# SPDX-License-Identifier: GPL-2.0-or-later
"""Text that can be shown to others: addresses keep their networks and lose their hosts, names of networks and users go.

Pure. The same host is the same everywhere in what one `Redactor` has seen, and nobody can tell which one it is.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network

from clatnm.printable import json_text, printable

# A bridge's has no leading zeros, InfiniBand's has 20 bytes. No IPv6 address has all of its groups as short as that.
_MAC = re.compile(
    r"(?<![0-9A-Za-z:])[0-9a-fA-F]{1,2}(?:[:-][0-9a-fA-F]{1,2}){5}(?:(?:[:-][0-9a-fA-F]{2}){14})?(?![0-9A-Za-z:])"
)
_MAC_NAME = re.compile(r"(?<![0-9A-Za-z])(en|wl|ww)x[0-9a-f]{12}(?![0-9A-Za-z])")
_HEX_MAC = re.compile(r'("link_address": ?")((?:[0-9a-f]{2}){6,20})"')
_V4 = re.compile(r"(?<![0-9A-Za-z.:])(\d{1,3}(?:\.\d{1,3}){3})(?![0-9A-Za-z]|\.\d)")
_V6 = re.compile(
    r"(?<![0-9A-Za-z:.])((?:[0-9a-fA-F]{0,4}:){2,7}(?:[0-9a-fA-F]{1,4}|\d{1,3}(?:\.\d{1,3}){3})?)(?![0-9A-Za-z:])"
)
_KEPT4 = tuple(map(IPv4Network, ("0.0.0.0/8", "127.0.0.0/8", "192.0.0.0/24", "224.0.0.0/3")))
_KEPT6 = tuple(map(IPv6Network, ("::/127", "ff00::/8", "fe80::/128")))
_HOST_BITS = (1 << 64) - 1
_WELL_KNOWN = IPv6Network("64:ff9b::/96")
_STRANGER = 0xAAAA << 48
_HOME = re.compile(r"(/home/|/run/user/)[^/\s\"']+")
_OWNER = re.compile(r"(\bpersist (?:on|off) user )\S+")  # of a TUN device
_UUID = re.compile(r"(?<![0-9a-f-])[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![0-9a-f-])")


class Redactor:
    """`text` does it. `names`: of networks, which become `network-1` and so on; `prefixes`: of NAT64s."""

    def __init__(
        self, *, names: Iterable[str] = (), hosts: Iterable[str] = (), prefixes: Iterable[IPv6Network] = ()
    ) -> None:
        longest_first = sorted({name for name in names if name.strip()}, key=lambda name: (-len(name), name))
        told = {name: f"network-{number}" for number, name in enumerate(longest_first, 1)}
        told |= {host: "this-host" for host in hosts if host and host not in told}
        self._names = {_word(form): instead for name, instead in told.items() for form in _forms(name)}
        self._prefixes = (*(p for p in prefixes if p.prefixlen == 96), _WELL_KNOWN)
        self._hosts4: dict[IPv4Network, dict[IPv4Address, int]] = {}
        self._hosts6: dict[int, int] = {}
        self._macs: dict[str, int] = {}
        self._uuids: dict[str, int] = {}

    def text(self, text: str) -> str:
        """The text without hosts, and without the names."""
        for name, instead in self._names.items():
            text = name.sub(instead, text)
        text = _MAC_NAME.sub(lambda m: f"{m[1]}x{self._mac(m[0][3:]).replace(':', '')}", text)
        text = _HEX_MAC.sub(lambda m: m[1] + self._mac(m[2]).replace(":", "") + '"', text)
        text = _MAC.sub(lambda m: self._mac(m[0]), text)
        text = _OWNER.sub(r"\1somebody", _HOME.sub(r"\1somebody", text))
        text = _UUID.sub(lambda m: self._uuid(m[0]), text)
        text = _V6.sub(lambda m: self._v6(m[0]), text)
        return _V4.sub(lambda m: self._v4(m[0]), text)

    def _mac(self, text: str) -> str:
        key = "".join(part.zfill(2) for part in re.split("[:-]", text.lower()))
        number = self._macs.setdefault(key, len(self._macs) + 1)
        return f"02:00:00:00:{number >> 8 & 0xFF:02x}:{number & 0xFF:02x}"

    def _uuid(self, text: str) -> str:
        number = self._uuids.setdefault(text, len(self._uuids) + 1)
        return f"00000000-0000-4000-8000-{number:012x}"

    def _v4(self, text: str) -> str:
        try:
            address = IPv4Address(text)
        except AddressValueError:
            return text
        return str(self._host4(address))

    def _host4(self, address: IPv4Address) -> IPv4Address:
        network = IPv4Network((address, 24), strict=False)
        # The address of a network is nobody's.
        if any(address in kept for kept in _KEPT4) or address == network.network_address:
            return address
        hosts = self._hosts4.setdefault(network, {})
        return network[hosts.setdefault(address, len(hosts) + 1)]

    def _v6(self, text: str) -> str:
        try:
            address = IPv6Address(text)
        except AddressValueError:
            return text
        if any(address in kept for kept in _KEPT6) or not int(address) & _HOST_BITS:
            return text
        for prefix in self._prefixes:
            if address in prefix:  # the host of IPv4 behind it
                inner = self._host4(IPv4Address(int(address) & 0xFFFFFFFF))
                return str(IPv6Address(int(prefix.network_address) | int(inner)))
        number = self._hosts6.setdefault(int(address) & _HOST_BITS, len(self._hosts6) + 1)
        return str(IPv6Address(int(address) & ~_HOST_BITS | _STRANGER | number))


def _forms(name: str) -> list[str]:
    """A name as it stands in texts, in commands for a shell, and in JSON with either; the longest first."""
    plain = {name, printable(name), shlex.quote(name), shlex.quote(printable(name))}
    coded = {json.dumps(form, ensure_ascii=ascii_only)[1:-1] for form in plain for ascii_only in (True, False)}
    coded |= {json_text(form)[1:-1] for form in plain}
    return sorted(plain | coded, key=len, reverse=True)


def _word(text: str) -> re.Pattern[str]:
    """Finds it where it is no part of a longer word."""
    begin, end = (r"\b" if re.match(r"\w", edge) else "" for edge in (text[0], text[-1]))
    return re.compile(f"{begin}{re.escape(text)}{end}")
