# SPDX-License-Identifier: GPL-2.0-or-later
"""Events for the lab a shell lives in: the command `lab` there, and the thread here that obeys it.

lab plug up0 b          move the cable; `lab plug up0 none`: pull it; `lab plug up0 b silent`: no carrier change
lab ra a pref64=[]      change an advertisement and send it; values are JSON
lab dhcp4 a on|off|108  lab dhcp6 a on|off|stateless  lab dns a dns64|plain|off  lab nat64 a on|off
lab nm start|stop       lab bus start|stop
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import socket
import socketserver
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from tests.lab.lab import Lab
from tests.lab.poll import CommandError
from tests.lab.router import Dhcp4Mode, Dhcp6Mode, DnsMode, Router
from tests.lab.topology import UPLINKS

ENVIRONMENT = "CLATNM_LAB_CONTROL"


class UsageError(ValueError):
    """A command nobody understands; the text says which."""


def obey(lab: Lab, argv: list[str]) -> None:
    """Carry out one command line. UsageError when there is no such thing."""
    match argv:
        case ["plug", uplink, network, *rest] if uplink in UPLINKS and network in ("a", "b", "c", "none"):
            lab.host.plug(uplink, None if network == "none" else network, silent=rest == ["silent"])
        case ["ra", name, *changes]:
            _router(lab, name).ra(**dict(_assignment(change) for change in changes))
        case ["dhcp4", name, mode] if mode in get_args(Dhcp4Mode):
            _router(lab, name).dhcp4(mode)  # type: ignore[arg-type]
        case ["dhcp6", name, mode] if mode in get_args(Dhcp6Mode):
            _router(lab, name).dhcp6(mode)  # type: ignore[arg-type]
        case ["dns", name, mode] if mode in get_args(DnsMode):
            _router(lab, name).dns(mode)  # type: ignore[arg-type]
        case ["nat64", name, ("on" | "off") as mode]:
            _router(lab, name).nat64(mode == "on")
        case ["nm", ("start" | "stop") as verb]:
            lab.host.nm_start() if verb == "start" else lab.host.nm_stop()
        case ["bus", ("start" | "stop") as verb]:
            lab.host.bus_start() if verb == "start" else lab.host.bus_stop()
        case _:
            raise UsageError(f"what is `lab {shlex.join(argv)}`?\n{__doc__}")


def _router(lab: Lab, name: str) -> Router:
    for router in lab.routers:
        if router.network.letter == name:
            return router
    raise UsageError(f"no router {name!r}: a, b, c")


def _assignment(text: str) -> tuple[str, Any]:
    key, _, value = text.partition("=")
    try:
        return key, json.loads(value)
    except ValueError:
        raise UsageError(f"{text!r} is not KEY=JSON") from None


@contextlib.contextmanager
def controlled(lab: Lab) -> Iterator[Path]:
    """Obey commands sent to the socket whose path this yields."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            try:
                obey(lab, json.loads(self.rfile.readline()))
            except (UsageError, CommandError, TypeError) as error:
                self.wfile.write(f"{error}\n".encode())

    path = lab.directory / "control"
    with socketserver.ThreadingUnixStreamServer(str(path), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield path
        server.shutdown()


def tell(argv: list[str]) -> int:
    """The command `lab` itself: send, show the complaint if there is one."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(os.environ[ENVIRONMENT])
        client.sendall(json.dumps(argv).encode() + b"\n")
        complaint = client.makefile().read()
    sys.stderr.write(complaint)
    return 1 if complaint else 0
