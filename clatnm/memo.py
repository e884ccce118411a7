# SPDX-License-Identifier: GPL-2.0-or-later
"""What a daemon writes down about a translator, for a successor that finds it still at work. Pure.

A line of JSON, then the table of an Edge Relay's mappings, which may be long. It is the word of root: a successor does
with the machine what it says. So it is kept where nobody else writes, and never by the translator.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from clatnm import trace
from clatnm.errors import ParseError
from clatnm.model import Plan
from clatnm.proto.eam import EamTable

_FAULTS = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A translator's life so far. Times are CLOCK_BOOTTIME seconds."""

    plan: Plan
    began: float
    start_ms: float = 0.0
    withdrawn_at: float | None = None
    script_down: str = ""
    """What is to be run in the end."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What `script_up` was told, and `script_down` will be."""
    collisions: int = 0
    """How many addresses of this connection were somebody else's: the next one depends on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memo:
    """All that a successor has to know."""

    version: int
    """`wire.VERSION`."""
    past: Past
    index: int
    """Of its device."""
    held: tuple[str, ...] = ()
    """Which descriptors the process holds for us besides its own, in order."""
    programs: str = ""
    """Which eBPF programs these are."""
    clsact: bool = False
    """The uplink had no clsact before."""
    process: str = ""
    """The translator's, as `kernel.who` names it: one that hangs is ended by this name alone."""
    daemon: str = ""
    """Who wrote this: as long as that one lives, nobody else touches the translator."""


def to_bytes(memo: Memo) -> bytes:
    """The memo, to be written down; `from_bytes` is the inverse."""
    plan, table = memo.past.plan, b""
    if plan.relay is not None:
        table = plan.relay.mappings.to_bytes()
        memo = _with_relay(memo, EamTable())
    return json.dumps(trace.encode(memo), separators=(",", ":")).encode() + b"\n" + table


def from_bytes(data: bytes) -> Memo:
    """ParseError when that is none, or one of a version with other records."""
    line, _, table = data.partition(b"\n")
    try:
        memo = trace.decode(Memo, json.loads(line))
        assert isinstance(memo, Memo)
        if memo.past.plan.relay is not None:
            memo = _with_relay(memo, EamTable.from_bytes(table))
        elif table:
            raise ValueError("there is more than was written")
    except _FAULTS as error:
        raise ParseError(f"not a memo: {error}") from None
    return memo


def _with_relay(memo: Memo, mappings: EamTable) -> Memo:
    relay = memo.past.plan.relay
    assert relay is not None
    plan = replace(memo.past.plan, relay=replace(relay, mappings=mappings))
    return replace(memo, past=replace(memo.past, plan=plan))
