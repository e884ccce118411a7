# SPDX-License-Identifier: GPL-2.0-or-later
"""Routes to the far ends of VPNs: what is added and dropped, in an order that leaves no two of one metric."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import Any

import pytest

from clatnm.errors import HostError
from clatnm.kernel.netlink import Ipv4Default
from clatnm.model import Plan
from clatnm.translators.device import lead_gateways
from tests.unit.policy.worlds import a_world, the_plan

ONE, TWO = IPv4Address("198.51.100.20"), IPv4Address("203.0.113.7")
PLAN = the_plan(a_world())


def steps(plan: Plan, old: Plan | None = None, *, fault: HostError | None = None) -> list[tuple[str, str, int, int]]:
    """What the kernel is asked for: verb, host, metric, MTU."""
    asked: list[tuple[str, str, int, int]] = []

    def note(verb: str) -> Callable[..., None]:
        def ask(kernel: Any, *, index: int, host: IPv4Address, route: Ipv4Default) -> None:
            assert index == 7
            if fault is not None:
                raise fault
            asked.append((verb, str(host), route.metric, route.mtu_bytes))

        return ask

    async def do(work: Callable[[Any], None]) -> None:
        work(None)

    host: Any = SimpleNamespace(do=do)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("clatnm.kernel.netlink.Netlink.add_host_route", note("add"))
        patch.setattr("clatnm.kernel.netlink.Netlink.drop_host_route", note("drop"))
        asyncio.run(lead_gateways(host, 7, plan, old))
    return asked


def to(*gateways: IPv4Address, **other: Any) -> Plan:
    return replace(PLAN, gateways=gateways, **other)


@pytest.mark.parametrize(
    ("old", "plan", "expected"),
    [
        pytest.param(None, to(), [], id="none"),
        pytest.param(None, to(ONE), [("add", str(ONE), 150, 1472)], id="at-the-start"),
        pytest.param(to(ONE), to(ONE), [], id="same"),
        pytest.param(to(), to(ONE), [("add", str(ONE), 150, 1472)], id="comes"),
        pytest.param(to(ONE), to(), [("drop", str(ONE), 150, 1472)], id="goes"),
        pytest.param(
            to(ONE), to(TWO), [("add", str(TWO), 150, 1472), ("drop", str(ONE), 150, 1472)], id="another-add-first"
        ),
        pytest.param(
            to(ONE),
            to(ONE, metric=750),
            [("add", str(ONE), 750, 1472), ("drop", str(ONE), 150, 1472)],
            id="metric-add-first",
        ),
        pytest.param(
            to(ONE),
            to(ONE, ipv4_mtu_bytes=1252),
            [("drop", str(ONE), 150, 1472), ("add", str(ONE), 150, 1252)],
            id="mtu-drop-first",
        ),
    ],
)
def test_far_ends_are_led_as_the_plan_says(
    old: Plan | None, plan: Plan, expected: list[tuple[str, str, int, int]]
) -> None:
    assert steps(plan, old) == expected


def test_route_that_is_refused_is_no_reason_to_go_without_clat(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert steps(to(ONE), fault=HostError("there is one already", errno=17)) == []
    assert "there is one already" in caplog.text
