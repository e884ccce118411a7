# SPDX-License-Identifier: GPL-2.0-or-later
"""clatd's configuration: read as clatd 2.1 reads it, and said in our words. Pure.

Every line gets a fate: it is kept under a key of ours, nobody needs it here, or what to do instead of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from clatnm.clatd_rules import DEFAULT_V4, MEANT_EMPTY, RULES, STATIC_RULES, Becomes, Given, Place, Said
from clatnm.errors import ConfigError

_MAX_TOLD = 200  # characters of a mistake; values can be of any length
_IGNORED = re.compile(r"\s*(;|#|//|$)")
_SETTING = re.compile(r"\s*([\w-]+)\s*=\s*(.*?)\s*$", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A setting in clatd's file. `key` is empty where clatd would not understand the line, which is `value` then."""

    number: int
    key: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What became of one line, and why; for one that is kept, the keys of ours that say it, and where."""

    line: Line
    becomes: Becomes
    why: str = ""
    place: Place = Place.COMMON
    keys: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """Our keys with their values, by the file they belong in, and the fate of each line in the order of lines."""

    fates: tuple[Fate, ...]
    keys: Mapping[Place, Mapping[str, str]]
    scripts: Mapping[str, str] = field(default_factory=dict)
    """Absolute path → text of programs that the keys name."""


def parse(text: str) -> tuple[Line, ...]:
    """Every line that clatd would not skip as blank or a comment (`#`, `;`, `//`)."""
    lines = []
    for number, line in enumerate(text.split("\n"), 1):
        if _IGNORED.match(line):
            continue
        found = _SETTING.match(line)
        key, value = (found[1], found[2]) if found else ("", line.strip())
        lines.append(Line(number=number, key=key, value=value))
    return tuple(lines)


def translate(
    lines: Sequence[Line], *, source: str, for_connection: bool, directory: str = "/etc/clatnm", uplink: str = ""
) -> Imported:
    """Say all of it in our words. `for_connection`: what is for one connection alone has a file to go to; programs go
    into `directory`; `uplink` is the interface that clatd would take by itself.

    ConfigError with file and line: a value that clatd would not take either.
    """
    last = {line.key: line for line in lines}
    values = {key: line.value for key, line in last.items() if key in RULES and line.value}
    given = Given(values, for_connection, directory)
    fates: list[Fate] = []
    keys: dict[Place, dict[str, str]] = {place: {} for place in Place}
    scripts: dict[str, str] = {}
    for line in lines:
        said = _said(line, last, given, source)
        place = Place.STATIC if given.static else said.place
        fates.append(Fate(line=line, becomes=said.becomes, why=said.why, place=place, keys=said.keys))
        keys[place].update(said.keys)
        scripts.update(said.scripts)
    if given.static:
        _complete(keys[Place.STATIC], uplink, source)
    return Imported(fates=tuple(fates), keys=keys, scripts=scripts)


def _complete(keys: dict[str, str], uplink: str, source: str) -> None:
    """Add what clatd takes where its file says nothing. ConfigError."""
    keys.setdefault("clat-v4-addr", DEFAULT_V4)
    if not keys.setdefault("uplink", uplink):
        hint = f"plat-dev = the interface that leads to the network, in {source}"
        raise ConfigError(f"{source}: no interface is named, and none has an IPv6 default route", hint=hint)


def _said(line: Line, last: Mapping[str, Line], given: Given, source: str) -> Said:
    if not line.key:
        return Said(becomes=Becomes.IGNORED, why="clatd does not understand this line either")
    rule = {**RULES, **(STATIC_RULES if given.static else {})}.get(line.key)
    if rule is None:
        return Said(becomes=Becomes.IGNORED, why="clatd 2.1 has no such key")
    if last[line.key] is not line:
        return Said(becomes=Becomes.IGNORED, why=f"line {last[line.key].number} sets it again")
    if not line.value and line.key not in MEANT_EMPTY:
        return Said(becomes=Becomes.NOT_NEEDED, why="it is empty")
    try:
        return rule(line.value, given)
    except ConfigError as error:
        what = error.what if len(error.what) <= _MAX_TOLD else f"{error.what[:_MAX_TOLD]}…"
        raise ConfigError(f"{source}:{line.number}: {line.key}: {what}", hint=error.hint) from None
