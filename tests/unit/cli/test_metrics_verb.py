# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm metrics`: what is printed, and a file that is whole or as it was."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from clatnm.cli.main import main
from clatnm.dbus import service
from clatnm.errors import BusError, NoDaemonError

TOLD = {"version": "1", "default_mode": "auto", "connections": [], "static": []}


@pytest.fixture(autouse=True)
def daemon(monkeypatch: pytest.MonkeyPatch) -> list[BusError]:
    """One that answers, until there is an error in this list."""
    errors: list[BusError] = []

    async def ask(member: str) -> str:
        assert member == "Status"
        if errors:
            raise errors[0]
        return json.dumps(TOLD)

    monkeypatch.setattr(service, "ask", ask)
    return errors


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "clatnm.prom"
    path.write_text("before")
    return path


def test_page_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["metrics"]) == 0
    page = capsys.readouterr().out
    assert "\nclatnm_up 1\n" in page and page.endswith("# EOF\n")
    assert main(["metrics", "--output", "-", "--format", "prometheus"]) == 0
    assert "# EOF" not in capsys.readouterr().out


def test_file_is_another_one_that_all_may_read(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reader = file.open()  # whoever reads it now goes on reading the old one
    before = os.umask(0o077)
    try:
        assert main(["metrics", "--output", str(file)]) == 0
    finally:
        os.umask(before)
    assert reader.read() == "before"
    reader.close()
    assert file.read_text().endswith("# EOF\n")
    assert file.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert capsys.readouterr() == ("", "")


def test_nobody_has_us_write_elsewhere(file: Path, tmp_path: Path) -> None:
    """In a directory that others may write to, a link with the name of our copy leads nowhere."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / f".{file.name}.{os.getpid()}").symlink_to(victim)
    assert main(["metrics", "--output", str(file)]) == 0
    assert victim.read_text() == "mine"
    assert not file.is_symlink()


@pytest.mark.parametrize("place", ["nowhere/clatnm.prom", "clatnm.prom/x", ".", "x" * 300])
def test_file_that_cannot_be_written_is_one_line(
    tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    assert main(["metrics", "--output", str(tmp_path / place)]) == 1
    told = capsys.readouterr()
    assert told.err.startswith(f"error: {tmp_path / place}: ")
    assert told.err.endswith(" (the old file stays as it is)\n")
    assert file.read_text() == "before"


def test_no_daemon_is_told_in_the_file_too(
    file: Path, daemon: list[BusError], capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.append(NoDaemonError("the clatnm daemon does not run", hint="systemctl start clatnm"))
    assert main(["metrics", "--output", str(file), "--format", "prometheus"]) == 1
    assert capsys.readouterr().err == "error: the clatnm daemon does not run (systemctl start clatnm)\n"
    assert file.read_text().splitlines()[-1] == "clatnm_up 0"


def test_daemon_that_does_not_answer_leaves_the_file(file: Path, daemon: list[BusError]) -> None:
    """Nobody knows then whether it runs."""
    daemon.append(BusError("the bus went away"))
    assert main(["metrics", "--output", str(file)]) == 1
    assert file.read_text() == "before"
