# SPDX-License-Identifier: GPL-2.0-or-later
"""The view for a whole terminal: urwid shows the picture that `words` makes, and tells of keys and sizes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import urwid

from clatnm.monitor.rates import Meter, Sample
from clatnm.monitor.words import Look, State, picture

_PALETTE = (
    (str(Look.BAR), "standout", ""),
    (str(Look.PLAIN), "default", "default"),
    (str(Look.SELECTED), "standout", ""),
    (str(Look.TITLE), "bold", ""),
    (str(Look.FAULT), "bold", ""),
)
_LEAVE = frozenset({"q", "Q"})
_STEPS = {"up": -1, "k": -1, "down": 1, "j": 1, "page up": -10, "page down": 10, "home": -(1 << 30), "end": 1 << 30}
_RESIZED = "window resize"
_MAX_DECISIONS = 200


class _Picture(urwid.Widget):  # type: ignore[misc]
    """A box that is drawn anew for each size."""

    _sizing = frozenset({"box"})
    _selectable = False

    def __init__(self, state: State) -> None:
        super().__init__()
        self._state = state

    def render(self, size: tuple[int, int], focus: bool = False) -> Any:
        columns, rows = size
        lines = picture(self._state, columns=columns, rows=rows)
        markup = [(str(look), f"{text}\n") for look, text in lines[:-1]] + [(str(lines[-1][0]), lines[-1][1])]
        text = urwid.Text(markup, wrap="clip")
        return urwid.Filler(text, valign="top").render(size, focus)

    def changed(self) -> None:
        """What is shown is out of date."""
        self._invalidate()


class Screen:
    """A `View` that has the terminal from `start` to `stop`; `left` is set when the user has had enough."""

    def __init__(self, *, interval_s: float, time_of_day: Callable[[], str]) -> None:
        self.left = asyncio.Event()
        self._time_of_day = time_of_day
        self._state = State(meter=Meter(interval_s=interval_s))
        self._picture = _Picture(self._state)
        self._loop = asyncio.get_running_loop()
        self._main = urwid.MainLoop(
            self._picture,
            _PALETTE,
            event_loop=urwid.AsyncioEventLoop(loop=self._loop),
            input_filter=self._keys,
            handle_mouse=False,
        )

    def start(self) -> None:
        """Take the terminal."""
        self._main.start()
        self._draw()

    def stop(self) -> None:
        """Give it back as it was."""
        self._main.stop()

    def sampled(self, now: Sample) -> None:
        self._state.absent = ""
        self._state.sample = now
        self._state.meter.feed(now)
        self._draw()

    def decided(self, text: str) -> None:
        self._state.decisions.append(f"{self._time_of_day()} {text}")
        del self._state.decisions[:-_MAX_DECISIONS]
        self._draw()

    def absent(self, why: str) -> None:
        self._state.absent = why
        self._state.meter.forget()
        self._draw()

    def _keys(self, keys: Sequence[Any], raw: Sequence[int]) -> list[Any]:
        """All input comes here first; what urwid itself has to know of is handed on."""
        for key in keys:
            if key in _LEAVE:
                self.left.set()
            elif key in _STEPS:
                self._state.select(_STEPS[key])
        # After urwid has done its part.
        self._loop.call_soon(self._draw)
        return [key for key in keys if key == _RESIZED]

    def _draw(self) -> None:
        self._picture.changed()
        if self._main.screen.started:
            self._main.draw_screen()
