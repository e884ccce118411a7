# SPDX-License-Identifier: GPL-2.0-or-later
"""A program alone in a network of its own: what it finds there, what it may, and when it ends."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from worker_packets import PEER_V4, UDP, ipv4, udp

from clatnm.worker import enclosure
from clatnm.worker.vnet import BLANK
from tests.lab.poll import eventually
from tests.lab.process import start_time

COMMAND = (sys.executable, "-I", "-m", "clatnm.worker.enclosure", "--control-fd")
PATIENCE_S = 10.0
LOOK_AROUND = """
import json, os, socket, sys
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
print(json.dumps({
    "devices": [name for _, name in socket.if_nameindex()],
    "addresses": open("/proc/net/if_inet6").read() + open("/proc/net/fib_trie").read(),
    "forwarding": [open(f"/proc/sys/net/{name}").read() for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding")],
    "mtu": open("/sys/class/net/tayga/mtu").read() if os.path.exists("/sys/class/net/tayga") else None,
    "uid": status["Uid"].split(), "capabilities": [status[name].strip() for name in ("CapPrm", "CapEff", "CapInh")],
    "environment": [name for name in os.environ if name != "LC_CTYPE"],
}))
"""
# Answers each packet with the same packet.
ECHO = """
import fcntl, os, struct
tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH22x", b"tayga", 0x1001))
while True:
    os.write(tun, os.read(tun, 70000))
"""


def nobodys_python() -> str:
    """A Python that nobody may run: the tests' own may lie in root's home."""
    for python in (sys.executable, "/usr/bin/python3"):
        try:
            subprocess.run([python, "-I", "-c", ""], check=True, user=65534, group=65534, extra_groups=[], env={})
        except (OSError, subprocess.CalledProcessError):
            continue
        return python
    pytest.skip(f"{sys.executable} cannot be run by nobody, and there is no /usr/bin/python3")


class Alone:
    """A running program, and the socket into its network."""

    def __init__(self, code: str) -> None:
        self.control, its_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.settimeout(PATIENCE_S)
        program = (nobodys_python(), "-I", "-c", code)
        self.process = subprocess.Popen(
            [*COMMAND, str(its_control.fileno()), *program],
            pass_fds=[its_control.fileno()],
            stdout=subprocess.PIPE,
            env={},
            text=True,
        )
        its_control.close()
        data, descriptors, _, _ = socket.recv_fds(self.control, 64, 4)
        assert (data, len(descriptors)) == (b"ready", 1)
        self.packets = socket.socket(fileno=descriptors[0])
        self.packets.settimeout(PATIENCE_S)

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.control.close()
        self.packets.close()


@pytest.fixture
def echo(needs_root: None) -> Iterator[Alone]:
    alone = Alone(ECHO)
    yield alone
    alone.close()


def echoed(alone: Alone, packet: bytes, header: bytes = BLANK) -> bytes:
    """The first that comes back of a packet sent until something does: what comes before the program reads is lost."""
    alone.packets.settimeout(0.1)

    def once() -> bytes:
        try:
            alone.packets.send(header + packet)
            return alone.packets.recv(100_000)
        except OSError:
            return b""

    return eventually(once, message="an echo")


@pytest.mark.root
def test_it_is_nobody_in_an_empty_network() -> None:
    alone = Alone(LOOK_AROUND)
    try:
        seen = json.loads(alone.process.communicate(timeout=PATIENCE_S)[0])
    finally:
        alone.close()
    assert sorted(seen["devices"]) == ["lo", "tayga"]
    assert seen["addresses"].strip() == ""
    assert seen["forwarding"] == ["0\n", "0\n"]
    assert seen["uid"] == ["65534"] * 4
    assert {int(value, 16) for value in seen["capabilities"]} == {0}
    assert seen["environment"] == []


@pytest.mark.root
def test_packets_go_there_and_back(echo: Alone) -> None:
    packet = ipv4(udp(b"there and back"), UDP)
    assert echoed(echo, packet) == BLANK + packet


@pytest.mark.root
def test_large_packets_pass(echo: Alone) -> None:
    packet = ipv4(udp(bytes(65000)), UDP, destination=PEER_V4)
    assert echoed(echo, packet) == BLANK + packet


@pytest.mark.root
def test_kernel_gives_the_device_no_address(echo: Alone) -> None:
    """With one it would send router solicitations and multicast reports to the program."""
    echoed(echo, ipv4(udp(b"up and running"), UDP))
    assert Path(f"/proc/{echo.process.pid}/net/if_inet6").read_text() == ""
    assert Path(f"/proc/{echo.process.pid}/net/igmp6").read_text().count("tayga") <= 2  # groups of every device


@pytest.mark.root
def test_it_dies_with_its_parent() -> None:
    """The parent here is a process between, which tells the pid and is killed."""
    code = f"""
import socket, subprocess, sys
ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
command = {[*COMMAND]!r} + [str(its.fileno()), {sys.executable!r}, "-I", "-c", {ECHO!r}]
child = subprocess.Popen(command, pass_fds=[its.fileno()])
its.close()
held = socket.recv_fds(ours, 64, 4)
print(child.pid, flush=True)
child.wait()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert start_time(pid)
        parent.kill()
    try:
        eventually(lambda: not start_time(pid), message="it is gone")
    finally:
        if start_time(pid):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.root
def test_parent_that_is_gone_already_keeps_it_from_starting() -> None:
    control, its_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its_control:
        control.close()
        result = subprocess.run(
            [*COMMAND, str(its_control.fileno()), "/bin/echo", "started"],
            pass_fds=[its_control.fileno()],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
    assert (result.returncode, result.stdout) == (1, "")
    assert "Broken pipe" in result.stderr


@pytest.mark.root
def test_missing_program_is_told_in_one_line() -> None:
    control, its_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with control, its_control:
        result = subprocess.run(
            [*COMMAND, str(its_control.fileno()), "/nonexistent/tayga"],
            pass_fds=[its_control.fileno()],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
    assert (result.returncode, result.stderr) == (1, "/nonexistent/tayga: No such file or directory\n")


def test_forbidden_namespaces_are_told_with_a_hint(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As RestrictNamespaces=yes forbids both kinds."""

    class Forbidden:
        def unshare(self, flags: int) -> int:
            ctypes.set_errno(errno.EPERM)
            return -1

    monkeypatch.setattr(enclosure.ctypes, "CDLL", lambda *arguments, **options: Forbidden())
    monkeypatch.setattr(enclosure.os, "geteuid", lambda: 1000)
    control, its_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with control:
        assert enclosure.main(["--control-fd", str(its_control.detach()), "/bin/true"]) == 1
    expected = "no network namespace to be had: Operation not permitted (see RestrictNamespaces= of the unit"
    assert capsys.readouterr().err.startswith(expected)


@pytest.mark.parametrize("arguments", [[], ["--control-fd"], ["--control-fd", "3"], ["--control-fd", "x", "/bin/true"]])
def test_wrong_arguments_are_a_usage_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert enclosure.main(arguments) == 2
    assert capsys.readouterr().err.startswith("usage: ")
