# SPDX-License-Identifier: GPL-2.0-or-later
"""The process as its supervisor sees it, local sockets standing in for device and uplink."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

import pytest

from clatnm.proto.nat64 import embed
from clatnm.proto.ndp import neighbor_advertisement
from clatnm.worker import privileges, syscalls, wire
from clatnm.worker.vnet import BLANK
from clatnm.worker.wire import WorkerConfig
from tests.lab.poll import eventually
from tests.unit.worker.worker_packets import CLAT_V4, CLAT_V6, PEER_V4, UDP, filled, ipv4, udp, verifies

PATIENCE_S = 10.0
RESIDENT_KIB = 16 * 1024
OWN_MAC, STRANGER_MAC = bytes.fromhex("020000000001"), bytes.fromhex("0200000000ee")
CONFIG = WorkerConfig(
    clat_v4=CLAT_V4, clat_v6=CLAT_V6, prefix=IPv6Network("64:ff9b::/96"), ipv6_mtu_bytes=1500, uplink="wlan0"
)
ETHERNET_CONFIG = replace(CONFIG, link_address=OWN_MAC, gateway=IPv6Address("fe80::1"))


class Supervised:
    """A worker process and the other ends of everything it holds."""

    def __init__(self) -> None:
        self.control, its_control = self._pair(socket.SOCK_SEQPACKET)
        self.host, self.tun = self._pair(socket.SOCK_DGRAM)
        self.wire, self.uplink = self._pair(socket.SOCK_DGRAM)
        command = [sys.executable, "-I", "-m", "clatnm.worker", "--control-fd", str(its_control.fileno())]
        self.process = subprocess.Popen(command, pass_fds=[its_control.fileno()], stderr=subprocess.PIPE, text=True)
        its_control.close()

    def _pair(self, kind: int) -> tuple[socket.socket, socket.socket]:
        near, far = socket.socketpair(socket.AF_UNIX, kind)
        near.settimeout(PATIENCE_S)
        return near, far

    def start(self, config: WorkerConfig = CONFIG) -> None:
        wire.send_start(self.control, config, [self.tun.fileno(), self.uplink.fileno()])
        self.tun.close()
        self.uplink.close()
        assert self.hear() == ("ready", {})

    def say(self, data: bytes, descriptors: Sequence[int] = ()) -> None:
        socket.send_fds(self.control, [data], descriptors)

    def hear(self) -> tuple[str, dict[str, Any]]:
        return wire.decode(self.control.recv(wire.MESSAGE_BYTES))

    def status(self) -> int:
        return self.process.wait(PATIENCE_S)

    def udp_reaches_wire(self, source: IPv4Address = CLAT_V4) -> bytes:
        """The IPv6 packet made of a datagram the host sends."""
        self.host.send(BLANK + ipv4(filled(udp(b"payload"), UDP, source, PEER_V4), UDP, source=source))
        packet = self.wire.recv(2000)[len(BLANK) :]
        assert verifies(packet)
        return packet

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        for sock in (self.control, self.host, self.tun, self.wire, self.uplink):
            sock.close()


@pytest.fixture
def worker() -> Iterator[Supervised]:
    supervised = Supervised()
    yield supervised
    supervised.close()


def test_packets_flow_after_ready(worker: Supervised) -> None:
    worker.start()
    assert worker.udp_reaches_wire()[24:40] == embed(CONFIG.prefix, PEER_V4).packed


def test_update_changes_the_prefix_live(worker: Supervised) -> None:
    worker.start()
    worker.udp_reaches_wire()
    prefix = IPv6Network("2001:db8:64:64::/64")
    wire.send_update(worker.control, replace(CONFIG, prefix=prefix))
    worker.say(wire.encode("counters"))
    worker.hear()  # the update came before, so it is done
    assert worker.udp_reaches_wire()[24:40] == embed(prefix, PEER_V4).packed


def test_counters_are_told_on_request(worker: Supervised) -> None:
    worker.start()
    worker.udp_reaches_wire()
    worker.host.send(b"\xff" * 40)
    worker.udp_reaches_wire()
    worker.say(wire.encode("counters"))
    op, counters = worker.hear()
    assert op == "counters"
    assert counters["ipv4_to_ipv6"]["protocols"] == {"udp": {"packets": 2, "bytes": 70}}
    assert counters["ipv4_to_ipv6"]["drops"] == {"bad-offload": 1}
    assert counters["ipv6_to_ipv4"]["protocols"] == {}


def test_duplicate_address_is_told(worker: Supervised) -> None:
    worker.start(ETHERNET_CONFIG)
    advert = neighbor_advertisement(
        source=CLAT_V6,
        destination=IPv6Address("ff02::1"),
        target=CLAT_V6,
        link_address=STRANGER_MAC,
        solicited=False,
        override=True,
    )
    worker.wire.send(BLANK + OWN_MAC + STRANGER_MAC + b"\x86\xdd" + advert)
    assert worker.hear() == ("conflict", {"address": str(CLAT_V6)})


def test_stop_ends_it(worker: Supervised) -> None:
    worker.start()
    worker.say(wire.encode("stop"))
    assert worker.status() == 0


def test_end_of_the_supervisor_ends_it(worker: Supervised) -> None:
    worker.start()
    worker.control.close()
    assert worker.status() == 0


def test_end_of_the_supervisor_before_start_ends_it(worker: Supervised) -> None:
    worker.control.close()
    assert worker.status() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it(worker: Supervised, number: signal.Signals) -> None:
    worker.start()
    worker.process.send_signal(number)
    assert worker.status() == 0


def test_its_end_closes_what_it_held(worker: Supervised) -> None:
    worker.start()
    worker.process.kill()
    worker.status()
    with pytest.raises(ConnectionRefusedError):
        worker.host.send(b"anybody there?")


@pytest.mark.parametrize(
    ("message", "what"),
    [
        pytest.param(b"\x00", "not JSON", id="not-json"),
        pytest.param(wire.encode("counters"), "before start", id="not-started"),
        pytest.param(wire.encode("start"), "not a JSON object", id="no-config"),
        pytest.param(wire.encode("start", config={}), "clat_v4", id="empty-config"),
        pytest.param(wire.encode("start", config=CONFIG.to_json()), "descriptors", id="no-descriptors"),
    ],
)
def test_wrong_start_is_refused_with_a_reason(worker: Supervised, message: bytes, what: str) -> None:
    worker.say(message)
    op, fields = worker.hear()
    assert op == "error"
    assert what in fields["what"]
    assert worker.status() == 1


@pytest.mark.parametrize(
    ("message", "what"),
    [
        pytest.param(wire.encode("dance"), "'dance'", id="unknown-operation"),
        pytest.param(wire.encode("update", config={"clat_v4": 1}), "clat_v4", id="wrong-config"),
        pytest.param(wire.encode("update", config=ETHERNET_CONFIG.to_json()), "Ethernet", id="link-layer-appears"),
    ],
)
def test_wrong_order_is_refused_with_a_reason(worker: Supervised, message: bytes, what: str) -> None:
    worker.start()
    worker.say(message)
    op, fields = worker.hear()
    assert op == "error"
    assert what in fields["what"]
    assert worker.status() == 1


@pytest.mark.parametrize("arguments", [[], ["--control-fd"], ["--control-fd", "x"], ["--control-fd", "9999"]])
def test_wrong_arguments_are_a_usage_error(arguments: list[str]) -> None:
    command = [sys.executable, "-I", "-m", "clatnm.worker", *arguments]
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE_S)
    assert result.returncode == 2
    assert "--control-fd" in result.stderr


def test_it_is_small_and_has_no_privileges(worker: Supervised) -> None:
    worker.start(ETHERNET_CONFIG)
    worker.say(wire.encode("counters"))
    worker.hear()  # by now everything is loaded and privileges are gone
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{worker.process.pid}/status").read_text().splitlines())
    assert int(status["VmRSS"].split()[0]) <= RESIDENT_KIB
    assert status["NoNewPrivs"] == "1"
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    assert status["Seccomp"] == ("2" if syscalls.program(os.uname().machine) else "0")
    if os.geteuid() == 0:
        user, group = privileges.identity()
        assert user != 0 and status["Uid"].split() == [str(user)] * 4
        assert group != 0 and status["Gid"].split() == [str(group)] * 4
        assert status["CapBnd"] == "0" * 16
        assert status["Groups"].strip() == ""


def test_idle_it_waits_without_a_deadline(worker: Supervised) -> None:
    worker.start()
    worker.udp_reaches_wire()
    assert eventually(lambda: epoll_timeout(worker.process.pid) == -1, message="it sleeps until something comes")


def epoll_timeout(pid: int) -> int | None:
    """The fourth argument of the system call a started worker is blocked in, which can only be epoll_wait."""
    fields = Path(f"/proc/{pid}/syscall").read_text().split()
    if fields[0] == "running":
        return None
    value = int(fields[4], 16) & 0xFFFFFFFF
    return value - (1 << 32 if value >> 31 else 0)


def test_no_heavy_module_is_imported() -> None:
    code = "import sys, clatnm.worker.__main__; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    heavy = {"asyncio", "argparse", "logging", "subprocess", "multiprocessing", "pyroute2", "dbus_next", "jinja2"}
    assert heavy.isdisjoint(loaded.stdout.split())
