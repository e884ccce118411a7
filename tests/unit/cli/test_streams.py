# SPDX-License-Identifier: GPL-2.0-or-later
"""Verbs as processes in odd company: streams that are closed or full, and signals, one and many."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.poll import eventually

SCRIPT = """
import json, sys
from clatnm.dbus import service

async def ask(member, *_):
    return "[]" if member == "Explain" else json.dumps({"connections": [], "static": []})

service.ask = ask
from clatnm.cli.main import entry
entry()
"""
CLATNM = (sys.executable, "-c", "from clatnm.cli.main import entry; entry()")
QUICK = {
    **{verb: [verb] for verb in ("status", "metrics", "indicator")},
    "status-json": ["status", "--json"],
    "explain": ["explain", "wlan0"],
    "plan": ["plan", "--replay", "-"],
    "import-clatd": ["import-clatd", "-"],
    "pcap": ["pcap", "--plat-prefix", "64:ff9b::/96", "-", "-"],
    "mistake": ["status", "wlan0"],
    "help": ["--help"],
}


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", "2>/dev/full", ">/dev/full 2>/dev/full"])
@pytest.mark.parametrize("argv", QUICK.values(), ids=QUICK)
def test_stream_that_is_closed_or_full_is_no_bug(argv: list[str], closed: str) -> None:
    shell = ["sh", "-c", f'exec "$0" "$@" {closed}', sys.executable, "-c", SCRIPT]
    done = subprocess.run(
        [*shell, *argv],
        input="",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
    assert done.returncode in (0, 1, 2, 3)
    assert "Traceback" not in done.stderr
    assert "bug in clatnm" not in done.stdout + done.stderr
    if argv == QUICK["mistake"]:
        assert done.returncode == 2


def test_what_is_opened_takes_the_place_of_no_stream(tmp_path: Path) -> None:
    """A socket that became descriptor 2 would get whatever a library complains of."""
    code = f"""
import os
from clatnm.cli import main
def links():
    with open("{tmp_path}/out", "w") as file:
        print(*(os.readlink(f"/proc/self/fd/{{number}}") for number in (0, 1, 2)), file=file)
main.main = links
main.entry()
"""
    subprocess.run(["sh", "-c", 'exec "$0" -c "$1" <&- >&- 2>&-', sys.executable, code], timeout=30, check=True)
    assert (tmp_path / "out").read_text() == "/dev/null /dev/null /dev/null\n"


@pytest.mark.usefixtures("private_bus")
def test_monitor_ends_with_its_reader_though_nothing_happens() -> None:
    """`clatnm monitor | head -1`."""
    process = subprocess.Popen([*CLATNM, "monitor"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    assert b"the clatnm daemon does not run" in process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=20) in (0, 1)
    assert process.stderr.read() == b""
    process.stderr.close()


# Signals, while a bus is silent


@pytest.fixture
def silent_bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """It takes connections and says nothing."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind(str(tmp_path / "bus"))
        listening.listen(8)
        listening.settimeout(20)
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/bus")
        yield listening


ASKING = {
    "status": ["status"],
    "explain": ["explain", "wlan0"],
    "metrics": ["metrics"],
    "indicator": ["indicator"],
    "indicator-follow": ["indicator", "--follow"],
    "monitor": ["monitor", "--plain"],
    "set": ["set", "Home", "no"],
    "doctor": ["doctor", "--config", "/nonexistent"],
}


@pytest.mark.parametrize("many", [1, 25])
@pytest.mark.parametrize("argv", ASKING.values(), ids=ASKING)
def test_interrupted_verb_ends_at_once_and_says_nothing(silent_bus: socket.socket, argv: list[str], many: int) -> None:
    process = subprocess.Popen([*CLATNM, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with contextlib.closing(silent_bus.accept()[0]):

        def interrupted() -> bool:
            if process.poll() is None and many > 1:
                process.send_signal(signal.SIGINT)
            return process.poll() is not None

        process.send_signal(signal.SIGINT)
        eventually(interrupted, timeout_s=4.0, longest_pause_s=0.002 if many > 1 else 0.1, message="it ends")
    _, err = process.communicate(timeout=20)
    assert process.returncode in (0, 1)
    assert err == ""
