# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm pcap` against the translator process: captured on both of its sides, one capture becomes the other."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.captures import Captures, compare
from tests.e2e.clat import download, ping, udp_echo, upload
from tests.e2e.test_worker import CLAT, DEVICE, PEER, Clat, Net
from tests.lab.poll import eventually
from tests.lab.process import Service
from tests.lab.session import Session


@pytest.fixture
def clat() -> Iterator[Clat]:
    """Offloads off: what a device shows is then what is on the wire, checksums and all."""
    session = Session.open()
    try:
        net = Net(session)
        clat = Clat(net)
        for namespace, device in ((net.host, "wan0"), (net.router, "lan0"), (net.host, DEVICE)):
            for feature in ("gro", "gso", "tso", "tx", "rx"):
                namespace.run("ethtool", "-K", device, feature, "off", check=False)
        ping(net.host, PEER)  # the next hop is known then
        yield clat
    finally:
        session.close()


def capture(net: Net, device: str, file: Path) -> Service:
    # tcpdump's ring has few places for packets of any size, many for those that the devices carry
    arguments = ("-i", device, "-w", str(file), "-U", "--immediate-mode", "-Z", "root", "-s", "2000")
    service = net.host.popen("tcpdump", *arguments, "ip or ip6", name=f"tcpdump-{device}")
    eventually(lambda: "listening on" in service.log(), message=f"tcpdump listens on {device}")
    return service


def traffic(net: Net) -> None:
    """TCP, UDP and ICMP, whole and in fragments, and errors from near and far."""
    ping(net.host, PEER)
    ping(net.host, PEER, "-s", "3000")
    net.host.run("ping", "-c", "1", "-W", "1", "-t", "1", PEER, check=False)
    udp_echo(net.host, 1, 1400, 3000, address=PEER)
    net.host.python(_CLOSED_PORT, PEER)
    download(net.host, 6000, PEER)
    upload(net.host, 6000, PEER)


_CLOSED_PORT = """
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(3)
sock.connect((sys.argv[1], 4))
sock.send(b"anybody there?")
try:
    sock.recv(1)
except ConnectionRefusedError:
    print("refused")
"""


def record(clat: Clat, directory: Path) -> Captures:
    """Capture on both sides while there is traffic."""
    net = clat.net
    captures = Captures(tun=directory / "tun.pcap", uplink=directory / "uplink.pcap")
    services = [capture(net, DEVICE, captures.tun), capture(net, "wan0", captures.uplink)]
    traffic(net)
    for service in services:
        service.signal(signal.SIGINT)
        assert service.wait() == 0
        assert "0 packets dropped by kernel" in service.log()
    return captures


@pytest.mark.root
def test_capture_of_one_side_translates_to_the_other(clat: Clat, tmp_path: Path) -> None:
    captures = record(clat, tmp_path)
    compare(captures, tmp_path, clat_v4="192.0.0.2", clat_v6=str(CLAT), prefix="64:ff9b::/96")
