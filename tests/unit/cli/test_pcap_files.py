# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm pcap`: files and pipes, and one line for every mistake."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit import test_pcapfile as files
from tests.unit.cli.pcap_case import ARP, EXPIRED, GOOD, PREFIX, Case, pcap, records
from tests.unit.proto import siit_packets as pk


@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param(None, "error: cannot read {name} (No such file or directory)", id="missing"),
        pytest.param(b"", "error: {name}: empty, not a capture file (expected: pcap or pcapng)", id="empty"),
        pytest.param(b"hello, world", "error: {name}: not a capture file (expected: pcap or pcapng)", id="text"),
        pytest.param(pcap()[:20], "error: {name}: it ends too early", id="half-a-header"),
        pytest.param(pcap(GOOD)[:-1], "error: {name}: damaged (it ends too early)", id="first-packet"),
        pytest.param(files.section()[:-1], "error: {name}: damaged (it ends too early)", id="pcapng"),
    ],
)
def test_unreadable_capture_is_one_line_and_leaves_no_file(case: Case, content: bytes | None, told: str) -> None:
    if content is not None:
        case.input.write_bytes(content)
    assert case.run(status=1) == [told.format(name=case.input)]
    assert case.nothing_left()


def test_unreadable_capture_leaves_an_old_file_as_it_was(case: Case) -> None:
    case.output.write_bytes(b"precious")
    case.input.write_bytes(pcap(GOOD)[:-1])
    case.run(status=1)
    assert case.output.read_bytes() == b"precious"


def test_directory_is_no_capture(case: Case) -> None:
    case.input.mkdir()
    assert case.run(status=1) == [f"error: cannot read {case.input} (Is a directory)"]


def test_what_was_read_before_the_damage_is_written(case: Case) -> None:
    case.input.write_bytes(pcap(GOOD, EXPIRED, GOOD)[:-1])
    assert case.run(status=1) == [
        "packet 2: not translated: hop-limit",
        f"error: {case.input}: damaged behind packet 2 (it ends too early)",
    ]
    assert len(records(case.output)) == 2


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        pytest.param(pcap(), [], id="no-packet"),
        pytest.param(files.section(), [], id="no-packet-pcapng"),
        pytest.param(pcap(ARP, link=1), ["packet 1: not translated: not-ip (EtherType 0x0806)"], id="arp"),
        pytest.param(pcap(GOOD, link=105), ["packet 1: not translated: not-ip (link type 105)"], id="802.11"),
    ],
)
def test_nothing_to_translate_is_said_with_status_3(case: Case, content: bytes, lines: list[str]) -> None:
    case.input.write_bytes(content)
    told = case.run(status=3)
    assert told == [*lines, f"error: {case.input}: no packet to translate (neither IPv4 nor IPv6 is in it)"]
    assert case.nothing_left()


def test_capture_of_refused_packets_alone_is_done(case: Case) -> None:
    case.input.write_bytes(pcap(pk.summed(pk.ipv4(pk.udp(), pk.UDP, destination="224.0.0.1"))))
    assert case.run() == ["packet 1: not translated: destination-multicast"]
    assert records(case.output) == []


def link_to(old: Path, new: Path) -> None:
    new.symlink_to(old)


def hard_link_to(old: Path, new: Path) -> None:
    new.hardlink_to(old)


@pytest.mark.parametrize("make", [link_to, hard_link_to, None], ids=["symbolic-link", "hard-link", "name"])
def test_input_is_not_overwritten(case: Case, make: Callable[[Path, Path], None] | None) -> None:
    case.input.write_bytes(pcap(GOOD))
    if make is None:
        case.output = case.input
    else:
        make(case.input, case.output)
    assert case.run(status=2) == ["error: IN and OUT are the same file (write to another one)"]
    assert case.input.read_bytes() == pcap(GOOD)


def test_output_directory_that_is_missing_is_said(case: Case) -> None:
    case.input.write_bytes(pcap(GOOD))
    case.output = case.output.parent / "none" / "out.pcap"
    assert case.run(status=1) == [f"error: cannot write {case.output} (No such file or directory)"]


def test_output_that_is_a_directory_is_said(case: Case) -> None:
    case.input.write_bytes(pcap(GOOD))
    case.output.mkdir()
    assert case.run(status=1) == [f"error: cannot write {case.output} (Is a directory)"]


def test_named_pipe_is_written_to_and_not_replaced(case: Case) -> None:
    """So would a device be; but a mistake must not cost the machine its own."""
    case.input.write_bytes(pcap(GOOD))
    os.mkfifo(case.output)
    reader = os.open(case.output, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert case.run() == []
        assert case.output.is_fifo()
        assert len(os.read(reader, 4096)) == 24 + 16 + len(GOOD) + 20
    finally:
        os.close(reader)


def test_failure_while_writing_leaves_the_old_file_and_no_other(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: object, *arguments: object) -> None:
        raise OSError(28, "No space left on device")

    case.input.write_bytes(pcap(GOOD))
    case.output.write_bytes(b"precious")
    monkeypatch.setattr("clatnm.pcapfile.Writer.write", fail)
    assert case.run(status=1) == [f"error: cannot write {case.output} (No space left on device)"]
    assert case.output.read_bytes() == b"precious"
    case.output.unlink()
    assert case.nothing_left()


def test_interruption_leaves_the_old_file_and_no_other(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: object, *arguments: object) -> None:
        raise KeyboardInterrupt

    case.input.write_bytes(pcap(GOOD))
    monkeypatch.setattr("clatnm.pcapfile.Writer.write", interrupt)
    assert case.run(status=1) == []
    assert case.nothing_left()


def test_file_that_is_replaced_keeps_its_mode_and_its_link(case: Case, tmp_path: Path) -> None:
    case.input.write_bytes(pcap(GOOD))
    real = tmp_path / "elsewhere"
    real.write_bytes(b"old")
    real.chmod(0o640)
    case.output.symlink_to(real)
    assert case.run() == []
    assert case.output.is_symlink()
    assert len(records(real)) == 1
    assert real.stat().st_mode & 0o777 == 0o640


def test_new_file_has_the_mode_of_any_new_file(case: Case, tmp_path: Path) -> None:
    case.input.write_bytes(pcap(GOOD))
    (tmp_path / "any").touch()
    case.run()
    assert case.output.stat().st_mode == (tmp_path / "any").stat().st_mode


# Pipes

COMMAND = (sys.executable, "-c", "from clatnm.cli.main import entry; entry()", "pcap", *PREFIX)


def piped(*files: str, stdin: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*COMMAND, *files], input=stdin, capture_output=True, check=False, timeout=20)


def test_standard_streams_stand_for_files(case: Case) -> None:
    case.input.write_bytes(pcap(GOOD, EXPIRED))
    case.run()
    done = piped("-", "-", stdin=case.input.read_bytes())
    assert (done.returncode, done.stdout) == (0, case.output.read_bytes())
    assert done.stderr == b"packet 2: not translated: hop-limit\n"


def test_standard_output_stays_empty_without_packets() -> None:
    done = piped("-", "-", stdin=pcap())
    assert (done.returncode, done.stdout) == (3, b"")
    assert done.stderr == b"error: standard input: no packet to translate (neither IPv4 nor IPv6 is in it)\n"


def test_damaged_standard_input_is_named() -> None:
    done = piped("-", "-", stdin=pcap(GOOD)[:-1])
    assert (done.returncode, done.stderr) == (1, b"error: standard input: damaged (it ends too early)\n")


def test_packet_is_written_before_the_next_one_comes() -> None:
    """So that it can stand between a tcpdump that runs and a reader."""
    process = subprocess.Popen([*COMMAND, "-", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(pcap(GOOD))
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], 20)
        assert ready, "nothing comes out"
        assert len(os.read(process.stdout.fileno(), 4096)) == 24 + 16 + len(GOOD) + 20
        process.stdin.close()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_reader_who_has_had_enough_is_not_bothered(tmp_path: Path) -> None:
    file = tmp_path / "in.pcap"
    file.write_bytes(pcap(*[GOOD] * 100))
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*COMMAND, str(file), "-"], stdout=write, stderr=subprocess.PIPE, check=False, timeout=20)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


def test_full_disk_is_said(tmp_path: Path) -> None:
    file = tmp_path / "in.pcap"
    file.write_bytes(pcap(GOOD))
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*COMMAND, str(file), "-"], stdout=full, stderr=subprocess.PIPE, check=False, timeout=20)
    assert (done.returncode, done.stderr) == (1, b"error: cannot write standard output (No space left on device)\n")


def test_closed_standard_streams_are_said(tmp_path: Path) -> None:
    file = tmp_path / "in.pcap"
    file.write_bytes(pcap(GOOD))
    for closed, names, told in (
        (0, ("-", "out"), "cannot read standard input"),
        (1, (str(file), "-"), "standard output"),
    ):
        shell = ["/bin/sh", "-c", f'exec "$@" {closed}<&-', "sh", *COMMAND, *names]
        done = subprocess.run(shell, capture_output=True, text=True, check=False, timeout=20, cwd=tmp_path)
        (line,) = done.stderr.splitlines()
        assert done.returncode == 1
        assert line.startswith("error: cannot ")
        assert told in line
        assert "(Bad file descriptor)" in line
