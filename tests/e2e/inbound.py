# SPDX-License-Identifier: GPL-2.0-or-later
"""Somebody from the IPv4 Internet who connects to the host by its CLAT address, through a NAT64 that lets them in."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.poll import eventually

PORT = 8888
FROM = "198.51.100.99"
WELL_KNOWN = "64:ff9b::"
_SERVER = """
import socket, sys
server = socket.create_server(("0.0.0.0", int(sys.argv[1])))
print("listens", flush=True)
while True:
    connection, caller = server.accept()
    connection.sendall(caller[0].encode())
    connection.close()
"""
_CALL = """
import socket, sys
with socket.socket(socket.AF_INET6) as caller:
    caller.settimeout(float(sys.argv[4]))
    caller.bind((sys.argv[1], 0))
    try:
        caller.connect((sys.argv[2], int(sys.argv[3])))
        print(caller.recv(100).decode())
    except OSError as error:
        print(f"no: {error}")
"""


@contextmanager
def service(host: Host) -> Iterator[None]:
    """A service on the host that knows only IPv4; it tells each caller their address."""
    server = host.popen(sys.executable, "-c", _SERVER, str(PORT), name="service")
    eventually(lambda: "listens" in server.log(), message="the service listens")
    try:
        yield
    finally:
        server.kill()


@contextmanager
def caller(lab: Lab, prefix: str = WELL_KNOWN) -> Iterator[None]:
    """Somebody behind A's NAT64 with this prefix."""
    lab.a.ip("addr", "add", f"{prefix}{FROM}/128", "dev", "lo")
    try:
        yield
    finally:
        lab.a.ip("addr", "del", f"{prefix}{FROM}/128", "dev", "lo")


def call(lab: Lab, clat_v6: str, *, prefix: str = WELL_KNOWN, timeout_s: float = 2.0) -> bool:
    """Whether the service answers them, by IPv4."""
    said = lab.a.python(_CALL, f"{prefix}{FROM}", clat_v6, str(PORT), str(timeout_s)).strip()
    return said == FROM
