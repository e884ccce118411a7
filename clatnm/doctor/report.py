# SPDX-License-Identifier: GPL-2.0-or-later
"""All checks over all facts, and how they are told."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from clatnm import __version__
from clatnm.doctor import machine, network, traffic
from clatnm.doctor.facts import DaemonState, Facts
from clatnm.doctor.findings import TITLES, Finding, Level, each, in_turn, root_cause
from clatnm.printable import printable

_CONNECTION = (*network.CHECKS, *traffic.CHECKS)
_WIDTH = max(map(len, TITLES))
_TELLS = {Level.OK: "ok", Level.WARN: "warn", Level.FAIL: "FAIL", Level.SKIPPED: "-"}
_ROOT_ADDS = {
    "router": "whether Router Advertisements come in by the wire, and whether a firewall keeps them from programs",
    "plat": "pings of the router and of the NAT64 over IPv6",
    "firewall": "which chain of the firewall a rule would have to go into, and what it drops of hosts behind this one",
}
_ROOT_ADDS_ALONE = {"connection": "what clatnm makes of each connection, while no daemon can be asked"}


def findings(facts: Facts) -> list[Finding]:
    """In the order of the checks: the machine first, then one connection after another."""
    found = list(each(machine.CHECKS, facts.machine))
    out = {finding.check for finding in found if finding.level is Level.FAIL or _is_lost(finding)}
    for s in facts.subjects:
        found += in_turn(_CONNECTION, s, out=out, interface=s.interface, connection=s.name)
    return found


def _is_lost(finding: Finding) -> bool:
    """It was not asked, because another one failed."""
    return finding.level is Level.SKIPPED and finding.said.cause.startswith("not asked")


def worst(found: Iterable[Finding]) -> Level:
    """Of all of them; what was skipped counts for nothing."""
    first = root_cause(found)
    return Level.OK if first is None else first.level


def root_adds(facts: Facts) -> list[str]:
    """What this user could not see, one line each."""
    if facts.machine.as_root:
        return []
    alone = facts.machine.daemon is not DaemonState.ANSWERS
    told = {**_ROOT_ADDS_ALONE, **_ROOT_ADDS} if alone else _ROOT_ADDS
    return [f"{check}: {words}" for check, words in told.items()]


def as_json(found: Sequence[Finding], facts: Facts) -> dict[str, Any]:
    """Everything, as docs/schemas/doctor.json has it."""
    first = root_cause(found)
    return {
        "version": __version__,
        "level": str(worst(found)),
        "cause": None if first is None else _finding(first),
        "as_root": facts.machine.as_root,
        "root_adds": root_adds(facts),
        "findings": [_finding(finding) for finding in found],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    said = finding.said
    return {
        "check": finding.check,
        "interface": finding.interface or None,
        "connection": finding.connection or None,
        "level": str(said.level),
        "cause": printable(said.cause),
        "remedy": said.remedy or None,
        "command": said.command or None,
    }


def as_text(found: Sequence[Finding], facts: Facts) -> str:
    """What `clatnm doctor` prints: the cause and what to do about it stand last, where a terminal shows them."""
    first = root_cause(found)
    lines: list[str] = []
    for (interface, name), group in itertools.groupby(found, key=lambda f: (f.interface, f.connection)):
        lines += ["", f"{interface} “{name}”" if interface else "This machine", *_rows(group, first)]
    if first is not None:
        where = f" on {first.interface}" if first.interface else ""
        begin = "First of all" if first.level is Level.FAIL else "Nothing fails. Worth a look"
        lines += ["", f"{begin}: {first.check}{where}: {first.said.cause}", *_remedy(first, indent=2)]
    elif facts.subjects or facts.machine.statics:
        lines += ["", "All is well."]
    adds = root_adds(facts)
    lines += ["", "Root would also see:", *(f"  {line}" for line in adds)] if adds else []
    return "\n".join(map(printable, lines[1:]))


def _rows(group: Iterable[Finding], first: Finding | None) -> Iterator[str]:
    """Those of one connection. What was not asked, for one and the same reason, is one row."""
    for _, alike in itertools.groupby(group, key=lambda f: f.said.cause if f.level is Level.SKIPPED else f.check):
        finding, *more = alike
        name = f"{len(more) + 1} more" if more else finding.check
        yield f"  {_TELLS[finding.level]:<4}  {name:<{_WIDTH}}  {finding.said.cause}"
        if finding is not first:
            yield from _remedy(finding, indent=_WIDTH + 10)


def _remedy(finding: Finding, *, indent: int) -> list[str]:
    told = (("→", finding.said.remedy), ("$", finding.said.command))
    return [f"{'':<{indent}}{sign} {words}" for sign, words in told if words]
