# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm pcap`: what it makes of packets, and of options."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clatnm.cli.main import main
from clatnm.pcapfile import Record
from tests import captures
from tests.unit import test_pcapfile as files
from tests.unit.cli.pcap_case import EXPIRED, GOOD, PREFIX, Case, frames, pcap, records
from tests.unit.proto import siit_packets as pk

CAPTURES = Path(__file__).parents[2] / "vectors/captures"


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
