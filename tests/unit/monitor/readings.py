# SPDX-License-Identifier: GPL-2.0-or-later
"""Answers of `Status` as tests need them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from clatnm import status
from clatnm.model import Running, RunState
from clatnm.monitor.rates import Sample, sample
from clatnm.policy.plan import decide
from tests.unit.policy.test_static_rules import SOME, a_static, with_static
from tests.unit.policy.worlds import NOW, a_link, a_route4, a_world

WLAN0 = ("wlan0", "uuid-of-wlan0")


def a_flow(
    tcp: int = 0, udp: int = 0, *, size: int = 100, slow: int = 0, drops: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """One direction's counters, of packets of `size` bytes."""
    counts = {"tcp": tcp, "udp": udp}
    protocols = {name: {"packets": count, "bytes": count * size} for name, count in counts.items() if count}
    fast = tcp + udp - slow
    return {"protocols": protocols, "fast": fast, "slow": slow, "held": 0, "replies": 0, "drops": dict(drops or {})}


def counters(out: dict[str, Any] | None = None, back: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"ipv4_to_ipv6": out or a_flow(), "ipv6_to_ipv4": back or a_flow(), "reassembly_timeouts": 0}


def on(interface: str = "wlan0", *, counted: dict[str, Any] | None = None, name: str = "") -> dict[str, Any]:
    """A connection with CLAT, as `status --json` has it."""
    (verdict,) = decide(a_world(a_link(interface)), NOW)
    uplink = replace(verdict.uplink, uuid=f"uuid-of-{interface}", name=name or f"Net of {interface}")
    assert verdict.plan is not None
    run = Running(plan=verdict.plan, state=RunState.ON)
    return status.connection(replace(verdict, uplink=uplink), run, None, counters=counted or counters(), now=NOW)


def off(interface: str = "eth0") -> dict[str, Any]:
    """A connection with native IPv4."""
    world = a_world(a_link(interface, ipv4=("192.168.2.7",), default4=(a_route4(),)), prefixes={})
    (verdict,) = decide(world, NOW)
    verdict = replace(verdict, uplink=replace(verdict.uplink, uuid=f"uuid-of-{interface}"))
    return status.connection(verdict, None, None, counters={}, now=NOW)


def relay() -> dict[str, Any]:
    """A static translator, an Edge Relay."""
    (verdict,) = decide(with_static(a_static(relay=SOME)), NOW)
    assert verdict.plan is not None
    run = Running(plan=verdict.plan, state=RunState.ON)
    return status.connection(verdict, run, None, counters=counters(), now=NOW)


def answer(*connections: dict[str, Any], static: tuple[dict[str, Any], ...] = ()) -> str:
    """What `Status` says."""
    return json.dumps(
        {"version": "0.1.0", "default_mode": "auto", "connections": connections, "static": static}, ensure_ascii=False
    )


def a_sample(*connections: dict[str, Any], at: float = 0.0, static: tuple[dict[str, Any], ...] = ()) -> Sample:
    return sample(answer(*connections, static=static), at=at)
