# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm import-clatd`: what it says, writes and leaves alone."""

from __future__ import annotations

import io
import json
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from clatnm import config, hooks
from clatnm.cli.main import main
from clatnm.dbus import service
from clatnm.errors import BusError, NoDaemonError

UUID = "bbcd7cc0-dfd2-4e95-8d38-c9bc4872809c"
CLATD = "plat-prefix=64:ff9b::/96\nproxynd-enable=yes\nclat-dev=clat\n"
Run = Callable[..., int]


@pytest.fixture(autouse=True)
def etc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Stands for /etc/clatnm."""
    monkeypatch.setattr(config, "CONFIG_DIR", tmp_path / "clatnm")
    return tmp_path / "clatnm"


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the daemon was asked for; it knows one connection."""
    members: list[str] = []

    async def ask(member: str, *_: str) -> str:
        members.append(member)
        connections = [{"name": "Home", "interface": "eth0", "uuid": UUID}]
        return json.dumps({"connections": connections}) if member == "Status" else ""

    monkeypatch.setattr(service, "ask", ask)
    return members


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run_it(*argv: str, text: str = CLATD) -> int:
        (tmp_path / "clatd.conf").write_text(text)
        return main(["import-clatd", str(tmp_path / "clatd.conf"), *argv])

    return run_it


def test_nothing_is_written_unless_asked(
    run: Run, etc: Path, asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == 0
    assert not etc.exists()
    assert asked == []
    said = capsys.readouterr().out
    assert f"line 1: plat-prefix = 64:ff9b::/96: kept as prefix = 64:ff9b::/96 in {etc}/clatnm.conf\n" in said
    assert "line 2: proxynd-enable = yes: not needed: " in said
    assert "\n+prefix = 64:ff9b::/96\n" in said
    assert "nothing has been written" in said
    assert "systemctl disable --now clatd" in said


def test_file_is_made_where_there_is_none(run: Run, etc: Path, asked: list[str]) -> None:
    assert run("--write") == 0
    assert (etc / "clatnm.conf").read_text() == "[clatnm]\nprefix = 64:ff9b::/96\n"
    assert asked == ["Reload"]
    assert [path.name for path in etc.iterdir()] == ["clatnm.conf"]


def test_file_that_is_there_keeps_its_other_lines_and_a_copy(
    run: Run, etc: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    etc.mkdir()
    before = "# mine\n[clatnm]\nmode = no ; for now\nprefix = 2001:db8::/96  # old\n"
    (etc / "clatnm.conf").write_text(before)
    (etc / "clatnm.conf").chmod(0o640)
    assert run("--write") == 0
    after = "# mine\n[clatnm]\nmode = no ; for now\nprefix = 64:ff9b::/96  # old\n"
    assert (etc / "clatnm.conf").read_text() == after
    assert stat.S_IMODE((etc / "clatnm.conf").stat().st_mode) == 0o640
    assert (etc / "clatnm.conf.before").read_text() == before
    assert f"which was as {etc}/clatnm.conf.before is" in capsys.readouterr().out
    assert run("--write", text="plat-prefix=2001:db8:1::/96\n") == 0
    assert (etc / "clatnm.conf.before1").read_text() == after
    assert (etc / "clatnm.conf.before").read_text() == before


def test_what_it_wrote_is_taken_back_by_what_it_prints(run: Run, etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    etc.mkdir()
    (etc / "clatnm.conf").write_text("[clatnm]\nmode = no\n")
    assert run("--write", text=f"{CLATD}script-up=true\n") == 0
    assert sorted(path.name for path in etc.iterdir()) == ["clatd-script-up", "clatnm.conf", "clatnm.conf.before"]
    (undo,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("to take it back: "))
    subprocess.run(["sh", "-ec", undo.partition(": ")[2]], check=True)
    assert [path.name for path in etc.iterdir()] == ["clatnm.conf"]
    assert (etc / "clatnm.conf").read_text() == "[clatnm]\nmode = no\n"


@pytest.mark.parametrize("there", [True, False], ids=["there", "to-come"])
def test_link_stays_and_its_target_is_written(
    run: Run, etc: Path, there: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    (etc / "real").mkdir(parents=True)
    real, link = etc / "real" / "of-all.conf", etc / "clatnm.conf"
    link.symlink_to(real)
    if there:
        real.write_text("[clatnm]\nmode = no\n")
    assert run("--write", text=CLATD) == 0
    assert link.readlink() == real
    assert "prefix = " in real.read_text()
    (undo,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("to take it back: "))
    subprocess.run(["sh", "-ec", undo.partition(": ")[2]], check=True)
    assert link.readlink() == real
    assert real.exists() is there
    assert not there or real.read_text() == "[clatnm]\nmode = no\n"


def test_link_to_itself_is_no_file(run: Run, etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    etc.mkdir()
    (etc / "clatnm.conf").symlink_to("clatnm.conf")
    assert run("--write", text=CLATD) == 1
    assert capsys.readouterr().err == f"error: {etc}/clatnm.conf: Too many levels of symbolic links\n"
    assert (etc / "clatnm.conf").is_symlink()


def test_keys_stand_in_the_order_of_the_lines(run: Run, etc: Path) -> None:
    assert run("--write", text="plat-prefix=64:ff9b::/96\nclat-v6-addr=shared\nv4-defaultroute-mtu=1300\n") == 0
    assert (etc / "clatnm.conf").read_text() == ("[clatnm]\nprefix = 64:ff9b::/96\nclat-v6-addr = shared\nmtu = 1300\n")


def test_again_there_is_nothing_to_do(run: Run, etc: Path, asked: list[str]) -> None:
    assert run("--write") == 0
    assert run("--write") == 3
    assert asked == ["Reload"]
    assert [path.name for path in etc.iterdir()] == ["clatnm.conf"]


@pytest.mark.parametrize("text", ["", "# nothing\n", "proxynd-enable=yes\n"])
def test_defaults_leave_nothing_to_do(run: Run, etc: Path, text: str) -> None:
    assert run("--write", text=text) == 3
    assert not etc.exists()


@pytest.mark.parametrize("connection", [UUID, "Home", "eth0"])
def test_what_one_connection_has_goes_into_its_file(run: Run, etc: Path, connection: str) -> None:
    assert run("--write", "--connection", connection) == 0
    assert (etc / "connections.d" / f"{UUID}.conf").read_text() == "[clatnm]\ndevice = clat\n"
    assert config.load(etc, backends=()).of(UUID).device == "clat"


RELAY = "plat-prefix=2001:db8:46::/96\nclat-v4-addr=192.0.2.1\nclat-v6-addr=2001:db8:12:34::1\nplat-dev=eth0\n"


def test_relay_goes_into_a_file_of_its_own(run: Run, etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--write", text=RELAY) == 0
    path = etc / "static.d" / "clatd.conf"
    assert path.read_text().startswith("[clatnm]\nuplink = eth0\nprefix = 2001:db8:46::/96\n")
    assert f"kept as uplink = eth0 in {path}\n" in capsys.readouterr().out
    (static,) = config.load(etc, backends=()).statics
    assert (static.name, static.uplink) == ("clatd", "eth0")
    assert static.choices.relay is not None
    assert [str(address) for address in static.choices.relay.addresses] == ["192.0.2.1"]
    assert not (etc / "clatnm.conf").exists()
    assert run("--write", text=RELAY) == 3


def test_relay_that_makes_no_sense_is_not_written(run: Run, etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = RELAY.replace("2001:db8:12:34::1", "2001:db8:46::1")
    assert run("--write", text=text) == 2
    assert "2001:db8:46::1" in capsys.readouterr().err
    assert not etc.exists()


def test_script_becomes_a_program(run: Run, etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = "script-up=ip route add 192.0.2.0/24 dev $clat_dev || true # one; two"
    assert run(text=line) == 0
    assert f"+++ {etc}/clatd-script-up\n" in capsys.readouterr().out
    assert run("--write", text=line) == 0
    program = etc / "clatd-script-up"
    assert stat.S_IMODE(program.stat().st_mode) == 0o755
    assert program.read_text().splitlines()[-1] == line.removeprefix("script-up=")
    assert hooks.unfit(str(program)) == ""
    assert config.load(etc, backends=()).script_up == str(program)
    assert run("--write", text=line) == 3


def test_unknown_connection_is_a_mistake(run: Run, etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--write", "--connection", "Office") == 2
    assert capsys.readouterr().err == "error: there is no active connection 'Office' (see: clatnm status)\n"
    assert not etc.exists()


def test_name_without_a_daemon_is_told_so(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def ask(member: str, *_: str) -> str:
        raise NoDaemonError("none")

    monkeypatch.setattr(service, "ask", ask)
    assert run("--connection", "Home") == 1
    assert "give its UUID" in capsys.readouterr().err


def test_mistake_in_clatd_s_file_writes_nothing(
    run: Run, etc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--write", text=f"{CLATD}v4-defaultroute-mtu=big\n") == 2
    captured = capsys.readouterr()
    what = "v4-defaultroute-mtu: 'big' is no number (digits, or 0x and hexadecimal ones)"
    assert captured.err == f"error: {tmp_path}/clatd.conf:4: {what}\n"
    assert captured.out == ""
    assert not etc.exists()


def test_mistake_in_our_file_leaves_it(run: Run, etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    etc.mkdir()
    (etc / "clatnm.conf").write_text("[clatnm]\nmodus = no\n")
    assert run("--write") == 2
    assert f"{etc}/clatnm.conf:2: unknown key 'modus'" in capsys.readouterr().err
    assert (etc / "clatnm.conf").read_text() == "[clatnm]\nmodus = no\n"


def test_missing_file_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import-clatd", str(tmp_path / "none.conf")]) == 1
    said = capsys.readouterr().err
    assert said == f"error: {tmp_path}/none.conf: No such file or directory (clatnm import-clatd FILE; - is stdin)\n"


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch, etc: Path) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(CLATD.encode())))
    assert main(["import-clatd", "-", "--write"]) == 0
    assert "prefix = 64:ff9b::/96" in (etc / "clatnm.conf").read_text()


def test_text_that_is_none_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "clatd.conf").write_bytes(b"quiet=1\n\xff\n")
    assert main(["import-clatd", str(tmp_path / "clatd.conf")]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path}/clatd.conf:2: not UTF-8 text (save the file as UTF-8)\n"


def test_daemon_that_does_not_read_it_is_told(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def ask(member: str, *_: str) -> str:
        raise BusError("no answer in 5 s")

    monkeypatch.setattr(service, "ask", ask)
    assert run("--write") == 0
    assert capsys.readouterr().err == "but the daemon has not read it: no answer in 5 s\n"


def test_terminal_controls_in_the_file_do_not_reach_the_terminal(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run(text="\x1b[31mred\nscript-up=\x1b]0;owned\x07\n")
    assert "\x1b" not in capsys.readouterr().out
