# SPDX-License-Identifier: GPL-2.0-or-later
"""Why a static translator runs, or does not: `explain.explanation` for one of `static.d`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from clatnm.explain import fact, failures, told_decisions
from clatnm.journal import Decision
from clatnm.model import Reason, Static, Verdict, World
from clatnm.policy.static import case_of, has_default_route, rules
from clatnm.policy.verdict import Case
from clatnm.status import explanation_of

# Reason → what is asked, and what would make the answer another one. `{file}` is the translator's own, `{uplink}` its
# interface.
_WORDS: Mapping[Reason, tuple[str, str]] = {
    Reason.MANAGER_TRANSLATES: (
        "Is nobody else translating its uplink?",
        "The network manager's CLAT on {uplink} has IPv4's default route. Switch that off, or give this one `routes`"
        " without the default in {file}",
    ),
    Reason.OTHER_TRANSLATOR: (
        "Is there no other translator on this machine with IPv4's default route?",
        "The end of the other one, or `routes` without the default in {file}",
    ),
    Reason.NO_IPV6: (
        "Does its uplink have IPv6?",
        "A carrier, a global IPv6 address and an IPv6 default route on {uplink}.",
    ),
    Reason.BACKING_OFF: (
        "Has its translator not just failed?",
        "The next try is made by itself, within a minute.",
    ),
    Reason.NO_CLAT_ADDRESS: (
        "Are its addresses free?",
        "Addresses that neither this host nor its router has already, by clat-v4-addr, clat-v6-addr, mappings and"
        " prefix in {file}",
    ),
    Reason.NO_TRANSLATOR: (
        "Is there a way to translate on this machine?",
        "Access to /dev/net/tun; and another `backend` in {file}",
    ),
}


def static_explanation(
    static: Static, verdict: Verdict, world: World, decisions: Iterable[Decision], *, state: str, now: float
) -> dict[str, Any]:
    """Everything about one static translator as JSON values."""
    uplink, reason = verdict.uplink, verdict.reason
    return {
        "interface": uplink.interface,
        "name": uplink.name,
        "uuid": uplink.uuid,
        "static": True,
        "state": state,
        "reason": str(reason) if reason else None,
        "explanation": explanation_of(verdict) or "its file wants it, and its uplink has IPv6",
        "change": _change(static, reason),
        "questions": _questions(static, reason),
        "evidence": _evidence(static, case_of(static, world, now), verdict.evidence.get("in-use", ""), now),
        "decisions": told_decisions(decisions),
    }


def _questions(static: Static, reason: Reason | None) -> list[dict[str, str]]:
    order = (*(each for each, _ in rules(static)), Reason.NO_CLAT_ADDRESS, Reason.NO_TRANSLATOR)
    told, asked = [], True
    for each in order:
        answer = "no" if each is reason else "yes" if asked else "not asked"
        asked = asked and each is not reason
        told.append({"reason": str(each), "question": _WORDS[each][0], "answer": answer})
    return told


def _change(static: Static, reason: Reason | None) -> str:
    file = static.told_at.rpartition(":")[0] or "its file"
    if reason is None:
        return f"The end of IPv6 on {static.uplink}; or take {file} away, and: systemctl reload clatnm"
    return _WORDS[reason][1].format(file=file, uplink=static.uplink)


def _evidence(static: Static, this: Case, in_use: str, now: float) -> list[dict[str, Any]]:
    relay = static.choices.relay
    told = [
        fact("file", static.told_at.rpartition(":")[0], "configuration"),
        fact("uplink", static.uplink if this.link else f"{static.uplink}, which is not there", "kernel"),
        fact("prefix", str(static.prefix), "configuration"),
    ]
    if relay is not None:
        told.append(fact("mappings", str(len(relay.mappings)), "configuration"))
        told.append(fact("addresses", ", ".join(map(str, relay.addresses)) or "none, for others", "configuration"))
        told.append(fact("routes", ", ".join(map(str, relay.routes)) or "none", "configuration"))
    told.append(fact("ipv6", "yes" if this.ipv6 else "no", "kernel"))
    if has_default_route(static):
        if this.manager_clat:
            told.append(fact("manager-clat", this.manager_clat, "kernel"))
        if this.other is not None:
            told.append(fact("other-translator", str(this.other), "kernel"))
    if in_use:
        told.append(fact("in use", f"{in_use}, which this host has itself", "kernel"))
    return [*told, *failures(this, now)]
