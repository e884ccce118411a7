# SPDX-License-Identifier: GPL-2.0-or-later
"""dbus-next's connection, patient with whoever floods it. Anybody may send us messages, on a system bus too.

As it is, the library reads for as long as there is something to be read, so that one program which calls without a
pause keeps everything else from being done; and it makes objects of every value in a message of 32 MiB, which takes
half a minute. dbus-fast reads a piece at a time and is quicker; this is for the other one, of which there will be no
new release.
"""

from __future__ import annotations

import logging
from typing import Any

try:
    from dbus_next._private.unmarshaller import Unmarshaller
    from dbus_next.aio import MessageBus
    from dbus_next.signature import SignatureTree
except (ImportError, AttributeError):  # `bus` takes the other library then, and nothing from here
    Unmarshaller = MessageBus = object

log = logging.getLogger(__name__)

AT_ONCE = 16
"""Messages before others have a turn; fewer, if they take longer than this."""
_TURN_S = 0.01
MAX_CALL_BYTES = 1 << 16
"""A call's arguments. None of ours takes more than a name."""

# D-Bus Specification, Message Format
_CALL, _SIGNAL = 1, 4
_FIELDS, _DESTINATION = "a(yv)", 6
_FIXED_BYTES, _KIND_AT, _BODY_AT, _FIELDS_AT = 16, 1, 4, 12


class _Reader(Unmarshaller):  # type: ignore[misc]
    """Reads one message. Of what nobody here wants to hear, `message` is None at the end, and `passed` is set."""

    def __init__(self, stream: Any, sock: Any) -> None:
        super().__init__(stream, sock)
        self.passed = False

    def _unmarshall(self) -> None:
        self._skim()
        if self.passed:
            return
        try:
            super()._unmarshall()
        except Exception as error:  # it is whole, and the bus took it: only the library cannot read it
            log.debug("a message is passed over: %r", error)
            self.passed = True

    def _skim(self) -> None:
        """Wait for the whole message, and judge it by its head."""
        self.offset = 0
        self.read(_FIXED_BYTES, prefetch=True)
        self.endian = self.buf[0]
        kind = self.buf[_KIND_AT]
        self.offset = _BODY_AT
        body_bytes = self.read_uint32()
        self.offset = _FIELDS_AT
        fields_bytes = self.read_uint32()
        self.read(fields_bytes + self._padding(fields_bytes, 8) + body_bytes, prefetch=True)
        if kind == _CALL:
            self.passed = body_bytes > MAX_CALL_BYTES
        elif kind == _SIGNAL:
            # One that is addressed to us is by nobody whom we follow, see `Bus._dispatch`.
            self.offset = _FIELDS_AT
            told = {number for number, _ in self.read_argument(SignatureTree._get(_FIELDS).types[0])}
            self.passed = _DESTINATION in told


class PatientBus(MessageBus):  # type: ignore[misc]
    """`dbus_next.aio.MessageBus`, with bounds to what others can have it do at a time."""

    _unmarshaller: Any
    _comes_back = False

    def _create_unmarshaller(self) -> _Reader:
        return _Reader(self._stream, self._sock if self._negotiate_unix_fd else None)

    def _message_reader(self) -> None:
        """What is called when there is something to read."""
        if not self._comes_back:
            self._read_some()

    def _read_some(self) -> None:
        self._comes_back = False
        end = self._loop.time() + _TURN_S
        try:
            for _ in range(AT_ONCE):
                if self._disconnected:
                    return
                reader = self._unmarshaller
                message = reader.unmarshall()
                if message is None and not reader.passed:
                    return  # the rest of it is to come
                self._unmarshaller = self._create_unmarshaller()
                if message is not None:
                    self._on_message(message)
                if self._loop.time() > end:
                    break
        except Exception as error:  # as in the library: the connection is at its end
            self._finalize(error)
            return
        # The next ones may be in the library's buffer, of which the loop knows nothing.
        self._comes_back = True
        self._loop.call_soon(self._read_some)
