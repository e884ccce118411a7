# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm pcap`: files in, files out, and one line for every mistake."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clatnm import pcapfile
from clatnm.cli.main import main
from clatnm.pcapfile import Record
from tests import captures
from tests.unit import test_pcapfile as files
from tests.unit.proto import siit_packets as pk

NS = 10**9
PREFIX = ("--plat-prefix", "2001:db8:64::/96")
CAPTURES = Path(__file__).parents[2] / "vectors/captures"

GOOD = pk.summed(pk.ipv4(pk.udp(b"hello"), pk.UDP))
EXPIRED = pk.summed(pk.ipv4(pk.udp(b"hello"), pk.UDP, ttl=1))
ARP = bytes(12) + b"\x08\x06" + bytes(28)


def frames(packets: Iterable[bytes], *, link: int = 101) -> list[Record]:
    return [Record((5 + at) * NS + at * 1000, link, packet, len(packet)) for at, packet in enumerate(packets)]


def pcap(*packets: bytes, link: int = 101) -> bytes:
    return files.pcap(frames(packets, link=link), link=link)


def records(file: Path) -> list[Record]:
    with file.open("rb") as stream:
        return list(pcapfile.read(stream).records)


class Case:
    """IN and OUT in a directory of their own."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.input, self.output = directory / "in.pcap", directory / "out.pcap"
        self._capsys = capsys

    def run(self, *options: str, status: int = 0) -> list[str]:
        """What is said on standard error."""
        try:
            ended = main(["pcap", *(options or PREFIX), str(self.input), str(self.output)])
        except SystemExit as end:
            assert isinstance(end.code, int)
            ended = end.code
        told = self._capsys.readouterr()
        assert (ended, told.out) == (status, ""), told
        return told.err.splitlines()

    def nothing_left(self) -> bool:
        return [path for path in self.output.parent.iterdir() if path != self.input] == []


@pytest.fixture
def case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Case:
    return Case(tmp_path, capsys)


def test_packets_keep_their_order_and_times(case: Case) -> None:
    other = pk.summed(pk.ipv6(pk.tcp(), pk.TCP, source="2001:db8:64::1.2.3.4", destination="2001:db8:64::4.3.2.1"))
    case.input.write_bytes(pcap(GOOD, other, EXPIRED, GOOD))
    assert case.run() == ["packet 3: not translated: hop-limit"]
    made = records(case.output)
    assert [record.time_ns for record in made] == [record.time_ns for record in frames([b""] * 4)]
    assert [record.data[0] >> 4 for record in made] == [6, 4, 4, 6]
    assert {(record.link, record.length - len(record.data)) for record in made} == {(101, 0)}
    assert made[2].data[20] == 11
    for record in made:
        pk.check(record.data)


@pytest.mark.parametrize(
    ("make", "magic"),
    [
        pytest.param(files.pcap, b"\xd4\xc3\xb2\xa1", id="micro"),
        pytest.param(lambda given: files.pcap(given, order=">"), b"\xd4\xc3\xb2\xa1", id="micro-big-endian"),
        pytest.param(lambda given: files.pcap(given, magic=files.NANO), b"\x4d\x3c\xb2\xa1", id="nano"),
        pytest.param(files.pcapng, b"\x4d\x3c\xb2\xa1", id="pcapng"),
    ],
)
def test_time_stamps_are_as_fine_as_before(case: Case, make: Callable[[list[Record]], bytes], magic: bytes) -> None:
    given = frames([bytes(12) + b"\x08\x00" + GOOD], link=1)
    case.input.write_bytes(make(given))
    assert case.run() == []
    assert case.output.read_bytes()[:4] == magic
    assert records(case.output)[0].time_ns == given[0].time_ns


def test_capture_of_a_real_run_translates_to_the_other_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Taken by tests/e2e/test_captures.py: TCP, UDP, ICMP, fragments, errors, through the translator process."""
    real = captures.Captures(tun=CAPTURES / "tun.pcap", uplink=CAPTURES / "uplink.pcap")
    captures.compare(real, tmp_path, clat_v4="192.0.0.2", clat_v6="2001:db8:1::c1a7", prefix="64:ff9b::/96")
    capsys.readouterr()


# Options


def addresses(packet: bytes) -> str:
    return packet[8:40].hex(":", 16)


def test_addresses_come_from_the_longest_mapping_or_the_prefix(case: Case) -> None:
    packet = pk.summed(pk.ipv4(pk.udp(b"x"), pk.UDP, source="192.0.2.3", destination="192.0.2.4"))
    case.input.write_bytes(pcap(packet, GOOD))
    options = ("--eam", "192.0.2.0/28=2001:db8:e::/124", "--eam", "192.0.2.4=2001:db8:f::4")
    (told,) = case.run(*options)
    assert told == "packet 2: not translated: source-unmapped"
    assert (
        addresses(records(case.output)[0].data) == "20010db8000e00000000000000000003:20010db8000f00000000000000000004"
    )
    assert case.run(*options, *PREFIX) == []
    assert addresses(records(case.output)[1].data).endswith("20010db8006400000000000008080808")


def test_clat_pair_translates_what_a_clat_does(case: Case) -> None:
    back = pk.summed(pk.ipv4(pk.udp(b"x"), pk.UDP, source=pk.PEER_V4, destination=pk.CLAT_V4))
    case.input.write_bytes(pcap(GOOD, back))
    pair = ("--clat-v4-addr", str(pk.CLAT_V4), "--clat-v6-addr", str(pk.CLAT_V6))
    assert case.run(*PREFIX, *pair) == ["packet 2: not translated: source-unmapped"]
    assert case.run(*PREFIX, "--eam", f"{pk.CLAT_V4}={pk.CLAT_V6}") == []
    assert [record.data[0] >> 4 for record in records(case.output)] == [6, 6]


@pytest.mark.parametrize(("options", "mtu"), [((), 1280), (("--ipv6-mtu", "1500"), 1500)], ids=["default", "given"])
def test_ipv6_mtu_bounds_what_is_made(case: Case, options: tuple[str, ...], mtu: int) -> None:
    """RFC 7915 4, 4.1."""
    big = pk.summed(pk.ipv4(pk.tcp(bytes(1460)), pk.TCP))
    unbreakable = pk.summed(pk.ipv4(pk.tcp(bytes(1460)), pk.TCP, df=True))
    case.input.write_bytes(pcap(big, unbreakable))
    (told,) = case.run(*PREFIX, *options)
    assert told == f"packet 2: not translated: too-big (an IPv6 packet of at most {mtu} bytes was asked for)"
    *pieces, error = [record.data for record in records(case.output)]
    assert [len(piece) <= mtu for piece in pieces] == [True, True]
    assert (error[20:22], int.from_bytes(error[26:28], "big")) == (b"\x03\x04", mtu - 20)


def test_icmp_source_names_routers_without_an_address(case: Case) -> None:
    quoted = pk.summed(pk.ipv6(pk.udp(), pk.UDP, source="2001:db8:64::8.8.8.8", destination="2001:db8:64::1.1.1.1"))
    error = pk.icmp(3, 0, 0, quoted)
    router = pk.summed(pk.ipv6(error, pk.ICMPV6, source="2001:db8:bb::1", destination="2001:db8:64::8.8.8.8"))
    case.input.write_bytes(pcap(router))
    for options, source in (((), "192.0.0.8"), (("--icmp-source", "203.0.113.9"), "203.0.113.9")):
        assert case.run(*PREFIX, *options) == []
        assert records(case.output)[0].data[12:16] == IPv4Address(source).packed


@pytest.mark.parametrize(
    ("options", "told"),
    [
        pytest.param((), "required: IN, OUT", id="nothing"),
        pytest.param(("in.pcap",), "required: OUT", id="no-output"),
        pytest.param(("a", "b", "c", *PREFIX), "unrecognized arguments: c", id="three-files"),
        pytest.param(("a", "b"), "error: nothing to translate by (--plat-prefix, --eam, or both)", id="no-mapping"),
        pytest.param(
            ("--clat-v4-addr", "192.0.0.1", "--clat-v6-addr", "2001:db8::1", "a", "b"),
            "error: nothing to translate by (--plat-prefix, --eam, or both)",
            id="clat-alone",
        ),
        pytest.param(
            (*PREFIX, "--clat-v4-addr", "192.0.0.1", "a", "b"),
            "error: half a CLAT (--clat-v4-addr and --clat-v6-addr go together)",
            id="no-clat-v6",
        ),
        pytest.param((*PREFIX, "--clat-v6-addr", "2001:db8::1", "a", "b"), "error: half a CLAT (", id="no-clat-v4"),
        pytest.param(("--plat-prefix", "64:ff9b::/97", "a", "b"), "--plat-prefix: 64:ff9b::/97", id="rfc6052-2.2"),
        pytest.param(("--plat-prefix", "10.0.0.0/8", "a", "b"), "--plat-prefix: '10.0.0.0/8'", id="ipv4-prefix"),
        pytest.param(("--eam", "192.0.2.1", "a", "b"), "--eam: '192.0.2.1' is not V4=V6: ", id="eam-half"),
        pytest.param(("--eam", "2001:db8::1=192.0.2.1", "a", "b"), " is not V4=V6: ", id="eam-swapped"),
        pytest.param(("--eam", "192.0.2.1/28=2001:db8::/124", "a", "b"), "has host bits set", id="eam-host-bits"),
        pytest.param(
            ("--eam", "192.0.2.0/24=2001:db8::/124", "a", "b"),
            "error: 192.0.2.0/24 does not fit into 2001:db8::/124 (RFC 7757 section 3.1)",
            id="rfc7757-3.1",
        ),
        pytest.param(
            ("--eam", "192.0.2.1=2001:db8::1", "--eam", "192.0.2.1=2001:db8::2", "a", "b"),
            "error: 192.0.2.1/32 is mapped twice (RFC 7757 section 3.2)",
            id="rfc7757-3.2",
        ),
        pytest.param((*PREFIX, "--clat-v4-addr", "192.0.0", "a", "b"), "--clat-v4-addr: ", id="clat-v4"),
        pytest.param((*PREFIX, "--clat-v6-addr", "dedicated", "a", "b"), "--clat-v6-addr: ", id="clat-v6"),
        pytest.param(
            (*PREFIX, "--ipv6-mtu", "1279", "a", "b"), "'1279' is not a size from 1280 to 65575 bytes", id="rfc8200-5"
        ),
        pytest.param((*PREFIX, "--ipv6-mtu", "65576", "a", "b"), "'65576' is not a size", id="mtu-large"),
        pytest.param((*PREFIX, "--ipv6-mtu", "1.5k", "a", "b"), "'1.5k' is not a size", id="mtu-text"),
        pytest.param((*PREFIX, "--icmp-source", "::1", "a", "b"), "--icmp-source: ", id="icmp-source-ipv6"),
        pytest.param(
            (*PREFIX, "--icmp-source", "224.0.0.1", "a", "b"), "224.0.0.1 is not the address of a host", id="multicast"
        ),
    ],
)
def test_wrong_arguments_cost_one_line_and_status_2(
    options: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = main(["pcap", *options])
    except SystemExit as end:
        status = end.code  # type: ignore[assignment]
    (line,) = capsys.readouterr().err.splitlines()
    assert status == 2
    assert line.startswith("error: ")
    assert told in line


# Files


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


def test_full_disk_is_said(case: Case) -> None:
    case.input.write_bytes(pcap(GOOD))
    case.output = Path("/dev/full")
    assert case.run(status=1) == ["error: cannot write /dev/full (No space left on device)"]


def test_device_is_written_to_and_not_replaced(case: Case) -> None:
    case.input.write_bytes(pcap(GOOD))
    case.output = Path("/dev/null")
    assert case.run() == []
    assert case.output.is_char_device()


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
        expected = 24 + 16 + len(GOOD) + 20
        assert len(process.stdout.read(expected)) == expected
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


# There and back again

v4_hosts = st.ip_addresses(v=4).filter(lambda ip: 0 < int(ip) >> 24 < 224 and int(ip) >> 24 not in (127, 169))
messages = st.one_of(
    st.builds(lambda body: (pk.TCP, pk.tcp(body)), st.binary(max_size=1500)),
    st.builds(lambda body: (pk.UDP, pk.udp(body)), st.binary(max_size=1500)),
    st.builds(lambda body: (pk.ICMP, pk.icmp(8, 0, 1, body)), st.binary(max_size=1500)),
)


@given(st.lists(st.tuples(v4_hosts, v4_hosts, messages), min_size=1, max_size=6))
@settings(
    deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_there_and_back_again_changes_nothing(
    case: Case, sent: list[tuple[IPv4Address, IPv4Address, tuple[int, bytes]]]
) -> None:
    """All packets of DF come back as they were, but for two hops."""
    given = [
        pk.summed(pk.ipv4(body, protocol, source=one, destination=other, ttl=9, df=True))
        for one, other, (protocol, body) in sent
        if one != other
    ]
    case.input.write_bytes(pcap(*given, pk.summed(pk.ipv4(pk.udp(), pk.UDP))))
    assert case.run(*PREFIX, "--ipv6-mtu", "2000") == []
    for record in records(case.output):
        pk.check(record.data)
    there, case.input, case.output = case.input, case.output, case.output.with_name("back.pcap")
    assert case.run() == []
    made = records(case.output)
    assert [record.time_ns for record in made] == [record.time_ns for record in records(there)]
    for packet, record in zip(given, made, strict=False):
        pk.check(record.data)
        assert (record.data[8], record.data[12:]) == (7, packet[12:])
    case.input = there
    case.output = there.with_name("out.pcap")
