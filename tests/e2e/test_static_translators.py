# SPDX-License-Identifier: GPL-2.0-or-later
"""Static translators of the daemon, on an interface that no network manager has."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import clat, flows
from tests.lab.daemon import Daemon
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.poll import eventually

PREFIX = "64:ff9b::/96"
HEAD = f"[clatnm]\nuplink = up0\nprefix = {PREFIX}\n"
LINK_LOCAL, ADDRESS, GATEWAY, ROUTER = "fe80::5", "2001:db8:a::5", "fe80::1", "2001:db8:a::1"
TO_INET = "routes = 198.51.100.0/24\n"
SERVICE = "addresses = 192.0.2.1\n[eam]\n192.0.2.1 = 2001:db8:a::c000:201\n"
CHECKED = 2
"""Exit status for a configuration that makes no sense."""


@pytest.fixture
def server(clean_lab: Lab) -> Host:
    """A host without NetworkManager: somebody has given up0 its address and its route by hand."""
    host = clean_lab.host
    host.nm_stop()
    host.dad(False)
    host.sysctl(ipv6__conf__up0__accept_ra=0)
    host.ip("link", "set", "up0", "up")
    # NetworkManager has told the kernel to make no link-local address, without which it asks no neighbour.
    for address in (LINK_LOCAL, ADDRESS):
        host.ip("-6", "addr", "add", f"{address}/64", "dev", "up0", "nodad")
    lead_out(host)
    host.path("/etc/clatnm/static.d").mkdir()
    return host


def lead_out(host: Host) -> None:
    eventually(
        lambda: (host.ip("-6", "route", "replace", "default", "via", GATEWAY, "dev", "up0"), True),
        message="a default route",
    )


def write(host: Host, name: str, text: str) -> None:
    host.path(f"/etc/clatnm/static.d/{name}.conf").write_text(HEAD + text)


def static(daemon: Daemon, name: str) -> dict[str, Any]:
    """What `status --json` says of one; an AssertionError when it is not listed."""
    told = {item["name"]: item for item in daemon.status()["static"]}
    assert name in told, sorted(told)
    found: dict[str, Any] = told[name]
    return found


def wait_on(daemon: Daemon, name: str) -> dict[str, Any]:
    """Wait until it runs; what status says of its translator then."""

    def check() -> dict[str, Any]:
        told = static(daemon, name)
        assert told["state"] == "on", (told["state"], told["evidence"], told["error"])
        return told

    found: dict[str, Any] = (eventually(check, timeout_s=20, message=f"{name} runs") or {})["translator"]
    return found


def started(host: Host, *names: str) -> Daemon:
    daemon = host.daemon("-v")
    for name in names:
        wait_on(daemon, name)
    return daemon


def reload(daemon: Daemon, *, said: str = "configuration read again") -> None:
    """SIGHUP, and wait for what the daemon says to it."""
    before = daemon.log().count(said)
    daemon.signal(signal.SIGHUP)
    eventually(lambda: daemon.log().count(said) > before, message=f"the daemon says: {said}")


def wait_mapped(daemon: Daemon, name: str, count: int) -> None:
    """Wait until it runs with so many mappings."""

    def check() -> bool:
        found = wait_on(daemon, name)["relay"]["mappings"]
        assert found == count, found
        return True

    eventually(check, timeout_s=30, message=f"{name} has {count} mappings")


def huge(path: Path) -> None:
    """A file of nothing that is longer than any memory."""
    with path.open("wb") as file:
        file.truncate(1 << 40)


def worker_of(host: Host, device: str) -> int:
    """The process that holds a device."""

    def holds(pid: int) -> bool:
        infos = (path.read_text() for path in Path(f"/proc/{pid}/fdinfo").iterdir())
        return any(f"iff:\t{device}\n" in info for info in infos)

    (pid,) = (pid for pid in clat.translators(host) if holds(pid))
    return pid


@contextmanager
def as_before(host: Host) -> Iterator[None]:
    before = host.snapshot()
    yield

    def same() -> bool:
        difference = before.diff(host.snapshot())
        assert not difference, difference
        return True

    eventually(same, message="the host as before")


def test_static_clat_lives_with_its_uplink_and_its_file(server: Host) -> None:
    write(server, "uplink", "clat-v4-addr = 192.0.0.1\nclat-v6-addr = 2001:db8:a::c1a7\nmetric = 2048\n")
    with as_before(server):
        daemon = started(server, "uplink")
        told = wait_on(daemon, "uplink")
        assert (told["clat_v4"], told["clat_v6"], told["metric"]) == ("192.0.0.1", "2001:db8:a::c1a7", 2048)
        assert told["device"] == "clat-s-uplink"
        assert daemon.status()["connections"] == []
        clat.ping(server)
        clat.download(server, clat.MIB)

        # What dies comes back.
        first = clat.translator(server)
        os.kill(first, signal.SIGKILL)
        eventually(lambda: clat.translator(server) != first, message="another process")
        wait_on(daemon, "uplink")
        eventually(lambda: clat.answers(server), message="IPv4 is back")

        # The uplink's MTU is followed, and its IPv6.
        second = clat.translator(server)
        server.ip("link", "set", "up0", "mtu", "1400")
        eventually(lambda: wait_on(daemon, "uplink")["ipv4_mtu_bytes"] == 1372, message="the smaller MTU")
        assert clat.translator(server) == second
        server.ip("link", "set", "up0", "mtu", "1500")
        server.ip("-6", "route", "del", "default")
        eventually(lambda: static(daemon, "uplink")["state"] == "off", message="it stops without IPv6")
        assert static(daemon, "uplink")["reason"] == "no-ipv6"
        lead_out(server)
        wait_on(daemon, "uplink")

        # Without its file there is none.
        server.path("/etc/clatnm/static.d/uplink.conf").unlink()
        reload(daemon)
        clat.wait_no_device(server, "s-uplink")
        assert daemon.status()["static"] == []
        assert "static.d/uplink: translator down, the file is gone" in daemon.log()
        assert daemon.stop() == 0


def test_relays_are_changed_one_by_one_by_a_reload(server: Host) -> None:
    write(server, "a", TO_INET + SERVICE)
    write(server, "b", "routes = 203.0.113.0/24\n[eam]\n192.0.2.9 = 2001:db8:a::c000:209\n")
    daemon = started(server, "a", "b")
    assert wait_on(daemon, "a")["relay"] == {
        "mappings": 1,
        "addresses": ["192.0.2.1"],
        "routes": ["198.51.100.0/24"],
    }
    assert server.ip_json("-4", "route", "show", "default") == []
    pids = {name: worker_of(server, f"clat-s-{name}") for name in "ab"}
    with flows.download(server, clat.INET) as flow:
        assert flow.source == "192.0.2.1"
        flow.further()
        # b is another translator; a goes on.
        write(server, "b", "routes = 198.18.0.0/15\n[eam]\n192.0.2.9 = 2001:db8:a::c000:209\n")
        reload(daemon)
        eventually(lambda: wait_on(daemon, "b")["relay"]["routes"] == ["198.18.0.0/15"], message="b is another")
        flow.further()
        # One more mapping of a is no reason to start it anew.
        write(server, "a", TO_INET + SERVICE + "192.0.2.2 = 2001:db8:a::c000:202\n")
        reload(daemon)
        eventually(lambda: wait_on(daemon, "a")["relay"]["mappings"] == 2, message="a knows one more")
        flow.further()
        # Nothing of a faulty file counts, nor of the others.
        write(server, "a", TO_INET)
        write(server, "b", "metric = high\n")
        reload(daemon, said="keeping the last good configuration")
        assert "/etc/clatnm/static.d/a.conf:4: which IPv6 address stands for which IPv4 one?" in daemon.log()
        assert wait_on(daemon, "a")["relay"]["mappings"] == 2
        flow.further()
        flow.end()
    assert worker_of(server, "clat-s-a") == pids["a"]
    assert worker_of(server, "clat-s-b") != pids["b"]


def test_ten_thousand_mappings_come_and_go_under_a_connection(server: Host) -> None:
    def mapped(count: int) -> str:
        lines = (f"10.0.{n >> 8}.{n & 255} = 2001:db8:77::{n:x}\n" for n in range(count))
        return f"{TO_INET}{SERVICE}{''.join(lines)}"

    write(server, "a", mapped(1))
    with as_before(server):
        daemon = started(server, "a")
        pid = worker_of(server, "clat-s-a")
        with flows.download(server, clat.INET) as flow:
            flow.further()
            for count in (10_000, 0, 9_999):
                write(server, "a", mapped(count))
                reload(daemon)
                wait_mapped(daemon, "a", count + 1)
                flow.further()
            flow.end()
        assert worker_of(server, "clat-s-a") == pid
        assert daemon.stop() == 0


def test_file_that_is_something_else_now_changes_nothing(server: Host) -> None:
    write(server, "a", TO_INET + SERVICE)
    path = server.path("/etc/clatnm/static.d/a.conf")
    daemon = started(server, "a")
    pid, good = worker_of(server, "clat-s-a"), path.read_text()
    others: dict[str, Callable[[], object]] = {
        "a.conf: not a regular file": lambda: os.mkfifo(path),
        "a.conf: Too many levels of symbolic links": lambda: path.symlink_to(path.name),
        "a.conf:1: not UTF-8 text": lambda: path.write_bytes(bytes(range(128, 256))),
        "a.conf: longer than 16 MiB": lambda: huge(path),
        "is no mapping": lambda: path.write_text(good + "x" * 1_000_000),
    }
    for said, make in others.items():
        path.unlink()
        make()
        reload(daemon, said=said)
    refused = [line for line in daemon.log().splitlines() if "keeping the last good configuration" in line]
    assert len(refused) == len(others)
    assert max(map(len, refused)) < 400
    path.unlink()
    path.write_text(good)
    reload(daemon)
    clat.ping(server)
    assert worker_of(server, "clat-s-a") == pid


def test_address_of_the_router_is_not_taken(server: Host) -> None:
    server.ip("-6", "route", "replace", "default", "via", ROUTER, "dev", "up0")
    write(server, "a", f"{TO_INET}[eam]\n192.0.2.9 = {ROUTER}\n")
    daemon = started(server)
    eventually(lambda: static(daemon, "a")["reason"] == "no-clat-address", message="it does not begin")
    assert f"this host or its router has {ROUTER}" in server.clatnm("status").stdout
    lead_out(server)
    wait_on(daemon, "a")


def test_status_explain_and_plan_call_it_by_its_name(server: Host) -> None:
    write(server, "web", TO_INET + SERVICE)
    daemon = started(server, "web")
    text = server.clatnm("status").stdout
    assert text.startswith("static.d/web on up0: translator on\n")
    assert "  relay     1 mapping, addresses 192.0.2.1, routes 198.51.100.0/24\n" in text
    for name in ("web", "static.d/web"):
        assert server.clatnm("explain", name).stdout.startswith("static.d/web on up0 runs: its file wants it")
    server.ip("link", "set", "up0", "down")
    eventually(lambda: static(daemon, "web")["state"] == "off", message="it stops without a carrier")
    (told,) = json.loads(server.clatnm("explain", "--json", "web").stdout)
    assert (told["reason"], told["questions"][0]["answer"]) == ("no-ipv6", "no")
    plan = json.loads(server.clatnm("plan", "--json", check=False).stdout)
    assert [(each["name"], each["reason"]) for each in plan["static"]] == [("web", "no-ipv6")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("mood = good\n", ":4: unknown key 'mood'", id="unknown-key"),
        pytest.param("uplink = up1\n", ":4: 'uplink' is set twice", id="twice"),
        pytest.param("[eam]\n192.0.2.1 = 64:ff9b::1\n", ":5: 64:ff9b::1/128 and the translation", id="eam-in-prefix"),
    ],
)
def test_mistake_at_start_is_one_line_and_status_2(server: Host, text: str, said: str) -> None:
    write(server, "web", text)
    result = server.clatnm("daemon", check=False)
    assert (result.returncode, result.stdout) == (CHECKED, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: /etc/clatnm/static.d/web.conf{said}")
    assert line.endswith(")")


def test_uplink_that_is_not_there_is_waited_for(server: Host) -> None:
    path = server.path("/etc/clatnm/static.d/late.conf")
    path.write_text(HEAD.replace("up0", "late0"))
    daemon = started(server)
    eventually(lambda: static(daemon, "late")["evidence"]["uplink"] == "late0/missing", message="it waits")
    assert daemon.log().count("/etc/clatnm/static.d/late.conf:2: there is no interface 'late0' (") == 1
    server.ip("link", "set", "up0", "down")
    server.ip("link", "set", "up0", "name", "late0")
    try:
        server.ip("link", "set", "late0", "up")
        for address in (LINK_LOCAL, ADDRESS):
            server.ip("-6", "addr", "replace", f"{address}/64", "dev", "late0", "nodad")
        server.ip("-6", "route", "replace", "default", "via", GATEWAY, "dev", "late0")
        wait_on(daemon, "late")
        clat.ping(server)
    finally:
        server.ip("link", "set", "late0", "down")
        server.ip("link", "set", "late0", "name", "up0")


def test_needs_no_bus(server: Host) -> None:
    server.bus_stop()
    write(server, "web", TO_INET + SERVICE)
    daemon = server.daemon("-v")
    eventually(lambda: clat.answers(server), timeout_s=20, message="IPv4 through it")
    server.path("/etc/clatnm/static.d/web.conf").unlink()
    daemon.signal(signal.SIGHUP)
    clat.wait_no_device(server, "s-web")
    assert daemon.stop() == 0


def test_stands_beside_the_clat_of_a_connection(clean_lab: Lab) -> None:
    clean_lab.host.path("/etc/clatnm/static.d").mkdir()
    write(clean_lab.host, "up0", TO_INET + SERVICE)
    joined = clat.join(clean_lab)
    host, daemon = joined.host, joined.daemon
    wait_on(daemon, "up0")
    assert {"clat-up0", "clat-s-up0"} <= clat.devices(host)
    assert "dev clat-up0" in host.ip("-4", "route", "get", "203.0.113.7")
    assert flows.source_of_new(host, clat.INET) == "192.0.2.1"
    clat.ping(host, clat.INET, "-I", "clat-up0")
    host.clatnm("set", "netA", "no")
    clat.wait_off(daemon, "opted-out")
    clat.wait_no_device(host)
    assert static(daemon, "up0")["state"] == "on"
    clat.ping(host)
