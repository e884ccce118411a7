# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm monitor` on a real pty: what stands on the screen, keys, sizes, ends; and without what it takes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator

import pytest

from tests.terminal import Terminal
from tests.unit.aio import run, until
from tests.unit.monitor.readings import off, on
from tests.unit.monitor.served import Served
from tests.unit.private_bus import PrivateBus

pytestmark = pytest.mark.usefixtures("private_bus")

MAIN = "from clatnm.cli.main import entry; entry()"
WITHOUT_URWID = f"import sys; sys.modules['urwid'] = None; {MAIN}"
NO_DAEMON = "the clatnm daemon does not run (systemctl start clatnm)"
WAIT_S = 15.0
UP, DOWN = "\x1b[A", "\x1b[B"


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    """Starts `clatnm monitor` on a terminal; ends what is left of it."""
    made: list[Terminal] = []

    def start(*argv: str, code: str = MAIN, columns: int = 80, rows: int = 24) -> Terminal:
        command = [sys.executable, "-c", code, "monitor", *argv]
        made.append(Terminal(command, env=os.environ, columns=columns, rows=rows))
        return made[-1]

    yield start
    for each in made:
        each.close()


def watch(scene: Callable[[Served], Awaitable[None]], daemon: Served) -> None:
    """Run the scene while the daemon is on the bus."""

    async def work() -> None:
        await daemon.start()
        try:
            await scene(daemon)
        finally:
            daemon.stop()

    run(work())


async def shows(terminal: Terminal, text: str) -> None:
    await until(lambda: text in terminal.text() or _ended(terminal), timeout_s=WAIT_S)


def _ended(terminal: Terminal) -> bool:
    assert terminal.status is None, terminal.text()
    return False


async def ends(terminal: Terminal) -> None:
    await until(lambda: terminal.status is not None, timeout_s=WAIT_S)
    assert terminal.status == 0, terminal.text()
    assert terminal.is_as_before


def test_80_by_24_and_other_sizes_and_q(terminal: Callable[..., Terminal]) -> None:
    pytest.importorskip("urwid")
    shown = terminal()

    async def scene(daemon: Served) -> None:
        await shows(shown, "wlan0 “Net of wlan0”: CLAT on")
        lines = shown.lines()
        assert lines[0].startswith(" clatnm 0.1.0   2 connections")
        assert lines[23].startswith(" ↑ ↓ select   q leave")
        assert "reverse" in shown.looks(1)
        for columns, rows in ((40, 12), (132, 50), (20, 5), (80, 24)):
            shown.resize(columns, rows)
            await until(lambda rows=rows: shown.lines()[rows - 1].startswith(" ↑ ↓ select"), timeout_s=WAIT_S)
            await until(lambda: shown.lines()[1].startswith(" wlan0 “Net of"), timeout_s=WAIT_S)
        assert not shown.is_as_before
        shown.press("q")
        await ends(shown)

    watch(scene, Served(on(), off()))


def test_arrows_select(terminal: Callable[..., Terminal]) -> None:
    pytest.importorskip("urwid")
    shown = terminal()

    async def scene(daemon: Served) -> None:
        await shows(shown, "── wlan0 ")
        shown.press(DOWN)
        await shows(shown, "── eth0 ")
        assert "reverse" in shown.looks(2)
        assert "reverse" not in shown.looks(1)
        shown.press(UP)
        await shows(shown, "── wlan0 ")
        shown.press("q")
        await ends(shown)

    watch(scene, Served(on(), off()))


def test_changes_and_decisions_are_shown_at_once(terminal: Callable[..., Terminal]) -> None:
    pytest.importorskip("urwid")
    shown = terminal("--interval", "3600")

    async def scene(daemon: Served) -> None:
        await shows(shown, "CLAT on")
        await daemon.change(off("wlan0"), decided="wlan0: no CLAT, for a \x1b[31mtest [ret=native-ipv4]")
        await shows(shown, "no CLAT: the connection has native IPv4")
        await shows(shown, "wlan0: no CLAT, for a \N{REPLACEMENT CHARACTER}[31mtest [ret=native-ipv4]")
        shown.press("q")
        await ends(shown)

    watch(scene, Served(on()))


def test_daemon_may_go_and_come(terminal: Callable[..., Terminal]) -> None:
    pytest.importorskip("urwid")
    shown = terminal()

    async def scene(daemon: Served) -> None:
        await shows(shown, "CLAT on")
        daemon.stop()
        await shows(shown, NO_DAEMON)
        assert "CLAT on" not in shown.text()
        await daemon.start()
        await shows(shown, "CLAT on")
        assert NO_DAEMON not in shown.text()
        shown.press("Q")
        await ends(shown)

    watch(scene, Served(on()))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_leaves_the_terminal_as_it_was(terminal: Callable[..., Terminal], number: signal.Signals) -> None:
    pytest.importorskip("urwid")
    shown = terminal()

    async def scene(daemon: Served) -> None:
        await shows(shown, "CLAT on")
        shown.signal(number)
        await ends(shown)

    watch(scene, Served(on()))


def test_no_bus_is_one_line_on_a_terminal_that_is_as_before(
    terminal: Callable[..., Terminal], private_bus: PrivateBus
) -> None:
    pytest.importorskip("urwid")
    private_bus.kill()
    shown = terminal()

    async def scene() -> None:
        await until(lambda: shown.status is not None, timeout_s=WAIT_S)
        assert shown.status == 1
        assert shown.is_as_before
        assert "error: cannot connect to the system bus" in shown.text()
        assert "Traceback" not in shown.text()

    run(scene())


def test_terminal_without_the_library_gets_lines_and_a_hint(terminal: Callable[..., Terminal]) -> None:
    shown = terminal(code=WITHOUT_URWID)

    async def scene(daemon: Served) -> None:
        await shows(shown, "wlan0 “Net of wlan0”: CLAT on")
        assert shown.lines()[0].startswith("no whole screen without urwid (install python3-urwid)")
        shown.press("\x03")
        await ends(shown)

    watch(scene, Served(on()))


def test_plain_lines_where_they_are_wanted(terminal: Callable[..., Terminal]) -> None:
    shown = terminal("--plain", columns=120)

    async def scene(daemon: Served) -> None:
        await shows(shown, "wlan0 “Net of wlan0”: CLAT on")
        await daemon.change(off("wlan0"), decided="wlan0: no CLAT, for a test")
        await shows(shown, "wlan0: no CLAT, for a test")
        daemon.stop()
        await shows(shown, f"{NO_DAEMON}; waiting for it")
        shown.press("\x03")
        await ends(shown)

    watch(scene, Served(on()))


def test_pipe_gets_lines() -> None:
    async def scene(daemon: Served) -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", MAIN, "monitor", "--interval", "0.1"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        said: list[str] = []
        try:
            while sum("IPv6→IPv4 0 packets/s" in line for line in said) < 2:
                said.append((await process.stdout.readline()).decode())
                assert said[-1], "it has ended"
            process.send_signal(signal.SIGTERM)
            _, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        assert (process.returncode, errors) == (0, b"")
        lines = [line.rstrip().partition(" ")[2] for line in said]
        assert lines[:2] == ["clatnm 0.1.0 answers, default mode auto", "wlan0 “Net of wlan0”: CLAT on"]
        assert "\x1b" not in "".join(said)

    watch(scene, Served(on()))


@pytest.mark.parametrize("interval", ["0", "-1", "nan", "inf", "fast", "1e9"])
def test_interval_that_is_none_is_a_mistake(interval: str, capsys: pytest.CaptureFixture[str]) -> None:
    from clatnm.cli.main import main

    with pytest.raises(SystemExit) as caught:
        main(["monitor", f"--interval={interval}"])
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: argument --interval: '{interval}' is no number of seconds from 0.1 to 86400")
