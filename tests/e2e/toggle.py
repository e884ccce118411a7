# SPDX-License-Identifier: GPL-2.0-or-later
"""Changing a connection's mode in every way there is, and seeing where it is kept and who hears of it."""

from __future__ import annotations

import json
from typing import Any

from tests.lab.host import Host
from tests.lab.namespace import PYTHON
from tests.lab.poll import eventually
from tests.lab.process import Service

OPTIONS = "ipv6.dns-options"
NM = "org.freedesktop.NetworkManager"

# Stands in for systemd-resolved: takes every call, and prints what it was told.
_RESOLVED = """
import asyncio
from dbus_next import BusType, Message, MessageType
from dbus_next.aio import MessageBus

def answer(message):
    if message.message_type is MessageType.METHOD_CALL and message.path.startswith("/org/freedesktop/resolve1"):
        print(message.member, message.body, flush=True)
        return Message.new_method_return(message)

async def main():
    bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
    bus.add_message_handler(answer)
    await bus.request_name("org.freedesktop.resolve1")
    print("ready", flush=True)
    await bus.wait_for_disconnect()

asyncio.run(main())
"""


def token(host: Host, number: object, name: str = "netA") -> None:
    """`nmcli connection modify NAME +ipv6.dns-options clatnm:NUMBER`"""
    host.nmcli("connection", "modify", name, f"+{OPTIONS}", f"clatnm:{number}")


def keyfile(host: Host, name: str = "netA") -> list[str]:
    """The lines of a stored profile."""
    path = host.system_path(f"/etc/NetworkManager/system-connections/{name}.nmconnection")
    return path.read_text().splitlines()


def native(host: Host) -> bool:
    """Whether profiles can have `ipv4.clat`."""
    version = host.nmcli("-g", "VERSION", "general").stdout.strip()
    return tuple(map(int, version.split(".")[:3])) >= (1, 57, 2)


def places(host: Host, name: str = "netA") -> list[str]:
    """The lines of a stored profile that say a mode: `clatnm.mode=no`, `dns-options=clatnm:1;`, `clat=2`."""
    return [line for line in keyfile(host, name) if "clatnm" in line or line.startswith("clat=")]


def facts(host: Host, interface: str = "up0") -> list[tuple[str, str, str]]:
    """What `clatnm explain` knows about the mode: (what, value, source)."""
    told: Any = json.loads(host.clatnm("explain", "--json", interface).stdout)
    evidence = (told[0] if isinstance(told, list) else told)["evidence"]
    return [(row["what"], row["value"], row["source"]) for row in evidence if row["what"].startswith("mode")]


def told_to_everybody(host: Host) -> str:
    """All that NetworkManager's objects say on the bus, DNS options among it; profiles are not among these."""
    call = ("gdbus", "call", "--system", "--dest", NM, "--object-path", "/org/freedesktop")
    text = host.run(*call, "--method", "org.freedesktop.DBus.ObjectManager.GetManagedObjects").stdout
    assert "'DnsOptions'" in text
    return text


def resolved(host: Host) -> Service:
    """Start what stands in for systemd-resolved; its log has all that it is told."""
    service = host.popen(PYTHON, "-c", _RESOLVED, name="resolved")
    eventually(lambda: "ready" in service.log(), message="the stand-in for systemd-resolved has its name")
    return service
