# SPDX-License-Identifier: GPL-2.0-or-later
"""Waiting for an end state: poll with a deadline, and on failure say what was seen last and what the logs say."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# What running labs have to say about a failure; each Lab adds itself while it is up.
diagnoses: list[Callable[[], str]] = []

_FIRST_PAUSE_S = 0.01
_LONGEST_PAUSE_S = 0.25


class EventuallyError(AssertionError):
    """The awaited state did not come; carries the last value and the logs of every running lab."""


class CommandError(AssertionError):
    """A command in the lab ended with another status than 0; the text has its output."""

    def __init__(self, result: subprocess.CompletedProcess[str]) -> None:
        argv = " ".join(map(str, result.args))
        super().__init__(f"status {result.returncode}: {argv}\n{result.stdout or ''}{result.stderr or ''}".rstrip())
        self.result = result


def eventually(
    check: Callable[[], T], *, timeout_s: float = 10.0, longest_pause_s: float = _LONGEST_PAUSE_S, message: str
) -> T:
    """Call `check` until it returns something true and return that.

    A failed assertion, a failed command or a command that timed out means "not yet", so `check` may assert.
    Raises EventuallyError after `timeout_s` seconds; the check is always made at least twice.
    """
    deadline = time.monotonic() + timeout_s
    pause_s = _FIRST_PAUSE_S
    while True:
        late = time.monotonic() >= deadline
        last: object
        try:
            value = check()
            if value:
                return value
            last = value
        except (AssertionError, subprocess.TimeoutExpired) as error:
            last = error
        if late:
            logs = "\n".join(diagnose() for diagnose in diagnoses)
            raise EventuallyError(f"{message}: not within {timeout_s:g} s; last: {last!r}\n{logs}".rstrip())
        time.sleep(min(pause_s, max(0.0, deadline - time.monotonic())))
        pause_s = min(pause_s * 1.5, longest_pause_s)
