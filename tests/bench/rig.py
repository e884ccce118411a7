# SPDX-License-Identifier: GPL-2.0-or-later
"""What is measured: `host` ── veth ── `server` in two namespaces, and one way from one to the other.

    host  up0 2001:db8:1::10/64 ══ eth0 2001:db8:1::1/64, fe80::1  server, also 2001:db8:64::c633:6401

The server owns what 198.51.100.1 becomes under the NAT64 prefix, so that no NAT64 blurs what is measured.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path

from clatnm.proto.nat64 import embed
from tests.bench import readings
from tests.bench.goals import EBPF, NATIVE, NATIVE_AGAIN, TAYGA, TUN
from tests.lab.namespace import PYTHON, Namespace
from tests.lab.poll import eventually
from tests.lab.process import Service
from tests.lab.session import LabError, Session
from tests.lab.system import VENV_BIN

# TAYGA refuses 64:ff9b::/96 together with documentation addresses; so nobody gets it.
PREFIX = IPv6Network("2001:db8:64::/96")
SERVER = IPv4Address("198.51.100.1")
SERVER6 = embed(PREFIX, SERVER)
CLAT = IPv6Address("2001:db8:1::c1a7")
GATEWAY = "fe80::1"
PORT = 5201
STARTER = str(Path(__file__).with_name("starter.py"))
DEVICES = (("host", "up0"), ("server", "eth0"))


class Rig:
    """Native IPv6; the other ways add to it. `target` is the address to measure against."""

    name = NATIVE
    target = str(SERVER6)

    def __init__(self, session: Session, label: str) -> None:
        """Make the namespaces; the links are not up yet when this returns: see `wait_up`."""
        self.label = label
        self.session = session
        self.host, self.server = Namespace(f"h{label}", session), Namespace(f"s{label}", session)
        for place in (self.host, self.server):
            place.sysctl(
                ipv6__conf__all__accept_dad=0, ipv6__conf__default__accept_dad=0, ipv6__conf__default__accept_ra=0
            )
        self.host.sysctl(ipv4__ping_group_range="0 2147483647")
        self.host.ip("link", "add", "up0", "type", "veth", "peer", "name", "eth0", "netns", self.server.netns)
        self.server.ip("-batch", "-", stdin=f"""\
            addr add {GATEWAY}/64 dev eth0 nodad
            addr add 2001:db8:1::1/64 dev eth0 nodad
            addr add {SERVER6}/128 dev lo nodad
            link set eth0 up
            """)  # fmt: skip
        self.host.ip("-batch", "-", stdin=f"""\
            addr add 2001:db8:1::10/64 dev up0 nodad
            link set up0 up
            route add default via {GATEWAY} dev up0
            """)  # fmt: skip
        self._iperf: Service | None = None

    def wait_up(self) -> None:
        """Until packets pass, some time after the links were set up; the iperf3 server listens then."""
        eventually(self._native_ping, message=f"{self.label}: native IPv6")
        self.serve()

    def _native_ping(self) -> bool:
        return self.host.run("ping", "-c1", "-W1", str(SERVER6), check=False).returncode == 0

    def serve(self) -> None:
        """A fresh iperf3 server in the place of the one that may be there."""
        if self._iperf is not None:
            self._iperf.kill()
        # Bound, because an answer over UDP must come from the address that was asked.
        self._iperf = self.server.popen(
            "iperf3", "-s", "-B", str(SERVER6), "-p", str(PORT), name=f"iperf3-{self.label}"
        )
        eventually(self._listens, message=f"{self.label}: iperf3 listens")

    def _listens(self) -> bool:
        return f":{PORT}" in self.server.run("ss", "-Hltn").stdout

    def start(self) -> float | None:
        """Bring the way up; milliseconds from the command's start to the first echo reply, where there is one."""
        return None

    def translators(self) -> list[int]:
        """Pids of what moves packets, the most important one first."""
        return []

    def set_offloads(self, on: bool) -> None:
        """Segmentation and receive offloads of both ends of the veth."""
        state = "on" if on else "off"
        for place, device in ((self.host, "up0"), (self.server, "eth0")):
            place.run("ethtool", "-K", device, "gro", state, "gso", state, "tso", state)


class NativeAgain(Rig):
    """The same once more: what differs between the two is the machine's noise."""

    name = NATIVE_AGAIN


class Translated(Rig):
    """Ways that `clatnm translate` makes."""

    target = str(SERVER)
    backend = ""

    def start(self) -> float | None:
        command = (str(VENV_BIN / "clatnm"), "translate", "--uplink", "up0", "--plat-prefix", str(PREFIX))
        choices = (*self.choices(), "--backend", self.backend)
        self._starter = self.host.popen(
            PYTHON, "-IS", STARTER, self.target, *command, *choices, name=f"translate-{self.label}"
        )
        text = eventually(self._answered, message=f"{self.label}: an answer")
        return readings.first_answer_ms(text)

    def choices(self) -> tuple[str, ...]:
        """Options of the command."""
        return ("--clat-v6-addr", str(CLAT))

    def _answered(self) -> str:
        text = self._starter.log()
        if not self._starter.running:
            raise LabError(f"clatnm translate ended: {text}")
        return text if "answer after" in text and "ready" in text else ""

    def translators(self) -> list[int]:
        (supervisor,) = _children(self._starter.pid)
        (worker,) = _children(supervisor)
        return [worker, supervisor]


class Ebpf(Translated):
    """Hooks in the kernel."""

    name = EBPF
    backend = "ebpf"


class Tun(Translated):
    """User space."""

    name = TUN
    backend = "tun"


class Tayga(Rig):
    """TAYGA between a TUN device and the host's IPv6 forwarding, as clatd sets it up, but for clatd's MTU of 1260."""

    name = TAYGA
    target = str(SERVER)

    def start(self) -> float | None:
        conf = self.session.directory / f"tayga-{self.label}.conf"
        conf.write_text(
            f"tun-device clat\nipv4-addr 192.0.0.2\nprefix {PREFIX}\nmap 192.0.0.1 {CLAT}\n"
            f"data-dir {self.session.directory}\n"
        )
        self.host.run("tayga", "-c", str(conf), "--mktun")
        # proxy_delay: the answer to a neighbour solicitation would else come up to 0.8 s late.
        self.host.sysctl(ipv6__conf__all__forwarding=1, ipv6__conf__up0__proxy_ndp=1, ipv6__neigh__up0__proxy_delay=0)
        self.host.ip("-batch", "-", stdin=f"""\
            link set clat up
            addr add 192.0.0.1/32 dev clat
            route add {CLAT} dev clat
            neigh add proxy {CLAT} dev up0
            route add default dev clat src 192.0.0.1 mtu 1480
            """)  # fmt: skip
        self._tayga = self.host.popen("tayga", "-c", str(conf), "-d", name=f"tayga-{self.label}")
        eventually(self._translates, message=f"{self.label}: TAYGA translates")
        return None

    def _translates(self) -> bool:
        if not self._tayga.running:
            raise LabError(f"tayga ended: {self._tayga.log()}")
        return self.host.run("ping", "-c1", "-W1", self.target, check=False).returncode == 0

    def translators(self) -> list[int]:
        return [self._tayga.pid]


VARIANTS: tuple[type[Rig], ...] = (Rig, NativeAgain, Ebpf, Tun, Tayga)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
