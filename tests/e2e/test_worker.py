# SPDX-License-Identifier: GPL-2.0-or-later
"""The translator process on real devices: a host and, one veth away, a router that owns the translated addresses.

No NAT64 is needed: the far side has 64:ff9b::198.51.100.1 as an address of its own and answers natively.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

import pytest

from clatnm.worker.wire import WorkerConfig
from tests.e2e.clat import answers, download, ping, udp_echo, upload
from tests.lab import inet
from tests.lab.namespace import PYTHON, Namespace
from tests.lab.poll import eventually
from tests.lab.process import start_time
from tests.lab.session import NETNS_DIR, Session

PEER = "198.51.100.1"
MIB = 1 << 20
DEVICE = "clat-t"
HOST_MAC, ROUTER_MAC, NEW_ROUTER_MAC = "02:00:00:00:00:0a", "02:00:00:00:00:0b", "02:00:00:00:00:0c"
CLAT, OTHER_CLAT = IPv6Address("2001:db8:1::c1a7"), IPv6Address("2001:db8:1::beef")
PREFIX, OTHER_PREFIX = IPv6Network("64:ff9b::/96"), IPv6Network("2001:db8:64::/96")
CONFIG = WorkerConfig(
    clat_v4=IPv4Address("192.0.0.2"),
    clat_v6=CLAT,
    prefix=PREFIX,
    ipv6_mtu_bytes=1500,
    uplink="wan0",
    link_address=bytes.fromhex(HOST_MAC.replace(":", "")),
    gateway=IPv6Address("fe80::1"),
    well_known_strict=False,
)
ORDER_S = 10.0


class Net:
    """Two namespaces, `wan0` in the host against `lan0` in the router."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.host: Any = Namespace("wh", session)  # what tests.e2e.clat asks for is a Namespace and more
        self.router = Namespace("wr", session)
        for namespace in (self.host, self.router):
            namespace.sysctl(ipv6__conf__all__accept_dad=0, ipv6__conf__default__accept_dad=0)
        link = (
            f"link add wan0 address {HOST_MAC} type veth peer name lan0 address {ROUTER_MAC} netns {self.router.netns}"
        )
        self.host.ip(*link.split())
        self.router.ip(
            "-batch",
            "-",
            stdin=f"""
                addr add 2001:db8:1::1/64 dev lan0 nodad
                addr add fe80::1/64 dev lan0 nodad
                addr add 64:ff9b::{PEER}/128 dev lo nodad
                addr add 2001:db8:64::{PEER}/128 dev lo nodad
                link set dev lan0 up
                route add 2001:db8:1::/64 dev lan0 src 64:ff9b::{PEER} metric 100
            """,
        )
        self.host.ip("link", "set", "wan0", "up")
        wait_up(self.host, "wan0")
        wait_up(self.router, "lan0")
        server = self.router.popen(PYTHON, inet.__file__, name="inet")
        eventually(lambda: "ready" in server.log(), message="the server serves")


def wait_up(namespace: Namespace, device: str) -> None:
    """Until the kernel sends by it: some time after the device is set up."""

    def is_up() -> bool:
        return bool(namespace.ip_json("link", "show", "dev", device)[0]["operstate"] == "UP")

    eventually(is_up, message=f"{device} is up")


@pytest.fixture
def net() -> Iterator[Net]:
    session = Session.open()
    try:
        yield Net(session)
    finally:
        session.close()


class Clat:
    """A supervised worker in the host."""

    def __init__(self, net: Net, config: WorkerConfig = CONFIG) -> None:
        self.net = net
        self.config = config
        script = str(Path(__file__).with_name("worker_supervisor.py"))
        arguments = json.dumps({"config": config.to_json(), "device": DEVICE})
        self.supervisor = subprocess.Popen(
            [*net.host.enter(), PYTHON, script, arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        net.session.adopt(self.supervisor)
        assert self.supervisor.stdout is not None
        os.set_blocking(self.supervisor.stdout.fileno(), False)
        self._text = b""
        self.messages: list[dict[str, Any]] = []
        self.pid = int(self.hear("started")["pid"])
        self.hear("ready")

    def say(self, **order: Any) -> None:
        assert self.supervisor.stdin is not None
        self.supervisor.stdin.write(json.dumps(order).encode() + b"\n")
        self.supervisor.stdin.flush()

    def hear(self, op: str) -> dict[str, Any]:
        """The next message of this kind, others left out."""

        def look() -> dict[str, Any] | None:
            assert self.supervisor.stdout is not None
            self._text += self.supervisor.stdout.read() or b""
            *lines, self._text = self._text.split(b"\n")
            self.messages += [json.loads(line) for line in lines]
            found = next((message for message in self.messages if message["op"] == op), None)
            if found is None and self.supervisor.poll() is not None:
                raise RuntimeError(f"the supervisor ended; it said {self.messages}, not {op}")
            return found

        message = eventually(look, timeout_s=ORDER_S, message=f"the worker says {op}; it said {self.messages}")
        assert message is not None
        self.messages.remove(message)
        return message

    def update(self, config: WorkerConfig) -> None:
        """Change the config and wait until it is in force."""
        self.say(op="update", config=config.to_json())
        self.counters()

    def counters(self) -> dict[str, Any]:
        self.say(op="counters")
        return self.hear("counters")

    def lives(self) -> bool:
        return start_time(self.pid) is not None


@pytest.fixture
def clat(net: Net) -> Clat:
    return Clat(net)


def devices(namespace: Namespace) -> set[str]:
    return {str(link["ifname"]) for link in namespace.ip_json("link")}


def neighbours(net: Net, address: IPv6Address) -> list[str]:
    """Link addresses the router knows `address` by."""
    found = net.router.ip_json("-6", "neigh", "show", "to", str(address), "dev", "lan0")
    return [entry["lladdr"] for entry in found if "lladdr" in entry]


def test_first_ping_is_answered_at_once(clat: Clat) -> None:
    result = clat.net.host.run("ping", "-c", "1", "-W", "1", PEER)
    (line,) = [line for line in result.stdout.splitlines() if "time=" in line]
    assert float(line.partition("time=")[2].split()[0]) < 100.0


@pytest.mark.parametrize("offload", ["on", "off"])
def test_traffic_arrives_unchanged(clat: Clat, offload: str) -> None:
    host, router = clat.net.host, clat.net.router
    for namespace, device in ((host, "wan0"), (router, "lan0"), (host, DEVICE)):
        # one by one: `ethtool` fails where a device does not know one of several
        for feature in ("gro", "gso", "tso", "tx", "rx"):
            namespace.run("ethtool", "-K", device, feature, offload, check=False)
    download(host, 8 * MIB, PEER)
    upload(host, 8 * MIB, PEER)
    udp_echo(host, 0, 1, 1000, 1400, address=PEER)
    counters = clat.counters()
    for direction in ("ipv4_to_ipv6", "ipv6_to_ipv4"):
        tcp = counters[direction]["protocols"]["tcp"]
        assert tcp["bytes"] > 8 * MIB
        assert (tcp["bytes"] / tcp["packets"] > 1500) is (offload == "on")
        assert counters[direction]["slow"] == 0
        assert counters[direction]["drops"] == {}


def test_fragments_arrive_unchanged(clat: Clat) -> None:
    udp_echo(clat.net.host, 3000, 30000, address=PEER)
    assert clat.counters()["ipv6_to_ipv4"]["slow"] > 20


def test_flushed_router_finds_the_address_again(clat: Clat) -> None:
    net = clat.net
    ping(net.host, PEER)
    net.router.ip("neigh", "flush", "dev", "lan0")
    assert neighbours(net, CLAT) == []
    # its answer to the next request needs ours to its question first
    ping(net.host, PEER)
    assert neighbours(net, CLAT) == [HOST_MAC]


def test_router_with_a_new_mac_is_followed(clat: Clat) -> None:
    net = clat.net
    ping(net.host, PEER)
    net.router.sysctl(ipv6__conf__lan0__ndisc_notify=1)
    net.router.ip("link", "set", "lan0", "address", NEW_ROUTER_MAC)
    eventually(lambda: answers(net.host, PEER), timeout_s=5, message="the new MAC is in use")


def test_changed_prefix_takes_effect_in_the_same_process(clat: Clat) -> None:
    ping(clat.net.host, PEER)
    clat.net.router.ip("addr", "del", f"64:ff9b::{PEER}/128", "dev", "lo")
    assert not answers(clat.net.host, PEER)
    clat.update(replace(CONFIG, prefix=OTHER_PREFIX))
    ping(clat.net.host, PEER)
    assert clat.lives()


def test_changed_address_takes_effect_in_the_same_process(clat: Clat) -> None:
    ping(clat.net.host, PEER)
    clat.update(replace(CONFIG, clat_v6=OTHER_CLAT))
    ping(clat.net.host, PEER)
    assert neighbours(clat.net, OTHER_CLAT) == [HOST_MAC]
    assert clat.lives()


def test_duplicate_address_is_told(net: Net) -> None:
    net.router.ip("addr", "add", f"{CLAT}/64", "dev", "lan0", "nodad")
    clat = Clat(net)
    assert clat.hear("conflict")["address"] == str(CLAT)
    clat.update(replace(CONFIG, clat_v6=OTHER_CLAT))
    ping(net.host, PEER)


def test_end_of_the_supervisor_removes_everything(clat: Clat) -> None:
    ping(clat.net.host, PEER)
    clat.supervisor.send_signal(signal.SIGKILL)
    eventually(lambda: not clat.lives(), timeout_s=2, message="the worker ended")
    assert devices(clat.net.host) == {"lo", "wan0"}
    assert clat.net.host.ip_json("-4", "route") == []
    assert clat.net.host.ip_json("-4", "addr", "show", "dev", "wan0") == []


def test_death_of_the_worker_removes_everything(clat: Clat) -> None:
    os.kill(clat.pid, signal.SIGKILL)
    assert clat.hear("exit")["status"] == -signal.SIGKILL
    assert devices(clat.net.host) == {"lo", "wan0"}
    assert clat.net.host.run("ping", "-c", "1", PEER, check=False).returncode == 2  # unreachable, and at once


def test_deleted_uplink_ends_it_with_a_reason(clat: Clat) -> None:
    ping(clat.net.host, PEER)
    clat.net.host.ip("link", "del", "wan0")
    error = clat.hear("error")
    assert "uplink wan0 is gone" in error["what"]
    assert error["hint"]
    assert clat.hear("exit")["status"] == 1
    assert devices(clat.net.host) == {"lo"}


def test_deleted_device_ends_it_with_a_reason(clat: Clat) -> None:
    clat.net.host.ip("link", "del", DEVICE)
    assert "TUN device is gone" in clat.hear("error")["what"]
    assert clat.hear("exit")["status"] == 1


def test_uplink_down_and_up_again_is_survived(clat: Clat) -> None:
    net = clat.net
    ping(net.host, PEER)
    net.host.ip("link", "set", "wan0", "down")
    assert not answers(net.host, PEER)
    net.host.ip("link", "set", "wan0", "up")
    eventually(lambda: answers(net.host, PEER), message="packets flow again")
    assert clat.lives()
    assert clat.counters()["ipv4_to_ipv6"]["drops"]["link-down"] > 0


_GARBAGE = """
import json, random, socket, sys
device, front, count = sys.argv[1], bytes.fromhex(sys.argv[2]), int(sys.argv[3])
dice = random.Random(7915)
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
sock.bind((device, int(sys.argv[4], 16)))
for _ in range(count):
    sock.send(front + dice.randbytes(dice.randrange(1, 1200)))
"""


def test_garbage_from_both_sides_is_counted_and_survived(clat: Clat) -> None:
    net = clat.net
    ethernet = (HOST_MAC + ROUTER_MAC).replace(":", "") + "86dd"
    starts = [
        ethernet + "6" + "0" * 15 + PREFIX.network_address.packed[:12].hex() + "c6336401" + CLAT.packed.hex(),
        # with a length, as UDP, TCP, ICMPv6, a fragment and an ESP packet, from the prefix and from elsewhere
        *(
            ethernet + f"600000000040{protocol:02x}40" + source + CLAT.packed.hex()
            for protocol in (0, 6, 17, 44, 50, 58)
            for source in ("0064ff9b0000000000000000c6336401", "20010db8000100000000000000000001")
        ),
    ]
    for start in starts:
        net.router.python(_GARBAGE, "lan0", start, "40", "86dd")
    for start in ("", "45", "450000400000000040", "4500004000000000400600" + "00c0000002c6336401"):
        net.host.python(_GARBAGE, DEVICE, start, "100", "0800")
    ping(net.host, PEER)
    counters = clat.counters()
    assert sum(counters["ipv6_to_ipv4"]["drops"].values()) > 100
    assert sum(counters["ipv4_to_ipv6"]["drops"].values()) > 100
    assert clat.lives()


def test_packet_for_another_station_is_not_taken(clat: Clat) -> None:
    """On a promiscuous link the socket hears what is sent to other MACs, too."""
    net = clat.net
    ping(net.host, PEER)
    net.host.ip("link", "set", "wan0", "promisc", "on")
    start = "0200000000ff" + "02000000000b" + "86dd60" + "00" * 23 + CLAT.packed.hex()
    before = clat.counters()["ipv6_to_ipv4"]["drops"]
    net.router.python(_GARBAGE, "lan0", start, "5", "86dd")
    ping(net.host, PEER)
    assert clat.counters()["ipv6_to_ipv4"]["drops"] == before


def test_idle_worker_sleeps_without_a_deadline(clat: Clat) -> None:
    """Address checked, gateway found, nothing to translate: it is not to wake up again by itself."""

    def timeout() -> int | None:
        fields = Path(f"/proc/{clat.pid}/syscall").read_text().split()
        return None if fields[0] == "running" else int(fields[4], 16) & 0xFFFFFFFF

    assert eventually(lambda: timeout() == 0xFFFFFFFF, timeout_s=3, message="epoll waits for ever")


_WIRE_WITHOUT_ETHERNET = """
import ctypes, os, select, sys
from clatnm.kernel.tun import open_tun
ends = [open_tun("wwan0").fd]
ctypes.CDLL(None).setns(os.open(sys.argv[1], os.O_RDONLY), 0)
ends.append(open_tun("isp0").fd)
print("ready", flush=True)
while True:
    for fd in select.select(ends, [], [])[0]:
        data = os.read(fd, 70000)
        try:
            os.write(ends[fd == ends[0]], bytes((data[0] & 1,)) + data[1:])
        except OSError:
            pass  # the other end is not up yet
"""


def test_uplink_without_ethernet_header_carries_traffic(net: Net) -> None:
    """What WWAN, PPP and WireGuard links look like: packets without any header before them, and no neighbours."""
    wire = net.host.popen(PYTHON, "-c", _WIRE_WITHOUT_ETHERNET, str(NETNS_DIR / net.router.netns), name="wire")
    eventually(lambda: "ready" in wire.log(), message="the wire is laid")
    net.host.ip("link", "set", "wwan0", "up")
    net.router.ip("link", "set", "isp0", "up")
    net.router.ip("route", "add", f"{CLAT}/128", "dev", "isp0", "src", f"64:ff9b::{PEER}")
    clat = Clat(net, replace(CONFIG, uplink="wwan0", link_address=None, gateway=None))
    ping(net.host, PEER)
    download(net.host, 8 * MIB, PEER)
    upload(net.host, 8 * MIB, PEER)
    udp_echo(net.host, 1, 1400, 3000, address=PEER)
    assert clat.counters()["ipv4_to_ipv6"]["drops"] == {}
