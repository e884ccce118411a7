# SPDX-License-Identifier: GPL-2.0-or-later
"""What the end-to-end tests ask of the daemon and of IPv4."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.daemon import Daemon
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.namespace import Namespace
from tests.lab.poll import eventually

INET = "198.51.100.10"
MIB = 1 << 20

_UDP_ECHO = """
import os, socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(3)
for size in map(int, sys.argv[2:]):
    sent = os.urandom(size)
    sock.sendto(sent, (sys.argv[1], 9999))
    assert sock.recv(65535) == sent, size
print("echoed")
"""

_DOWNLOAD = """
import hashlib, sys, urllib.request
with urllib.request.urlopen(f"http://{sys.argv[1]}/bytes/{sys.argv[2]}", timeout=20) as answer:
    body = answer.read()
assert len(body) == int(sys.argv[2]), len(body)
assert hashlib.sha256(body).hexdigest() == answer.headers["X-Sha256"], "the content differs"
print("same")
"""

_UPLOAD = """
import os, sys, urllib.request, hashlib
body = os.urandom(int(sys.argv[2]))
request = urllib.request.Request(f"http://{sys.argv[1]}/hash", data=body, method="PUT")
with urllib.request.urlopen(request, timeout=20) as answer:
    told = answer.read().decode().strip()
assert told == hashlib.sha256(body).hexdigest(), "the content differs"
print("same")
"""


def connection(daemon: Daemon, interface: str = "up0") -> dict[str, Any]:
    """What `status --json` says of one interface; an AssertionError when it is not listed."""
    told = {item["interface"]: item for item in daemon.status()["connections"]}
    assert interface in told, f"{interface} is not among {sorted(told)}"
    found: dict[str, Any] = told[interface]
    return found


def wait_on(daemon: Daemon, interface: str = "up0", *, timeout_s: float = 10.0) -> dict[str, Any]:
    """Wait until the connection has a running CLAT; what status says of it then."""

    def check() -> dict[str, Any] | None:
        told = connection(daemon, interface)
        assert told["state"] == "on", (told["state"], told["reason"], told["evidence"], told["error"])
        return told

    return eventually(check, timeout_s=timeout_s, message=f"CLAT on {interface}") or {}


def wait_off(daemon: Daemon, reason: str, interface: str = "up0", *, timeout_s: float = 10.0) -> dict[str, Any]:
    """Wait until the connection has no CLAT, for this very reason.

    Where native IPv4 or another translator is the reason, one may still drain: see `wait_no_device`.
    """
    states = ("off", "draining") if reason in ("native-ipv4", "other-translator") else ("off",)

    def check() -> dict[str, Any] | None:
        told = connection(daemon, interface)
        seen = (told["state"], told["reason"], told["evidence"])
        assert told["reason"] == reason and told["state"] in states, seen
        return told

    return eventually(check, timeout_s=timeout_s, message=f"no CLAT on {interface}: {reason}") or {}


def wait_no_device(host: Host, interface: str = "up0", *, timeout_s: float = 20.0) -> None:
    """Wait until the translator's device is gone; one that drains stays for 10 s at least."""
    eventually(
        lambda: f"clat-{interface}" not in devices(host), timeout_s=timeout_s, message=f"clat-{interface} is gone"
    )


def devices(host: Namespace) -> set[str]:
    """Names of the network devices."""
    return {link["ifname"] for link in host.ip_json("link")}


def ping(host: Host, address: str = INET, *options: str) -> None:
    """Ping once; CommandError when there is no answer."""
    host.run("ping", "-c", "1", "-W", "3", *options, address)


def answers(host: Host, address: str = INET) -> bool:
    """Whether an IPv4 literal answers a ping now."""
    return host.run("ping", "-c", "1", "-W", "1", address, check=False).returncode == 0


def udp_echo(host: Host, *sizes: int, address: str = INET) -> None:
    """Send datagrams of these sizes and get the same back."""
    assert host.python(_UDP_ECHO, address, *map(str, sizes)) == "echoed\n"


def download(host: Host, size: int, address: str = INET) -> None:
    """Fetch `size` bytes over TCP and check their hash."""
    assert host.python(_DOWNLOAD, address, str(size), timeout_s=60) == "same\n"


def upload(host: Host, size: int, address: str = INET) -> None:
    """Send `size` random bytes over TCP; the other side tells their hash."""
    assert host.python(_UPLOAD, address, str(size), timeout_s=60) == "same\n"


@dataclass(frozen=True)
class Joined:
    """A lab whose host has joined network A, and the daemon that watches it."""

    lab: Lab
    host: Host
    daemon: Daemon


def join(lab: Lab, *, ipv4: str = "disabled", wait: bool = True) -> Joined:
    """Start the daemon, join A with the profile `netA` on up0, and wait for the CLAT."""
    host = lab.host
    host.dad(False)
    daemon = host.daemon("-v")
    eventually(daemon.status, message="the daemon answers")
    host.add_profile("netA", "up0", ipv4_method=ipv4)
    host.up("netA")
    if wait:
        wait_on(daemon)
    return Joined(lab, host, daemon)


def renumber(lab: Lab, old_valid_s: int) -> None:
    """Network A gets another /64, 2001:db8:a:1::; the old one is deprecated, and valid for so long."""
    lab.a.ip("addr", "replace", "2001:db8:a:1::1/64", "dev", "lan", "nodad")
    lab.inet.ip("route", "replace", "2001:db8:a:1::/64", "via", "2001:db8:100::1")
    lab.a.ra(prefixes=[["2001:db8:a::/64", old_valid_s, 0], ["2001:db8:a:1::/64", 3600, 1800]])


def has_moved(daemon: Daemon) -> bool:
    """After `renumber`: the CLAT is on, in the new prefix."""
    told = connection(daemon)
    return bool(told["state"] == "on" and told["translator"]["clat_v6"].startswith("2001:db8:a:1:"))


def translators(host: Namespace) -> list[int]:
    """Pids of the translator processes: of those that have a device."""
    return [pid for pid in _workers(host) if _has_device(pid)]


def spares(host: Namespace) -> list[int]:
    """Pids of the processes that wait to become a translator."""
    return [pid for pid in _workers(host) if not _has_device(pid)]


def translator(host: Namespace) -> int:
    """Pid of the only translator process; AssertionError while there is none or more."""
    pids = translators(host)
    assert len(pids) == 1, pids
    return pids[0]


def _workers(host: Namespace) -> list[int]:
    return [pid for pid in host.processes() if b"clatnm.worker" in _command(pid)]


def _has_device(pid: int) -> bool:
    try:
        return any(os.readlink(link).endswith("/net/tun") for link in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:  # it has just ended
        return False


def _command(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:  # it has just ended
        return []


def descriptors(pid: int) -> int:
    """How many descriptors a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def calm(daemon: Daemon, *, for_s: float = 1.0) -> None:
    """Wait until it has done what is to be done once there is a CLAT: nothing more is said or opened for that long."""
    seen: tuple[str, int] | None = None
    since = time.monotonic()

    def nothing_new() -> bool:
        nonlocal seen, since
        now = daemon.log(), descriptors(daemon.pid)
        if now != seen:
            seen, since = now, time.monotonic()
        return time.monotonic() - since >= for_s

    eventually(nothing_new, timeout_s=20.0, message="the daemon has nothing more to do")
