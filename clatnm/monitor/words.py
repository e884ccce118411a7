# SPDX-License-Identifier: GPL-2.0-or-later
"""Rates and screens in words; pure: a picture is lines of text for so many columns and rows."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from clatnm.compat import StrEnum
from clatnm.monitor.rates import DIRECTIONS, Key, Meter, Rate, Sample, Seen

_KILO = 1000.0
_INDENT = " " * 12
_NARROW = 60
"""Columns below which a row has no rates."""
_LOW = 10
"""Rows below which the list may take them all."""
_SMALLEST = 4
"""Rows that it takes to say anything about a connection."""
KEYS = " ↑ ↓ select   q leave"


class Look(StrEnum):
    """How a line of the picture looks."""

    BAR = "bar"
    PLAIN = "plain"
    SELECTED = "selected"
    TITLE = "title"
    FAULT = "fault"


Line = tuple[Look, str]


@dataclass(slots=True)
class State:
    """All that the picture is made of."""

    meter: Meter
    sample: Sample | None = None
    absent: str = "asking the daemon"
    """Why nothing is known; "" while the daemon answers."""
    selected: Key | None = None
    decisions: list[str] = field(default_factory=list)
    """Oldest first."""

    def position(self) -> int:
        """Where the selected connection is in the list; the first one if it has gone."""
        keys = [seen.key for seen in self.sample.seen] if self.sample else []
        return keys.index(self.selected) if self.selected in keys else 0

    def select(self, steps: int) -> None:
        """Another one of the list, so many further down."""
        if self.sample is not None and self.sample.seen:
            last = len(self.sample.seen) - 1
            self.selected = self.sample.seen[min(last, max(0, self.position() + steps))].key


def size(count: float) -> str:
    """Bytes for people: `929 B`, `3.4 kB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < _KILO:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= _KILO
    return f"{count:.1f} TB"


def number(count: float) -> str:
    """Packets a second: `0.2`, `12`, `3400`."""
    return f"{count:.1f}" if 0 < count < 10 else f"{count:.0f}"


def rate_line(way: str, rate: Rate) -> str:
    """`IPv4→IPv6 12 packets/s, 3.4 kB/s (tcp 10, udp 2), 3 % by the slow path; dropped/s: ttl 0.2`."""
    line = f"{DIRECTIONS[way]} {number(rate.packets)} packets/s, {size(rate.bytes)}/s"
    if rate.protocols:
        line += f" ({', '.join(f'{name} {number(count)}' for name, count in rate.protocols.items())})"
    if rate.slow_share:
        line += f", {rate.slow_share * 100:.0f} % by the slow path"
    if rate.drops:
        line += f"; dropped/s: {', '.join(f'{reason} {number(n)}' for reason, n in sorted(rate.drops.items()))}"
    return line


def rate_lines(rates: Mapping[str, Rate]) -> list[str]:
    """One line a direction, in their order."""
    return [rate_line(way, rates[way]) for way in DIRECTIONS if way in rates]


def width(text: str) -> int:
    """Columns that a text takes on a terminal."""
    return sum(_columns(char) for char in text)


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def cut(text: str, columns: int) -> str:
    """No more of a text than fits, with a sign that there is more."""
    if width(text) <= columns:
        return text
    kept, room = "", columns - 1
    for char in text:
        room -= _columns(char)
        if room < 0:
            break
        kept += char
    return f"{kept}…" if columns > 0 else ""


def _filled(left: str, right: str, columns: int) -> str:
    """`left` cut so that `right` stands at the right margin."""
    left = cut(left, columns - width(right) - 1) if right else cut(left, columns)
    return left + " " * (columns - width(left) - width(right)) + right


def picture(state: State, *, columns: int, rows: int) -> list[Line]:
    """The whole screen: at most `rows` lines of at most `columns` columns."""
    top, bottom = (Look.BAR, _header(state, columns)), (Look.BAR, _filled(KEYS, "", columns))
    room = max(0, rows - 2)
    seen = state.sample.seen if state.sample is not None and not state.absent else ()
    if seen:
        listed = min(len(seen), room if room < _LOW else max(1, room // 3))
        lines = _list(state, seen, columns, listed)
        if room - listed >= _SMALLEST:
            lines += _below(state, seen[state.position()], columns, room - listed)
    else:
        lines = _nothing(state, columns)
        lines += _decisions(state, columns, room - len(lines))
    lines += [(Look.PLAIN, "")] * (room - len(lines))
    return [top, *lines[:room], bottom][:rows]


def _header(state: State, columns: int) -> str:
    if state.sample is None or state.absent:
        return _filled(" clatnm monitor", "", columns)
    count = len(state.sample.seen)
    right = f"default mode {state.sample.default_mode} "
    left = f" clatnm {state.sample.version}   {count} connection{'s' if count != 1 else ''}"
    return _filled(left, right if columns >= _NARROW else "", columns)


def _nothing(state: State, columns: int) -> list[Line]:
    """Instead of a list."""
    if state.absent:
        return [(Look.FAULT, cut(f" {state.absent}", columns)), (Look.PLAIN, cut(" waiting for it", columns))]
    return [(Look.PLAIN, cut(" No active connections.", columns))]


def _list(state: State, seen: Sequence[Seen], columns: int, rows: int) -> list[Line]:
    """As many connections as there is room for, the selected one among them."""
    position = state.position()
    first = min(max(0, position - rows + 1), max(0, len(seen) - rows))
    lines: list[Line] = []
    for index in range(first, min(len(seen), first + rows)):
        rates = state.meter.of(seen[index].key)
        moving = [
            f"{sign} {size(rates[way].bytes)}/s" for sign, way in zip("↑↓", DIRECTIONS, strict=True) if way in rates
        ]
        right = " ".join(moving) + " " if moving and columns >= _NARROW else ""
        look = Look.SELECTED if index == position else Look.PLAIN
        lines.append((look, _filled(f" {seen[index].text[0]}", right, columns)))
    return lines


def _below(state: State, seen: Seen, columns: int, rows: int) -> list[Line]:
    """Everything about the selected connection, and under it what was decided last."""
    # What moves stands where it is not cut off first.
    details = [*(f"  now       {line}" for line in rate_lines(state.meter.of(seen.key))), *seen.text[1:]]
    wrapped = _wrapped(details, columns)
    told = min(len(_wrapped(state.decisions, columns)), max(2, rows // 4))
    shown = wrapped[: max(0, rows - 2 - told)]
    lines: list[Line] = [(Look.TITLE, _rule(seen.title, columns)), *((Look.PLAIN, line) for line in shown)]
    return lines + _decisions(state, columns, rows - len(lines))


def _decisions(state: State, columns: int, rows: int) -> list[Line]:
    """A title, and the last ones that there is room for."""
    if rows < 2:
        return []
    told = _wrapped(state.decisions, columns)[-(rows - 1) :]
    return [(Look.TITLE, _rule("decisions", columns)), *((Look.PLAIN, line) for line in told)]


def _rule(title: str, columns: int) -> str:
    text = cut(f"── {title} ", columns)
    return text + "─" * (columns - width(text))


def _wrapped(lines: Iterable[str], columns: int) -> list[str]:
    """Long lines continue under their text, where the terminal is wide enough for that."""
    indent = _INDENT if columns >= 2 * len(_INDENT) else ""
    wrapped: list[str] = []
    for line in lines:
        parts = textwrap.wrap(line, max(1, columns), subsequent_indent=indent)
        wrapped += [cut(part, columns) for part in parts]  # textwrap counts characters, some of which are wide
    return wrapped
