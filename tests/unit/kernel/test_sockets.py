# SPDX-License-Identifier: GPL-2.0-or-later
"""Sockets that use an address, counted in a namespace that has them, and in tables as proc(5) gives them."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from clatnm.errors import HostError
from clatnm.kernel import sockets
from clatnm.kernel.sockets import users
from tests.unit.kernel.namespace import in_new_netns, ip

OURS, OTHER, NATIVE = IPv4Address("192.0.0.4"), IPv4Address("192.0.0.1"), IPv4Address("192.168.2.7")
PEER = "198.51.100.1"


@contextlib.contextmanager
def a_socket(
    kind: socket.SocketKind, source: str, peer: tuple[str, int] | None, *, family: socket.AddressFamily = socket.AF_INET
) -> Iterator[socket.socket]:
    """Bound to an address, connected if there is a peer."""
    with socket.socket(family, kind) as sock:
        sock.bind((source, 0))
        if peer is not None:
            sock.connect(peer)
        yield sock


@pytest.mark.root
def test_users_are_connections_and_connected_datagram_sockets() -> None:
    def work() -> dict[IPv4Address, int]:
        ip(*(f"addr add {address}/32 dev lo" for address in (OURS, OTHER, NATIVE, PEER)))
        tcp, udp, ipv6 = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.AF_INET6
        with (
            socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server,
            a_socket(tcp, str(OURS), None) as listening,
        ):
            peer = (PEER, server.getsockname()[1])
            mapped = f"::ffff:{OURS}", f"::ffff:{PEER}"
            listening.listen()
            with (
                a_socket(tcp, str(OURS), peer),
                a_socket(tcp, mapped[0], (mapped[1], peer[1]), family=ipv6),
                a_socket(udp, str(OURS), peer),
                a_socket(udp, mapped[0], (mapped[1], peer[1]), family=ipv6),
                a_socket(udp, str(OURS), None),  # not connected: its next packet may go anywhere
                a_socket(tcp, str(NATIVE), peer),
                a_socket(tcp, "::1", ("::1", peer[1]), family=ipv6),
            ):
                return users((OURS, OTHER))

    assert in_new_netns(work) == {OURS: 4, OTHER: 0}


def lines(rows: list[tuple[str, int, str]]) -> bytes:
    """A table of (local address, state, remote address), all in hexadecimal."""
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    body = (
        f"{number:4}: {local}:D431 {remote}:0050 {state:02X} 00000000:00000000 00:00000000 00000000     0        0 1\n"
        for number, (local, state, remote) in enumerate(rows)
    )
    return "".join([head, *body]).encode()


V4 = "040000C0" if sys.byteorder == "little" else "C0000004"
V6 = ("0000000000000000FFFF0000" if sys.byteorder == "little" else "00000000000000000000FFFF") + V4
ELSE4, ELSE6 = "0702A8C0", "000080FE00000000FF005450B6AD1DFE"
CASES: dict[str, tuple[str, list[tuple[str, int, str]], int]] = {
    "empty": ("tcp", [], 0),
    "tcp-every-state": ("tcp", [(V4, state, ELSE4) for state in range(1, 13)], 8),
    "tcp6-every-state": ("tcp6", [(V6, state, ELSE6) for state in range(1, 13)], 8),
    "udp-connected-and-not": ("udp", [(V4, 1, ELSE4), (V4, 7, "00000000")], 1),
    "udp6-connected-and-not": ("udp6", [(V6, 1, ELSE6), (V6, 7, "0" * 32)], 1),
    "remote-address-is-not-ours": ("tcp", [(ELSE4, 1, V4)], 0),
    "ipv6-that-ends-alike": ("tcp6", [(ELSE6[:24] + V4, 1, ELSE6)], 0),
    "numbers-past-four-digits": ("tcp", [(ELSE4, 1, ELSE4)] * 20000 + [(V4, 1, ELSE4)], 1),
}


@pytest.mark.parametrize(("name", "rows", "count"), CASES.values(), ids=CASES)
def test_tables_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, rows: list[tuple[str, int, str]], count: int
) -> None:
    (tmp_path / name).write_bytes(lines(rows))  # the others are missing, as on a machine without IPv6
    monkeypatch.setattr(sockets, "_TABLES", tmp_path)
    assert users((OURS, OTHER)) == {OURS: count, OTHER: 0}


def test_no_addresses_cost_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tcp").mkdir()
    monkeypatch.setattr(sockets, "_TABLES", tmp_path)
    assert users(()) == {}
    with pytest.raises(HostError, match=f"cannot read the sockets: {os.strerror(21)}"):
        users((OURS,))
