# SPDX-License-Identifier: GPL-2.0-or-later
"""Who may make the daemon do something. The bus and polkit are what the test says; messages are the library's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from clatnm.dbus import names
from clatnm.dbus.authority import DENIED, Authority, Guarded
from clatnm.dbus.bus import Message, MessageFlag, MessageType
from clatnm.errors import BusError
from tests.unit.aio import run_virtual, settle

REPOSITORY = Path(__file__).resolve().parents[3]
ROOT, OURS, OTHER = 0, 990, 1000
ACTION = "org.clatnm1.reload"
NO_POLKIT = BusError("no such service", name="org.freedesktop.DBus.Error.ServiceUnknown")


class FakeBus:
    """Knows who is who, is polkit, and takes what is sent."""

    def __init__(self) -> None:
        self.users: dict[str, int] = {":1.0": ROOT, ":1.1": OURS, ":1.2": OTHER}
        self.polkit: Exception | list[Any] = NO_POLKIT
        self.gate: asyncio.Event | None = None
        """polkit waits for a password until it is set."""
        self.asked: list[tuple[list[Any], float]] = []
        self.sent: list[Any] = []
        self.handler: Callable[[Any], bool] = lambda message: False

    def on_message(self, handler: Callable[[Any], bool]) -> None:
        self.handler = handler

    def send(self, message: Any) -> None:
        self.sent.append(message)

    async def call(self, *, destination: str, member: str, body: Sequence[Any], **more: Any) -> list[Any]:
        if (destination, member) == (names.DBUS, "GetConnectionUnixUser"):
            if body[0] not in self.users:
                raise BusError("no such name", name="org.freedesktop.DBus.Error.NameHasNoOwner")
            return [self.users[body[0]]]
        assert (destination, member) == (names.POLKIT, "CheckAuthorization")
        assert (more["path"], more["interface"]) == (names.POLKIT_PATH, names.POLKIT_AUTHORITY)
        Message(destination=destination, path=more["path"], member=member, signature=more["signature"], body=list(body))
        self.asked.append((list(body), more["timeout_s"]))
        if self.gate is not None:
            await self.gate.wait()
        if isinstance(self.polkit, Exception):
            raise self.polkit
        return [self.polkit]


class Stage:
    """One guarded method; `done` are its calls."""

    def __init__(self) -> None:
        self.bus: Any = FakeBus()
        self.done: list[Sequence[Any]] = []
        self.fault: Exception | None = None
        method = Guarded(member="Reload", takes="s", gives="s", action=ACTION, answer=self._reload)
        Authority(self.bus, path=names.OBJECT_PATH, interface=names.MANAGER_INTERFACE, methods=[method])

    def _reload(self, arguments: Sequence[Any]) -> Sequence[Any]:
        self.done.append(arguments)
        if self.fault is not None:
            raise self.fault
        return ("fine",)

    def take(self, sender: str, **changes: Any) -> bool:
        """A call arrives; whether it is ours."""
        told: dict[str, Any] = {
            "path": names.OBJECT_PATH,
            "interface": names.MANAGER_INTERFACE,
            "member": "Reload",
            "signature": "s",
            "body": ["now"],
            "serial": 7,
            "sender": sender,
            **changes,
        }
        taken = self.bus.handler(Message(**told))
        assert isinstance(taken, bool)
        return taken

    async def call(self, sender: str, **changes: Any) -> Any:
        """The answer: its body, or the name of the error."""
        assert self.take(sender, **changes)
        await settle()
        (reply,) = self.bus.sent
        self.bus.sent.clear()
        assert reply.reply_serial == 7
        assert reply.destination == sender
        return reply.error_name if reply.message_type is MessageType.ERROR else reply.body


def play(scene: Callable[[Stage], Awaitable[None]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: OURS)

    async def work() -> None:
        await scene(Stage())

    run_virtual(work())


@pytest.mark.parametrize("sender", [":1.0", ":1.1"], ids=["root", "the-daemons-own-user"])
def test_root_is_not_asked_about(sender: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        assert await stage.call(sender) == ["fine"]
        assert stage.done == [["now"]]
        assert stage.bus.asked == []

    play(scene, monkeypatch)


REFUSALS = {
    "no-polkit": NO_POLKIT,
    "polkit-does-not-know-the-action": BusError("not registered", name="org.freedesktop.PolicyKit1.Error.Failed"),
    "no": [False, False, {}],
    "only-with-a-password": [False, True, {}],
    "not-a-truth": [1, False, {}],
}


@pytest.mark.parametrize("answer", REFUSALS.values(), ids=REFUSALS)
def test_others_are_denied_and_nothing_is_done(answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.bus.polkit = answer
        assert await stage.call(":1.2") == DENIED
        assert stage.done == []

    play(scene, monkeypatch)


@pytest.mark.parametrize("answer", [[], "yes", None], ids=repr)
def test_polkit_that_talks_nonsense_lets_nobody(answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.bus.polkit = answer
        assert str(await stage.call(":1.2")).startswith("org.freedesktop.DBus.Error.")
        assert stage.done == []

    play(scene, monkeypatch)


def test_whom_polkit_lets_may(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.bus.polkit = [True, False, {}]
        assert await stage.call(":1.2") == ["fine"]
        ((body, timeout_s),) = stage.bus.asked
        assert (body[0][0], body[0][1]["name"].value, *body[1:]) == ("system-bus-name", ":1.2", ACTION, {}, 0, "")
        assert timeout_s <= 5

    play(scene, monkeypatch)


def test_password_is_asked_for_only_if_the_caller_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.bus.polkit = [True, False, {}]
        flag = MessageFlag.ALLOW_INTERACTIVE_AUTHORIZATION
        assert await stage.call(":1.2", flags=flag) == ["fine"]
        ((body, timeout_s),) = stage.bus.asked
        assert body[3] == 1
        assert timeout_s >= 30

    play(scene, monkeypatch)


def test_many_who_are_asked_for_passwords_are_not_in_roots_way(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.bus.gate = asyncio.Event()
        stage.bus.polkit = [True, False, {}]
        for _ in range(50):
            assert stage.take(":1.2")
        await settle()
        assert len(stage.bus.asked) == 2
        assert [reply.error_name for reply in stage.bus.sent] == ["org.freedesktop.DBus.Error.LimitsExceeded"] * 48
        stage.bus.sent.clear()
        assert await stage.call(":1.0") == ["fine"]
        stage.bus.gate.set()
        await settle()
        assert [reply.body for reply in stage.bus.sent] == [["fine"]] * 2
        stage.bus.sent.clear()
        assert await stage.call(":1.2") == ["fine"], "and there is room again"

    play(scene, monkeypatch)


@pytest.mark.parametrize(
    "changes",
    [
        {"path": "/org/clatnm1/connection/1"},
        {"interface": "org.freedesktop.DBus.Peer"},
        {"member": "Status"},
        {"signature": "", "body": []},
        {"message_type": MessageType.SIGNAL},
    ],
    ids=["path", "interface", "member", "signature", "signal"],
)
def test_other_messages_are_left_to_others(changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        assert not stage.take(":1.0", **changes)
        await settle()
        assert (stage.done, stage.bus.sent) == ([], [])

    play(scene, monkeypatch)


def test_caller_who_has_gone_meanwhile_may_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        assert await stage.call(":1.9") == "org.freedesktop.DBus.Error.NameHasNoOwner"
        assert stage.done == []

    play(scene, monkeypatch)


def test_who_wants_no_answer_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        assert stage.take(":1.0", flags=MessageFlag.NO_REPLY_EXPECTED)
        await settle()
        assert (stage.done, stage.bus.sent) == ([["now"]], [])

    play(scene, monkeypatch)


def test_bug_is_an_answer_too_and_tells_no_details(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.fault = ValueError("secret")
        assert stage.take(":1.0")
        await settle()
        (reply,) = stage.bus.sent
        assert reply.message_type is MessageType.ERROR
        assert "secret" not in reply.body[0]

    play(scene, monkeypatch)


def test_actions_are_those_that_polkit_is_told_of() -> None:
    policy = ElementTree.parse(REPOSITORY / "packaging/polkit/org.clatnm1.policy")
    told = {action.get("id"): action for action in policy.iter("action")}
    from clatnm.dbus.service import _guarded

    assert set(told) == {method.action for method in _guarded(None)}  # type: ignore[arg-type]
    for action in told.values():
        defaults = {each.tag: each.text for each in action.find("defaults") or ()}
        assert set(defaults) == {"allow_any", "allow_inactive", "allow_active"}
        assert all((text or "").startswith("auth_admin") for text in defaults.values()), "nobody may without a password"


def test_who_asks_and_asks_has_few_questions_under_way_and_others_have_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.bus.users = {f":1.{number}": OTHER for number in range(200)} | {":2.0": ROOT}
        for _ in range(100):
            assert stage.take(":1.2")
        assert {reply.error_name for reply in stage.bus.sent} == {"org.freedesktop.DBus.Error.LimitsExceeded"}
        assert len(stage.bus.sent) == 92
        stage.bus.sent.clear()
        assert stage.take(":2.0")
        assert stage.bus.sent == []
        for number in range(200):
            assert stage.take(f":1.{number}")
        assert len(stage.bus.sent) >= 200 - 128
        await settle()
        assert stage.done == [["now"]]
        stage.bus.sent.clear()
        assert await stage.call(":2.0") == ["fine"]

    play(scene, monkeypatch)
