# SPDX-License-Identifier: GPL-2.0-or-later
"""What daemons and files of every kind are taken for, and what the kernel's lists mean."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clatnm import trace
from clatnm.dbus import service
from clatnm.doctor import asking, filters
from clatnm.doctor.facts import DaemonState, Machine
from clatnm.doctor.filters import Chain
from clatnm.errors import BusError, NoDaemonError
from clatnm.kernel import machine
from tests.unit.doctor.cases import a_running_world
from tests.unit.policy.worlds import NOW

STATUS = {
    "connections": [
        {"interface": "wlan0", "translator": {"counters": {"a": 1}}},
        {"interface": "x", "translator": None},
    ],
    "static": [
        {"state": "on", "uuid": "static.d/a"},
        {"state": "off", "uuid": "static.d/b", "error": None, "explanation": "no IPv6"},
    ],
}
Answers = Callable[[str], str]


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answers], None]:
    def answer(by: Answers) -> None:
        async def ask(member: str, *_: str) -> str:
            return by(member)

        async def pid() -> int:
            return 7

        monkeypatch.setattr(service, "ask", ask)
        monkeypatch.setattr(asking, "_pid", pid)

    return answer


def refuse(error: Exception) -> Answers:
    def by(member: str) -> str:
        raise error

    return by


def test_daemon_that_answers_tells_world_status_and_counters(daemon: Callable[[Answers], None]) -> None:
    world = a_running_world()
    told = {"World": trace.line(world, NOW), "Status": json.dumps(STATUS)}
    daemon(lambda member: told[member])
    found = asyncio.run(asking.ask_daemon())
    assert (found.state, found.pid, found.at) == (DaemonState.ANSWERS, 7, NOW)
    assert found.world is not None
    assert found.world.links == world.links
    assert found.counters == {"wlan0": {"a": 1}}
    assert asyncio.run(asking.count()) == found.counters


@pytest.mark.parametrize(("pids", "state"), [((), DaemonState.ABSENT), ((42,), DaemonState.NAMELESS)])
def test_daemon_without_its_name_is_told_from_none(
    daemon: Callable[[Answers], None], monkeypatch: pytest.MonkeyPatch, pids: tuple[int, ...], state: DaemonState
) -> None:
    daemon(refuse(NoDaemonError("nobody")))
    monkeypatch.setattr(machine, "daemons", lambda: pids)
    found = asyncio.run(asking.ask_daemon())
    assert (found.state, found.pid) == (state, (*pids, 0)[0])


@pytest.mark.parametrize(
    ("by", "state"),
    [
        (refuse(BusError("no", name="org.freedesktop.DBus.Error.AccessDenied")), DaemonState.FORBIDDEN),
        (refuse(BusError("no answer in 5 s")), DaemonState.MUTE),
        (lambda member: "", DaemonState.MUTE),
        (lambda member: "[]", DaemonState.MUTE),
        (lambda member: trace.line(a_running_world(), NOW), DaemonState.MUTE),
    ],
    ids=["forbidden", "silent", "nothing", "list", "world-alone"],
)
def test_daemon_that_is_no_help_is_named_as_what_it_is(
    daemon: Callable[[Answers], None], by: Answers, state: DaemonState
) -> None:
    daemon(by)
    found = asyncio.run(asking.ask_daemon())
    assert (found.state, found.world, found.pid) == (state, None, 7)


def test_static_translators_that_do_not_run_are_explained(daemon: Callable[[Answers], None]) -> None:
    daemon(lambda member: json.dumps([{"change": "IPv6 on eth0"}]))
    runs, stands = asyncio.run(asking.statics(json.dumps(STATUS)))
    assert (runs.name, runs.runs) == ("static.d/a", True)
    assert (stands.name, stands.runs, stands.why, stands.change) == ("static.d/b", False, "no IPv6", "IPv6 on eth0")


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_status_of_another_version_has_no_static_translators(told: Any) -> None:
    assert asyncio.run(asking.statics(json.dumps({"static": told} if told else told))) == ()


def test_configuration_that_makes_sense_can_be_edited(tmp_path: Path) -> None:
    (tmp_path / "clatnm.conf").write_text("[clatnm]\nmtu = 1300\nbackend = tun\ninterfaces = eth0\n")
    settings, found = asking.read_config(tmp_path, Machine(as_root=True))
    assert (settings.mtu_bytes, found.backend, found.plain_only, found.config_fault) == (1300, "tun", True, "")
    assert found.conf.has_section
    assert found.conf.written == {"mtu", "backend", "interfaces"}
    assert "s|^[[:space:]]*mtu" in found.conf.edit("mtu", "1280")


def test_configuration_that_makes_none_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "clatnm.conf").write_text("[clatnm]\nmode = perhaps\n")
    settings, found = asking.read_config(tmp_path, Machine(as_root=True))
    assert settings.mode == "auto"
    assert found.config_fault.startswith(f"{tmp_path}/clatnm.conf:2: ")
    assert found.config_hint == "one of: auto, force, no"


@pytest.mark.parametrize("data", [b"\xff\xfe", b"nonsense"])
def test_configuration_that_is_none_is_a_fault_as_well(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "clatnm.conf").write_bytes(data)
    assert asking.read_config(tmp_path, Machine(as_root=True))[1].config_fault


def test_no_configuration_is_the_default(tmp_path: Path) -> None:
    found = asking.read_config(tmp_path, Machine(as_root=False))[1]
    assert (found.config_fault, found.conf.has_section, found.conf.edit("mtu", "1280")) == ("", False, "")


NFT = {
    "nftables": [
        {"metainfo": {"version": "1.0.6"}},
        {"chain": {"family": "inet", "table": "t", "name": "out", "handle": 1, "type": "filter", "hook": "output",
                   "prio": 0, "policy": "drop"}},
        {"chain": {"family": "ip", "table": "nat", "name": "post", "handle": 2, "type": "nat", "hook": "postrouting"}},
        {"chain": {"family": "ip", "table": "filter", "name": "DOCKER", "handle": 3}},
        {"chain": {"family": "bridge", "table": "b", "name": "o", "handle": 1, "type": "filter", "hook": "output"}},
    ]
}  # fmt: skip


def test_only_filters_that_see_the_packet_are_opened() -> None:
    known = filters.chains(json.dumps(NFT))
    assert known[0] == Chain(family="inet", table="t", name="out", hook="output")
    assert filters.let_out(known, "clat-up0") == "nft insert rule inet t out oifname clat-up0 accept"
    assert filters.let_in(known, "clat-up0") == ""


@given(st.text() | st.recursive(st.none() | st.text(), st.lists).map(json.dumps))
def test_no_list_of_chains_is_none(text: str) -> None:
    assert filters.chains(text) == ()


def test_addresses_that_others_have_are_listed_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "if_inet6"
    table.write_text(
        "fe8000000000000000000000000000ff 02 40 20 80     eth0\n20010db8000a00000000000000000077 02 40 00 c8     eth0\n"
    )
    monkeypatch.setattr(machine, "_INET6", table)
    assert machine.has_ipv6()
    first, second = machine.own_addresses6()
    assert (first.duplicate, first.tentative, first.interface) == (False, False, "eth0")
    assert (second.address, second.duplicate, second.tentative) == (IPv6Address("2001:db8:a::77"), True, True)
    monkeypatch.setattr(machine, "_INET6", tmp_path / "nothing")
    assert (machine.has_ipv6(), machine.own_addresses6()) == (False, ())


def test_rights_and_daemons_are_read_from_proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_PROC", tmp_path)
    for pid, words in ((5, ["python3", "/usr/bin/clatnm", "daemon"]), (6, ["clatnm", "status"]), (7, ["x", "daemon"])):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "cmdline").write_bytes(b"\0".join(word.encode() for word in words) + b"\0")
        (tmp_path / str(pid) / "status").write_text("Name:\tclatnm\nCapEff:\t0000000000003000\n")
    assert machine.daemons() == (5,)
    assert machine.capabilities(5) == {"CAP_NET_ADMIN", "CAP_NET_RAW"}
    assert machine.capabilities(99) is None


def test_this_process_has_the_rights_that_proc_says() -> None:
    found = machine.capabilities(os.getpid())
    assert found is not None
    assert machine.is_up("lo") in (True, False)
    assert machine.is_up("no-such") is None
    assert not machine.ipv6_switched_off("no-such")
