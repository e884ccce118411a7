# SPDX-License-Identifier: GPL-2.0-or-later
"""The supervisor's end of a translator process, with processes that behave and processes that do not."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path

import pytest

from clatnm.errors import TranslatorError
from clatnm.translators import process
from clatnm.translators.process import WorkerProcess
from clatnm.worker.wire import WorkerConfig
from tests.unit.aio import run, until

CONFIG = WorkerConfig(
    clat_v4=IPv4Address("192.0.0.4"),
    clat_v6=IPv6Address("2001:db8:a::c1a7"),
    prefix=IPv6Network("64:ff9b::/96"),
    ipv6_mtu_bytes=1500,
    uplink="wlan0",
)
PRELUDE = """
import json, os, signal, socket, sys
assert sys.argv[1:4] == ["-I", "-m", "clatnm.worker"], sys.argv
assert not {name for name in os.environ} - {"LC_CTYPE"}, os.environ
control = socket.socket(fileno=int(sys.argv[-1]))
def hear():
    data, descriptors, _, _ = socket.recv_fds(control, 65536, 16)
    return (json.loads(data) if data else {"op": "gone"}), descriptors
def say(op, **fields):
    control.send(json.dumps({"op": op, **fields}).encode())
def serve():
    say("ready")
    seen = []
    while True:
        message, _ = hear()
        seen.append(message["op"])
        if message["op"] == "counters":
            say("counters", seen=seen)
        elif message["op"] in ("stop", "gone"):
            raise SystemExit(0)
"""
GOOD = "hear(); serve()"

Scene = Callable[[WorkerProcess], Awaitable[None]]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Scene], None]:
    """Play a scene with a process that does what `script` says; afterwards nothing of it is left."""

    def on_stage(script: str, scene: Scene) -> None:
        program = tmp_path / "worker"
        program.write_text(f"#!{sys.executable} -S\n{PRELUDE}\n{script}\n")
        program.chmod(0o755)

        async def work() -> None:
            worker = await WorkerProcess.spawn()
            try:
                await scene(worker)
            finally:
                await worker.stop()
            with pytest.raises(ProcessLookupError):
                os.kill(worker.pid, 0)

        before = sockets()
        with monkeypatch.context() as patched:
            patched.setattr(sys, "executable", str(program))
            run(work())
        assert sockets() <= before  # what earlier tests have left may go meanwhile

    return on_stage


Play = Callable[[str, Scene], None]


def sockets() -> set[str]:
    found = (os.path.join("/proc/self/fd", number) for number in os.listdir("/proc/self/fd"))
    return {link for path in found if os.path.lexists(path) and (link := os.readlink(path)).startswith("socket:")}


def test_process_is_ready_when_it_says_so_and_has_what_it_was_given(play: Play) -> None:
    async def scene(worker: WorkerProcess) -> None:
        mine, its = socket.socketpair()
        with mine, its:
            await worker.hand_over(CONFIG, [its.fileno()])
            its.close()
            mine.setblocking(False)
            assert await asyncio.get_running_loop().sock_recv(mine, 100) == b"wlan0 start"

    play(
        "message, (fd,) = hear(); os.write(fd, (message['config']['uplink'] + ' ' + message['op']).encode()); serve()",
        scene,
    )


def test_process_lives_updates_counts_and_stops(play: Play) -> None:
    async def scene(worker: WorkerProcess) -> None:
        await worker.hand_over(CONFIG, [])
        worker.update(CONFIG)
        assert await worker.counters() == {"seen": ["update", "counters"]}
        both = await asyncio.gather(worker.counters(), worker.counters())
        assert all(both)
        ended = await worker.stop()
        assert (ended.error, ended.collision) == ("the translator process ended with status 0", "")
        assert await worker.ended() == ended  # whoever asks later

    play(GOOD, scene)


REFUSALS: dict[str, tuple[str, str, int]] = {
    "with-words": ("hear(); say('error', what='no room', hint='buy more'); sys.exit(1)", "no room (buy more)", 1),
    "without-hint": ("hear(); say('error', what='no room'); sys.exit(1)", "no room", 1),
    "without-what": ("hear(); say('error'); sys.exit(1)", "unknown error", 1),
    "silent": ("hear(); sys.exit(7)", "the translator process ended with status 7", 7),
    "killed": ("hear(); os.kill(os.getpid(), 9)", "the translator process ended with signal 9", -9),
    "before-it-listens": ("sys.exit(3)", "the translator process ended with status 3", 3),
}


@pytest.mark.parametrize(("script", "words", "status"), REFUSALS.values(), ids=REFUSALS)
def test_process_that_dies_before_it_is_ready_is_an_error_with_its_words(
    play: Play, script: str, words: str, status: int
) -> None:
    async def scene(worker: WorkerProcess) -> None:
        if script == "sys.exit(3)":
            await worker.ended()
        with pytest.raises(TranslatorError) as caught:
            await worker.hand_over(CONFIG, [])
        ended = await worker.ended()
        assert ended.error == words
        if script != "sys.exit(3)":
            assert (str(caught.value), caught.value.status) == (words, status)

    play(script, scene)


def test_process_that_never_gets_ready_is_given_up(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_READY_S", 0.05)

    async def scene(worker: WorkerProcess) -> None:
        with pytest.raises(TranslatorError, match="does not become ready"):
            await worker.hand_over(CONFIG, [])
        assert (await worker.stop()).error

    play("hear(); hear()", scene)


@pytest.mark.parametrize("deafness", ["signal.signal(signal.SIGTERM, signal.SIG_IGN)", "os.kill(os.getpid(), 19)"])
def test_process_that_does_not_obey_is_killed(play: Play, monkeypatch: pytest.MonkeyPatch, deafness: str) -> None:
    monkeypatch.setattr(process, "_STOP_S", 0.05)

    async def scene(worker: WorkerProcess) -> None:
        await worker.hand_over(CONFIG, [])
        ended = await worker.stop()
        assert ended.error == "the translator process ended with signal 9"

    play(f"hear(); say('ready'); {deafness}\nwhile True: signal.pause()", scene)


def test_death_is_told_to_everybody_who_waits(play: Play) -> None:
    async def scene(worker: WorkerProcess) -> None:
        await worker.hand_over(CONFIG, [])
        waiting = [asyncio.ensure_future(worker.ended()) for _ in range(3)]
        os.kill(worker.pid, signal.SIGKILL)
        ends = await asyncio.gather(*waiting)
        assert {ended.error for ended in ends} == {"the translator process ended with signal 9"}
        assert await worker.counters() == {}
        with pytest.raises(TranslatorError, match="does not listen"):
            worker.update(CONFIG)

    play(GOOD, scene)


def test_whoever_stops_waiting_for_the_end_stops_nothing(play: Play) -> None:
    async def scene(worker: WorkerProcess) -> None:
        await worker.hand_over(CONFIG, [])
        waiting = asyncio.ensure_future(worker.ended())
        await asyncio.sleep(0)
        waiting.cancel()
        assert await worker.counters() == {"seen": ["counters"]}

    play(GOOD, scene)


def test_last_words_are_heard_even_if_they_come_with_the_end(play: Play) -> None:
    async def scene(worker: WorkerProcess) -> None:
        await worker.hand_over(CONFIG, [])
        assert (await worker.ended()).error == "the device is gone"

    play("hear(); say('ready'); say('error', what='the device is gone'); os._exit(1)", scene)


def test_address_conflict_ends_the_process_and_names_the_address(play: Play) -> None:
    async def scene(worker: WorkerProcess) -> None:
        await worker.hand_over(CONFIG, [])
        ended = await worker.ended()
        assert ended.collision == "2001:db8:a::c1a7"

    play("hear(); say('ready'); say('conflict', address='2001:db8:a::c1a7'); signal.pause()", scene)


def test_process_that_does_not_count_in_time_has_no_counters(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_ANSWER_S", 0.05)

    async def scene(worker: WorkerProcess) -> None:
        await worker.hand_over(CONFIG, [])
        assert await worker.counters() == {}
        assert not any(await asyncio.gather(worker.counters(), worker.counters()))

    play("hear(); say('ready')\nwhile hear()[0]['op'] != 'stop': pass", scene)


def test_nonsense_is_passed_over(play: Play) -> None:
    async def scene(worker: WorkerProcess) -> None:
        await worker.hand_over(CONFIG, [])
        assert await worker.counters() == {"seen": ["counters"]}

    script = (
        "hear(); control.send(b'{'); control.send(b'[]'); control.send(b'\\xff'); say('surprise', x=1); say('ready')"
    )
    play(f"{script}; serve()", scene)


def test_process_that_hangs_up_but_lives_is_not_trusted(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_STOP_S", 0.05)

    async def scene(worker: WorkerProcess) -> None:
        await worker.hand_over(CONFIG, [])
        await until(lambda: worker._control.fileno() < 0)
        assert await worker.counters() == {}
        with pytest.raises(TranslatorError, match="does not listen"):
            worker.update(CONFIG)

    play("hear(); say('ready'); control.close(); signal.pause()", scene)


def test_program_that_cannot_be_run_is_an_error_and_leaks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = sockets()
    monkeypatch.setattr(sys, "executable", "/nonexistent/python3")
    with pytest.raises(TranslatorError, match="cannot start the translator process: No such file"):
        run(WorkerProcess.spawn())
    assert sockets() <= before  # what earlier tests have left may go meanwhile
