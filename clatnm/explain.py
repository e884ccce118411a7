# SPDX-License-Identifier: GPL-2.0-or-later
"""Why a connection has, or has not, a CLAT: every question that was asked, what is known and since when, what would
change the answer, and what was decided before."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from clatnm.journal import Decision
from clatnm.model import (
    DEVICE_PREFIX,
    Dhcp4State,
    Mode,
    PlatState,
    PrefixCandidate,
    Reason,
    Running,
    Uplink,
    Verdict,
    World,
)
from clatnm.policy.modes import own_file, told_modes
from clatnm.policy.prefixes import candidates_for
from clatnm.policy.verdict import RULES, Case, case
from clatnm.printable import printable
from clatnm.status import EXPLANATIONS, run_of, state_of


@dataclass(frozen=True, slots=True, kw_only=True)
class _Words:
    """A reason for people: what is asked, and what would make the answer another one."""

    question: str
    remedy: str


# `{name}` is the connection's, as a shell wants it; `{switch MODE}` is how this one gets a mode.
WORDS: Mapping[Reason, _Words] = {
    Reason.NOT_AN_UPLINK: _Words(
        question="Does it lead out of the machine by itself?",
        remedy="Nothing: a VPN's traffic goes through another connection, and that one is translated.",
    ),
    Reason.OPTED_OUT: _Words(question="Is CLAT switched on for it?", remedy="Switch it on: {switch auto}"),
    Reason.MANAGER_TRANSLATES: _Words(
        question="Is nobody else translating it?",
        remedy="To let clatnm do it instead: nmcli connection modify {name} ipv4.clat no +ipv6.dns-options clatnm:1"
        " and activate the connection again.",
    ),
    Reason.OTHER_TRANSLATOR: _Words(
        question="Is there no other translator on this machine?",
        remedy="When the other one stops, CLAT comes; if it is clatd: clatnm import-clatd, "
        "then systemctl disable --now clatd."
        " To leave the work to it for good: {switch no}",
    ),
    Reason.NATIVE_IPV4: _Words(
        question="Is it without native IPv4?",
        remedy="When its IPv4 default route goes, CLAT comes. To have both: {switch force}",
    ),
    Reason.NO_IPV6: _Words(
        question="Does it have IPv6?",
        remedy="A carrier, a global IPv6 address and an IPv6 default route on the interface.",
    ),
    Reason.NEVER_DEFAULT: _Words(
        question="May it have an IPv4 default route?",
        remedy="nmcli connection modify {name} ipv4.never-default no, or: {switch force}",
    ),
    Reason.VPN_WITHOUT_IPV4: _Words(
        question="Does IPv4 stay where the VPNs want it?",
        remedy="The end of the VPN, or IPv4 in the VPN. To let IPv4 go around it: `vpn = bypass` in"
        " /etc/clatnm/clatnm.conf, or in the file in connections.d for this connection or for the VPN.",
    ),
    Reason.NO_PREF64: _Words(
        question="Does the network tell its NAT64 prefix?",
        remedy="A Router Advertisement with PREF64, a resolver with DNS64, or `prefix = …` in /etc/clatnm/clatnm.conf"
        " if the network has a NAT64 that it does not announce.",
    ),
    Reason.PLAT_UNREACHABLE: _Words(
        question="Does the NAT64 behind the prefix work?",
        remedy="It is pinged again once a minute at least, and its first answer brings CLAT back; one that never"
        " answered a ping gets another chance by itself, after 1 to 10 minutes."
        " To go without this check: `plat-check = no` in /etc/clatnm/clatnm.conf",
    ),
    Reason.BACKING_OFF: _Words(
        question="Has its translator not just failed?", remedy="The next try is made by itself, within a minute."
    ),
    Reason.NO_CLAT_ADDRESS: _Words(
        question="Are there addresses for the CLAT?",
        remedy="A /64 on the interface (SLAAC); or the eBPF backend, which can share the host's address;"
        " and a free address of 192.0.0.0/29. Addresses of static translators on the interface are not free.",
    ),
    Reason.NO_TRANSLATOR: _Words(
        question="Is there a way to translate on this machine?",
        remedy="Access to /dev/net/tun; and `backend = auto` in /etc/clatnm/clatnm.conf",
    ),
}
# What is not asked where it is forced.
_OVERRULED = frozenset({Reason.NATIVE_IPV4, Reason.NEVER_DEFAULT, Reason.PLAT_UNREACHABLE})
_NETWORKMANAGER = "NetworkManager"
_ORDER = (*(reason for reason, _ in RULES), Reason.NO_CLAT_ADDRESS, Reason.NO_TRANSLATOR)


def explanation(
    verdict: Verdict, world: World, running: Mapping[str, Running], decisions: Iterable[Decision], now: float
) -> dict[str, Any]:
    """Everything about one connection as JSON values."""
    uplink = verdict.uplink
    this = case(uplink, verdict.candidate, world, now)
    return {
        "interface": uplink.interface,
        "name": uplink.name,
        "uuid": uplink.uuid,
        "state": state_of(run_of(verdict, running)),
        "reason": str(verdict.reason) if verdict.reason else None,
        "explanation": _explanation(this, verdict),
        "change": _change(this, verdict, world),
        "questions": _questions(this, verdict.reason),
        "evidence": _evidence(this, verdict, world, now),
        "decisions": told_decisions(decisions),
    }


def told_decisions(decisions: Iterable[Decision]) -> list[dict[str, str]]:
    """Decisions as JSON values."""
    return [{"at": _utc(decision.at), "text": decision.text} for decision in decisions]


# Why an interface has no connection, and what would make it one
_OUR_OWN = ("it is made by clatnm, for another interface", "Nothing. What is translated: clatnm status")
_LOOPBACK = ("it leads to this machine alone", "Nothing.")
_NOBODYS = (
    "nobody manages it, neither NetworkManager nor systemd-networkd",
    "To have clatnm follow it as it is: `interfaces = {name}` in /etc/clatnm/clatnm.conf, then systemctl reload clatnm",
)
_IDLE = (
    "{manager} manages it, but no connection is active on it",
    "A connection on it: nmcli device connect {name}",
)
_UNUSED = ("{manager} manages it, but not as a connection of its own", "Nothing: ask about the one it is a part of.")


def unfollowed(interface: str, manager: str, *, own: bool = False) -> dict[str, Any]:
    """`explanation` for an interface that is no connection; `manager` has it, "" if nobody has; `own`: it is ours."""
    if own or interface.startswith(DEVICE_PREFIX):
        words = _OUR_OWN
    elif interface == "lo":
        words = _LOOPBACK
    else:
        words = (_IDLE if manager == _NETWORKMANAGER else _UNUSED) if manager else _NOBODYS
    why, change = (each.format(name=shlex.quote(interface), manager=manager) for each in words)
    nothing: dict[str, Any] = {"uuid": "", "state": "off", "reason": None}
    empty: dict[str, Any] = {"questions": [], "evidence": [], "decisions": []}
    return {"interface": interface, "name": interface, **nothing, "explanation": why, "change": change, **empty}


def _explanation(this: Case, verdict: Verdict) -> str:
    if verdict.reason:
        return EXPLANATIONS[verdict.reason]
    return "it is forced to have CLAT" if this.mode is Mode.FORCE else "the connection is IPv6-only, so it has CLAT"


def _questions(this: Case, reason: Reason | None) -> list[dict[str, str]]:
    """Each question, and `yes`, `no`, or `not asked`: behind the first no, or where the answer would not count."""
    skipped = _OVERRULED if this.mode is Mode.FORCE else frozenset()
    skipped |= set() if this.settings.plat_check else {Reason.PLAT_UNREACHABLE}
    told, open_ = [], True
    for each in _ORDER:
        answer = "no" if each is reason else "yes" if open_ and each not in skipped else "not asked"
        open_ = open_ and each is not reason
        told.append({"reason": str(each), "question": WORDS[each].question, "answer": answer})
    return told


def _change(this: Case, verdict: Verdict, world: World) -> str:
    if verdict.reason is not None:
        words = WORDS[verdict.reason].remedy
        for mode in Mode:
            words = words.replace(f"{{switch {mode}}}", _switch(this.uplink, world, mode))
        return words.replace("{name}", _as_argument(verdict.uplink))
    native = "" if this.mode is Mode.FORCE else "Native IPv4 on it, or "
    words = f"{native}the end of its IPv6 or of its NAT64 prefix."
    return f"{words[0].upper()}{words[1:]} To switch it off: {_switch(this.uplink, world, Mode.NO)}"


def _switch(uplink: Uplink, world: World, mode: Mode) -> str:
    """How the connection gets another mode; a file of its own goes before what is stored with it."""
    if _has_own_mode(uplink, world):
        return f"`mode = {mode}` in {own_file(uplink.uuid)}"
    if uplink.manager == _NETWORKMANAGER:
        return f"clatnm set {_as_argument(uplink)} {mode}"
    if uplink.uuid == uplink.interface:  # a plain one
        return f"`mode = {mode}` in {own_file(uplink.uuid)}"
    return f"`Mode={mode}` in a section [X-Clatnm] of its .network file"


def _has_own_mode(uplink: Uplink, world: World) -> bool:
    own = world.settings.connections.get(uplink.uuid)
    return own is not None and "mode" in own.written


def _as_argument(uplink: Uplink) -> str:
    """The connection's name for a command line that people copy; networks may be named like commands."""
    plain = uplink.name.isprintable() and uplink.name and not uplink.name.startswith("-")
    return shlex.quote(uplink.name if plain else uplink.uuid)


def _evidence(this: Case, verdict: Verdict, world: World, now: float) -> list[dict[str, Any]]:
    """What is known, where from, and how old it is (seconds; None: it has no age)."""
    name = this.uplink.interface
    told = [*_modes(this, world), fact("ipv4", _ipv4(this), _ipv4_source(this))]
    if this.dhcp4 is not None:
        told.append(fact("dhcp4", _dhcp4(this.dhcp4.state), "overheard", now - this.dhcp4.since))
    if this.uplink.ipv4_required:
        words = "NetworkManager gives the connection up without IPv4 of its own; nmcli connection modify"
        told.append(fact("ipv4.may-fail", f"no: {words} {_as_argument(this.uplink)} ipv4.may-fail yes", "the profile"))
    told += _vpns(this, world)
    told.append(fact("ipv6", "yes" if this.ipv6 else "no", "kernel"))
    if this.manager_clat:
        told.append(fact("manager-clat", this.manager_clat, this.uplink.manager))
    if this.other is not None:
        told.append(fact("other-translator", str(this.other), "kernel"))
    usable = candidates_for(this.uplink, world)
    for candidate in world.prefixes.get(name, ()):
        told.append(_prefix(candidate, verdict.candidate, usable, now))
    for report in world.reports.get(name, ()):
        told.append(fact(f"source {report.source}", report.detail, str(report.source), now - report.since))
    for (interface, prefix), health in world.plats.items():
        if interface == name:
            state = "not known yet" if health.state is PlatState.UNKNOWN else str(health.state)
            words = f"{state}, {health.detail}" if health.detail else state
            told.append(fact(f"plat {prefix}", words, "probe", now - health.since))
    return [*told, *failures(this, now)]


def failures(this: Case, now: float) -> Iterable[dict[str, Any]]:
    """What its translator has failed by, if it has."""
    if this.retry is not None and this.retry.error:
        wait_s = max(0, round(this.retry.not_before - now))
        yield fact("failure", f"{this.retry.error}; next try in {wait_s} s", "translator")


def _vpns(this: Case, world: World) -> Iterable[dict[str, Any]]:
    """Which VPN has the default route of which family."""
    names = {uplink.interface: uplink.name for uplink in world.uplinks}
    for family, device in (("IPv4", this.vpns.ipv4), ("IPv6", this.vpns.ipv6)):
        if device:
            name = f" “{names[device]}”" if device in names else ""
            yield fact("vpn", f"{device}{name} has the {family} of new connections", "kernel")
    for gateway in this.uplink.vpn_gateways:
        yield fact("vpn", f"its far end {gateway} is reached over this connection", this.uplink.manager)


def fact(what: str, value: str, source: str, age_s: float | None = None) -> dict[str, Any]:
    """A piece of evidence, who told it, and how old it is (seconds; None: it has no age)."""
    return {"what": what, "value": value, "source": source, "age_s": None if age_s is None else max(0, round(age_s))}


def _prefix(
    candidate: PrefixCandidate, chosen: PrefixCandidate | None, usable: Iterable[PrefixCandidate], now: float
) -> dict[str, Any]:
    words = [str(candidate.prefix)]
    if candidate == chosen:
        words.append("chosen")
    elif candidate not in usable:
        words.append("not yet used" if candidate.source == "fallback" else "not used, one is set by hand")
    if candidate.fading:
        words.append("about to be replaced")
    if candidate.router is not None:
        words.append(f"from {candidate.router}")
    if candidate.expires_at is not None:
        words.append(f"{max(0, round(candidate.expires_at - now))} s left")
    age_s = None if candidate.heard_at is None else now - candidate.heard_at
    return fact("prefix", ", ".join(words), str(candidate.source), age_s)


def _modes(this: Case, world: World) -> Iterable[dict[str, Any]]:
    """The mode that holds, and then what others say who are asked later, or in vain."""
    *said, default = told_modes(this.uplink, world)
    if "mode" in world.settings.written or not any(told.mode for told in said):
        said.append(default)
    counting = next(told for told in said if told.mode is not None)
    yield fact("mode", str(counting.mode), counting.source)
    for told in said:
        if told.mode is None:
            yield fact("mode, ignored", f"{told.text}: {told.fault}", told.source)
        elif told is not counting:
            yield fact("mode, overruled", str(told.mode), told.source)


def _ipv4(this: Case) -> str:
    return {
        "native": "native, with a default route that leads somewhere",
        "stale": "left over from another network: its gateway does not answer",
        "disabled": "switched off in the profile",
        "ipv6-only": "the network does without (DHCPv4 option 108)",
        "asking": "none yet, DHCPv4 is asking",
        "silent": "none, DHCPv4 gets no answer",
    }.get(this.ipv4, "none")


def _ipv4_source(this: Case) -> str:
    """Addresses are the kernel's to tell; why there are none, others told."""
    if this.ipv4 == "disabled":
        return this.uplink.manager
    return "overheard" if this.ipv4 in ("ipv6-only", "asking", "silent") else "kernel"


def _dhcp4(state: Dhcp4State) -> str:
    return {
        Dhcp4State.ASKING: "asked, no answer yet",
        Dhcp4State.ANSWERED: "answered",
        Dhcp4State.SILENT: "asked, nobody answers",
        Dhcp4State.REFUSED: "the network wants hosts without IPv4 (option 108)",
    }[state]


def _utc(at: float) -> str:
    return datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="milliseconds")


_SIGNS = {"yes": "✓", "no": "✗", "not asked": "·"}


def as_text(told: Mapping[str, Any]) -> str:
    """What `clatnm explain` prints."""
    state = {"on": "has CLAT", "draining": "has no CLAT any more"}.get(told["state"], "has no CLAT")
    if not told["questions"]:
        lines = [
            f"{told['interface']} {state}: {told['explanation']}",
            "",
            "What would change it:",
            f"  {told['change']}",
        ]
        return "\n".join(map(printable, lines))
    if told.get("static"):
        running = "runs" if told["state"] == "on" else "does not run"
        lines = [f"{told['uuid']} on {told['interface']} {running}: {told['explanation']}", ""]
    else:
        lines = [f"{told['interface']} “{told['name']}” {state}: {told['explanation']}", ""]
    lines += [f"  {_SIGNS[row['answer']]} {row['question']}" for row in told["questions"]]
    lines += ["", "What is known:"]
    width = max(len(fact["what"]) for fact in told["evidence"])
    for fact in told["evidence"]:
        age = "" if fact["age_s"] is None else f", {fact['age_s']} s ago"
        lines.append(f"  {fact['what']:<{width}}  {fact['value']} ({fact['source']}{age})")
    lines += ["", "What would change it:", f"  {told['change']}"]
    lines += ["", "Decisions, the last one last:"]
    for decision in told["decisions"]:
        when = datetime.fromisoformat(decision["at"]).astimezone()
        lines.append(f"  {when:%Y-%m-%d %H:%M:%S} {decision['text']}")
    return "\n".join(map(printable, lines if told["decisions"] else [*lines, "  none yet"]))
