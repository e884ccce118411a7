# SPDX-License-Identifier: GPL-2.0-or-later
"""org.clatnm1 as other programs see it: the commands of org.clatnm1(5), and what is heard while things happen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from clatnm.dbus import names
from clatnm.dbus.bus import Bus, Signal, unwrap
from clatnm.dbus.properties import values
from tests import documented
from tests.e2e import clat
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.poll import eventually

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "packaging/man/org.clatnm1.5").read_text(encoding="utf-8")
CONNECTION = names.CONNECTION_INTERFACE
FIRST = f"{names.CONNECTION_PATH}/1"
ADVERTS = 5


def commands() -> list[str]:
    """Those of the page's examples, as a shell gets them."""
    examples = PAGE.partition(".Sh EXAMPLES")[2].partition(".Sh ")[0]
    return list(documented.of_man_page(examples))


class Listener:
    """Somebody on the host's bus who hears all that the daemon says."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._heard: list[Signal] = []
        bus.on_signal(self._heard.append)

    async def heard(self) -> list[tuple[str, dict[str, Any]]]:
        """Object and properties of each PropertiesChanged of a connection since the last time."""
        await self._bus.drain()
        heard, self._heard[:] = list(self._heard), []
        return [
            (each.path, each.body[1])
            for each in heard
            if each.member == "PropertiesChanged" and each.body[0] == CONNECTION
        ]

    async def decisions(self) -> list[str]:
        await self._bus.drain()
        return [str(each.body[0]) for each in self._heard if each.member == "Decision"]

    async def get(self, path: str) -> dict[str, Any]:
        """All properties of a connection's object."""
        (found,) = await self._bus.call(
            destination=names.BUS_NAME,
            path=path,
            interface=names.PROPERTIES,
            member="GetAll",
            signature="s",
            body=[CONNECTION],
        )
        return dict(unwrap(found))

    async def objects(self) -> dict[str, dict[str, Any]]:
        """The properties of every connection, by path."""
        (found,) = await self._bus.call(
            destination=names.BUS_NAME,
            path=names.OBJECT_PATH,
            interface=names.OBJECT_MANAGER,
            member="GetManagedObjects",
        )
        return {path: interfaces[CONNECTION] for path, interfaces in unwrap(found).items()}


def joined_and_told(lab: Lab) -> clat.Joined:
    """A CLAT is on, and the bus, which hears of it a moment later, knows."""
    joined = clat.join(lab)
    state = ("busctl", "get-property", names.BUS_NAME, FIRST, CONNECTION, "State")
    eventually(lambda: '"on"' in joined.host.run(*state).stdout, message="the bus has heard of it")
    return joined


def listening(host: Host, monkeypatch: pytest.MonkeyPatch, scene: Callable[[Listener], Awaitable[None]]) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", host.bus_address)

    async def work() -> None:
        bus = await Bus.connect()
        try:
            listener = Listener(bus)
            await bus.follow(names.BUS_NAME)
            await scene(listener)
        finally:
            bus.close()

    asyncio.run(work())


def test_commands_of_the_man_page_work(clean_lab: Lab) -> None:
    host = joined_and_told(clean_lab).host
    told = {line: host.run("sh", "-c", line.replace("eth0", "up0")) for line in commands() if " monitor " not in line}
    assert len(told) >= 9
    assert {program for line in told for program in line.split()[:1]} == {"busctl", "gdbus"}
    said = {line: result.stdout for line, result in told.items()}
    assert all(said[line] for line in said if "Poke" not in line)
    (tree,) = (text for line, text in said.items() if line.startswith("busctl tree"))
    assert FIRST in tree
    (state,) = (text for line, text in said.items() if "get-property" in line)
    assert state == 's "on"\ns ""\n'
    (why,) = (text for line, text in said.items() if line.endswith("Connection Explain"))
    assert json.loads(json.loads(why.partition(" ")[2]))["interface"] == "up0"
    (managed,) = (text for line, text in said.items() if "GetManagedObjects" in line)
    assert '"64:ff9b::/96"' in managed and '"clat-up0"' in managed


def test_monitor_command_of_the_man_page_hears_what_happens(clean_lab: Lab) -> None:
    host = joined_and_told(clean_lab).host
    (command,) = (line for line in commands() if " monitor " in line)
    service = host.popen("sh", "-c", f"exec {command}", name="gdbus-monitor")
    eventually(lambda: "owned by" in service.log(), message="it listens")
    host.clatnm("set", "netA", "no")
    for text in (f"{FIRST}: {names.PROPERTIES}.PropertiesChanged", "'opted-out'", "org.clatnm1.Manager.Decision"):
        eventually(lambda text=text: text in service.log(), message=text)


def test_properties_follow_what_happens(clean_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    joined = joined_and_told(clean_lab)
    host, daemon = joined.host, joined.daemon

    async def scene(listener: Listener) -> None:
        assert await listener.get(FIRST) == values(clat.connection(daemon))
        host.clatnm("set", "netA", "no")
        clat.wait_off(daemon, "opted-out")
        clat.wait_no_device(host)
        assert any("ret=opted-out" in text for text in await listener.decisions())
        merged: dict[str, Any] = {}
        for path, changed in await listener.heard():
            assert path == FIRST
            assert changed, "nothing changed"
            merged.update(changed)
        after = await listener.get(FIRST)
        assert (after["State"], after["Reason"], after["Mode"], after["Device"]) == ("off", "opted-out", "no", "")
        assert merged == {name: after[name] for name in merged}
        assert "Interface" not in merged
        host.clatnm("set", "netA", "auto")
        clat.wait_on(daemon)
        assert await listener.get(FIRST) == values(clat.connection(daemon))

    listening(host, monkeypatch, scene)


def test_nothing_is_said_while_nothing_changes(clean_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packets are counted, and the router repeats itself, which makes the prefix valid for longer."""
    # What the check finds out is a change.
    clean_lab.host.path("/etc/clatnm/clatnm.conf").write_text("[clatnm]\nplat-check = no\n")
    joined = joined_and_told(clean_lab)

    async def scene(listener: Listener) -> None:
        lifetimes = set()
        await listener.heard()
        for seconds in range(ADVERTS):
            clean_lab.a.ra(pref64=[["64:ff9b::/96", 1000 + 8 * seconds]])
            eventually(lambda s=seconds: _left(joined) > 990 + 8 * s, message="the advertisement is heard")
            clat.ping(joined.host)
            lifetimes.add(_left(joined))
        assert len(lifetimes) > 1
        assert await listener.heard() == []

    listening(joined.host, monkeypatch, scene)


def _left(joined: clat.Joined) -> int:
    return int(clat.connection(joined.daemon)["prefix"]["lifetime_s"])


def test_objects_come_and_go_with_connections_and_files(clean_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    joined = joined_and_told(clean_lab)
    host = joined.host

    async def scene(listener: Listener) -> None:
        host.path("/etc/clatnm/static.d").mkdir(exist_ok=True)
        text = "[clatnm]\nuplink = up0\nprefix = 64:ff9b::/96\nroutes = 198.51.100.0/24\naddresses = 192.0.2.1\n"
        host.path("/etc/clatnm/static.d/web.conf").write_text(f"{text}[eam]\n192.0.2.1 = 2001:db8:a::c000:201\n")
        host.run("busctl", "call", names.BUS_NAME, names.OBJECT_PATH, names.MANAGER_INTERFACE, "Reload")
        eventually(lambda: joined.daemon.status()["static"][0]["state"] == "on", timeout_s=20, message="web runs")
        objects = await listener.objects()
        (static,) = (each for each in objects.values() if each["Static"])
        assert (static["Name"], static["Mode"], static["Mappings"]) == ("web", "", 1)
        assert (static["Addresses"], static["Routes"]) == (["192.0.2.1"], ["198.51.100.0/24"])
        assert objects[FIRST]["Name"] == "netA"
        host.down("netA")
        eventually(lambda: joined.daemon.status()["connections"] == [], message="netA has gone")
        assert [each["Name"] for each in (await listener.objects()).values()] == ["web"]

    listening(host, monkeypatch, scene)


def test_asking_starts_no_daemon(clean_lab: Lab) -> None:
    daemon = joined_and_told(clean_lab).daemon
    assert daemon.stop() == 0
    told = clean_lab.host.run(
        *("busctl", "call", names.BUS_NAME, names.OBJECT_PATH, names.MANAGER_INTERFACE, "Status"), check=False
    )
    assert told.returncode == 1
    assert "not provided by any .service files" in told.stderr
    assert not daemon.running
