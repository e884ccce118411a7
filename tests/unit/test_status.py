# SPDX-License-Identifier: GPL-2.0-or-later
"""What users and programs are told: log lines, JSON and text, word for word."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

from clatnm import status
from clatnm.model import Reason, Retry, Running, RunState, Verdict, World
from clatnm.policy.plan import decide
from tests.unit.policy.worlds import NOW, a_candidate, a_link, a_route4, a_world, an_uplink, the_plan

PLAN = replace(the_plan(a_world()), clat_v4=IPv4Address("192.0.0.4"), clat_v6=IPv6Address("2001:db8:a::c1a7"))
ON = Running(plan=PLAN, state=RunState.ON)
COUNTERS: dict[str, Any] = {
    "ipv4_to_ipv6": {
        "protocols": {"tcp": {"packets": 10, "bytes": 4200}, "udp": {"packets": 2, "bytes": 300}},
        "fast": 9,
        "slow": 3,
        "held": 0,
        "replies": 0,
        "drops": {"ttl": 1, "busy": 2},
    },
    "ipv6_to_ipv4": {"protocols": {}, "fast": 0, "slow": 0, "held": 0, "replies": 0, "drops": {}},
    "reassembly_timeouts": 0,
}


def verdict(world: World) -> Verdict:
    (one,) = decide(world, NOW)
    return one


WANTED = verdict(a_world())
NATIVE = verdict(a_world(a_link(ipv4=("192.168.2.7",), default4=(a_route4(),)), prefixes={}))
FAILED = Retry(failures=3, error="the translator process ended with signal 9", not_before=NOW + 2)
BACKING_OFF = verdict(a_world(retries={"wlan0": FAILED}))


def test_every_reason_has_an_explanation() -> None:
    assert set(status.EXPLANATIONS) == set(Reason)
    assert all(text and not text.endswith(".") for text in status.EXPLANATIONS.values())


# Log lines

EVIDENCE = "[mode=auto ipv4=none ipv6=yes pref64=64:ff9b::/96 from=ra left=1800s ret=wanted]"
LINES: dict[str, tuple[Verdict, Running | None, str]] = {
    "up": (WANTED, ON, f"wlan0: CLAT up, 64:ff9b::/96 from ra, tun, 41 ms {EVIDENCE}"),
    "native": (
        NATIVE,
        None,
        "wlan0: no CLAT, the connection has native IPv4 [mode=auto ipv4=native ipv6=yes pref64=none ret=native-ipv4]",
    ),
    "backing-off": (
        BACKING_OFF,
        None,
        "wlan0: no CLAT, the translator failed; waiting before the next try [mode=auto ipv4=none ipv6=yes "
        "pref64=64:ff9b::/96 from=ra left=1800s failures=3 ret=backing-off]",
    ),
    "being-taken-down": (
        NATIVE,
        replace(ON, state=RunState.STOPPING),
        "wlan0: no CLAT, the connection has native IPv4 [mode=auto ipv4=native ipv6=yes pref64=none ret=native-ipv4]",
    ),
}


@pytest.mark.parametrize(("told", "run", "line"), LINES.values(), ids=LINES)
def test_log_line_tells_what_and_why(told: Verdict, run: Running | None, line: str) -> None:
    assert status.log_line(told, run, start_ms=41.3) == line


# JSON


def connection(
    told: Verdict, run: Running | None = None, retry: Retry | None = None, *, now: float = NOW, **counters: Any
) -> dict[str, Any]:
    found = status.connection(told, run, retry, counters=counters, now=now)
    assert json.loads(json.dumps(found)) == found
    return found


def test_running_connection_as_json() -> None:
    assert connection(WANTED, ON, now=NOW + 100.4, **COUNTERS) == {
        "interface": "wlan0",
        "name": "Net of wlan0",
        "uuid": "bbcd7cc0-dfd2-4e95-8d38-c9bc4872809c",
        "manager": "NetworkManager",
        "mode": "auto",
        "state": "on",
        "reason": None,
        "explanation": None,
        "evidence": {
            "mode": "auto",
            "ipv4": "none",
            "ipv6": "yes",
            "pref64": "64:ff9b::/96",
            "from": "ra",
            "left": "1800s",
        },
        "prefix": {"prefix": "64:ff9b::/96", "source": "ra", "router": "fe80::1", "lifetime_s": 1700},
        "translator": {
            "device": "clat-wlan0",
            "backend": "tun",
            "clat_v4": "192.0.0.4",
            "clat_v6": "2001:db8:a::c1a7",
            "shared": False,
            "prefix": "64:ff9b::/96",
            "gateway": "fe80::1",
            "ipv4_mtu_bytes": 1472,
            "ipv6_mtu_bytes": 1500,
            "metric": 150,
            "counters": COUNTERS,
        },
        "failures": 0,
        "error": None,
    }


def test_refused_connection_as_json() -> None:
    told = connection(NATIVE)
    assert (told["state"], told["reason"]) == ("off", "native-ipv4")
    assert told["explanation"] == "the connection has native IPv4"
    assert told["prefix"] is told["translator"] is told["error"] is None


def test_error_is_told_while_it_is_waited_for_and_failures_always() -> None:
    told = connection(BACKING_OFF, None, FAILED)
    assert (told["failures"], told["error"]) == (3, FAILED.error)
    told = connection(WANTED, ON, FAILED)
    assert (told["failures"], told["error"]) == (3, None)


@pytest.mark.parametrize(("expires_at", "left"), [(None, None), (NOW + 0.4, 0), (NOW - 5, 0), (NOW + 65528, 65528)])
def test_lifetime_is_whole_seconds_and_never_negative(expires_at: float | None, left: int | None) -> None:
    told = connection(replace(WANTED, candidate=a_candidate(expires_at=expires_at)))
    assert told["prefix"]["lifetime_s"] == left


def test_prefix_without_a_router_and_uplink_without_a_gateway() -> None:
    plan = replace(PLAN, gateway=None)
    candidate = replace(a_candidate(), router=None)
    told = connection(replace(WANTED, candidate=candidate), replace(ON, plan=plan))
    assert told["prefix"]["router"] is None
    assert told["translator"]["gateway"] is None


# Text


def text(*connections: dict[str, Any]) -> str:
    return status.as_text({"connections": list(connections)})


def test_running_connection_as_text() -> None:
    assert text(connection(WANTED, ON, **COUNTERS)) == (
        "wlan0 “Net of wlan0”: CLAT on\n"
        "  mode      auto, managed by NetworkManager\n"
        "  prefix    64:ff9b::/96 from ra of fe80::1, 1800 s left\n"
        "  addresses 192.0.0.4 ↔ 2001:db8:a::c1a7\n"
        "  device    clat-wlan0, tun, MTU 1472 (IPv6 1500), metric 150\n"
        "  IPv4→IPv6 12 packets, 4.5 kB (tcp 10, udp 2), 3 by the slow path; dropped: busy 2, ttl 1\n"
        "  IPv6→IPv4 0 packets, 0 B\n"
        "  evidence  mode=auto ipv4=none ipv6=yes pref64=64:ff9b::/96 from=ra left=1800s"
    )


def test_refused_connection_as_text() -> None:
    assert text(connection(NATIVE)) == (
        "wlan0 “Net of wlan0”: no CLAT: the connection has native IPv4 (native-ipv4)\n"
        "  mode      auto, managed by NetworkManager\n"
        "  evidence  mode=auto ipv4=native ipv6=yes pref64=none"
    )


def test_failing_connection_as_text() -> None:
    lines = text(connection(BACKING_OFF, None, FAILED)).splitlines()
    assert lines[0].endswith("no CLAT: the translator failed; waiting before the next try (backing-off)")
    assert "  error     the translator process ended with signal 9" in lines


def test_shared_address_is_said_to_be_one() -> None:
    told = connection(WANTED, replace(ON, plan=replace(PLAN, shared=True)))
    assert "192.0.0.4 ↔ 2001:db8:a::c1a7 (the host's own, shared)" in text(told)


def test_daemon_of_the_release_before_is_still_understood() -> None:
    # After an update the old one runs until it is restarted, and did not tell this yet.
    told = connection(WANTED, ON)
    del told["translator"]["shared"]
    assert "192.0.0.4 ↔ 2001:db8:a::c1a7\n" in text(told)


@pytest.mark.parametrize("state", [RunState.STARTING, RunState.STOPPING])
def test_connection_on_its_way_as_text(state: RunState) -> None:
    assert text(connection(WANTED, replace(ON, state=state))).startswith(f"wlan0 “Net of wlan0”: CLAT {state}\n")


def test_several_connections_are_apart_and_none_is_said_so() -> None:
    assert text().startswith("No active connections. (Interfaces without a network manager")
    one = connection(NATIVE)
    assert text(one, one) == f"{text(one)}\n\n{text(one)}"


def test_translator_that_does_not_answer_has_no_counters() -> None:
    assert "packets" not in text(connection(WANTED, ON))


@pytest.mark.parametrize("count", [0, 999, 1000, 1500, 999_999, 10**6, 10**9, 10**12, 10**16])
def test_bytes_are_told_in_few_digits(count: int) -> None:
    flow = {**COUNTERS["ipv4_to_ipv6"], "protocols": {"tcp": {"packets": 1, "bytes": count}}}
    (line,) = (line for line in text(connection(WANTED, ON, ipv4_to_ipv6=flow)).splitlines() if "→" in line)
    number, unit = line.split("packets, ")[1].split(" (")[0].split(" ")
    assert float(number) * 1000 ** ["B", "kB", "MB", "GB", "TB"].index(unit) == pytest.approx(count, rel=0.05)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Café “Nord”", "Café “Nord”"),
        ("two\nlines", "two\N{REPLACEMENT CHARACTER}lines"),
        ("\x1b]0;owned\x07", "\N{REPLACEMENT CHARACTER}]0;owned\N{REPLACEMENT CHARACTER}"),
        ("\u202eright to left", "\N{REPLACEMENT CHARACTER}right to left"),
    ],
)
def test_name_of_a_network_cannot_control_the_terminal(name: str, shown: str) -> None:
    told = connection(verdict(a_world(uplinks=[replace(an_uplink(), name=name)])))
    assert told["name"] == name  # programs get it as it is
    assert text(told).startswith(f"wlan0 “{shown}”: ")


def test_states_in_words() -> None:
    assert status.state_of(None) == "off"
    assert [status.state_of(replace(ON, state=state)) for state in RunState] == ["starting", "on", "stopping"]
