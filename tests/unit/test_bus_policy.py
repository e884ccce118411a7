# SPDX-License-Identifier: GPL-2.0-or-later
"""The bus policy that is shipped, under a real dbus-daemon: who may ask and do what."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from clatnm.dbus import names, service
from clatnm.dbus.bus import Bus
from tests.unit.programs import need

REPOSITORY = Path(__file__).resolve().parents[2]
NOBODY = 65534

# As restrictive as the system bus of a distribution: what is not allowed is denied.
BUS_CONFIG = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={directory}/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
  </policy>
  <include>{policy}</include>
</busconfig>
"""
MANAGER, PROPERTIES = names.MANAGER_INTERFACE, names.PROPERTIES


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a system bus with our policy; DBUS_SYSTEM_BUS_ADDRESS is set to it."""
    daemon = need("dbus-daemon", "dbus-daemon")
    # Not pytest's own directory, which nobody but its user may enter.
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        policy = shutil.copy(REPOSITORY / "packaging/dbus/org.clatnm1.conf", directory)
        (directory / "bus.conf").write_text(BUS_CONFIG.format(directory=directory, policy=policy))
        process = subprocess.Popen(
            [daemon, f"--config-file={directory}/bus.conf", "--nofork", "--nopidfile", "--print-address"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip()
            monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
            yield address
        finally:
            process.terminate()
            process.wait()
            process.stdout.close()


async def call_as(user: int, address: str, member: str, *arguments: str, to: str = names.BUS_NAME) -> str:
    """Empty when the call succeeds, else the D-Bus error as dbus-send prints it."""
    path = names.OBJECT_PATH if to == names.BUS_NAME else names.DBUS_PATH
    process = await asyncio.create_subprocess_exec(
        need("dbus-send", "dbus-bin"),
        f"--bus={address}",
        "--print-reply",
        "--reply-timeout=5000",
        f"--dest={to}",
        path,
        member,
        *arguments,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        user=user,
        group=user,
        extra_groups=[],
    )
    _, stderr = await process.communicate()
    return "" if process.returncode == 0 else stderr.decode()


async def answers_of_our_object(user: int, address: str) -> tuple[dict[str, str], list[str]]:
    """Offer our object as root; the outcome of every kind of call as `user`, and what Poke was told."""
    poked: list[str] = []

    class Daemon:
        async def status(self) -> str:
            return "{}"

        def explain(self, connection: str) -> str:
            return "[]"

        def world(self) -> str:
            return "{}"

        def poke(self, why: str) -> None:
            poked.append(why)

        def reload(self) -> str:
            poked.append("reload")
            return ""

    connection = await Bus.connect()
    try:
        await service.offer(connection, Daemon())
        answers = {
            "status": await call_as(user, address, f"{MANAGER}.Status"),
            "explain": await call_as(user, address, f"{MANAGER}.Explain", "string:wlan0"),
            "world": await call_as(user, address, f"{MANAGER}.World"),
            "version": await call_as(user, address, f"{PROPERTIES}.Get", f"string:{MANAGER}", "string:Version"),
            "introspect": await call_as(user, address, "org.freedesktop.DBus.Introspectable.Introspect"),
            "ping": await call_as(user, address, "org.freedesktop.DBus.Peer.Ping"),
            "reload": await call_as(user, address, f"{MANAGER}.Reload"),
            "poke": await call_as(user, address, f"{MANAGER}.Poke", "string:why"),
        }
    finally:
        connection.close()
    return answers, poked


@pytest.mark.root
def test_bus_policy_lets_everybody_look_but_not_poke(bus: str) -> None:
    answers, poked = asyncio.run(answers_of_our_object(NOBODY, bus))
    assert "AccessDenied" in answers.pop("poke")
    assert "AccessDenied" in answers.pop("reload")
    assert set(answers.values()) == {""}
    assert poked == []


@pytest.mark.root
def test_bus_policy_lets_root_poke(bus: str) -> None:
    answers, poked = asyncio.run(answers_of_our_object(0, bus))
    assert set(answers.values()) == {""}
    assert poked == ["reload", "why"]


@pytest.mark.root
def test_bus_policy_keeps_our_name_for_root(bus: str) -> None:
    take = ("org.freedesktop.DBus.RequestName", f"string:{names.BUS_NAME}", "uint32:0")
    assert "AccessDenied" in asyncio.run(call_as(NOBODY, bus, *take, to=names.DBUS))
    assert asyncio.run(call_as(0, bus, *take, to=names.DBUS)) == ""
