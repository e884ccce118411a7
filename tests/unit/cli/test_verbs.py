# SPDX-License-Identifier: GPL-2.0-or-later
"""What each verb hands on, prints and returns."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

import pytest

from clatnm import byhand
from clatnm.cli.main import main
from clatnm.dbus import service
from clatnm.errors import BusError
from clatnm.kernel import netlink
from clatnm.kernel.host import Host
from clatnm.model import AddressKind, Choices
from clatnm.translators import adoption, leftovers
from clatnm.translators.estate import Estate

TOLD = {"version": "1", "default_mode": "auto", "connections": [], "note": "Café"}


@pytest.fixture(autouse=True)
def quiet_logging() -> Any:
    """`daemon` and `translate` set logging up for their process."""
    logger = logging.getLogger("clatnm")
    before = (logger.handlers[:], logger.propagate, logger.level)
    yield
    logger.handlers[:], logger.propagate = before[0], before[1]
    logger.setLevel(before[2])


# plan


def test_plan_of_an_empty_trace_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--replay", "/dev/null"]) == 3
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "the trace is empty\n")


# status


@pytest.fixture
def daemon_tells(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    def tell(told: Any) -> None:
        async def ask(member: str) -> str:
            assert member == "Status"
            return json.dumps(told)

        monkeypatch.setattr(service, "ask", ask)

    return tell


def test_status_is_text_for_people(daemon_tells: Callable[[Any], None], capsys: pytest.CaptureFixture[str]) -> None:
    daemon_tells(TOLD)
    assert main(["status"]) == 0
    assert capsys.readouterr().out.startswith("No active connections. ")


def test_status_json_is_all_there_is(daemon_tells: Callable[[Any], None], capsys: pytest.CaptureFixture[str]) -> None:
    daemon_tells(TOLD)
    assert main(["status", "--json"]) == 0
    out = capsys.readouterr().out
    assert json.loads(out) == TOLD
    assert "Café" in out


def test_status_without_a_daemon_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    async def ask(member: str) -> str:
        raise BusError("the clatnm daemon does not run", hint="systemctl start clatnm")

    monkeypatch.setattr(service, "ask", ask)
    assert main(["status"]) == 1
    assert capsys.readouterr().err == "error: the clatnm daemon does not run (systemctl start clatnm)\n"


# translate


@pytest.fixture
def wishes(monkeypatch: pytest.MonkeyPatch) -> list[byhand.Wish]:
    seen: list[byhand.Wish] = []

    async def translate(wish: byhand.Wish, *, ready: Callable[[str], None]) -> None:
        seen.append(wish)
        ready("ready clat-eth0")

    monkeypatch.setattr(byhand, "translate", translate)
    return seen


def translate(*options: str) -> int:
    return main(["translate", "--uplink", "eth0", "--plat-prefix", "2001:db8:64::/96", *options])


def test_translate_hands_on_what_was_asked_for(wishes: list[byhand.Wish], capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--clat-v4-addr", "192.0.0.7", "--clat-v6-addr", "2001:db8::7", "--device", "clat9", "--backend", "tun")
    assert translate(*options) == 0
    (wish,) = wishes
    assert (wish.uplink, wish.prefix, wish.backend) == ("eth0", IPv6Network("2001:db8:64::/96"), "tun")
    assert wish.choices == Choices(clat_v4=IPv4Address("192.0.0.7"), clat_v6=IPv6Address("2001:db8::7"), device="clat9")
    assert capsys.readouterr().out == "ready clat-eth0\n"


def test_translate_leaves_the_rest_to_the_policy(wishes: list[byhand.Wish]) -> None:
    assert translate() == 0
    assert wishes == [byhand.Wish(uplink="eth0", prefix=IPv6Network("2001:db8:64::/96"), choices=Choices())]


@pytest.mark.parametrize("kind", list(AddressKind))
def test_translate_knows_kinds_of_addresses(wishes: list[byhand.Wish], kind: AddressKind) -> None:
    assert translate("--clat-v6-addr", str(kind)) == 0
    assert wishes[0].choices == Choices(address_kind=kind)


def test_translate_makes_an_edge_relay_of_mappings(wishes: list[byhand.Wish], tmp_path: Path) -> None:
    """RFC 7756: as many as there are, from the command line and from files."""
    file = tmp_path / "eam"
    file.write_text("# racks\n192.0.2.16/28 2001:db8:1::10/124\n\n198.51.100.1 = 2001:db8:2::1 # one more\n")
    options = ("--eam", "192.0.2.1=2001:db8:1::1", "--eam-file", str(file), "--address", "192.0.2.1")
    assert translate(*options, "--address", "192.0.2.17", "--route", "203.0.113.0/24", "--mtu", "1400") == 0
    (wish,) = wishes
    assert wish.choices.mtu_bytes == 1400
    relay = wish.choices.relay
    assert relay is not None
    assert [(str(v4), str(v6)) for v4, v6 in relay.mappings] == [
        ("192.0.2.1/32", "2001:db8:1::1/128"),
        ("192.0.2.16/28", "2001:db8:1::10/124"),
        ("198.51.100.1/32", "2001:db8:2::1/128"),
    ]
    assert relay.addresses == (IPv4Address("192.0.2.1"), IPv4Address("192.0.2.17"))
    assert relay.routes == (IPv4Network("203.0.113.0/24"),)


ONE = ("--eam", "192.0.2.1=2001:db8::1")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        pytest.param(("--eam", "192.0.2.1"), "--eam: '192.0.2.1' is no mapping", id="half"),
        pytest.param(("--eam", "192.0.2.0/24=2001:db8::/121"), "does not fit into", id="rfc7757-3.1"),
        pytest.param((*ONE, *ONE), "192.0.2.1/32 is mapped twice", id="rfc7757-3.2-twice"),
        pytest.param((*ONE, "--eam-file", "FILE"), "FILE:3: 192.0.2.1/32 is mapped twice (first by --eam)", id="file"),
        pytest.param(("--eam-file", "FILE", "--eam-file", "FILE"), "FILE:3: 192.0.2.1/32 is mapped", id="same-file"),
        pytest.param(("--eam", "192.0.2.1=2001:db8:64::9"), "and the translation prefix", id="inside-prefix"),
        pytest.param(("--eam-file", "/none"), "/none: No such file or directory", id="no-file"),
        pytest.param(("--eam-file", "/"), "/: Is a directory", id="directory"),
        pytest.param((*ONE, "--address", "192.0.2.2"), "--address: 192.0.2.2 is not mapped", id="unmapped"),
        pytest.param(("--address", "192.0.2.2"), "an Edge Relay without mappings", id="address-alone"),
        pytest.param(("--route", "10.0.0.0/8"), "an Edge Relay without mappings", id="route-alone"),
        pytest.param((*ONE, "--route", "10.0.0.1/8"), "10.0.0.1/8 has host bits set", id="route-with-host-bits"),
        pytest.param((*ONE, "--mtu", "9"), "'9' is no MTU", id="mtu"),
        pytest.param((*ONE, "--clat-v6-addr", "shared"), "an Edge Relay shares no address", id="shared"),
    ],
)
def test_translate_refuses_a_relay_that_cannot_be_in_one_line(
    wishes: list[byhand.Wish],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    options: tuple[str, ...],
    told: str,
) -> None:
    file = tmp_path / "eam"
    file.write_text("# hosts\n\n192.0.2.1 2001:db8::9\n")
    try:
        status = translate(*(str(file) if word == "FILE" else word for word in options))
    except SystemExit as end:  # argparse's
        status = int(str(end.code))
    assert (status, wishes) == (2, [])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert told.replace("FILE", str(file)) in line


# daemon


def test_daemon_reads_and_keeps_where_it_is_told_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made: list[dict[str, Path]] = []

    class FakeDaemon:
        def __init__(self, *, config_dir: Path, state_dir: Path, record: Path | None, estate: Estate) -> None:
            assert record is None
            assert estate.door(9) == Path("/run/clatnm/translators/9.socket")
            made.append({"config_dir": config_dir, "state_dir": state_dir})

        async def run(self) -> None:
            pass

    monkeypatch.setattr("clatnm.daemon.Daemon", FakeDaemon)
    assert main(["daemon", "-v", "--config", f"{tmp_path}/etc", "--state", f"{tmp_path}/lib"]) == 0
    assert logging.getLogger("clatnm").level == logging.DEBUG
    assert main(["daemon"]) == 0
    assert logging.getLogger("clatnm").level == logging.INFO
    assert made == [
        {"config_dir": tmp_path / "etc", "state_dir": tmp_path / "lib"},
        {"config_dir": Path("/etc/clatnm"), "state_dir": Path("/var/lib/clatnm")},
    ]


# cleanup


REMOVED, ENDED = "removed {} of a translator that is gone", "ended {}, which no daemon had"
NOTHING = "nothing to clean up"


@dataclass(frozen=True)
class Left:
    """By whoever was killed: what is only a mark, and translators that go on."""

    marks: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)


@pytest.mark.parametrize(
    ("options", "left", "out"),
    [
        ([], Left(marks=["the hook on eth0", "the rule for 192.0.0.1"]), REMOVED),
        ([], Left(orphans=["the translator clat-eth0"]), ENDED),
        ([], Left(), NOTHING),
        (["--gone"], Left(marks=["the hook on eth0"], orphans=["the translator clat-eth0"]), REMOVED),
        (["--gone"], Left(orphans=["the translator clat-eth0"]), NOTHING),
    ],
)
def test_cleanup_says_what_it_found(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    left: Left,
    out: str,
) -> None:
    class FakeNetlink:
        def __enter__(self) -> FakeNetlink:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(netlink, "Netlink", FakeNetlink)

    async def end_orphans(_: Host, __: Estate) -> list[str]:
        return left.orphans

    monkeypatch.setattr(leftovers, "cleanup", lambda kernel: left.marks)
    monkeypatch.setattr(adoption, "end_orphans", end_orphans)
    assert main(["cleanup", *options]) == (3 if out == NOTHING else 0)
    names = {REMOVED: left.marks, ENDED: left.orphans, NOTHING: [""]}[out]
    assert capsys.readouterr().out.splitlines() == [out.format(name) for name in names]


def test_daemon_records_into_no_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["daemon", "--record", "-"]) == 2
    assert capsys.readouterr().err == "error: a trace goes into a file (--record FILE)\n"
