# SPDX-License-Identifier: GPL-2.0-or-later
"""Telling the service manager how we are, where there is one."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path

import pytest

from clatnm.notify import notify, watched_every_s


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    """The service manager's end; sd_notify(3) knows sockets in the file system and, with @, abstract ones."""
    told = f"{tmp_path}/notify" if request.param == "path" else f"@clatnm-test-{secrets.token_hex(8)}"
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    request.addfinalizer(sock.close)
    sock.setblocking(False)
    sock.bind(told.replace("@", "\0", 1))
    monkeypatch.setenv("NOTIFY_SOCKET", told)
    return sock


def test_every_message_is_one_datagram(manager: socket.socket) -> None:
    notify("READY=1")
    notify("STATUS=1 connection, Café")
    assert manager.recv(100) == b"READY=1"
    assert manager.recv(100).decode() == "STATUS=1 connection, Café"


@pytest.mark.parametrize("address", [None, ""])
def test_outside_of_systemd_nothing_happens(monkeypatch: pytest.MonkeyPatch, address: str | None) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setattr(socket, "socket", lambda *_: pytest.fail("there is nobody to talk to"))
    notify("READY=1")


@pytest.mark.parametrize("address", ["/nonexistent/notify", "@nobody-listens-here", "x" * 200])
def test_manager_that_cannot_be_reached_costs_nothing(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    before = len(os.listdir("/proc/self/fd"))
    notify("READY=1")
    assert len(os.listdir("/proc/self/fd")) == before


def test_manager_that_does_not_listen_holds_nobody_up(manager: socket.socket) -> None:
    # A datagram socket takes only so many; the rest must not make us wait.
    for _ in range(2000):
        notify("WATCHDOG=1")


@pytest.mark.parametrize(
    ("usec", "pid", "interval_s"),
    [
        ("60000000", "own", 60.0),
        ("60000000", None, 60.0),
        ("60000000", "", 60.0),
        ("60000000", "1", None),
        (None, None, None),
        ("", "own", None),
        ("0", "own", None),
        ("-5", "own", None),
        ("soon", "own", None),
    ],
)
def test_watchdog_is_for_the_process_that_it_names(
    monkeypatch: pytest.MonkeyPatch, usec: str | None, pid: str | None, interval_s: float | None
) -> None:
    for name, value in (("WATCHDOG_USEC", usec), ("WATCHDOG_PID", str(os.getpid()) if pid == "own" else pid)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert watched_every_s() == interval_s
