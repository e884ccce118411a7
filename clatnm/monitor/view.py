# SPDX-License-Identifier: GPL-2.0-or-later
"""Who shows what the daemon says, and how it gets there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from clatnm.dbus.following import SELDOM_S, Following
from clatnm.monitor.rates import Sample, sample
from clatnm.printable import printable


class View(Protocol):
    """Who is told."""

    def sampled(self, now: Sample) -> None:
        """What there is."""

    def decided(self, text: str) -> None:
        """A line of the daemon's log, on one line and without terminal controls."""

    def absent(self, why: str) -> None:
        """Nobody answers, until the next sample; said once."""


def following(view: View, *, interval_s: float | None, clock: Callable[[], float]) -> Following:
    """`interval_s`: ask so often although nothing has changed; None: seldom. `clock` in seconds."""
    return Following(
        told=lambda answer: view.sampled(sample(answer, at=clock())),
        absent=lambda why: view.absent(printable(why)),
        decided=lambda text: view.decided(printable(text)),
        every_s=SELDOM_S if interval_s is None else interval_s,
    )
