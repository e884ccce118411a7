# SPDX-License-Identifier: GPL-2.0-or-later
"""The bus policy that is shipped, under a real dbus-daemon: who may ask and do what."""

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

try:
    from dbus_next import BusType
    from dbus_next.aio import MessageBus
except (ImportError, AttributeError):  # missing, or too old for this Python
    from dbus_fast import BusType
    from dbus_fast.aio import MessageBus

from clatnm import status
from clatnm.dbus import names, service
from clatnm.dbus.bus import Bus, library_service
from clatnm.policy.plan import decide
from tests.unit.aio import until
from tests.unit.policy.worlds import NOW, a_world
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
  <policy user="root">
    <allow own="{polkit}"/>
    <allow send_destination="{polkit}"/>
  </policy>
  <include>{policy}</include>
</busconfig>
"""
MANAGER, CONNECTION, PROPERTIES = names.MANAGER_INTERFACE, names.CONNECTION_INTERFACE, names.PROPERTIES
FIRST = f"{names.CONNECTION_PATH}/1"


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a system bus with our policy; DBUS_SYSTEM_BUS_ADDRESS is set to it."""
    daemon = need("dbus-daemon", "dbus-daemon")
    # Not pytest's own directory, which nobody but its user may enter.
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        policy = shutil.copy(REPOSITORY / "packaging/dbus/org.clatnm1.conf", directory)
        (directory / "bus.conf").write_text(BUS_CONFIG.format(directory=directory, policy=policy, polkit=names.POLKIT))
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


async def call_as(
    user: int, address: str, member: str, *arguments: str, to: str = names.BUS_NAME, path: str = ""
) -> str:
    """Empty when the call succeeds, else the D-Bus error as dbus-send prints it."""
    path = path or (names.OBJECT_PATH if to == names.BUS_NAME else names.DBUS_PATH)
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
            return '[{"interface": "wlan0"}]'

        def world(self) -> str:
            return "{}"

        def poke(self, why: str) -> None:
            poked.append(why)

        def reload(self) -> str:
            poked.append("reload")
            return ""

        def connections(self) -> list[dict[str, Any]]:
            (verdict,) = decide(a_world(), NOW)
            return [status.connection(verdict, None, None, counters={}, now=NOW)]

    connection = await Bus.connect()
    try:
        await service.offer(connection, Daemon())
        answers = {
            "status": await call_as(user, address, f"{MANAGER}.Status"),
            "explain": await call_as(user, address, f"{MANAGER}.Explain", "string:wlan0"),
            "world": await call_as(user, address, f"{MANAGER}.World"),
            "version": await call_as(user, address, f"{PROPERTIES}.Get", f"string:{MANAGER}", "string:Version"),
            "introspect": await call_as(user, address, "org.freedesktop.DBus.Introspectable.Introspect"),
            "objects": await call_as(user, address, f"{names.OBJECT_MANAGER}.GetManagedObjects"),
            "properties": await call_as(user, address, f"{PROPERTIES}.GetAll", f"string:{CONNECTION}", path=FIRST),
            "why": await call_as(user, address, f"{CONNECTION}.Explain", path=FIRST),
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


class Polkit(library_service.ServiceInterface):  # type: ignore[misc]
    """As much of polkit as is asked; `allowed` are the actions that it lets anybody do."""

    def __init__(self, *allowed: str) -> None:
        super().__init__(names.POLKIT_AUTHORITY)
        self._allowed = allowed
        self.asked: list[tuple[str, str]] = []

    @library_service.method()  # type: ignore[untyped-decorator]
    def CheckAuthorization(  # type: ignore[no-untyped-def]  # noqa: N802
        self,
        subject: "(sa{sv})",  # type: ignore[syntax]  # noqa: F722
        action: "s",  # type: ignore[name-defined]  # noqa: F821
        details: "a{ss}",  # type: ignore[syntax]  # noqa: F722
        flags: "u",  # type: ignore[name-defined]  # noqa: F821
        cancellation: "s",  # type: ignore[name-defined]  # noqa: F821
    ) -> "(bba{ss})":  # type: ignore[syntax]  # noqa: F722
        self.asked.append((subject[0], action))
        return [action in self._allowed, False, {}]


@pytest.mark.root
def test_polkit_may_let_others_do_one_thing_and_not_another(bus: str) -> None:
    async def work() -> tuple[dict[str, str], list[str], list[tuple[str, str]]]:
        connection, polkit = await Bus.connect(), Polkit("org.clatnm1.reload")
        try:
            connection.export(names.POLKIT_PATH, polkit)
            await connection.own_name(names.POLKIT)
            answers, poked = await answers_of_our_object(NOBODY, bus)
        finally:
            connection.close()
        return answers, poked, polkit.asked

    answers, poked, asked = asyncio.run(work())
    assert "AccessDenied" in answers.pop("poke")
    assert set(answers.values()) == {""}
    assert poked == ["reload"]
    assert asked == [("system-bus-name", "org.clatnm1.reload"), ("system-bus-name", "org.clatnm1.poke")]


@pytest.mark.root
@pytest.mark.parametrize("to", [names.BUS_NAME, "its unique name"])
def test_bus_policy_lets_nobody_send_us_signals(bus: str, to: str) -> None:
    async def work() -> list[str]:
        heard: list[str] = []
        connection = await MessageBus(bus_type=BusType.SYSTEM).connect()
        connection.add_message_handler(lambda message: heard.append(message.member))
        await connection.request_name(names.BUS_NAME)
        address = to if to == names.BUS_NAME else connection.unique_name
        for user, member in ((NOBODY, "FromNobody"), (0, "FromRoot")):
            signal = [need("dbus-send", "dbus-bin"), f"--bus={bus}", "--type=signal", f"--dest={address}", "/x"]
            process = await asyncio.create_subprocess_exec(
                *signal, f"org.clatnm1.Manager.{member}", user=user, group=user, extra_groups=[]
            )
            assert await process.wait() == 0
        await until(lambda: "FromRoot" in heard)
        connection.disconnect()
        return heard

    assert "FromNobody" not in asyncio.run(work())


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
