# SPDX-License-Identifier: GPL-2.0-or-later
"""One connection to a bus: calls that always end, signals in order, death as an event."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from clatnm.dbus import names
from clatnm.dbus.library import (
    BusType,
    LibraryError,
    Message,
    MessageBus,
    MessageFlag,
    MessageType,
    RequestNameReply,
    Variant,
    library_service,
)
from clatnm.errors import AlreadyRunningError, BusError
from clatnm.waiting import wait_for

__all__ = [
    "Bus",
    "LibraryError",
    "Message",
    "MessageFlag",
    "MessageType",
    "Signal",
    "Variant",
    "library_service",
    "unwrap",
]

log = logging.getLogger(__name__)

_T = TypeVar("_T")
# Both libraries end the connection when their send buffer is full, so only a few calls are under way at once.
_CALLS_AT_ONCE = 16
_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """A signal with its body as plain Python values (variants unwrapped)."""

    sender: str
    path: str
    interface: str
    member: str
    body: tuple[Any, ...]


def unwrap(value: Any) -> Any:
    """The value without its D-Bus variants, at any depth."""
    if isinstance(value, Variant):
        return unwrap(value.value)
    if isinstance(value, dict):
        return {key: unwrap(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [unwrap(item) for item in value]
    return value


def _hush(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """For the log: not what the libraries have noted in futures of theirs when a connection ended. We know that."""
    if isinstance(context.get("exception"), (OSError, EOFError)) and "never retrieved" in context["message"]:
        log.debug("%s: %r", context["message"], context["exception"])
    else:
        loop.default_exception_handler(context)


class _Connection(MessageBus):
    """The library's connection, by which it answers calls too: nobody looks at what came of each answer."""

    _ended = False

    def disconnect(self) -> None:
        self._ended = True
        super().disconnect()

    def send(self, message: Any) -> Any:
        # After the end dbus-fast would fail, or write to whatever has the descriptor's number by then.
        with contextlib.suppress(OSError):
            if not self._ended:
                sent = super().send(message)
                sent.add_done_callback(_heed)
                return sent
        sent = asyncio.get_running_loop().create_future()
        sent.set_result(None)
        return sent


def _heed(sent: asyncio.Future[None]) -> None:
    """Take note of an error: who has to know of it waits for `Bus.closed`, or for an answer."""
    if not sent.cancelled():
        sent.exception()


class Bus:
    """A live connection. It is never reused: after `closed()` returns, make a new one."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._limit = asyncio.Semaphore(_CALLS_AT_ONCE)
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._handlers: list[Callable[[Signal], None]] = []
        self._watcher = asyncio.ensure_future(self._watch())
        connection.add_message_handler(self._dispatch)

    @classmethod
    async def connect(cls, *, descriptors: bool = False) -> Bus:
        """Connect to the system bus (`DBUS_SYSTEM_BUS_ADDRESS` is honoured). BusError when there is none.

        `descriptors`: messages may carry some.
        """
        return await cls._reach(
            "system bus",
            "is dbus-daemon or dbus-broker running?",
            bus_type=BusType.SYSTEM,
            negotiate_unix_fd=descriptors,
        )

    @classmethod
    async def connect_session(cls) -> Bus:
        """Connect to the bus of the user's session: `DBUS_SESSION_BUS_ADDRESS`, else where systemd has it. BusError."""
        hint = "is this run in a session of the user's?"
        address = os.environ.get("DBUS_SESSION_BUS_ADDRESS", "")
        if not address:
            # The libraries would look for what X11 tells of it, and fail in many ways.
            socket = Path(os.environ.get("XDG_RUNTIME_DIR", "")) / "bus"
            if not socket.is_absolute() or not socket.exists():
                raise BusError("there is no session bus", hint=hint)
            address = f"unix:path={quote(str(socket))}"
        return await cls._reach("session bus", hint, bus_address=address)

    @classmethod
    async def _reach(cls, what: str, hint: str, **options: Any) -> Bus:
        """Connect as `options` say to the library. BusError."""
        connection: Any = None
        loop = asyncio.get_running_loop()
        if loop.get_exception_handler() is None:
            loop.set_exception_handler(_hush)
        try:
            connection = _Connection(**options)
            await wait_for(connection.connect(), _TIMEOUT_S)
        except Exception as error:  # the libraries raise OSError, EOFError, AuthError, ValueError, …
            if connection is not None and isinstance(error, asyncio.TimeoutError):
                connection.disconnect()  # dbus-next would keep the socket, and the loop its reader, for ever
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or "no answer"
            raise BusError(f"cannot connect to the {what}: {why}", hint=hint) from error
        return cls(connection)

    async def _watch(self) -> None:
        try:
            await self._connection.wait_for_disconnect()
        except Exception as error:
            log.debug("the bus went away: %r", error)
        if not self._gone.done():
            self._gone.set_result(None)

    async def closed(self) -> None:
        """Return when the connection is dead, whoever ended it."""
        await asyncio.shield(self._gone)

    def close(self) -> None:
        """End the connection; waiting calls fail with BusError."""
        if not self._gone.done():
            self._connection.disconnect()
            self._gone.set_result(None)
        self._watcher.cancel()

    async def _race(self, work: Awaitable[_T], what: str, timeout_s: float) -> _T:
        """Await `work`, but no longer than the timeout or the connection lasts."""
        task = asyncio.ensure_future(work)
        try:
            either: set[asyncio.Future[Any]] = {task, self._gone}
            await asyncio.wait(either, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
        finally:
            task.cancel()
        raise BusError(f"{what}: {'the bus went away' if self._gone.done() else f'no answer in {timeout_s:g} s'}")

    async def call(
        self,
        *,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: Sequence[Any] = (),
        timeout_s: float = _TIMEOUT_S,
    ) -> list[Any]:
        """Call a method and return its body with variants kept; BusError when it fails, hangs or the bus dies."""
        message = Message(
            destination=destination,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=list(body),
        )
        return list((await self._answer(message, timeout_s)).body)

    async def call_for_descriptor(
        self, *, destination: str, path: str, interface: str, member: str, signature: str, body: Sequence[Any]
    ) -> int:
        """Call a method that returns one descriptor, which is the caller's to close. BusError as with `call`."""
        message = Message(
            destination=destination,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=list(body),
        )
        reply = await self._answer(message, _TIMEOUT_S)
        descriptors: list[int] = reply.unix_fds
        if reply.signature != "h" or len(descriptors) != 1:
            for descriptor in descriptors:
                os.close(descriptor)
            raise BusError(f"{interface}.{member}: the answer is no descriptor")
        os.set_inheritable(descriptors[0], False)
        return descriptors[0]

    async def _answer(self, message: Any, timeout_s: float) -> Any:
        what = f"{message.interface}.{message.member}"
        async with self._limit:
            if self._gone.done():
                raise BusError(f"{what}: the bus went away")
            try:
                reply = await self._race(self._connection.call(message), what, timeout_s)
            except (OSError, EOFError) as error:
                raise BusError(f"{what}: {error}") from error
        if reply.message_type is MessageType.ERROR:
            text = reply.body[0] if reply.body and isinstance(reply.body[0], str) else reply.error_name
            raise BusError(text, name=str(reply.error_name))
        return reply

    async def add_match(self, rule: str) -> None:
        """Ask the bus for the signals that match `rule`."""
        await self.call(
            destination=names.DBUS,
            path=names.DBUS_PATH,
            interface=names.DBUS,
            member="AddMatch",
            signature="s",
            body=[rule],
        )

    async def follow(self, name: str) -> str:
        """Ask for all signals of whoever has the well-known `name`, and to be told when that is another one.

        Its unique name now, empty while nobody has it; nobody is started for it. BusError when the bus dies.
        """
        await self.add_match(
            f"type='signal',sender='{names.DBUS}',interface='{names.DBUS}',member='NameOwnerChanged',arg0='{name}'"
        )
        await self.add_match(f"type='signal',sender='{name}'")
        try:
            reply = await self.call(
                destination=names.DBUS,
                path=names.DBUS_PATH,
                interface=names.DBUS,
                member="GetNameOwner",
                signature="s",
                body=[name],
            )
        except BusError as error:
            if error.name:  # the bus answers that there is none
                return ""
            raise
        return str(reply[0])

    def on_signal(self, handler: Callable[[Signal], None]) -> None:
        """Call `handler` with every broadcast signal that arrives, in order. Its exceptions end nothing."""
        self._handlers.append(handler)

    def _dispatch(self, message: Any) -> None:
        # A broadcast comes here only by a match rule, whose sender the bus has checked. A signal addressed to us passes
        # by all rules, so anybody could speak for NetworkManager or logind with one.
        if message.message_type is not MessageType.SIGNAL or message.destination:
            return
        signal = Signal(
            sender=message.sender or "",
            path=message.path or "",
            interface=message.interface or "",
            member=message.member or "",
            body=tuple(unwrap(item) for item in message.body),
        )
        for handler in self._handlers:
            try:
                handler(signal)
            except Exception as error:  # a peer's odd signal must not reach the library, which would print a traceback
                log.debug("signal %s.%s ignored: %r", signal.interface, signal.member, error)

    async def own_name(self, name: str) -> None:
        """Take the well-known `name`. AlreadyRunningError: another process has it. BusError: the policy refuses."""
        try:
            reply = await self._race(self._connection.request_name(name), f"RequestName {name}", _TIMEOUT_S)
        except BusError:
            raise
        except Exception as error:  # each library has its own DBusError
            raise BusError(f"cannot take the bus name {name}: {error}") from error
        if reply not in (RequestNameReply.PRIMARY_OWNER, RequestNameReply.ALREADY_OWNER):
            raise AlreadyRunningError(f"another clatnm daemon has the bus name {name}", hint="systemctl status clatnm")

    def export(self, path: str, interface: Any) -> None:
        """Offer a `library_service.ServiceInterface` at `path`."""
        self._connection.export(path, interface)

    def unexport(self, path: str) -> None:
        """Offer nothing at `path` any more."""
        self._connection.unexport(path)

    def emit(self, *, path: str, interface: str, member: str, signature: str, body: Sequence[Any]) -> None:
        """Send a signal to whoever listens; its variants are `Variant`s. On a dead bus nothing happens."""
        self.send(
            Message.new_signal(path=path, interface=interface, member=member, signature=signature, body=list(body))
        )

    def send(self, message: Any) -> None:
        """Send a `Message` that nobody answers. On a dead bus nothing happens."""
        if not self._gone.done():
            self._connection.send(message)

    def on_message(self, handler: Callable[[Any], bool]) -> None:
        """Show every `Message` to `handler` before anything else is done about it; True: that is all there is to do."""
        self._connection.add_message_handler(handler)

    async def drain(self) -> None:
        """Return when the bus has taken all that was sent before. BusError when it dies."""
        await self.call(destination=names.DBUS, path=names.DBUS_PATH, interface=names.DBUS, member="GetId")
