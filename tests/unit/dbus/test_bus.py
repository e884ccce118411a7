# SPDX-License-Identifier: GPL-2.0-or-later
"""Calls always end, signals come in order, and the death of the bus is an event. On a real bus, with both libraries."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
from typing import Any

import pytest

from clatnm.dbus import names
from clatnm.errors import AlreadyRunningError, BusError
from tests.unit.aio import run, until
from tests.unit.dbus.rooms import Room
from tests.unit.private_bus import PrivateBus

pytestmark = pytest.mark.usefixtures("private_bus")

PEER = "org.example.Peer"
PATH = "/org/example"


async def answer(room: Room, bus: Any, replies: dict[str, tuple[str, list[Any]]]) -> list[str]:
    """Make the raw connection under `bus` the peer: answers the members in `replies`, keeps silent about others.

    The list returned grows with each call it gets.
    """
    raw = bus._connection
    asked: list[str] = []
    await bus.own_name(PEER)

    def handle(message: Any) -> Any:
        if message.interface != PEER:
            return None
        asked.append(message.member)
        if message.member in replies:
            signature, body = replies[message.member]
            return room.bus.Message.new_method_return(message, signature, body)
        if message.member == "Refuse":
            return room.bus.Message.new_error(message, "org.example.Error.No", "not today")
        if message.member in ("RefuseWithoutWords", "RefuseWithANumber"):
            return room.bus.Message(
                message_type=room.bus.MessageType.ERROR,
                destination=message.sender,
                reply_serial=message.serial,
                error_name="org.example.Error.No",
                signature="u" if message.member.endswith("Number") else "",
                body=[7] if message.member.endswith("Number") else [],
            )
        if message.member == "Echo":
            return room.bus.Message.new_method_return(message, message.signature, message.body)
        return True  # handled, without a reply

    raw.add_message_handler(handle)
    return asked


async def ask(bus: Any, member: str, *, timeout_s: float = 5.0, signature: str = "", body: Any = ()) -> Any:
    return await bus.call(
        destination=PEER,
        path=PATH,
        interface=PEER,
        member=member,
        signature=signature,
        body=body,
        timeout_s=timeout_s,
    )


def hear(bus: Any) -> list[Any]:
    """The peer's signals, as they come (the bus has some of its own to say)."""
    heard: list[Any] = []
    bus.on_signal(lambda signal: heard.append(signal) if signal.interface == PEER else None)
    return heard


async def emit(room: Room, bus: Any, member: str, signature: str = "", body: list[Any] | None = None) -> None:
    """Send a signal and wait until it is on its way."""
    message = room.bus.Message.new_signal(PATH, PEER, member, signature, body or [])
    await bus._connection.send(message)


def test_call_returns_the_body_with_its_variants(room: Room) -> None:
    async def work() -> None:
        peer, bus = await room.bus.Bus.connect(), await room.bus.Bus.connect()
        value = room.bus.Variant("as", ["x", "y"])
        await answer(room, peer, {"Get": ("va{sv}", [value, {"k": room.bus.Variant("u", 7)}]), "Nothing": ("", [])})
        reply = await ask(bus, "Get")
        assert reply[0].value == ["x", "y"]
        assert room.bus.unwrap(reply) == [["x", "y"], {"k": 7}]
        assert await ask(bus, "Nothing") == []
        peer.close()
        bus.close()

    run(work())


def test_refused_call_carries_name_and_text(room: Room) -> None:
    async def work() -> None:
        peer, bus = await room.bus.Bus.connect(), await room.bus.Bus.connect()
        await answer(room, peer, {})
        with pytest.raises(BusError, match=r"^not today$") as caught:
            await ask(bus, "Refuse")
        assert caught.value.name == "org.example.Error.No"
        for member in ("RefuseWithoutWords", "RefuseWithANumber"):
            with pytest.raises(BusError, match=r"^org\.example\.Error\.No$"):
                await ask(bus, member)
        with pytest.raises(BusError) as caught:
            await bus.call(destination="org.example.Nobody", path=PATH, interface=PEER, member="Get")
        assert caught.value.name == "org.freedesktop.DBus.Error.ServiceUnknown"
        peer.close()
        bus.close()

    run(work())


def test_unanswered_call_ends_at_its_timeout_and_the_connection_lives(room: Room) -> None:
    async def work() -> None:
        peer, bus = await room.bus.Bus.connect(), await room.bus.Bus.connect()
        await answer(room, peer, {"Get": ("s", ["here"])})
        with pytest.raises(BusError, match=r"Silence: no answer in 0\.05 s"):
            await ask(bus, "Silence", timeout_s=0.05)
        assert await ask(bus, "Get") == ["here"]
        peer.close()
        bus.close()

    run(work())


def test_many_calls_at_once_are_all_answered(room: Room) -> None:
    async def work() -> None:
        peer, bus = await room.bus.Bus.connect(), await room.bus.Bus.connect()
        await answer(room, peer, {})
        replies = await asyncio.gather(*(ask(bus, "Echo", signature="u", body=[n]) for n in range(200)))
        assert replies == [[n] for n in range(200)]
        peer.close()
        bus.close()

    run(work())


@pytest.mark.parametrize("waiting", [1, 40])
def test_death_of_the_bus_ends_every_waiting_call(room: Room, private_bus: PrivateBus, waiting: int) -> None:
    """40 is more than are on the wire at once: those in the queue must end too."""

    async def work() -> None:
        peer, bus = await room.bus.Bus.connect(), await room.bus.Bus.connect()
        asked = await answer(room, peer, {})
        calls = [asyncio.ensure_future(ask(bus, "Silence", timeout_s=60)) for _ in range(waiting)]
        closed = asyncio.ensure_future(bus.closed())
        await until(lambda: len(asked) == min(waiting, room.bus._CALLS_AT_ONCE))
        private_bus.kill()
        await closed
        for call in calls:
            with pytest.raises(BusError, match=r"Silence: "):
                await call
        with pytest.raises(BusError):
            await ask(bus, "Get", timeout_s=60)
        await bus.closed()  # as often as anybody asks
        bus.close()
        peer.close()

    run(work())


def test_close_ends_waiting_calls_and_is_an_end_like_any_other(room: Room) -> None:
    async def work() -> None:
        bus = await room.bus.Bus.connect()
        peer = await room.bus.Bus.connect()
        asked = await answer(room, peer, {})
        call = asyncio.ensure_future(ask(bus, "Silence", timeout_s=60))
        await until(lambda: asked)
        bus.close()
        with pytest.raises(BusError, match="went away"):
            await call
        await bus.closed()
        bus.close()
        peer.close()

    run(work())


def test_signals_arrive_in_order_and_unwrapped(room: Room) -> None:
    async def work() -> None:
        peer, bus = await room.bus.Bus.connect(), await room.bus.Bus.connect()
        heard = hear(bus)
        await bus.add_match(f"type='signal',interface='{PEER}'")
        for n in range(300):
            await emit(room, peer, "Tick", "uv", [n, room.bus.Variant("s", str(n))])
            if n % 30 == 0:  # a sender that never listens fills its buffer, which ends its connection
                await peer.add_match("type='error'")
        await until(lambda: len(heard) >= 300)
        assert [signal.body for signal in heard] == [(n, str(n)) for n in range(300)]
        first = heard[0]
        assert (first.path, first.interface, first.member) == (PATH, PEER, "Tick")
        assert first.sender == peer._connection.unique_name
        peer.close()
        bus.close()

    run(work())


ODD_BODIES: dict[str, tuple[str, list[Any], tuple[Any, ...]]] = {
    "empty": ("", [], ()),
    "struct": ("(sb)", [["x", True]], (["x", True],)),
    "bytes": ("ay", [b"\x00\xff"], (b"\x00\xff",)),
    "empty-dict": ("a{sv}", [{}], ({},)),
    "deep": ("aa{sas}", [[{"k": ["v"]}]], ([{"k": ["v"]}],)),
    "largest": ("t", [2**64 - 1], (2**64 - 1,)),
    "unicode": ("s", ["\N{SNOWMAN}\n\x1b"], ("\N{SNOWMAN}\n\x1b",)),
}


@pytest.mark.parametrize(("signature", "body", "told"), ODD_BODIES.values(), ids=ODD_BODIES)
def test_odd_signal_bodies_are_delivered(room: Room, signature: str, body: list[Any], told: tuple[Any, ...]) -> None:
    async def work() -> None:
        peer, bus = await room.bus.Bus.connect(), await room.bus.Bus.connect()
        heard = hear(bus)
        await bus.add_match(f"type='signal',interface='{PEER}'")
        await emit(room, peer, "Odd", signature, body)
        await until(lambda: heard)
        assert heard[0].body == told
        peer.close()
        bus.close()

    run(work())


def test_nested_variants_are_unwrapped_at_any_depth(room: Room) -> None:
    variant = room.bus.Variant
    nested = variant(
        "v", variant("a{sv}", {"k": variant("av", [variant("u", 1), variant("(sv)", ["x", variant("b", True)])])})
    )
    assert room.bus.unwrap(nested) == {"k": [1, ["x", True]]}
    assert room.bus.unwrap("plain") == "plain"


def test_handler_that_fails_ends_nothing_and_makes_no_noise(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        peer, bus = await room.bus.Bus.connect(), await room.bus.Bus.connect()
        heard: list[str] = []

        def fail(signal: Any) -> None:
            raise IndexError("an odd body")

        bus.on_signal(fail)
        bus.on_signal(lambda signal: heard.append(signal.member) if signal.interface == PEER else None)
        await bus.add_match(f"type='signal',interface='{PEER}'")
        await emit(room, peer, "One")
        await emit(room, peer, "Two")
        await until(lambda: len(heard) == 2)
        assert await bus.call(destination=names.DBUS, path=names.DBUS_PATH, interface=names.DBUS, member="GetId")
        peer.close()
        bus.close()

    with caplog.at_level(logging.INFO):
        run(work())
    assert not caplog.records


def test_signal_addressed_to_us_is_not_believed(room: Room) -> None:
    """It passes by the match rules, and so by the bus's check of who may speak for whom."""

    async def work() -> None:
        peer, bus = await room.bus.Bus.connect(), await room.bus.Bus.connect()
        heard = hear(bus)
        await bus.add_match(f"type='signal',interface='{PEER}'")
        forged = room.bus.Message.new_signal(PATH, PEER, "Forged")
        forged.destination = bus._connection.unique_name
        await peer._connection.send(forged)
        await emit(room, peer, "Said")
        await until(lambda: bool(heard))
        assert [signal.member for signal in heard] == ["Said"]
        peer.close()
        bus.close()

    run(work())


def test_name_that_is_taken_is_refused_with_a_hint(room: Room) -> None:
    async def work() -> None:
        one, other = await room.bus.Bus.connect(), await room.bus.Bus.connect()
        await one.own_name(names.BUS_NAME)
        await one.own_name(names.BUS_NAME)  # ours already
        with pytest.raises(AlreadyRunningError, match=r"another clatnm daemon has .*org\.clatnm1 \(systemctl"):
            await other.own_name(names.BUS_NAME)
        one.close()
        await one.closed()
        other.close()

    run(work())


def test_illegal_name_is_refused_as_a_bus_error(room: Room) -> None:
    async def work() -> None:
        bus = await room.bus.Bus.connect()
        with pytest.raises(BusError):
            await bus.own_name("org.freedesktop.DBus")
        bus.close()

    run(work())


def test_no_bus_at_the_address_is_a_bus_error(room: Room, private_bus: PrivateBus) -> None:
    private_bus.kill()
    with pytest.raises(BusError, match=r"cannot connect .*dbus-daemon or dbus-broker"):
        run(room.bus.Bus.connect())


def test_call_that_finds_the_bus_dead_says_so_and_nothing_else(
    room: Room, private_bus: PrivateBus, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        bus = await room.bus.Bus.connect()
        private_bus.freeze()  # else its answer to the end could be read before anything is written
        bus._connection._sock.shutdown(socket.SHUT_WR)
        # The other library has closed the socket by then, and what it says differs between its versions.
        with pytest.raises(BusError, match="Broken pipe" if room.library == "dbus_next" else None):
            await bus.call(destination=PEER, path=PATH, interface=PEER, member="Echo")
        await bus.closed()
        del bus
        gc.collect()

    with caplog.at_level(logging.INFO):
        run(work())
    gc.collect()
    assert not caplog.records


def test_other_errors_are_told_as_ever(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        bus = await room.bus.Bus.connect()
        asyncio.get_running_loop().create_future().set_exception(ValueError("a bug"))
        gc.collect()
        bus.close()

    run(work())
    assert "a bug" in caplog.text


@pytest.mark.parametrize("address", ["nonsense", "unix:", "tcp:host=,port=1", "unix:path=/nonexistent/bus"])
def test_bad_address_is_a_bus_error(room: Room, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
    with pytest.raises(BusError, match="cannot connect"):
        run(room.bus.Bus.connect())
