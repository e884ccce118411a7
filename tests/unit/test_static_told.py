# SPDX-License-Identifier: GPL-2.0-or-later
"""What is said of static translators: in the log, by `status`, `explain` and `plan`."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

from clatnm import explain, planner, status
from clatnm.explain_static import static_explanation
from clatnm.journal import Decision, Journal
from clatnm.model import Reason, Retry, Running, RunState, Settings, Static, Verdict, World
from clatnm.policy.plan import decide
from clatnm.policy.steps import diff, wanted
from clatnm.proto.eam import EamTable, host_pair
from tests.unit.policy.test_static_rules import (
    CLATD,
    EVERYWHERE,
    FAILED,
    MANAGERS,
    NO_ROUTE,
    SOME,
    TABLE,
    a_static,
    with_static,
)
from tests.unit.policy.worlds import NOW, a_link, run_all

OTHER_TABLE = EamTable([*TABLE, host_pair(IPv4Address("192.0.2.2"), IPv6Address("2001:db8:a::c000:202"))])
FILE = "/etc/clatnm/static.d/web.conf"
WEB = replace(a_static(relay=SOME, metric=7), told_at=f"{FILE}:2")
CLAT = replace(a_static(), told_at=f"{FILE}:2")


def decided(world: World) -> Verdict:
    (verdict,) = decide(world, NOW)
    return verdict


def on(world: World) -> Running:
    verdict = decided(world)
    assert verdict.plan is not None
    return Running(plan=verdict.plan, state=RunState.ON)


def test_log_tells_its_life() -> None:
    world, journal = with_static(WEB), Journal(wall_clock=lambda: 0.0)
    running = {on(world).plan.key: on(world)}
    said = journal.note(decide(world, NOW), running, lambda _: 12.0)
    gone = with_static(WEB, links=(NO_ROUTE,))
    said += journal.note(decide(gone, NOW), {}, lambda _: 0.0)
    said += journal.note(decide(world, NOW), running, lambda _: 13.0)
    said += journal.note((), {}, lambda _: 0.0)
    assert all(each.extra["journal"]["CLATNM_CONNECTION"] == "static.d/web" for each in said)
    evidence = "uplink=eth0 prefix=2001:db8:46::/96 mappings=1 ipv6"
    assert [each.text for each in said] == [
        f"static.d/web: translator up, 2001:db8:46::/96 on eth0, tun, 12 ms [{evidence}=yes ret=wanted]",
        f"static.d/web: no translator, the connection has no working IPv6 [{evidence}=no ret=no-ipv6]",
        f"static.d/web: translator up, 2001:db8:46::/96 on eth0, tun, 13 ms [{evidence}=yes ret=wanted]",
        "static.d/web: translator down, the file is gone",
    ]


def test_address_that_is_in_use_is_named_in_words() -> None:
    verdict = decided(with_static(WEB, links=(a_link("lo", index=1, ipv4=("192.0.2.1",)), a_link("eth0"))))
    why = "this host or its router has 192.0.2.1, which would be the translator's"
    assert status.log_line(verdict, None, start_ms=0.0).startswith(f"static.d/web: no translator, {why} [")
    assert status.connection(verdict, None, None, counters={}, now=NOW)["explanation"] == why


def text_of(world: World, run: Running | None, retry: Retry | None = None) -> list[str]:
    told = status.connection(decided(world), run, retry, counters={}, now=NOW)
    assert json.loads(json.dumps(told)) == told
    return status.as_text({"connections": [], "static": [told]}).splitlines()


def test_status_shows_what_a_relay_serves() -> None:
    lines = text_of(with_static(WEB), on(with_static(WEB)))
    assert lines[0] == "static.d/web on eth0: translator on"
    assert "  prefix    2001:db8:46::/96 from static" in lines
    assert any(line.startswith("  speaks as 192.0.0.8 ↔ 2001:db8:a:") for line in lines)
    assert "  relay     1 mapping, addresses 192.0.2.1, routes 203.0.113.0/24" in lines
    assert not any(line.startswith("  mode") for line in lines)


def test_status_says_why_not() -> None:
    world = with_static(WEB, retries={"static.d/web": FAILED})
    lines = text_of(world, None, FAILED)
    assert (
        lines[0]
        == "static.d/web on eth0: no translator: the translator failed; waiting before the next try (backing-off)"
    )
    assert "  error     no luck" in lines


def explained(static: Static, **others: Any) -> dict[str, Any]:
    world = with_static(static, **others)
    decisions = (Decision(at=0.0, text="static.d/web: translator up"),)
    verdict = decided(world)
    found = static_explanation(static, verdict, world, decisions, state="off" if verdict.reason else "on", now=NOW)
    assert json.loads(json.dumps(found)) == found
    text = explain.as_text(found)
    assert all(part in text for part in (found["explanation"], found["change"], "static.d/web: translator up"))
    return found


def test_explanation_of_one_that_runs() -> None:
    found = explained(WEB)
    assert explain.as_text(found).startswith("static.d/web on eth0 runs: its file wants it, and its uplink has IPv6\n")
    assert {row["answer"] for row in found["questions"]} == {"yes"}
    known = {fact["what"]: fact["value"] for fact in found["evidence"]}
    assert known == {
        "file": FILE,
        "uplink": "eth0",
        "prefix": "2001:db8:46::/96",
        "mappings": "1",
        "addresses": "192.0.2.1",
        "routes": "203.0.113.0/24",
        "ipv6": "yes",
    }
    assert FILE in found["change"]


WHY_NOT: dict[str, tuple[Static, dict[str, Any], Reason, str]] = {
    "no-interface": (WEB, {"links": (a_link("eth1"),)}, Reason.NO_IPV6, "eth0, which is not there"),
    "clatd": (CLAT, {"links": (a_link("eth0"), CLATD)}, Reason.OTHER_TRANSLATOR, "192.0.0.1 on clat"),
    "manager": (
        replace(WEB, choices=replace(WEB.choices, relay=EVERYWHERE)),
        {"links": (MANAGERS,)},
        Reason.MANAGER_TRANSLATES,
        "192.0.0.5",
    ),
    "failed": (WEB, {"retries": {"static.d/web": FAILED}}, Reason.BACKING_OFF, "no luck; next try in 5 s"),
    "no-backend": (WEB, {"backends": {"tun": "no"}}, Reason.NO_TRANSLATOR, "yes"),
    "in-use": (
        WEB,
        {"links": (a_link("eth0"), a_link("lo", index=1, ipv4=("192.0.2.1",)))},
        Reason.NO_CLAT_ADDRESS,
        "192.0.2.1, which this host has itself",
    ),
}


@pytest.mark.parametrize(("static", "others", "reason", "known"), WHY_NOT.values(), ids=WHY_NOT)
def test_explanation_of_one_that_does_not_run(
    static: Static, others: dict[str, Any], reason: Reason, known: str
) -> None:
    found = explained(static, **others)
    assert found["reason"] == reason
    assert "static.d/web on eth0 does not run: " in explain.as_text(found)
    assert [row["reason"] for row in found["questions"] if row["answer"] == "no"] == [reason]
    assert any(known in fact["value"] for fact in found["evidence"])


def test_plan_tells_its_steps() -> None:
    world = with_static(WEB)
    verdicts = decide(world, NOW)
    steps = diff({}, wanted(verdicts))
    scene = planner.Scene(at=NOW, verdicts=verdicts, steps=steps)
    text = planner.as_text(scene)
    assert "start clat-s-web (tun): 1 mapping, prefix 2001:db8:46::/96, routes to 203.0.113.0/24 with metric 7" in text
    told = planner.as_json(scene)
    assert told["connections"] == []
    assert [(row["name"], row["reason"]) for row in told["static"]] == [("web", None)]
    running = run_all(*wanted(verdicts))
    other = replace(WEB, choices=replace(WEB.choices, relay=replace(SOME, mappings=OTHER_TABLE)))
    changed = diff(running, wanted(decide(replace(world, settings=Settings(statics=(other,)), running=running), NOW)))
    assert "other mappings" in planner.as_text(planner.Scene(at=NOW, verdicts=(), steps=changed))
