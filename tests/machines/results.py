# SPDX-License-Identifier: GPL-2.0-or-later
"""What a job says, line by line, and what that comes to. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from clatnm.compat import StrEnum

TIMED_OUT, NO_RESULT = 124, 125
_LINE = re.compile(r"^(ok|not ok|skip) ([^\s:]+)(?:: (.*))?$")


class Fate(StrEnum):
    """What became of one check."""

    OK = "ok"
    NOT_OK = "not ok"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Check:
    """A line `ok NAME`, `not ok NAME: why` or `skip NAME: why` of a job."""

    fate: Fate
    name: str
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a guest's job went; `status` is the job's own, or TIMED_OUT or NO_RESULT."""

    status: int
    checks: Sequence[Check]
    versions: Mapping[str, str] = field(default_factory=dict)
    """`kernel` and packages of the guest, by name."""
    seconds: float = 0.0
    cpu_s: float = 0.0
    """Of the emulator's."""
    said: str = ""
    """All of its output."""
    end: str = ""
    """The end of its console, where it did not come to an end of its own."""

    @property
    def fault(self) -> str:
        """Why this is no success, on one line; empty for one. Not to have checked anything is none."""
        failed = [check for check in self.checks if check.fate is Fate.NOT_OK]
        if failed:
            more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
            return f"{failed[0].name}: {failed[0].why}{more}"
        if self.status == TIMED_OUT:
            return f"killed after {self.seconds:.0f} s"
        if self.status == NO_RESULT:
            return "the guest ended without a result"
        if self.status != 0:
            return f"exit status {self.status}"
        if not any(check.fate is Fate.OK for check in self.checks):
            return "nothing was checked"
        return ""

    @property
    def skipped(self) -> Sequence[Check]:
        return [check for check in self.checks if check.fate is Fate.SKIP]


def checks(output: str) -> list[Check]:
    """The lines that are results; all others are for people."""
    found = (_LINE.match(line) for line in output.splitlines())
    return [Check(Fate(match[1]), match[2], match[3] or "") for match in found if match]


def versions(listing: str) -> dict[str, str]:
    """`NAME VERSION`, one a line."""
    pairs = (line.split() for line in listing.splitlines())
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}
