# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm monitor` beside a real daemon with real packets, on a terminal of 80 by 24 and into a file."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator

import pytest

from tests.e2e import clat
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.poll import eventually
from tests.lab.system import VENV_BIN
from tests.terminal import Terminal

NO_DAEMON = "the clatnm daemon does not run (systemctl start clatnm)"


@pytest.fixture
def watching(clean_lab: Lab) -> Iterator[Callable[..., Terminal]]:
    """Starts `clatnm monitor` on a terminal of the host."""
    made: list[Terminal] = []

    def start(*argv: str, **size: int) -> Terminal:
        pytest.importorskip("urwid")
        host = clean_lab.host
        command = [*host.enter(), str(VENV_BIN / "clatnm"), "monitor", *argv]
        made.append(Terminal(command, env=host.environment(), **size))
        return made[-1]

    yield start
    for each in made:
        each.close()


def shows(terminal: Terminal, pattern: str) -> None:
    """Wait until it stands on the screen."""

    def check() -> bool:
        text = terminal.text()
        assert re.search(pattern, text), text
        return True

    eventually(check, timeout_s=20, message=f"the screen shows {pattern}")


def ping_some(host: Host) -> None:
    host.run("ping", "-c", "20", "-i", "0.02", "-W", "3", clat.INET)


def test_screen_shows_rates_and_decisions_and_a_daemon_that_goes_and_comes(
    clean_lab: Lab, watching: Callable[..., Terminal]
) -> None:
    joined = clat.join(clean_lab)
    host = joined.host
    screen = watching()
    shows(screen, "up0 “netA”: CLAT on")
    shows(screen, r"now +IPv4→IPv6 0 packets/s")

    def moving() -> bool:
        ping_some(host)
        return bool(re.search(r"now +IPv4→IPv6 \d+(\.\d)? packets/s, .*\(icmp", screen.text()))

    eventually(moving, timeout_s=20, message="a rate that is not 0")
    assert re.search(r"IPv4→IPv6 \d+ packets, .*\(.*icmp \d+", screen.text())

    host.clatnm("set", "netA", "no")
    shows(screen, r"up0 “netA”: no CLAT: CLAT is switched off for this connection \(opted-out\)")
    shows(screen, r"\d\d:\d\d:\d\d up0: no CLAT, CLAT is switched off")

    screen.resize(60, 16)
    eventually(lambda: screen.lines()[15].startswith(" ↑ ↓ select   q leave"), message="the last row is the last row")

    assert joined.daemon.stop() == 0
    shows(screen, re.escape(NO_DAEMON[:50]))
    again = host.daemon()
    eventually(again.status, message="the daemon answers")
    shows(screen, "up0 “netA”: no CLAT")
    screen.press("q")
    eventually(lambda: screen.status is not None, message="it ends")
    assert screen.status == 0
    assert screen.is_as_before


def test_file_gets_a_line_for_each_change_and_the_rates(clean_lab: Lab) -> None:
    joined = clat.join(clean_lab)
    host = joined.host
    service = host.popen(str(VENV_BIN / "clatnm"), "monitor", "--interval", "0.3", name="monitor")

    def says(pattern: str, *, timeout_s: float = 15.0) -> None:
        eventually(lambda: re.search(pattern, service.log(), re.MULTILINE), timeout_s=timeout_s, message=pattern)

    says(r"^\d\d:\d\d:\d\d clatnm \S+ answers, default mode auto$")
    says(r"^\S+ up0 “netA”: CLAT on$")

    def moving() -> bool:
        ping_some(host)
        return bool(re.search(r"up0 “netA”: IPv6→IPv4 [\d.]+ packets/s, .*\(icmp", service.log()))

    eventually(moving, timeout_s=15, message="rates")
    host.clatnm("set", "netA", "no")
    says(r"^\S+ up0: no CLAT, CLAT is switched off for this connection \[mode=no .*ret=opted-out\]$")
    assert joined.daemon.stop() == 0
    says(rf"^\S+ {re.escape(NO_DAEMON)}; waiting for it$")
    assert "\x1b" not in service.log()
    service.signal(signal.SIGTERM)
    assert service.wait() == 0
