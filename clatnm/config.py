# SPDX-License-Identifier: GPL-2.0-or-later
"""`/etc/clatnm/`: read, checked, and turned into `Settings`."""

from __future__ import annotations

import configparser
import logging
import os
import re
import secrets
import stat
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import Any, TypeVar

from clatnm import config_device, config_metrics, static_conf
from clatnm.errors import ConfigError, HostError, ParseError
from clatnm.log import Message, about
from clatnm.model import DEVICE_PREFIX, AroundVpn, Mode, Settings, Static
from clatnm.proto.nat64 import parse_prefix

log = logging.getLogger(__name__)

CONFIG_DIR = Path("/etc/clatnm")
STATE_DIR = Path("/var/lib/clatnm")
CONFIG_NAME = "clatnm.conf"
CONNECTIONS_NAME = "connections.d"
STATIC_NAME = "static.d"

_SECTION = "clatnm"
_SECRET_BYTES = 32
_KEPT_AS = "secret"
_SECONDS, _MAX_SECONDS = re.compile("[0-9]{1,9}"), 86400
_MAX_TOLD = 200  # characters of a mistake; values can be of any length
_MAX_BYTES = 1 << 24  # of a file; a hundred thousand mappings have less
_INTERFACE = re.compile(r"[^\s/:]{1,40}")  # a pattern may be longer than the 15 characters of a name
_PATTERN = re.compile(r"[*?[]")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MODES = {
    **dict.fromkeys(("no", "off", "false", "0"), Mode.NO),
    **dict.fromkeys(("auto", "yes", "on", "true", "1"), Mode.AUTO),
    **dict.fromkeys(("force", "2"), Mode.FORCE),
}


def parse_mode(text: str) -> Mode:
    """`no`, `auto` or `force`, also as NetworkManager's numbers 0, 1, 2. ConfigError for anything else."""
    try:
        return _MODES[text.strip().lower()]
    except KeyError:
        raise ConfigError(f"mode {text!r} is unknown", hint="one of: auto, force, no") from None


def is_uuid(text: str) -> bool:
    """Whether it is written as the names of connections' files are."""
    return _UUID.fullmatch(text) is not None


def load(directory: Path, *, backends: tuple[str, ...]) -> Settings:
    """The settings in `directory`; the defaults where there is no file.

    `clatnm.conf` holds for all connections, `connections.d/UUID.conf` for one; that of a plain interface is named after
    it. `static.d/NAME.conf` is a static translator. ConfigError names file and line of the first mistake; nothing is
    used then.
    """
    path = directory / CONFIG_NAME
    text = _read(path)
    common = Settings() if text is None else parse(text, source=str(path), backends=backends)
    alone = config_device.for_one(common)
    if alone:
        what, hint = f"not all connections can have the same {alone}", "put it into connections.d/UUID.conf"
        raise _key_fault(text or "", str(path), alone, what, hint)
    connections: dict[str, Settings] = {}
    for file in _files(directory / CONNECTIONS_NAME):
        if not _UUID.fullmatch(file.stem) and not is_named(file.stem, common.interfaces):
            hint = "see: nmcli -g connection.uuid connection show NAME; or name the interface in `interfaces`"
            raise ConfigError(f"{file}: the name is not the UUID of a connection", hint=hint)
        own = _read(file)
        if own is not None:
            connections[file.stem] = parse(own, source=str(file), backends=backends, common=common)
    return replace(common, connections=connections, statics=_statics(directory, common, connections, backends))


def _statics(
    directory: Path, common: Settings, connections: Mapping[str, Settings], backends: tuple[str, ...]
) -> tuple[Static, ...]:
    files: list[static_conf.Read] = []
    for file in _files(directory / STATIC_NAME):
        text = _read(file)
        if text is not None:
            names = {"source": str(file), "name": file.stem}
            parsed = static_conf.parse(text, **names, backends=backends, backend=common.backend, read=_read_other)
            files.append(parsed)
    taken: dict[tuple[str, object], str] = {}
    for uuid, own in connections.items():
        path = str(directory / CONNECTIONS_NAME / f"{uuid}.conf")
        taken |= {("device", own.device): path, ("address", own.clat_v4): path}
    static_conf.check_together(files, taken)
    return tuple(file.static for file in files)


def _read_other(path: str) -> str:
    text = _read(Path(path))
    if text is None:
        raise ConfigError(f"there is no file {path}", hint="lines as 192.0.2.1 2001:db8::1")
    return text


def kept(settings: Settings, before: Settings) -> Settings:
    """`settings`, read again, with the very tables of before where they are as before: comparing two of ten thousand
    mappings takes a while, and is done at every look.
    """
    old = {static.name: static for static in before.statics}
    statics = tuple(
        replace(own, told_at=new.told_at)
        if (own := old.get(new.name)) and replace(own, told_at=new.told_at) == new
        else new
        for new in settings.statics
    )
    return replace(settings, statics=statics)


def missing_uplinks(settings: Settings, there: Collection[str], *, before: Settings | None = None) -> list[str]:
    """A line about each static translator and each name of `interfaces` that was not in `before` and whose interface is
    not among `there`.

    That is no mistake in the file: at boot, or with an adapter in a drawer, it comes later or not at all.
    """
    known = {static.name: static.uplink for static in before.statics} if before else {}
    uplinks = [
        (static.told_at, static.uplink) for static in settings.statics if known.get(static.name) != static.uplink
    ]
    old = before.interfaces if before else ()
    names = [("interfaces", name) for name in settings.interfaces if name not in old and not _PATTERN.search(name)]
    return [
        f"{place}: there is no interface '{name}' (waiting for it; see: ip link)"
        for place, name in uplinks + names
        if name not in there
    ]


def _files(directory: Path) -> list[Path]:
    try:
        files = sorted(path for path in directory.iterdir() if path.suffix == ".conf")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigError(f"{directory}: {error.strerror}", hint="the directory must be readable, or absent") from error
    for path in files:
        if not path.name.isprintable():  # nor could anybody be told where a mistake in it is
            raise ConfigError(f"{directory}: {path.name!a} is no name for a file of ours", hint="rename or remove it")
    return files


def _read(path: Path) -> str | None:
    """The text of a file; None when there is none. ConfigError."""
    try:
        info = path.stat()
        if not stat.S_ISREG(info.st_mode):  # a pipe would never end
            raise ConfigError(f"{path}: not a regular file")
        if info.st_size > _MAX_BYTES:  # nobody else is served while it is read
            raise ConfigError(f"{path}: longer than {_MAX_BYTES >> 20} MiB", hint="is it the file that is meant?")
        return path.read_text(encoding="utf-8-sig")  # some editors put a mark before the text
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}:{line}: not UTF-8 text", hint="save the file as UTF-8") from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="the file must be readable, or absent") from error


def parse(text: str, *, source: str, backends: tuple[str, ...], common: Settings | None = None) -> Settings:
    """Parse a configuration file's text; `source` is its name for messages, `common` holds where it says nothing."""
    parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=("#", ";"), default_section="")
    try:
        parser.read_string(text, source=source)
    except configparser.Error as error:
        raise _syntax_fault(error, source) from error
    for section in parser.sections():
        if section != _SECTION:
            header = rf"\[{re.escape(section)}\]"
            raise _fault(text, source, header, f"unknown section [{section}]", "the only one is [clatnm]")

    given: dict[str, Any] = {}
    known = KEYS if common is None else CONNECTION_KEYS
    for key, value in parser[_SECTION].items() if parser.has_section(_SECTION) else ():
        try:
            if key not in known:
                raise ConfigError(f"unknown key {key!r}", hint=f"known keys: {', '.join(known)}")
            field, given_value = setting(key, value, backends=backends)
            given[field] = given_value
        except ConfigError as error:
            raise _key_fault(text, source, key, error.what, error.hint) from None
    return replace(common or Settings(), written=frozenset(given), **given)


def setting(key: str, value: str, *, backends: tuple[str, ...]) -> tuple[str, Any]:
    """The field of `Settings` that one of KEYS is about, and what `value` means there. ConfigError."""
    if key == "backend":
        return key, _one_of(key, value, ("auto", *backends))
    return field_of(key), _READERS[key](value)


def field_of(key: str) -> str:
    """The field of `Settings` that a key is about."""
    return _FIELDS.get(key, key.replace("-", "_"))


def is_named(interface: str, patterns: Iterable[str]) -> bool:
    """Whether one of the words of `interfaces` means this interface."""
    return any(fnmatchcase(interface, pattern) for pattern in patterns)


def _one_of(what: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ConfigError(f"unknown {what} {value!r}", hint=f"one of: {', '.join(known)}")
    return value


def _around_vpn(value: str) -> AroundVpn:
    return AroundVpn(_one_of("word", value.lower(), tuple(AroundVpn)))


def _flag(value: str) -> bool:
    try:
        return _FLAGS[value.strip().lower()]
    except KeyError:
        raise ConfigError(f"{value!r} is neither yes nor no", hint="yes or no") from None


def _seconds(value: str) -> int:
    if not _SECONDS.fullmatch(value) or int(value) > _MAX_SECONDS:
        raise ConfigError(f"{value!r} is no number of seconds", hint=f"0 to {_MAX_SECONDS}")
    return int(value)


def _interfaces(value: str) -> tuple[str, ...]:
    words = [] if value.lower() == _NONE else _words(value)
    for word in words:
        if not _INTERFACE.fullmatch(word):
            raise ConfigError(f"no interface has the name {word!r}", hint="names or patterns, as eth0 or wlan*")
        if word == "lo" or word.startswith(DEVICE_PREFIX):
            raise ConfigError(f"{word!r} leads to no network", hint="the interfaces that do, as eth0 or wlan*")
    return tuple(dict.fromkeys(words))


def _prefix(value: str) -> IPv6Network | None:
    if value.lower() == _NONE:
        return None
    try:
        return parse_prefix(value)
    except ParseError as error:
        raise ConfigError(error.what, hint="a NAT64 prefix, as 64:ff9b::/96") from None


def _resolvers(value: str) -> tuple[IPv4Address | IPv6Address, ...]:
    words = [] if value.lower() == _NONE else _words(value)
    resolvers = tuple(_address(word, ip_address, "an address") for word in words)
    for address in resolvers:
        if address.is_loopback or address.is_multicast or address.is_unspecified:
            raise ConfigError(f"no resolver on the network can be {address}", hint="it is asked over the connection")
    return resolvers


def _targets(value: str) -> tuple[IPv4Address, ...]:
    targets = tuple(_address(word, IPv4Address, "an IPv4 address") for word in _words(value))
    if not targets:
        raise ConfigError("no address is given", hint=_TARGETS_HINT)
    for address in targets:
        unusable = address.is_loopback or address.is_multicast or address.is_link_local
        if unusable or address in _THIS_NETWORK or address in _RESERVED:
            raise ConfigError(f"no host behind a NAT64 has the address {address}", hint=_TARGETS_HINT)
    return targets


def _words(value: str) -> list[str]:
    return value.replace(",", " ").split()


def _address(word: str, kind: Callable[[str], _A], what: str) -> _A:
    try:
        return kind(word)
    except ValueError:
        raise ConfigError(f"{word!r} is not {what}", hint="addresses with commas between them") from None


_A = TypeVar("_A")
_FLAGS = {**dict.fromkeys(("no", "off", "false", "0"), False), **dict.fromkeys(("yes", "on", "true", "1"), True)}
_NONE = "none"
_THIS_NETWORK, _RESERVED = IPv4Network("0.0.0.0/8"), IPv4Network("240.0.0.0/4")
_TARGETS_HINT = "IPv4 addresses that answer a ping; or plat-check = no"
# Key → field of Settings, where the one does not follow from the other.
_FIELDS = {"drain": "drain_s", **config_device.FIELDS}
_READERS: dict[str, Callable[[str], Any]] = {
    "mode": parse_mode,
    "prefix": _prefix,
    "fallback-prefix": _prefix,
    "dns64": _flag,
    "dns64-servers": _resolvers,
    "plat-check": _flag,
    "plat-check-targets": _targets,
    "drain": _seconds,
    **config_device.READERS,
    **config_device.SCRIPTS,
    "default-route": _flag,
    "vpn": _around_vpn,
    "interfaces": _interfaces,
    "metrics": config_metrics.metrics,
}
KEYS = tuple(sorted((*_READERS, "backend")))
# What there is only one of on a machine.
_FOR_ALL = frozenset({"interfaces", "metrics"})
CONNECTION_KEYS = tuple(key for key in KEYS if key not in _FOR_ALL)


def _syntax_fault(error: configparser.Error, source: str) -> ConfigError:
    number, what = 1, " ".join(str(error).split())
    match error:
        case configparser.DuplicateOptionError():
            number, what = error.lineno or 1, f"'{error.option}' is set twice"
        case configparser.DuplicateSectionError():
            number, what = error.lineno or 1, f"[{error.section}] appears twice"
        case configparser.MissingSectionHeaderError():
            number, what = error.lineno, "this line belongs to no section"
        case configparser.ParsingError():
            number, what = error.errors[0][0], "this line is not understood"
    return ConfigError(f"{source}:{number}: {_told(what)}", hint="the form is: [clatnm], then key = value")


def _key_fault(text: str, source: str, key: str, what: str, hint: str) -> ConfigError:
    """A ConfigError that names the line where `key` is set."""
    return _fault(text, source, rf"{re.escape(key)}\s*[=:]", what, hint)


def _fault(text: str, source: str, pattern: str, what: str, hint: str) -> ConfigError:
    """A ConfigError that names the line which begins with `pattern`."""
    begins = re.compile(rf"\s*{pattern}", re.IGNORECASE)
    numbers = (n for n, line in enumerate(text.split("\n"), 1) if begins.match(line))
    return ConfigError(f"{source}:{next(numbers, 1)}: {_told(what)}", hint=hint)


def _told(what: str) -> str:
    """A mistake on one line, and no longer than people read."""
    plain = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in what)
    return plain if len(plain) <= _MAX_TOLD else f"{plain[:_MAX_TOLD]}…"


def some_secret(directory: Path) -> bytes:
    """`load_secret`, or where none can be kept, one for this time, with a warning."""
    try:
        return load_secret(directory)
    except HostError as error:
        log.warning("%s", error, extra=about(Message.SECRET_NOT_KEPT))
        return _fresh_secret()


def _fresh_secret() -> bytes:
    return secrets.token_bytes(_SECRET_BYTES)


def load_secret(directory: Path) -> bytes:
    """The secret behind our stable addresses (RFC 7217 section 5), made on first use.

    HostError when it cannot be kept.
    """
    path = directory / _KEPT_AS
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        secret = path.read_bytes() if path.exists() else b""
        if len(secret) >= _SECRET_BYTES:
            return secret
        secret = _fresh_secret()
        # Written aside and renamed, so that a crash leaves either no secret or a whole one.
        fresh = directory / f"secret.{os.getpid()}"
        fresh.unlink(missing_ok=True)
        try:
            fresh.touch(mode=0o600)
            fresh.write_bytes(secret)
            fresh.rename(path)
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as error:
        raise HostError(
            f"{path}: {error.strerror}", errno=error.errno or 0, hint="addresses change at each start"
        ) from error
    return secret
