# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm set`: what it hands on, writes and says."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from clatnm import config
from clatnm.cli.main import main
from clatnm.dbus import service
from clatnm.errors import BusError, ConfigError, NoDaemonError
from clatnm.model import Mode
from clatnm.uplinks import nm_profiles
from clatnm.uplinks.nm_profiles import Outcome

UUID = "bbcd7cc0-dfd2-4e95-8d38-c9bc4872809c"
Asked = list[tuple[str, "Mode | None"]]


@pytest.fixture(autouse=True)
def etc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Stands for /etc/clatnm."""
    monkeypatch.setattr(config, "CONFIG_DIR", tmp_path)
    return tmp_path


@pytest.fixture
def own_file(etc: Path) -> Path:
    (etc / "connections.d").mkdir()
    return etc / "connections.d" / f"{UUID}.conf"


@pytest.fixture(autouse=True)
def reloads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the daemon was asked for; there is one, and all is well with it."""
    asked: list[str] = []

    async def ask(member: str, *_: str) -> str:
        asked.append(member)
        return ""

    monkeypatch.setattr(service, "ask", ask)
    return asked


def daemon_says(monkeypatch: pytest.MonkeyPatch, answer: str | BusError) -> None:
    async def ask(member: str, *_: str) -> str:
        if isinstance(answer, BusError):
            raise answer
        return answer

    monkeypatch.setattr(service, "ask", ask)


@pytest.fixture
def comes_of_it(monkeypatch: pytest.MonkeyPatch) -> Callable[[Outcome | Exception], Asked]:
    """What NetworkManager makes of it; the list that is returned has what it was asked for."""

    def play(outcome: Outcome | Exception) -> Asked:
        asked: Asked = []

        async def set_mode(connection: str, mode: Mode | None) -> Outcome:
            asked.append((connection, mode))
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        stand_in: Callable[[str, Mode | None], Awaitable[Outcome]] = set_mode
        monkeypatch.setattr(nm_profiles, "set_mode", stand_in)
        return asked

    return play


Play = Callable[["Outcome | Exception"], Asked]


# Connections of others than NetworkManager


def daemon_has(monkeypatch: pytest.MonkeyPatch, *connections: dict[str, str]) -> list[str]:
    """A daemon with these connections; what it is asked."""
    asked: list[str] = []

    async def ask(member: str, *_: str) -> str:
        asked.append(member)
        return json.dumps({"connections": connections}) if member == "Status" else ""

    monkeypatch.setattr(service, "ask", ask)
    return asked


PLAIN = {"interface": "eth0", "name": "eth0", "uuid": "eth0", "manager": "nobody"}
NETWORKDS = {"interface": "eth1", "name": "20-eth1", "uuid": UUID, "manager": "systemd-networkd"}
NOT_THERE = ConfigError("there is no connection 'eth0'")


@pytest.mark.parametrize("word", ["eth0", "eth1", "20-eth1", UUID])
@pytest.mark.parametrize("fault", [NOT_THERE, BusError("NetworkManager does not run")], ids=["unknown", "not-there"])
def test_connection_of_somebody_else_has_its_mode_in_its_file(  # noqa: PLR0917
    comes_of_it: Play, monkeypatch: pytest.MonkeyPatch, etc: Path, capsys: pytest.CaptureFixture[str],
    word: str, fault: Exception,
) -> None:  # fmt: skip
    file = "eth0" if word == "eth0" else UUID
    comes_of_it(fault)
    (etc / "clatnm.conf").write_text("[clatnm]\ninterfaces = eth0\n")
    asked = daemon_has(monkeypatch, PLAIN, NETWORKDS)
    own_file = etc / "connections.d" / f"{file}.conf"
    assert main(["set", word, "no"]) == 0
    assert config.load(etc, backends=()).of(file).mode is Mode.NO
    assert asked == ["Status", "Reload"]
    assert capsys.readouterr().out == f"{word}: CLAT mode is now no ({own_file})\n"
    assert main(["set", word, "no"]) == 3
    assert main(["set", word, "default"]) == 0
    assert main(["set", word, "default"]) == 3
    assert not own_file.exists()


@pytest.mark.parametrize(
    "connections",
    [
        pytest.param([], id="nobody-knows-it"),
        pytest.param([{**PLAIN, "manager": "NetworkManager"}], id="networkmanagers"),
        pytest.param([PLAIN, {**NETWORKDS, "name": "eth0"}], id="two-are-meant"),
    ],
)
def test_connection_that_is_not_one_elsewhere_stays_a_mistake(
    comes_of_it: Play, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], etc: Path,
    connections: list[dict[str, str]],
) -> None:  # fmt: skip
    comes_of_it(NOT_THERE)
    daemon_has(monkeypatch, *connections)
    assert main(["set", "eth0", "no"]) == 2
    assert capsys.readouterr().err == "error: there is no connection 'eth0'\n"
    assert not (etc / "connections.d").exists()


def test_interface_stands_for_the_connection_that_networkmanager_has_on_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: Asked = []

    async def set_mode(connection: str, mode: Mode | None) -> Outcome:
        asked.append((connection, mode))
        if connection != UUID:
            raise NOT_THERE
        return Outcome(uuid=UUID, place="ipv4.clat", changed=True)

    monkeypatch.setattr(nm_profiles, "set_mode", set_mode)
    daemon_has(monkeypatch, {"interface": "wlan0", "name": "Home", "uuid": UUID, "manager": "NetworkManager"})
    assert main(["set", "wlan0", "no"]) == 0
    assert asked == [("wlan0", Mode.NO), (UUID, Mode.NO)]
    assert capsys.readouterr().out == "wlan0: CLAT mode is now no (ipv4.clat)\n"
    assert main(["set", "wlan1", "no"]) == 2


@pytest.mark.parametrize("word", ["Home", UUID])
def test_what_networkmanager_has_refused_is_not_tried_again(
    comes_of_it: Play, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    asked = comes_of_it(BusError("not allowed"))
    daemon_has(monkeypatch, {"interface": "wlan0", "name": "Home", "uuid": UUID, "manager": "NetworkManager"})
    assert main(["set", word, "no"]) == 1
    assert asked == [(word, Mode.NO)]


@pytest.mark.parametrize("word", ["web", "static.d/web"])
def test_static_translator_is_said_to_be_one(
    comes_of_it: Play, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    comes_of_it(NOT_THERE)
    static = {"interface": "eth0", "name": "web", "uuid": "static.d/web", "manager": None}
    daemon_says(monkeypatch, json.dumps({"connections": [], "static": [static]}))
    assert main(["set", word, "no"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: '{word}' is a static translator, which has no mode (")


def test_mistake_is_the_same_where_no_daemon_runs(
    comes_of_it: Play, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    comes_of_it(NOT_THERE)
    daemon_says(monkeypatch, NoDaemonError("the clatnm daemon does not run"))
    assert main(["set", "eth0", "no"]) == 2
    assert capsys.readouterr().err == "error: there is no connection 'eth0'\n"


# Connections


@pytest.mark.parametrize(("changed", "status", "line"), [(True, 0, "is now"), (False, 3, "is already")])
def test_outcome_says_whether_anything_changed_and_where(
    comes_of_it: Play, capsys: pytest.CaptureFixture[str], changed: bool, status: int, line: str
) -> None:
    asked = comes_of_it(Outcome(uuid=UUID, place="ipv4.clat", changed=changed))
    assert main(["set", "Café Home", "OFF"]) == status
    assert asked == [("Café Home", Mode.NO)]
    told = capsys.readouterr()
    assert (told.out, told.err) == (f"Café Home: CLAT mode {line} no (ipv4.clat)\n", "")


@pytest.mark.parametrize(("changed", "status", "line"), [(True, 0, "any more"), (False, 3, "is set")])
def test_default_takes_the_mode_away(
    comes_of_it: Play, capsys: pytest.CaptureFixture[str], changed: bool, status: int, line: str
) -> None:
    asked = comes_of_it(Outcome(uuid=UUID, place="", changed=changed))
    assert main(["set", "Home", "default"]) == status
    assert asked == [("Home", None)]
    assert capsys.readouterr().out == f"Home: no CLAT mode of its own {line}\n"


def test_default_takes_the_mode_out_of_the_file_too(comes_of_it: Play, own_file: Path, reloads: list[str]) -> None:
    own_file.write_text("[clatnm]\nmode = no\n")
    comes_of_it(Outcome(uuid=UUID, place="", changed=False))
    assert main(["set", "Home", "default"]) == 0
    assert not own_file.exists()
    assert reloads == ["Reload"]


def test_file_of_the_connection_that_goes_before_it_is_named(
    comes_of_it: Play, own_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own_file.write_text("[clatnm]\nmode = force\n")
    comes_of_it(Outcome(uuid=UUID, place="ipv4.clat", changed=True))
    assert main(["set", "Home", "no"]) == 0
    note = f"but it has no effect: {own_file} says mode = force, and that goes before it\n"
    assert capsys.readouterr().err == note


@pytest.mark.parametrize("text", ["[clatnm]\nmode = no\n", "[clatnm]\ndrain = 7\n", "[clatnm]\nmode = perhaps\n"])
def test_file_of_the_connection_that_changes_nothing_is_not_mentioned(
    comes_of_it: Play, own_file: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    own_file.write_text(text)
    comes_of_it(Outcome(uuid=UUID, place="ipv4.clat", changed=True))
    assert main(["set", "Home", "no"]) == 0
    assert capsys.readouterr().err == ""


def test_lossy_profile_store_leads_to_a_file(
    comes_of_it: Play, etc: Path, capsys: pytest.CaptureFixture[str], reloads: list[str]
) -> None:
    own_file = etc / "connections.d" / f"{UUID}.conf"
    comes_of_it(Outcome(uuid=UUID, place="", changed=True, kept=False))
    assert main(["set", "Home", "no"]) == 0
    told = capsys.readouterr()
    assert told.out == f"Home: CLAT mode is now no ({own_file})\n"
    assert told.err == f"NetworkManager's profile store did not keep the mode, so {own_file} has it\n"
    assert own_file.read_text() == "[clatnm]\nmode = no\n"
    assert reloads == ["Reload"]
    assert main(["set", "Home", "no"]) == 3
    assert capsys.readouterr().out == f"Home: CLAT mode is already no ({own_file})\n"
    assert main(["set", "Home", "auto"]) == 0
    assert own_file.read_text() == "[clatnm]\nmode = auto\n"


def test_lossy_profile_store_and_no_right_to_write_is_one_line(
    comes_of_it: Play, etc: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    comes_of_it(Outcome(uuid=UUID, place="", changed=True, kept=False))
    assert main(["set", "Home", "no"]) == 1
    told = capsys.readouterr()
    own_file = etc / "connections.d" / f"{UUID}.conf"
    assert (told.out, told.err) == (
        "",
        "error: NetworkManager accepted the change, but its profile store did not keep it"
        f" (as root, clatnm keeps it in {own_file}; {own_file}: Permission denied)\n",
    )


def test_own_clat_of_networkmanager_that_goes_on_is_told(comes_of_it: Play, capsys: pytest.CaptureFixture[str]) -> None:
    comes_of_it(Outcome(uuid=UUID, place="ipv4.clat", changed=True, translating=("wlan0",)))
    assert main(["set", "Home", "no"]) == 0
    assert capsys.readouterr().err == (
        "NetworkManager's own CLAT stays on wlan0 until it is activated again, or: nmcli device reapply wlan0\n"
    )


@pytest.mark.parametrize(
    ("fault", "status"), [(ConfigError("there is no connection 'x'"), 2), (BusError("not allowed"), 1)]
)
def test_refusal_says_why(comes_of_it: Play, capsys: pytest.CaptureFixture[str], fault: Exception, status: int) -> None:
    comes_of_it(fault)
    assert main(["set", "x", "no"]) == status
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", f"error: {fault}\n")


# The global default


def test_global_default_is_written_and_read_by_the_daemon(
    etc: Path, capsys: pytest.CaptureFixture[str], reloads: list[str]
) -> None:
    (etc / "clatnm.conf").write_text("# mine\n[clatnm]\n#mode = auto\ndrain = 7\n")
    assert main(["set", "--default", "off"]) == 0
    assert capsys.readouterr().out == "default CLAT mode is now no\n"
    assert (etc / "clatnm.conf").read_text() == "# mine\n[clatnm]\n#mode = auto\nmode = no\ndrain = 7\n"
    assert reloads == ["Reload"]
    assert main(["set", "--default", "no"]) == 3
    assert capsys.readouterr().out == "default CLAT mode is already no\n"
    assert reloads == ["Reload"]


@pytest.mark.parametrize(
    ("answer", "err"),
    [
        (NoDaemonError("nobody"), ""),
        (BusError("access denied"), "but the daemon has not read it: access denied\n"),
        ("x.conf:1: mistake", "but the daemon has not read it: x.conf:1: mistake\n"),
    ],
)
def test_daemon_that_does_not_read_it_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: str | BusError, err: str
) -> None:
    daemon_says(monkeypatch, answer)
    assert main(["set", "--default", "no"]) == 0
    told = capsys.readouterr()
    assert (told.out, told.err) == ("default CLAT mode is now no\n", err)


def test_global_default_without_rights_is_one_line(
    etc: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert main(["set", "--default", "no"]) == 1
    assert capsys.readouterr().err == f"error: {etc}/clatnm.conf: Permission denied (only root may change it)\n"


# The command line


@pytest.mark.parametrize(
    ("argv", "what"),
    [
        (["x", "perhaps"], "mode 'perhaps' is unknown (one of: auto, force, no, default)"),
        (["--default", "perhaps"], "mode 'perhaps' is unknown (one of: auto, force, no)"),
        (["--default", "default"], "mode 'default' is unknown (one of: auto, force, no)"),
        (["x", "no", "--default", "no"], "--default is not about one connection (clatnm set --default MODE)"),
        (["x"], "which connection, and which mode? (see: clatnm set --help)"),
        ([], "which connection, and which mode? (see: clatnm set --help)"),
    ],
)
def test_nonsense_asks_nobody(
    comes_of_it: Play, etc: Path, capsys: pytest.CaptureFixture[str], argv: list[str], what: str
) -> None:
    asked = comes_of_it(AssertionError("nothing to ask"))
    assert main(["set", *argv]) == 2
    assert (capsys.readouterr().err, asked, list(etc.iterdir())) == (f"error: {what}\n", [], [])
