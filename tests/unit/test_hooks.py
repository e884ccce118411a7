# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs run when a translator is there and when it is gone: what they are told, and how long they may take."""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import pytest

from clatnm import clatd_rules, hooks
from clatnm.hooks import Hooks
from clatnm.model import Relay, Settings, Static
from clatnm.proto.eam import EamTable
from tests.unit.aio import run, until
from tests.unit.supervised import OTHER, PLAN


def a_script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def hooks_with(*, up: str = "", down: str = "") -> Hooks:
    return Hooks(lambda: Settings(script_up=up, script_down=down))


def test_script_has_clatd_s_names_for_everything(tmp_path: Path) -> None:
    script = a_script(tmp_path / "up", f"env > {tmp_path}/env")
    assert run(hooks_with(up=script).up(PLAN)) == ""
    told = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    assert {name.replace("-", "_") for name in clatd_rules.RULES} <= told.keys()
    assert {key: told[key] for key in ("clat_dev", "clat_v4_addr", "clat_v6_addr", "plat_dev", "plat_prefix")} == {
        "clat_dev": PLAN.device,
        "clat_v4_addr": str(PLAN.clat_v4),
        "clat_v6_addr": str(PLAN.clat_v6),
        "plat_dev": PLAN.interface,
        "plat_prefix": "64:ff9b::/96",
    }
    assert (told["v4_defaultroute_mtu"], told["v4_defaultroute_advmss"]) == ("1472", "1432")
    assert told["v4_defaultroute_metric"] == str(PLAN.metric)


@pytest.mark.parametrize("secret", ["NOTIFY_SOCKET", "LISTEN_FDS", "SOME_TOKEN"])
def test_script_has_nothing_of_the_daemon_s_own(monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    monkeypatch.setenv(secret, "x")
    assert secret not in hooks.environment(PLAN, Settings())


def test_settings_are_told_too() -> None:
    settings = Settings(fallback_prefix=IPv6Network("2001:db8::/96"), script_up="/a")
    told = hooks.environment(PLAN, settings)
    assert (told["plat_fallback_prefix"], told["script_up"], told["script_down"]) == ("2001:db8::/96", "/a", "")


def test_no_script_is_no_fault() -> None:
    async def story() -> None:
        nothing = hooks_with()
        assert await nothing.up(PLAN) == ""
        await nothing.down(PLAN)

    run(story())


def test_script_that_fails_is_told_with_its_status(tmp_path: Path) -> None:
    script = a_script(tmp_path / "up", "exit 3")
    assert run(hooks_with(up=script).up(PLAN)) == f"script-up: {script} ended with status 3"


def test_script_that_is_killed_is_told_with_the_signal(tmp_path: Path) -> None:
    script = a_script(tmp_path / "up", "kill -TERM $$")
    assert run(hooks_with(up=script).up(PLAN)) == f"script-up: {script} was ended by SIGTERM"


def test_script_that_is_killed_by_a_signal_without_a_name_is_told_too(tmp_path: Path) -> None:
    script = a_script(tmp_path / "up", "kill -40 $$")
    assert run(hooks_with(up=script).up(PLAN)) == f"script-up: {script} was ended by signal 40"


def test_script_that_does_not_end_is_ended_with_all_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "UP_S", 0.5)
    script = a_script(
        tmp_path / "up", f"sleep 60 & echo $! > {tmp_path}/pid.new; mv {tmp_path}/pid.new {tmp_path}/pid; wait"
    )
    assert run(hooks_with(up=script).up(PLAN)) == f"script-up: {script} did not end within 0.5 s"
    child = int((tmp_path / "pid").read_text())
    run(until(lambda: _is_gone(child)))


def _is_gone(pid: int) -> bool:
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True


UNFIT = {
    "missing": "No such file or directory",
    "no-program": "is no program (chmod +x)",
    "writable": "can be changed by others than root (chown root, chmod go-w)",
    "directory": "is no program (chmod +x)",
}


@pytest.mark.parametrize(("kind", "what"), UNFIT.items(), ids=UNFIT)
def test_what_is_unfit_is_not_run(tmp_path: Path, kind: str, what: str) -> None:
    script = tmp_path / "script"
    if kind == "directory":
        script.mkdir()
    elif kind != "missing":
        a_script(script, f"touch {tmp_path}/ran")
        script.chmod(0o775 if kind == "writable" else 0o644)
    assert what in run(hooks_with(up=str(script)).up(PLAN))
    assert not (tmp_path / "ran").exists()


def test_script_of_no_known_format_is_a_fault(tmp_path: Path) -> None:
    script = tmp_path / "up"
    script.write_text("echo no interpreter is named\n")
    script.chmod(0o755)
    assert run(hooks_with(up=str(script)).up(PLAN)) == f"script-up: {script}: Exec format error"


def test_what_is_run_in_the_end_is_settled_at_the_start(tmp_path: Path) -> None:
    script = a_script(tmp_path / "down", f"echo $clat_dev >> {tmp_path}/ran")
    settings = Settings(script_down=script)
    changing = Hooks(lambda: settings)

    async def story() -> None:
        nonlocal settings
        await changing.up(PLAN)
        settings = Settings()
        await changing.down(replace(PLAN, device="clat-moved"))
        await changing.down(PLAN)  # once is enough

    run(story())
    assert (tmp_path / "ran").read_text() == "clat-moved\n"


def test_what_is_run_in_the_end_is_told_what_was_told_at_the_start(tmp_path: Path) -> None:
    """So it can undo that: after changes of the plan, of the configuration, and of the daemon."""
    up = a_script(tmp_path / "up", f"env > {tmp_path}/up.env")
    down = a_script(tmp_path / "down", f"env > {tmp_path}/down.env")
    settings = Settings(script_up=up, script_down=down, fallback_prefix=IPv6Network("2001:db8::/96"))
    changing = Hooks(lambda: settings)
    successor = Hooks(Settings)
    another = replace(PLAN, prefix=IPv6Network("2001:db8:64::/96"), ipv4_mtu_bytes=1280, metric=7)

    async def story() -> None:
        nonlocal settings
        await changing.up(PLAN)
        settings = Settings(script_down="/nowhere")
        script, told = changing.down_of(another)
        successor.inherit(another, script, told)
        await successor.down(another)

    run(story())
    before, after = ((tmp_path / f"{name}.env").read_text().splitlines() for name in ("up", "down"))
    shell = ("_=", "PWD=", "OLDPWD=", "SHLVL=")  # its own
    assert {line for line in before if not line.startswith(shell)} == {
        line for line in after if not line.startswith(shell)
    }


def test_what_is_run_in_the_end_has_an_environment_also_where_an_older_daemon_wrote_none(tmp_path: Path) -> None:
    down = a_script(tmp_path / "down", f"echo $clat_dev $plat_prefix > {tmp_path}/ran")
    successor = Hooks(Settings)

    async def story() -> None:
        successor.inherit(PLAN, down, {})
        await successor.down(PLAN)

    run(story())
    assert (tmp_path / "ran").read_text() == f"{PLAN.device} {PLAN.prefix}\n"


def test_nothing_is_taken_down_that_did_not_come_up(tmp_path: Path) -> None:
    down = a_script(tmp_path / "down", f"touch {tmp_path}/ran")
    failing = hooks_with(up=a_script(tmp_path / "up", "exit 1"), down=down)

    async def story() -> None:
        assert await failing.up(PLAN)
        await failing.down(PLAN)

    run(story())
    assert not (tmp_path / "ran").exists()


def test_script_that_fails_in_the_end_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    failing = hooks_with(down=a_script(tmp_path / "down", "exit 4"))

    async def story() -> None:
        await failing.up(PLAN)
        with caplog.at_level(logging.WARNING):
            await failing.down(PLAN)

    run(story())
    (record,) = caplog.records
    assert record.getMessage() == f"wlan0: script-down: {tmp_path}/down ended with status 4"


def test_daemon_that_ends_waits_for_no_start(tmp_path: Path) -> None:
    script = a_script(tmp_path / "up", f"touch {tmp_path}/began; sleep 60")
    slow = hooks_with(up=script, down=a_script(tmp_path / "down", f"touch {tmp_path}/ran"))

    async def story() -> None:
        coming = asyncio.ensure_future(slow.up(PLAN))
        await until((tmp_path / "began").exists)
        slow.hurry()
        assert await coming == f"script-up: {script} was ended by SIGKILL"
        assert await slow.up(OTHER) == "script-up: the daemon ends"

    run(story())
    assert not (tmp_path / "ran").exists()


def test_one_that_takes_long_holds_nobody_else_up(tmp_path: Path) -> None:
    script = a_script(tmp_path / "up", f"[ $plat_dev = eth0 ] || while ! [ -e {tmp_path}/go ]; do sleep 0.01; done")
    shared = hooks_with(up=script)

    async def story() -> None:
        slow = asyncio.ensure_future(shared.up(PLAN))
        assert await shared.up(OTHER) == ""
        assert not slow.done()
        (tmp_path / "go").touch()
        assert await slow == ""

    run(story())


def test_static_translator_has_scripts_of_its_own() -> None:
    static = Static(name="er", uplink="eth0", prefix=IPv6Network("2001:db8::/96"), script_up="/own")
    settings = Settings(script_up="/all", connections={PLAN.uuid: Settings(script_up="/one")}, statics=(static,))
    assert hooks.scripts_of(PLAN, settings).up == "/one"
    assert hooks.scripts_of(OTHER, replace(settings, connections={})).up == "/all"
    assert hooks.scripts_of(replace(PLAN, static="er"), settings).up == "/own"
    assert hooks.scripts_of(replace(PLAN, static="gone"), settings).up == ""


def test_relay_without_a_default_route_is_told_so() -> None:
    relay = Relay(mappings=EamTable(()), routes=(IPv4Network("198.51.100.0/24"),))
    assert hooks.environment(replace(PLAN, relay=relay), Settings())["v4_defaultroute_enable"] == "0"
    assert hooks.environment(PLAN, Settings())["v4_defaultroute_enable"] == "1"


def test_owner_of_a_script_is_root_or_ourselves(tmp_path: Path) -> None:
    script = a_script(tmp_path / "up", "true")
    if os.geteuid() == 0:
        os.chown(script, 65534, 65534)
        assert "can be changed by others than root" in hooks.unfit(script)
    else:
        assert hooks.unfit(script) == ""
