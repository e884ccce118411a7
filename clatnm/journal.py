# SPDX-License-Identifier: GPL-2.0-or-later
"""What has been decided for each connection lately: one line a change, for the log and for `clatnm explain`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from clatnm import status
from clatnm.log import Message, about
from clatnm.model import Reason, Running, RunState, Verdict

REMEMBERED = 20
# Connections that are gone; some machines have interfaces whose names never come back.
_MAX_PAST = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A line of the log, and when it was written (seconds since the epoch)."""

    at: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """A line for the log, and what `logging` calls `extra`: its MESSAGE_ID and fields."""

    text: str
    extra: Mapping[str, Any]


@dataclass(slots=True)
class _Story:
    # A connection that is coming up has no IPv6 for a moment, which is no news.
    said: tuple[object, ...] = (Reason.NO_IPV6,)
    uuid: str = ""
    interface: str = ""
    decisions: deque[Decision] = field(default_factory=lambda: deque(maxlen=REMEMBERED))


class Journal:
    """`wall_clock` gives seconds since the epoch."""

    def __init__(self, *, wall_clock: Callable[[], float]) -> None:
        self._wall_clock = wall_clock
        self._stories: dict[str, _Story] = {}
        self._past: dict[str, deque[Decision]] = {}

    def note(
        self, verdicts: Iterable[Verdict], running: Mapping[str, Running], start_ms: Callable[[str], float]
    ) -> list[News]:
        """What has changed for the user since the last call."""
        news: list[News] = []
        present: set[str] = set()
        for verdict in verdicts:
            owner = verdict.uplink.owner
            present.add(owner)
            story = self._stories.get(owner)
            if story is None:
                story = self._stories[owner] = _Story(decisions=self._past.pop(owner, deque(maxlen=REMEMBERED)))
            story.uuid, story.interface = verdict.uplink.uuid, verdict.uplink.interface
            run = status.run_of(verdict, running)
            ms = start_ms(run.plan.key) if run else 0.0
            said = _news(verdict, run, ms)
            if said is not None and said != story.said:
                story.said = said
                text = self._write(story.decisions, status.log_line(verdict, run, start_ms=ms))
                news.append(News(text=text, extra=_fields(verdict, run)))
        for owner in self._stories.keys() - present:
            story = self._stories.pop(owner)
            if not isinstance(story.said[0], Reason):
                text = self._write(story.decisions, status.gone_line(owner))
                gone = about(Message.CLAT_GONE, connection=story.uuid, uplink=story.interface)
                news.append(News(text=text, extra=gone))
            self._past[owner] = story.decisions
        for owner in list(self._past)[:-_MAX_PAST]:
            del self._past[owner]
        return news

    def decisions(self, owner: str) -> tuple[Decision, ...]:
        """The last decisions for one `Uplink.owner`, oldest first."""
        story = self._stories.get(owner)
        return tuple(story.decisions) if story else ()

    def _write(self, decisions: deque[Decision], line: str) -> str:
        decisions.append(Decision(at=self._wall_clock(), text=line))
        return line


def _news(verdict: Verdict, run: Running | None, start_ms: float) -> tuple[object, ...] | None:
    """What a user would call the state of the connection; None while it is on its way."""
    if verdict.reason is Reason.NO_PREF64 and "asking" in verdict.evidence:
        return None
    if verdict.reason is Reason.MANAGER_TRANSLATES and verdict.evidence.get("manager-clat") == "expected":
        return None
    if verdict.plan is None and (run is None or not run.plan.offered):
        return (verdict.reason,)
    if verdict.plan is not None and run is not None and run.state is RunState.ON and run.plan.offered:
        plan = run.plan
        return plan.prefix, plan.clat_v4, plan.clat_v6, plan.backend, start_ms
    return None


def _fields(verdict: Verdict, run: Running | None) -> dict[str, Any]:
    """The same as the log line, for programs. Without the connection's name: networks are people's own business."""
    uplink, candidate = verdict.uplink, verdict.candidate
    facts = {
        "connection": uplink.uuid,
        "uplink": uplink.interface,
        "manager": uplink.manager,
        "mode": None if uplink.static else verdict.mode,
        "source": candidate.source if candidate else None,
    }
    if run is not None and run.state is RunState.ON and run.plan.offered and verdict.reason is None:
        plan = run.plan
        where = {"prefix": plan.prefix, "device": plan.device, "backend": plan.backend}
        return about(Message.CLAT_UP, **facts, **where)
    prefix = candidate.prefix if candidate else None
    return about(Message.CLAT_ABSENT, **facts, prefix=prefix, reason=verdict.reason)
