# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm plan`: what a trace would have led to, in steps."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Network
from pathlib import Path

import pytest

from clatnm import planner, trace
from clatnm.errors import ConfigError
from clatnm.model import Start, Stop, Update, World
from clatnm.policy.drain import LINGER_S
from clatnm.recorder import Recorder
from tests.unit.policy.worlds import (
    NOW,
    OWN_PREFIX,
    WELL_KNOWN,
    a_candidate,
    a_link,
    a_route4,
    a_world,
    run_all,
    the_plan,
)

ENDLESS = {"wlan0": (a_candidate(expires_at=None),)}
WANTED = a_world(prefixes=ENDLESS)
NATIVE = a_world(a_link(ipv4=("192.168.2.7",), default4=(a_route4(),)), prefixes=ENDLESS)


def kinds(worlds: Iterable[tuple[float, World]]) -> list[tuple[float, list[str]]]:
    return [(scene.at, [type(step).__name__ for step in scene.steps]) for scene in planner.replay(worlds)]


def test_replay_tells_each_moment_with_steps_and_the_end() -> None:
    trace = [(NOW, a_world(prefixes={})), (NOW + 1, WANTED), (NOW + 2, WANTED), (NOW + 3, a_world(prefixes={}))]
    assert kinds(trace) == [(NOW + 1, ["Start"]), (NOW + 3, ["Stop"])]
    assert kinds(trace[:3]) == [(NOW + 1, ["Start"]), (NOW + 2, [])]


def test_replay_does_what_time_alone_does_between_two_lines() -> None:
    assert kinds([(NOW, WANTED), (NOW + 1, NATIVE), (NOW + 60, NATIVE)]) == [
        (NOW, ["Start"]),
        (NOW + 1, ["Update"]),
        (NOW + 1 + LINGER_S, ["Stop"]),
        (NOW + 60, []),
    ]


@pytest.mark.parametrize("name", ["clat-wlan0", "v4-wlan0"])
def test_replay_ignores_the_translators_of_the_machine_it_comes_from(name: str) -> None:
    plan = replace(the_plan(WANTED), clat_v4=IPv4Address("192.0.0.7"), device=name)
    device = a_link(plan.device, index=9, ipv6=(), ipv4=("192.0.0.4",), default6=())
    world = replace(WANTED, links={**WANTED.links, device.name: device}, running=run_all(plan))
    (scene, _) = planner.replay([(NOW, world), (NOW + 1, world)])
    (step,) = scene.steps
    assert isinstance(step, Start)
    assert step.plan.clat_v4 == IPv4Address("192.0.0.4")


def test_replay_of_nothing_is_nothing() -> None:
    assert kinds([]) == []


def test_recorded_trace_can_be_read(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "trace")
    for at, world in ((NOW, WANTED), (NOW + 1, WANTED), (NOW + 2, NATIVE)):
        recorder.write(world, at)
    recorder.close()
    found = list(planner.read_trace(str(tmp_path / "trace")))
    assert [at for at, _ in found] == [NOW, NOW + 2], "only what has changed"
    assert (tmp_path / "trace").stat().st_mode & 0o777 == 0o600


def test_what_is_no_file_keeps_its_rights(tmp_path: Path) -> None:
    """`--record /dev/null` by root must leave it to everybody."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    pipe.chmod(0o666)
    with os.fdopen(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)):
        Recorder(pipe).close()
    assert pipe.stat().st_mode & 0o777 == 0o666


def test_recorder_that_cannot_write_gives_up_quietly(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder(Path("/dev/full"))
    recorder.write(WANTED, NOW)
    recorder.write(NATIVE, NOW)
    recorder.close()
    assert [record.getMessage() for record in caplog.records] == [
        "/dev/full: No space left on device; nothing more is recorded"
    ]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        pytest.param(b"{}\n", "line 1 is not of a trace: 'at' is missing", id="no-trace"),
        pytest.param(b"\xff\n", "not UTF-8 text", id="binary"),
        pytest.param(None, "No such file or directory", id="absent"),
    ],
)
def test_file_that_is_no_trace_is_refused_in_one_line(tmp_path: Path, content: bytes | None, what: str) -> None:
    file = tmp_path / "trace"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        list(planner.read_trace(str(file)))
    assert str(caught.value) == f"{file}: {what} (a file that `clatnm daemon --record` wrote)"


def test_line_without_end_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^/dev/zero: line 1 is not of a trace: it is too long "):
        list(planner.read_trace("/dev/zero"))


def test_world_that_no_daemon_saw_is_refused(tmp_path: Path) -> None:
    world = replace(WANTED, advertised_prefixes={"wlan0": frozenset({IPv6Network("2001:db8::/80")})})
    (tmp_path / "trace").write_text(trace.line(world, NOW), encoding="utf-8")
    with pytest.raises(ConfigError, match=r": at 1000\.0 s 2001:db8::/80 is advertised for SLAAC, which takes a /64 "):
        list(planner.read_trace(str(tmp_path / "trace")))


def test_scene_as_text() -> None:
    plan = the_plan(WANTED)
    other = replace(plan, prefix=OWN_PREFIX, offered=False)
    steps = (Start(plan=plan), Update(old=plan, plan=other), Stop(plan=plan))
    (last,) = list(planner.replay([(NOW, a_world(prefixes={}))]))
    scene = replace(last, steps=steps)
    assert planner.as_text(scene).splitlines() == [
        "at 1000.000 s:",
        f"  start clat-wlan0 (tun): {plan.clat_v4} as {plan.clat_v6}, NAT64 {WELL_KNOWN},"
        " default route with metric 150, MTU 1472",
        f"  change clat-wlan0: NAT64 {WELL_KNOWN} → {OWN_PREFIX}, no default route, older connections may finish",
        "  stop clat-wlan0",
        "  wlan0: no CLAT, the network tells no NAT64 prefix, neither by its routers nor by DNS"
        " [mode=auto ipv4=none ipv6=yes pref64=none ret=no-pref64]",
    ]
    assert planner.as_text(last).splitlines()[1] == "  nothing to do"
    assert [row["step"] for row in planner.as_json(scene)["steps"]] == ["start", "update", "stop"]
    assert trace.line(WANTED, NOW)
