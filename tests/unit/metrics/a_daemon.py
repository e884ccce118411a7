# SPDX-License-Identifier: GPL-2.0-or-later
"""What a daemon tells: asked of the real one, with nothing real around it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv6Network
from pathlib import Path
from typing import Any

import pytest

from clatnm.daemon import Daemon
from clatnm.dbus import service
from clatnm.model import Choices, Mode, Relay, Settings, Static, World
from clatnm.proto.eam import EamTable, parse_mapping
from clatnm.worker.counters import Counters
from tests.unit.policy.worlds import a_candidate, a_link, a_route4, a_world, an_uplink
from tests.unit.supervised import FakeTranslator
from tests.unit.wired import Stage, play

UUIDS = [f"00000000-0000-4000-8000-{number:012d}" for number in range(4)]
RELAY = Relay(
    mappings=EamTable([parse_mapping("192.0.2.1", "2001:db8:12:34::1")]), addresses=(IPv4Address("192.0.2.1"),)
)
STATIC = Static(
    name="web",
    uplink="eth0",
    prefix=IPv6Network("2001:db8:46::/96"),
    choices=Choices(relay=RELAY),
    told_at="/etc/clatnm/static.d/web.conf:2",
)
SETTINGS = Settings(plat_check=False, statics=(STATIC,))


def a_busy_world() -> World:
    """One connection that is translated, three that are not, and an Edge Relay."""
    links = (
        a_link("wlan0", index=2),
        a_link("eth0", index=3, ipv6=("2001:db8:b::5/64",), ipv4=("192.168.2.7",), default4=(a_route4(),)),
        a_link("eth1", index=4, carrier=False, ipv6=()),
        a_link("wwan0", index=5, ipv6=("2001:db8:d::5/64",)),
    )
    modes = (None, None, None, Mode.NO)
    uplinks = [an_uplink(link.name, uuid=UUIDS[n], mode=modes[n]) for n, link in enumerate(links)]
    return a_world(*links, uplinks=uplinks, prefixes={"wlan0": (a_candidate(expires_at=3000.0),)})


def counted() -> Mapping[str, Any]:
    """What a worker has counted, in its own words."""
    counters = Counters()
    for number, (flow, packets) in enumerate(((counters.to_ipv6, 12), (counters.to_ipv4, 9)), 1):
        flow.packets[6], flow.bytes[6] = packets, packets * 100
        flow.packets[17], flow.bytes[17] = number, number * 50
        flow.packets[47], flow.bytes[47] = 1, 48
        flow.fast, flow.slow, flow.held, flow.replies = packets, number + 1, 2, 1
        flow.drop("ttl-expired")
        flow.drop("ttl-expired")
    counters.neighbour_received, counters.neighbour_sent, counters.reassembly_timeouts = 5, 4, 3
    return counters.snapshot()


def asked(
    monkeypatch: pytest.MonkeyPatch,
    directory: Path,
    *questions: Callable[[Daemon], Any],
    world: World | None = None,
    settings: Settings = SETTINGS,
) -> list[Any]:
    """What the daemon answers, as JSON values. A question may give a text, or be awaited for one."""
    stage = Stage(monkeypatch, directory)
    stage.world, stage.settings = world or a_busy_world(), settings
    daemons: list[Daemon] = []
    offer = service.offer

    async def noted(bus: Any, daemon: Any) -> Any:
        daemons.append(daemon)
        return await offer(bus, daemon)

    async def count(_: FakeTranslator) -> Mapping[str, Any]:
        return counted()

    monkeypatch.setattr(service, "offer", noted)
    monkeypatch.setattr(FakeTranslator, "counters", count)
    answers: list[Any] = []

    async def scene(_: Stage) -> None:
        for question in questions:
            answer = question(daemons[-1])
            answers.append(json.loads(answer if isinstance(answer, str) else await answer))

    play(scene, stage)
    return answers
