# SPDX-License-Identifier: GPL-2.0-or-later
"""Verdicts and translators in words: log lines, the JSON of `status --json`, and its text form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clatnm.model import STATIC_OWNER, Plan, Reason, Relay, Retry, Running, RunState, Verdict
from clatnm.printable import printable

EXPLANATIONS: Mapping[Reason, str] = {
    Reason.NOT_AN_UPLINK: "traffic of this connection goes through another one",
    Reason.OPTED_OUT: "CLAT is switched off for this connection",
    Reason.MANAGER_TRANSLATES: "the network manager translates this connection itself",
    Reason.OTHER_TRANSLATOR: "another translator is at work on this machine",
    Reason.NO_IPV6: "the connection has no working IPv6",
    Reason.NATIVE_IPV4: "the connection has native IPv4",
    Reason.NEVER_DEFAULT: "its profile keeps the IPv4 default route off this connection (never-default)",
    Reason.VPN_WITHOUT_IPV4: "a VPN has the IPv6 default route, and IPv4 would go around it",
    Reason.NO_PREF64: "the network tells no NAT64 prefix, neither by its routers nor by DNS",
    Reason.PLAT_UNREACHABLE: "the network announces a NAT64 prefix, but the NAT64 behind it does not answer",
    Reason.NO_CLAT_ADDRESS: "there is no address for the CLAT: no /64, none to share (by eBPF), or 192.0.0.0/29 full",
    Reason.NO_TRANSLATOR: "no translator works on this machine",
    Reason.BACKING_OFF: "the translator failed; waiting before the next try",
}


_KILO = 1000.0
_PLAIN = "(Interfaces without a network manager have to be named: `interfaces` in /etc/clatnm/clatnm.conf)"
_LISTED, _SHOWN = ("addresses", "routes"), 4


def run_of(verdict: Verdict, running: Mapping[str, Running]) -> Running | None:
    """The translator that stands for a connection: the planned one, else one that has the route, else any it has."""
    own = [run for run in running.values() if run.plan.owner == verdict.uplink.owner]
    planned = verdict.plan.key if verdict.plan else ""
    return max(own, key=lambda run: (run.plan.key == planned, run.plan.offered, run.plan.key), default=None)


def names(verdict: Verdict) -> tuple[str, ...]:
    """What the user may call what it is about."""
    uplink = verdict.uplink
    return (uplink.name, uplink.uuid) if uplink.static else (uplink.name, uplink.uuid, uplink.interface)


def state_of(run: Running | None) -> str:
    """`off`, `draining` (no route, but older connections go on), or the translator's state."""
    if run is None:
        return "off"
    return "draining" if run.state is RunState.ON and not run.plan.offered else str(run.state)


def title(plan: Plan) -> str:
    """A translator in a line of somebody else's, as `systemctl status` has it."""
    return f"Translator {plan.owner} on {plan.interface}" if plan.static else f"IPv4 on {plan.interface} by CLAT"


def log_line(verdict: Verdict, run: Running | None, *, start_ms: float) -> str:
    """The one line that tells a user what happened to a connection, and a log reader why."""
    where, static = verdict.uplink.owner, verdict.uplink.static
    translator = "translator" if static else "CLAT"
    if run is not None and run.state is RunState.ON and run.plan.offered and verdict.candidate is not None:
        plan = run.plan
        origin = f"on {plan.interface}" if static else f"from {verdict.candidate.source}"
        what = f"{translator} up, {plan.prefix} {origin}, {plan.backend}, {start_ms:.0f} ms"
        return f"{where}: {what} {verdict.line()}"
    why = explanation_of(verdict) or state_of(run)
    return f"{where}: no {translator}, {why} {verdict.line()}"


def explanation_of(verdict: Verdict) -> str | None:
    """Why there is none, for people; None: there is to be one."""
    if verdict.reason is Reason.NO_CLAT_ADDRESS and "in-use" in verdict.evidence:
        return f"this host or its router has {verdict.evidence['in-use']}, which would be the translator's"
    return EXPLANATIONS[verdict.reason] if verdict.reason else None


def gone_line(owner: str) -> str:
    """What the log says when a connection has gone that had a CLAT, or the file of a static translator."""
    if owner.startswith(STATIC_OWNER):
        return f"{owner}: translator down, the file is gone"
    return f"{owner}: CLAT down, the connection is gone"


def connection(
    verdict: Verdict, run: Running | None, retry: Retry | None, *, counters: Mapping[str, Any], now: float
) -> dict[str, Any]:
    """One connection as JSON values."""
    uplink = verdict.uplink
    told: dict[str, Any] = {
        "interface": uplink.interface,
        "name": uplink.name,
        "uuid": uplink.uuid,
        "manager": uplink.manager,
        "mode": None if uplink.static else str(verdict.mode),
        "state": state_of(run),
        "reason": str(verdict.reason) if verdict.reason else None,
        "explanation": explanation_of(verdict),
        "evidence": dict(verdict.evidence),
        "prefix": None,
        "translator": None,
        "failures": retry.failures if retry else 0,
        "error": retry.error if retry and verdict.reason is Reason.BACKING_OFF else None,
    }
    candidate = verdict.candidate
    if candidate is not None:
        told["prefix"] = {
            "prefix": str(candidate.prefix),
            "source": str(candidate.source),
            "router": str(candidate.router) if candidate.router else None,
            "lifetime_s": None if candidate.expires_at is None else max(0, round(candidate.expires_at - now)),
        }
    if run is not None:
        plan = run.plan
        told["translator"] = {
            "device": plan.device,
            "backend": plan.backend,
            "clat_v4": str(plan.clat_v4),
            "clat_v6": str(plan.clat_v6),
            "shared": plan.shared,
            "prefix": str(plan.prefix),
            "gateway": str(plan.gateway) if plan.gateway else None,
            "ipv4_mtu_bytes": plan.ipv4_mtu_bytes,
            "ipv6_mtu_bytes": plan.ipv6_mtu_bytes,
            "metric": plan.metric if plan.default_route else None,
            "counters": dict(counters),
        }
        if plan.relay is not None:
            told["translator"]["relay"] = _relay(plan.relay)
    return told


def _relay(relay: Relay) -> dict[str, Any]:
    """What an Edge Relay serves; thousands of mappings are only counted."""
    return {
        "mappings": len(relay.mappings),
        "addresses": [str(address) for address in relay.addresses],
        "routes": [str(route) for route in relay.routes],
    }


def as_text(told: Mapping[str, Any]) -> str:
    """What `clatnm status` prints, from what `status --json` holds."""
    blocks = [_connection_text(item, of="CLAT") for item in told["connections"]]
    blocks += [_connection_text(item, of="translator") for item in told.get("static", ())]
    if not blocks:
        return f"No active connections. {_PLAIN}"
    return "\n\n".join(blocks)


def _connection_text(told: Mapping[str, Any], *, of: str) -> str:
    head = f"{of} on" if told["state"] == "on" else f"{of} {told['state']}"
    if told["state"] in ("off", "draining") and told["explanation"]:
        head = f"no {of}: {told['explanation']} ({told['reason']})"
        head += "; older connections may finish" if told["state"] == "draining" else ""
    if told["mode"] is None:
        lines = [f"{told['uuid']} on {told['interface']}: {head}"]
    else:
        lines = [f"{told['interface']} “{told['name']}”: {head}"]
        lines.append(f"  mode      {told['mode']}, managed by {told['manager']}")
    prefix, translator = told["prefix"], told["translator"]
    if prefix is not None:
        left = f", {prefix['lifetime_s']} s left" if prefix["lifetime_s"] is not None else ""
        router = f" of {prefix['router']}" if prefix["router"] else ""
        lines.append(f"  prefix    {prefix['prefix']} from {prefix['source']}{router}{left}")
    if translator is not None:
        whose = " (the host's own, shared)" if translator.get("shared") else ""
        pair = "speaks as" if "relay" in translator else "addresses"
        lines.append(f"  {pair} {translator['clat_v4']} ↔ {translator['clat_v6']}{whose}")
        mtu = f"MTU {translator['ipv4_mtu_bytes']} (IPv6 {translator['ipv6_mtu_bytes']})"
        lines.append(
            f"  device    {translator['device']}, {translator['backend']}, {mtu}, {_route(translator['metric'])}"
        )
        if translator.get("pid"):
            lines.append(_process_line(translator))
        if "relay" in translator:
            lines.append(_relay_line(translator["relay"]))
        lines.extend(_counter_lines(translator["counters"]))
    if told["error"]:
        lines.append(f"  error     {told['error']}")
    evidence = " ".join(f"{key}={value}" for key, value in told["evidence"].items())
    lines.append(f"  evidence  {evidence}")
    return "\n".join(map(printable, lines))


def _route(metric: int | None) -> str:
    return "no default route" if metric is None else f"metric {metric}"


def _process_line(translator: Mapping[str, Any]) -> str:
    """`  process   4711, for 12 min, clat-wlan0.scope`."""
    unit = f", {translator['unit']}" if translator["unit"] else ""
    return f"  process   {translator['pid']}, for {_span(translator['up_s'] or 0)}{unit}"


def _span(seconds: int) -> str:
    """Some time for people, never more than there was: `59 s`, `12 min`, `26 h`, `2 d`."""
    for unit, size, many in (("s", 1, 120), ("min", 60, 120), ("h", 3600, 48)):
        if seconds < size * many:
            return f"{seconds // size} {unit}"
    return f"{seconds // 86400} d"


def _relay_line(relay: Mapping[str, Any]) -> str:
    """`  relay     3 mappings, for 192.0.2.1, from 0.0.0.0/0`."""
    some = [", ".join(relay[what][:_SHOWN]) + ("…" if len(relay[what]) > _SHOWN else "") for what in _LISTED]
    count = relay["mappings"]
    whose = f"addresses {some[0]}" if some[0] else "for others"
    return f"  relay     {count} mapping{'s' if count != 1 else ''}, {whose}, routes {some[1]}"


def _counter_lines(counters: Mapping[str, Any]) -> list[str]:
    """One line a direction: `IPv4→IPv6 12 packets, 3.4 kB (tcp 10, udp 2), 1 of them by the slow path; dropped: …`."""
    lines: list[str] = []
    for key, title in (("ipv4_to_ipv6", "IPv4→IPv6"), ("ipv6_to_ipv4", "IPv6→IPv4")):
        flow = counters.get(key)
        if not flow:
            continue
        protocols = flow["protocols"]
        packets = sum(row["packets"] for row in protocols.values())
        size = _size(sum(row["bytes"] for row in protocols.values()))
        line = f"  {title} {packets} packets, {size}"
        if packets:
            each = ", ".join(f"{name} {row['packets']}" for name, row in protocols.items())
            line += f" ({each})"
        if flow["slow"]:
            line += f", {flow['slow']} by the slow path"
        if flow["drops"]:
            line += f"; dropped: {', '.join(f'{reason} {count}' for reason, count in sorted(flow['drops'].items()))}"
        lines.append(line)
    return lines


def _size(count: int) -> str:
    """A number of bytes for people."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < _KILO:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= _KILO
    return f"{size:.1f} TB"
