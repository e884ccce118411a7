# SPDX-License-Identifier: GPL-2.0-or-later
"""Which connections `clatnm doctor` looks at."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from clatnm.cli.main import main
from clatnm.doctor import asking, gather
from clatnm.doctor.asking import Told
from clatnm.doctor.facts import DaemonState, StaticState
from clatnm.kernel import machine
from clatnm.model import Link, Static, World
from tests.unit.policy.test_static_rules import a_static, with_static
from tests.unit.policy.worlds import NOW, a_link, a_route4


@pytest.fixture(autouse=True)
def etc(tmp_path: Path) -> Path:
    return tmp_path


def the_daemon_knows(monkeypatch: pytest.MonkeyPatch, *statics: Static) -> None:
    """A daemon on a server whose eth0 no manager has."""
    world: World = replace(with_static(*statics, links=(a_link("eth0"),)), backends={"tun": "broken"})

    async def told() -> Told:
        return Told(state=DaemonState.MUTE, at=NOW, world=world)

    async def states(_: str) -> tuple[StaticState, ...]:
        return tuple(StaticState(name=static.key, runs=True) for static in statics)

    async def no_fault() -> str:
        return ""

    monkeypatch.setattr(asking, "ask_daemon", told)
    monkeypatch.setattr(asking, "statics", states)
    monkeypatch.setattr(asking, "bus_fault", no_fault)


def test_uplink_of_a_static_translator_need_not_be_a_connection(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], etc: Path
) -> None:
    the_daemon_knows(monkeypatch, a_static())
    main(["doctor", "--config", str(etc)])
    assert "eth0" not in capsys.readouterr().out
    the_daemon_knows(monkeypatch)
    main(["doctor", "--config", str(etc)])
    assert "FAIL  connection     eth0 is no connection" in capsys.readouterr().out


def test_others_may_be_behind_devices_that_lead_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def lan(name: str, kind: str = "bridge", **changes: Any) -> Link:
        return a_link(name, **{"ipv6": (), "default6": (), "ipv4": ("10.9.0.1",), "kind": kind, **changes})

    monkeypatch.setattr(machine, "forwards4", lambda name: name != "eth1")
    links = [
        *(lan("br0"), lan("lo"), lan("eth1"), lan("wg0", "wireguard"), lan("br1", carrier=False), lan("br2", ipv4=())),
        *(lan("eth2", default4=(a_route4(),)), a_link("eth3", ipv4=("10.9.3.1",))),
    ]
    assert list(gather._lans(links)) == [("br0", IPv4Address("10.9.0.1"))]


@pytest.mark.parametrize("word", ["web", "static.d/web"])
def test_static_translator_is_said_to_be_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], etc: Path, word: str
) -> None:
    the_daemon_knows(monkeypatch, a_static())
    assert main(["doctor", word, "--config", str(etc)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: '{word}' is a static translator, not a connection (")
    assert f"clatnm explain {word}" in said
