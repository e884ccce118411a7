# SPDX-License-Identifier: GPL-2.0-or-later
"""The view for pipes, logs and simple terminals: one line a change, and the rates every so often if wanted."""

from __future__ import annotations

from collections.abc import Callable

from clatnm.monitor.rates import Key, Meter, Sample
from clatnm.monitor.words import rate_lines


class Plain:
    """A `View`. `say` takes a line; `rates_s`: seconds between two tellings of the rates, None for never."""

    def __init__(self, say: Callable[[str], None], *, rates_s: float | None) -> None:
        self._say = say
        self._meter = None if rates_s is None else Meter(interval_s=rates_s)
        self._there: dict[Key, str] | None = None
        """Titles; None while nobody answers."""

    def sampled(self, now: Sample) -> None:
        before = self._there
        if before is None:
            self._say(f"clatnm {now.version} answers, default mode {now.default_mode}")
        for seen in now.seen:
            if before is None or seen.key not in before:
                self._say(seen.text[0])
        self._there = {seen.key: seen.title for seen in now.seen}
        for key, title in (before or {}).items():
            if key not in self._there:
                self._say(f"{title} is gone")
        if self._meter is not None and self._meter.feed(now):
            for seen in now.seen:
                for line in rate_lines(self._meter.of(seen.key)):
                    self._say(f"{seen.title}: {line}")

    def decided(self, text: str) -> None:
        self._say(text)

    def absent(self, why: str) -> None:
        self._there = None
        if self._meter is not None:
            self._meter.forget()
        self._say(f"{why}; waiting for it")
