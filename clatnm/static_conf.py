# SPDX-License-Identifier: GPL-2.0-or-later
"""`/etc/clatnm/static.d/NAME.conf`: a translator with everything chosen by hand. Pure: text in, `Static` out.

    [clatnm]
    uplink = eth0
    prefix = 2001:db8:46::/96

    [eam]
    192.0.2.1 = 2001:db8:12:34::1

Every mistake is a ConfigError with file and line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from clatnm import config_device, relay
from clatnm.errors import ConfigError, ParseError
from clatnm.model import DEVICE_PREFIX, AddressKind, Choices, Relay, Static
from clatnm.proto.eam import host_pair
from clatnm.proto.nat64 import parse_prefix
from clatnm.relay import Told

_OWN_KEYS: Final = ("addresses", "backend", "eam-file", "prefix", "routes", "uplink")
KEYS: Final = tuple(sorted((*config_device.READERS, *config_device.SCRIPTS, *_OWN_KEYS)))
_SECTIONS: Final = ("clatnm", "eam")
_FORM: Final = "the form is: [clatnm], then key = value; [eam], then IPv4 = IPv6"
# Several lines of these add up.
_LISTS: Final = frozenset({"addresses", "routes"})
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_INTERFACE: Final = re.compile(r"[^\s/:%]{1,15}")
_COMMENT: Final = re.compile(r"(^|\s)[#;].*")
_NONE: Final = "none"
_OWN_PREFIX: Final = f"{DEVICE_PREFIX}s-"
_MAX_TOLD: Final = 200  # characters of a mistake; values can be of any length


@dataclass(frozen=True, slots=True, kw_only=True)
class _Word:
    """A value, and where it stands."""

    text: str
    where: str


@dataclass(slots=True)
class _File:
    """What one file says, before it is understood."""

    source: str
    keys: dict[str, list[_Word]] = field(default_factory=dict)
    told: list[Told] = field(default_factory=list)

    def one(self, key: str) -> _Word | None:
        words = self.keys.get(key)
        return None if words is None else words[0]

    def where(self, key: str) -> str:
        words = self.keys.get(key)
        return f"{self.source}:1" if words is None else words[0].where


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A static translator, and where each part of it was told."""

    static: Static
    told: tuple[Told, ...]
    where: Callable[[str], str]


def parse(
    text: str, *, source: str, name: str, backends: Sequence[str], backend: str, read: Callable[[str], str]
) -> Read:
    """Parse a file's text; `source` is its name for messages, `name` the translator's.

    `backend` holds where it names none. `read` gives the text of another file, or raises ConfigError. ConfigError.
    """
    if not _NAME.fullmatch(name):
        hint = "up to 64 letters, digits, '.', '_' and '-', then .conf"
        raise ConfigError(f"{source}: {name!r} is no name for a translator", hint=hint)
    file = _File(source)
    for section, line, where in _lines(text, source):
        if section == "eam":
            file.told.append(relay.read_mapping(line, where=where))
        else:
            _take(file, line, where)
    _add_file(file, read)
    return _understand(file, name=name, backends=backends, backend=backend)


def _lines(text: str, source: str) -> Iterator[tuple[str, str, str]]:
    """Section, content and place of each line that says something."""
    section = ""
    for number, line in enumerate(text.split("\n"), start=1):
        where, content = f"{source}:{number}", _COMMENT.sub("", line).strip()
        if not content:
            continue
        if content.startswith("["):
            section = content.removeprefix("[").removesuffix("]")
            if section not in _SECTIONS or not content.endswith("]"):
                raise _fault(where, f"unknown section {content}", "[clatnm] or [eam]")
        elif not section:
            raise _fault(where, "this line belongs to no section", _FORM)
        else:
            yield section, content, where


def _take(file: _File, line: str, where: str) -> None:
    match = re.match(r"([^=:]*)[=:](.*)", line)
    if match is None:
        raise _fault(where, "this line is not understood", _FORM)
    key, value = match[1].strip().lower(), match[2].strip()
    if key not in KEYS:
        raise _fault(where, f"unknown key {key!r}", f"known keys: {', '.join(KEYS)}")
    if key in file.keys and key not in _LISTS:
        raise _fault(where, f"{key!r} is set twice", f"first at {file.where(key)}")
    file.keys.setdefault(key, []).append(_Word(text=value, where=where))


def _add_file(file: _File, read: Callable[[str], str]) -> None:
    word = file.one("eam-file")
    if word is not None:
        path = word.text
        if not path.startswith("/") or not path.isprintable():
            raise _fault(word.where, f"{path!r} is no absolute path", "as /etc/clatnm/eam.txt")
        try:
            text = read(path)
        except ConfigError as error:
            raise _fault(word.where, error.what, error.hint) from None
        file.told.extend(relay.read_mappings(text, name=path))


def _understand(file: _File, *, name: str, backends: Sequence[str], backend: str) -> Read:
    uplink, prefix = _uplink(file), _prefix(file)
    choices = _choices(file, prefix=prefix)
    static = Static(
        name=name,
        uplink=uplink,
        prefix=prefix,
        choices=_with_routes(choices, file, prefix),
        backend=_backend(file, backends, backend),
        script_up=_script(file, "script-up"),
        script_down=_script(file, "script-down"),
        told_at=file.where("uplink"),
    )
    return Read(static=static, told=tuple(file.told), where=file.where)


def _uplink(file: _File) -> str:
    word = file.one("uplink")
    if word is None:
        raise _fault(file.where("uplink"), "no uplink is named", "uplink = the interface that leads to the network")
    if (
        not _INTERFACE.fullmatch(word.text)
        or not word.text.isprintable()
        or word.text == "lo"
        or word.text.startswith(DEVICE_PREFIX)
    ):
        raise _fault(word.where, f"{word.text!r} is no interface that leads to a network", "as eth0")
    return word.text


def _prefix(file: _File) -> IPv6Network:
    word = file.one("prefix")
    hint = "the network's translation prefix, as 64:ff9b::/96"
    if word is None:
        raise _fault(file.where("prefix"), "no prefix is set", f"prefix = {hint}")
    try:
        return parse_prefix(word.text)
    except ParseError as error:
        raise _fault(word.where, error.what, hint) from None


def _choices(file: _File, *, prefix: IPv6Network) -> Choices:
    given = {}
    for key, reader in config_device.READERS.items():
        word = file.one(key)
        if word is not None:
            try:
                given[key] = reader(word.text)
            except ConfigError as error:
                raise _fault(word.where, error.what, error.hint) from None
    device, address = given.get("device"), given.get("clat-v6-addr", AddressKind.AUTO)
    if device is not None and device.startswith(DEVICE_PREFIX) and not device.startswith(_OWN_PREFIX):
        what = f"{device} is for the CLAT of an interface {device.removeprefix(DEVICE_PREFIX)}"
        raise _fault(file.where("device"), what, f"a name that begins with {_OWN_PREFIX}, or another one, or auto")
    if isinstance(address, IPv6Address) and address in prefix:
        raise _fault(file.where("clat-v6-addr"), f"{address} lies in the prefix {prefix}", "an address of the uplink's")
    return Choices(
        clat_v4=given.get("clat-v4-addr"),
        clat_v6=None if isinstance(address, AddressKind) else address,
        address_kind=address if isinstance(address, AddressKind) else AddressKind.AUTO,
        device=device,
        metric=given.get("metric"),
        mtu_bytes=given.get("mtu"),
    )


def _with_routes(choices: Choices, file: _File, prefix: IPv6Network) -> Choices:
    """The choices with what is led into the device: a relay's routes, or a CLAT's default route, or nothing."""
    words = list(_words(file, "routes"))
    if all(word.text != _NONE for word in words):
        return replace(choices, relay=_relay(file, choices, prefix, [_network(word) for word in words]))
    if len(words) > 1:
        raise _fault(words[-1].where, "no routes, and others", "routes = none, alone")
    relay = _relay(file, choices, prefix, [])
    if relay is None:
        return replace(choices, default_route=False)
    return replace(choices, relay=replace(relay, routes=()))


def _relay(file: _File, choices: Choices, prefix: IPv6Network, routes: list[IPv4Network]) -> Relay | None:
    """The relay that the file makes of it; None for a CLAT."""
    addresses = [(_address(word), word.where) for word in _words(file, "addresses")]
    if not file.told:
        if not addresses and not routes:
            if "eam-file" in file.keys:
                raise _fault(file.where("eam-file"), "there are no mappings in it", "lines as 192.0.2.1 2001:db8::1")
            return None
        where = file.where("addresses" if addresses else "routes")
        if choices.clat_v4 is None or choices.clat_v6 is None:
            raise _fault(where, "which IPv6 address stands for which IPv4 one?", "[eam]; or clat-v4-addr, clat-v6-addr")
        pair = host_pair(choices.clat_v4, choices.clat_v6)
        file.told.append(Told(mapping=pair, where=file.where("clat-v4-addr")))
        addresses = addresses or [(choices.clat_v4, where)]
    if choices.address_kind is AddressKind.SHARED:
        raise _fault(file.where("clat-v6-addr"), "an Edge Relay shares no address", "an address of its own, or auto")
    _check_mapped(addresses, file.told)
    return relay.build(file.told, prefix=prefix, addresses=addresses, routes=routes)


def _check_mapped(addresses: Iterable[tuple[IPv4Address, str]], told: Iterable[Told]) -> None:
    mapped = {entry.mapping[0] for entry in told}
    lengths = {network.prefixlen for network in mapped}
    for address, where in addresses:
        if not any(IPv4Network((address, length), strict=False) in mapped for length in lengths):
            raise _fault(where, f"{address} is not mapped", f"{address} = its IPv6 address, in [eam]")


def _words(file: _File, key: str) -> Iterator[_Word]:
    for word in file.keys.get(key, ()):
        each = word.text.replace(",", " ").split()
        if not each:
            raise _fault(word.where, f"{key!r} has no value", _FORM)
        yield from (_Word(text=text, where=word.where) for text in each)


def _address(word: _Word) -> IPv4Address:
    try:
        return IPv4Address(word.text)
    except ValueError:
        raise _fault(word.where, f"{word.text!r} is no IPv4 address", "addresses, with commas between them") from None


def _network(word: _Word) -> IPv4Network:
    try:
        return IPv4Network("0.0.0.0/0" if word.text == "default" else word.text)
    except ValueError as error:
        what = "its host bits are not zero" if "host bits" in str(error) else "as 198.51.100.0/24, or default"
        raise _fault(word.where, f"{word.text!r} is no IPv4 network", what) from None


def _backend(file: _File, backends: Sequence[str], default: str) -> str:
    word = file.one("backend")
    if word is None:
        return default
    known = ("auto", *backends)
    if word.text not in known:
        raise _fault(word.where, f"unknown backend {word.text!r}", f"one of: {', '.join(known)}")
    return word.text


def _script(file: _File, key: str) -> str:
    word = file.one(key)
    try:
        return "" if word is None else config_device.script(word.text)
    except ConfigError as error:
        raise _fault(file.where(key), error.what, error.hint) from None


def check_together(files: Sequence[Read], taken: Mapping[tuple[str, object], str] | None = None) -> None:
    """What two of them cannot both have. ConfigError at the later one.

    `taken`: what connections have, as `("device", name)` or `("address", IPv4 address)`, and where that was told.
    """
    seen = dict(taken or {})
    tables: dict[str, list[Read]] = {}
    for file in files:
        static = file.static
        device = static.choices.device or f"{_OWN_PREFIX}{static.name}"
        _only(seen, "device", device, file.where("device"))
        for address in _own_addresses(static):
            key = "clat-v4-addr" if static.choices.relay is None else "addresses"
            _only(seen, "address", address, file.where(key))
        for other in tables.setdefault(static.uplink, []):
            _check_disjoint(file, other)
        tables[static.uplink].append(file)


def _own_addresses(static: Static) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses that its device is to have, as far as they are chosen."""
    if static.choices.relay is not None:
        return static.choices.relay.addresses
    return () if static.choices.clat_v4 is None else (static.choices.clat_v4,)


def _only(seen: dict[tuple[str, object], str], what: str, value: object, where: str) -> None:
    if (what, value) in seen:
        raise _fault(where, f"the {what} {value} is another translator's", f"at {seen[what, value]}")
    seen[what, value] = where


def _check_disjoint(file: Read, other: Read) -> None:
    """Two on one uplink cannot answer for the same IPv6 address."""
    for one, two in ((file, other), (other, file)):
        theirs = dict(_ipv6(two))
        lengths = sorted({network.prefixlen for network in theirs})
        for network, where in _ipv6(one):
            for length in lengths:
                outer = network.supernet(new_prefix=length) if length <= network.prefixlen else None
                if outer is not None and outer in theirs:
                    here, there = (where, theirs[outer]) if one is file else (theirs[outer], where)
                    what = f"{network} on {file.static.uplink} is another translator's"
                    raise _fault(here, what, f"at {there}")


def _ipv6(file: Read) -> Iterator[tuple[IPv6Network, str]]:
    """The IPv6 addresses that are its own, as far as they are chosen, and where."""
    yield from ((entry.mapping[1], entry.where) for entry in file.told)
    chosen = file.static.choices.clat_v6
    if chosen is not None and IPv6Network(chosen) not in {entry.mapping[1] for entry in file.told}:
        yield IPv6Network(chosen), file.where("clat-v6-addr")


def _fault(where: str, what: str, hint: str) -> ConfigError:
    plain = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in what)
    told = plain if len(plain) <= _MAX_TOLD else f"{plain[:_MAX_TOLD]}…"
    return ConfigError(f"{where}: {told}", hint=hint)
