# SPDX-License-Identifier: GPL-2.0-or-later
"""Worlds as lines of JSON: what `clatnm daemon --record` writes and `clatnm plan --replay` reads.

A line is `{"at": CLOCK_BOOTTIME seconds, "world": {...}}`. Fields at their defaults are left out, and so is the secret
behind our addresses: a trace can be shown to others, and replaying it gives addresses of its own.
"""

from __future__ import annotations

import json
import math
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, TypeVar

from clatnm.errors import ParseError
from clatnm.model import World
from clatnm.proto.eam import EamTable, parse_mapping

_T = TypeVar("_T")
_ADDRESSES = (IPv4Address, IPv6Address, IPv4Network, IPv6Network)
_MAX_INTEGER = 1 << 63
_KEY_SEPARATOR = " "


def line(world: World, at: float) -> str:
    """One line of a trace, without its end."""
    told = {"at": round(at, 3), "world": encode(replace(world, secret=b""))}
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"))


def parse(lines: Iterable[str]) -> Iterator[tuple[float, World]]:
    """The times and worlds of a trace. ParseError names the line that is none."""
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            told = json.loads(text)
            at, world = _number(told["at"]), decode(World, told["world"])
            if len({uplink.interface for uplink in world.uplinks}) < len(world.uplinks):
                raise ValueError("an interface has two connections")
            if len({static.name for static in world.settings.statics}) < len(world.settings.statics):
                raise ValueError("two static translators have one name")
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise ParseError(f"line {number} is not of a trace: {_words(error)}") from None
        yield at, world


def _words(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return f"{text} is missing" if isinstance(error, KeyError) else text


def encode(value: Any) -> Any:
    """A record of `model`, or a part of one, as JSON values."""
    if is_dataclass(value) and not isinstance(value, type):
        told = {field.name: getattr(value, field.name) for field in fields(value)}
        return {f.name: encode(told[f.name]) for f in fields(value) if told[f.name] != _default(f)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, EamTable):
        return [f"{v4} {v6}" for v4, v6 in value]
    if isinstance(value, _ADDRESSES):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {_encode_key(key): encode(item) for key, item in value.items()}
    if isinstance(value, frozenset):
        return sorted(encode(item) for item in value)
    if isinstance(value, tuple):
        return [encode(item) for item in value]
    return value


def _default(field: Any) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return field.default


def _encode_key(key: Any) -> str:
    return _KEY_SEPARATOR.join(map(str, key)) if isinstance(key, tuple) else str(key)


def decode(kind: Any, value: Any) -> Any:
    """`value`, JSON, as the type annotation `kind` wants it. ValueError, TypeError, KeyError."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _decode_union(arguments, value)
    if origin is tuple:
        return tuple(decode(arguments[0], item) for item in _checked(list, value))
    if origin is frozenset:
        return frozenset(decode(arguments[0], item) for item in _checked(list, value))
    if origin is not None:  # Mapping
        key, item = arguments
        return {_decode_key(key, name): decode(item, told) for name, told in _checked(dict, value).items()}
    if is_dataclass(kind):
        return _decode_record(typing.cast("type[Any]", kind), _checked(dict, value))
    if kind is EamTable:
        return _table(_checked(list, value))
    if kind is bytes:
        return bytes.fromhex(value)
    if kind is float:
        return _number(value)
    if kind is int:
        return _integer(value)
    if kind is bool:
        return _checked(bool, value)
    # a text, an address, a network, a word of an enumeration
    return typing.cast("Callable[[Any], Any]", kind)(_text(value))


def _table(lines: list[Any]) -> EamTable:
    try:
        return EamTable(parse_mapping(*_text(line).split(_KEY_SEPARATOR)) for line in lines)
    except ParseError as error:
        raise ValueError(error.what) from None


def _decode_union(kinds: tuple[Any, ...], value: Any) -> Any:
    if value is None and type(None) in kinds:
        return None
    rest = [kind for kind in kinds if kind is not type(None)]
    if len(rest) == 1:
        return decode(rest[0], value)
    words = [kind for kind in rest if isinstance(kind, type) and issubclass(kind, Enum)]
    known = (kind(value) for kind in words if value in [member.value for member in kind])
    return next(known, None) or ip_address(_text(value))


def _decode_key(kind: Any, text: str) -> Any:
    if typing.get_origin(kind) is not tuple:
        return decode(kind, text)
    kinds = typing.get_args(kind)
    parts = text.rsplit(_KEY_SEPARATOR, len(kinds) - 1)  # the first one may hold a blank
    return tuple(decode(each, part) for each, part in zip(kinds, parts, strict=True))


def _decode_record(kind: type[_T], value: dict[str, Any]) -> _T:
    hints = typing.get_type_hints(kind)
    unknown = value.keys() - hints.keys()
    if unknown:
        raise ValueError(f"{kind.__name__} has no {min(unknown)!r}")
    return kind(**{name: decode(hints[name], told) for name, told in value.items()})


def _number(value: Any) -> float:
    number = float(value if type(value) is int else _checked(float, value))
    if not math.isfinite(number):
        raise ValueError(f"{number} is no time")
    return number


def _integer(value: Any) -> int:
    number = _checked(int, value)
    if abs(number) > _MAX_INTEGER:
        raise ValueError("a number is too large")
    return number


def _text(value: Any) -> str:
    text = _checked(str, value)
    text.encode()  # what cannot be written was never read
    return text


def _checked(kind: type[_T], value: Any) -> _T:
    if type(value) is not kind:
        raise TypeError(f"{value!r:.40} is no {kind.__name__}")
    return value
