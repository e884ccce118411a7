# SPDX-License-Identifier: GPL-2.0-or-later
"""The listener, over real sockets: what is answered, what is refused, and that nobody can hold it up."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import platform
import socket
import stat
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clatnm.metrics import listener
from clatnm.metrics.families import CONTENT_TYPE
from clatnm.metrics.listener import MAX_AT_ONCE, MAX_HEAD_BYTES, Listener, judge
from tests.unit.aio import run, until

PAGE = "# EOF\n"
GET = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Served:
    """A listener and its clients."""

    def __init__(self, directory: Path) -> None:
        self.place = str(directory / "run" / "metrics.sock")
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.fault: Exception | None = None
        self.listener = Listener(self._page)

    async def _page(self) -> str:
        self.asked += 1
        await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        return PAGE

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(self.place)

    async def says(self, request: bytes) -> bytes:
        """Everything that comes back until the end of the connection."""
        reader, writer = await self.connect()
        writer.write(request)
        told = await reader.read()
        writer.close()  # whoever asked for too much is heard out
        return told

    async def is_there(self) -> None:
        await until(lambda: Path(self.place).exists())


def play(scene: Callable[[Served], Awaitable[None]], directory: Path) -> None:
    async def work() -> None:
        served = Served(directory)
        served.listener.want(served.place)
        await served.is_there()
        await scene(served)
        await served.listener.close()

    run(work())
    assert not list(directory.rglob("*.sock"))


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ")[1])


def test_page_is_told_and_the_connection_ends(tmp_path: Path) -> None:
    async def scene(served: Served) -> None:
        head, _, body = (await served.says(GET)).partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        assert lines[0] == "HTTP/1.1 200 OK"
        assert {f"Content-Type: {CONTENT_TYPE}", f"Content-Length: {len(PAGE)}", "Connection: close"} <= set(lines)
        assert body.decode() == PAGE
        head, _, body = (await served.says(GET.replace(b"GET", b"HEAD"))).partition(b"\r\n\r\n")
        assert (head.decode().split("\r\n"), body) == (lines, b"")

    play(scene, tmp_path)


def test_anybody_may_read_there(tmp_path: Path) -> None:
    async def scene(served: Served) -> None:
        modes = [stat.S_IMODE(os.stat(path).st_mode) for path in (served.place, Path(served.place).parent)]
        assert modes == [0o666, 0o755]

    play(scene, tmp_path)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", 404, id="other-path"),
        pytest.param(b"GET /metrics?x=1 HTTP/1.0\r\n\r\n", 200, id="query"),
        pytest.param(b"POST /metrics HTTP/1.1\r\n\r\n", 405, id="method"),
        pytest.param(b"nonsense\r\n\r\n", 400, id="no-request"),
        pytest.param(b"\x16\x03\x01\x02\r\n\r\n", 400, id="tls"),
        pytest.param(b"GET /metrics HTTP/1.1\r\n" + b"X: y\r\n" * MAX_HEAD_BYTES, 431, id="endless-head"),
        pytest.param(b"x" * (2 * MAX_HEAD_BYTES), 431, id="endless-line"),
    ],
)
def test_anything_else_is_refused(tmp_path: Path, request_: bytes, status: int) -> None:
    async def scene(served: Served) -> None:
        assert status_of(await served.says(request_)) == status
        assert served.asked == (status == 200)

    play(scene, tmp_path)


def test_page_that_fails_is_one_answer_and_no_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(served: Served) -> None:
        served.fault = KeyError("x")
        assert status_of(await served.says(GET)) == 500
        served.fault = None
        assert status_of(await served.says(GET)) == 200

    play(scene, tmp_path)


def test_whoever_says_nothing_holds_nobody_up_and_is_sent_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "PATIENCE_S", 1.0)

    async def scene(served: Served) -> None:
        silent = [await served.connect() for _ in range(MAX_AT_ONCE - 1)]
        silent[0][1].write(b"GET /metr")
        assert status_of(await served.says(GET)) == 200
        for reader, writer in silent:
            assert await reader.read() == b""
            writer.close()
        assert served.asked == 1

    play(scene, tmp_path)


def test_no_more_than_so_many_at_once(tmp_path: Path) -> None:
    async def scene(served: Served) -> None:
        served.gate.clear()
        waiting = [asyncio.ensure_future(served.says(GET)) for _ in range(MAX_AT_ONCE)]
        await until(lambda: served.asked == MAX_AT_ONCE)
        with contextlib.suppress(ConnectionResetError):
            assert await served.says(GET) == b""
        assert served.asked == MAX_AT_ONCE
        served.gate.set()
        assert [status_of(answer) for answer in await asyncio.gather(*waiting)] == [200] * MAX_AT_ONCE
        assert status_of(await served.says(GET)) == 200

    play(scene, tmp_path)


def test_whoever_is_slow_gives_way(tmp_path: Path) -> None:
    """Somebody who holds all places with silence, or reads no answer, keeps nobody else from the page."""

    async def scene(served: Served) -> None:
        silent = [await served.connect() for _ in range(3 * MAX_AT_ONCE)]
        for _ in range(3):
            assert status_of(await served.says(GET)) == 200
        gone = [reader for reader, _ in silent if reader.at_eof()]
        assert len(gone) >= 2 * MAX_AT_ONCE
        for _, writer in silent:
            writer.close()

    play(scene, tmp_path)


def test_whoever_never_ends_a_request_is_not_heard_out(tmp_path: Path) -> None:
    async def scene(served: Served) -> None:
        reader, writer = await served.connect()
        with contextlib.suppress(ConnectionError):
            for _ in range(10_000):
                writer.write(b"x" * MAX_HEAD_BYTES)
                await writer.drain()
            raise AssertionError("80 MB were read")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        assert status_of(await served.says(GET)) == 200

    play(scene, tmp_path)


def test_end_of_the_daemon_waits_for_no_client(tmp_path: Path) -> None:
    async def scene(served: Served) -> None:
        served.gate.clear()
        waiting = asyncio.ensure_future(served.says(GET))
        await until(lambda: served.asked)
        await asyncio.wait_for(served.listener.close(), 2)
        assert await asyncio.wait_for(waiting, 2) == b""

    play(scene, tmp_path)


def test_place_that_changes_is_another_socket_and_none_is_left(tmp_path: Path) -> None:
    async def scene(served: Served) -> None:
        before, after = served.place, str(tmp_path / "other")
        served.listener.want(after)
        served.listener.want(before)
        served.listener.want(after)
        served.place = after
        await served.is_there()
        await until(lambda: not Path(before).exists())
        assert status_of(await served.says(GET)) == 200
        served.listener.want("")
        await until(lambda: not Path(after).exists())

    play(scene, tmp_path)


def test_socket_of_a_killed_daemon_is_replaced_and_another_file_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "metrics.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(place))

    async def replaced() -> None:
        served = Served(tmp_path)
        served.place = str(place)
        served.listener.want(served.place)
        await until(lambda: caplog.records)
        assert status_of(await served.says(GET)) == 200
        await served.listener.close()

    with caplog.at_level(logging.INFO, logger="clatnm"):
        run(replaced())
    assert not place.exists()
    place.write_text("mine")
    caplog.clear()

    async def kept() -> None:
        refused = Listener(Served(tmp_path)._page)
        refused.want(str(place))
        await until(lambda: caplog.records)
        await refused.close()

    run(kept())
    assert place.read_text() == "mine"
    (record,) = caplog.records
    assert record.getMessage().startswith(f"metrics cannot be at {place}: Address already in use (")


def free_port() -> int:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError as error:
            pytest.skip(f"this machine has no ::1 ({error.strerror})")
        return int(probe.getsockname()[1])


def test_loopback_answers_to_its_own_names_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A page in a browser may have its own name lead to ::1, and would read what comes from there."""
    port = free_port()
    caplog.set_level(logging.INFO, logger="clatnm")

    async def work() -> None:
        served = Served(tmp_path)
        served.listener.want(f"[::1]:{port}")

        async def asks(host: str) -> int:
            reader, writer = await asyncio.open_connection("::1", port)
            writer.write(f"GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            told = await reader.read()
            writer.close()
            return status_of(told)

        await until(lambda: "metrics are at" in caplog.text)
        for host, status in (
            (f"[::1]:{port}", 200),
            ("127.0.0.1", 200),
            ("evil.example", 403),
            ("[::1].evil", 403),
            ("localhost.evil", 403),
        ):
            assert await asks(host) == status
        await served.listener.close()
        with pytest.raises(ConnectionRefusedError):
            await asks("localhost")

    run(work())


@given(st.binary(max_size=80), st.booleans())
def test_any_head_has_a_status(head: bytes, local: bool) -> None:
    assert judge(head, local=local) in listener._STATUS
    assert judge(b"GET " + head + b" HTTP/1.1\r\n\r\n", local=local) in listener._STATUS


# What the unit's RestrictAddressFamilies means

_CONFINED = """
import asyncio, ctypes, logging, struct, sys
from clatnm.metrics.listener import Listener

def only_ipv6(number, architecture):
    '''As systemd: socket(AF_INET, ...) fails with EAFNOSUPPORT.'''
    def step(code, jt, jf, k):
        return struct.pack("=HBBI", code, jt, jf, k)
    load, equal, give = 0x20, 0x15, 0x06
    program = b"".join((
        step(load, 0, 0, 4), step(equal, 0, 5, architecture),
        step(load, 0, 0, 0), step(equal, 0, 3, number),
        step(load, 0, 0, 16), step(equal, 0, 1, 2),
        step(give, 0, 0, 0x00050000 | 97), step(give, 0, 0, 0x7FFF0000),
    ))
    kept = ctypes.create_string_buffer(program)
    filter_ = struct.pack("HL", len(program) // 8, ctypes.addressof(kept))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, ctypes.create_string_buffer(filter_), 0, 0) == 0, ctypes.get_errno()

class Said(logging.Handler):
    count = 0
    def emit(self, record):
        self.count += 1
        print(record.getMessage())

async def work(places):
    async def page():
        return ""
    said = Said()
    logging.getLogger("clatnm").addHandler(said)
    logging.getLogger("clatnm").setLevel(logging.INFO)
    for number, place in enumerate(places, 1):
        listener = Listener(page)
        listener.want(place)
        while said.count < number:
            await asyncio.sleep(0)
        await listener.close()

only_ipv6(int(sys.argv[1]), int(sys.argv[2], 16))
asyncio.run(work(sys.argv[3:]))
"""
_SOCKET_CALL = {"x86_64": ("41", "c000003e"), "aarch64": ("198", "c00000b7")}


def test_service_without_ipv4_says_so_once_and_ipv6_works(tmp_path: Path) -> None:
    """The kernel's own filter, as `RestrictAddressFamilies=` without AF_INET sets it up."""
    call = _SOCKET_CALL.get(platform.machine())
    if call is None:
        pytest.skip(f"the number of socket(2) on {platform.machine()} is not known here")
    port, path = free_port(), tmp_path / "metrics.sock"
    places = (f"127.0.0.1:{port}", f"[::1]:{port}", str(path))
    done = subprocess.run(
        [sys.executable, "-c", _CONFINED, *call, *places], capture_output=True, text=True, timeout=20, check=True
    )
    refused, six, local = done.stdout.splitlines()
    assert refused == (
        f"metrics cannot be at 127.0.0.1:{port}: Address family not supported by protocol "
        "(the service may not use this address family, see RestrictAddressFamilies in clatnm.service; "
        "[::1]:PORT, or a path)"
    )
    assert (six, local) == (f"metrics are at [::1]:{port}", f"metrics are at {path}")
