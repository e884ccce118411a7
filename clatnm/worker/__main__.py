# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -I -m clatnm.worker --control-fd N`: the translator process.

It gives up all privileges, is handed open descriptors over its control socket, and moves packets until it is told to
stop, its supervisor is gone and no successor comes, or a device is gone. Its end removes the TUN device, which nobody
else holds. It may have been started long before it is needed: all that takes time is done by the time it waits for the
descriptors.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from types import FrameType

from clatnm.errors import ClatnmError, ConfigError
from clatnm.worker import privileges, wire
from clatnm.worker.loop import Worker

_USAGE_STATUS = 2


def main(arguments: list[str]) -> int:
    """Exit status: 0 after stop, SIGTERM, SIGINT or the supervisor's end; 1 after an error told to the supervisor."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    if len(arguments) != 2 or arguments[0] != "--control-fd" or not arguments[1].isdecimal():
        print("usage: python -I -m clatnm.worker --control-fd N", file=sys.stderr)
        return _USAGE_STATUS
    try:
        control = socket.socket(fileno=int(arguments[1]))
    except OSError as error:
        print(f"--control-fd {arguments[1]}: {error.strerror}", file=sys.stderr)
        return _USAGE_STATUS
    worker: Worker | None = None
    try:
        privileges.drop()
        privileges.confine()
        worker = _start(control)
        if worker is not None:
            worker.run()
    except ClatnmError as error:
        _tell(worker.control if worker else control, error.what, error.hint)
        return 1
    except Exception as error:
        what = f"translator failed: {type(error).__name__}: {error}"
        _tell(worker.control if worker else control, what, "this is a bug in clatnm")
        raise
    return 0


def _start(control: socket.socket) -> Worker | None:
    """The worker that the first message asks for; None when it is not to be."""
    data, descriptors, complete = wire.receive(control)
    if not data:
        return None
    op, fields = wire.decode(data)
    if op == "stop":
        return None
    if op != "start":
        raise ConfigError(f"control message: {op!r} before start")
    config = wire.read_config(fields, descriptors)
    if len(descriptors) < 2 + config.relayed or not complete:
        raise ConfigError("start came without the descriptors of TUN and uplink")
    tun_fd, uplink_fd, *held = descriptors
    relay = socket.socket(fileno=held.pop()) if config.relayed else None
    return Worker(control, config, tun_fd=tun_fd, uplink=socket.socket(fileno=uplink_fd), relay=relay, held=held)


def _tell(control: socket.socket | None, what: str, hint: str) -> None:
    try:
        if control is not None:
            control.send(wire.encode("error", what=what, hint=hint), socket.MSG_DONTWAIT)
            return
    except OSError:
        pass
    print(what, file=sys.stderr)  # nobody is left to tell


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(0)  # nothing to tidy: the kernel closes the descriptors, and the device goes with them


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
