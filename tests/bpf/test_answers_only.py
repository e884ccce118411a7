# SPDX-License-Identifier: GPL-2.0-or-later
"""A shared address: only answers to what went out are the translator's, all else is the host's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from tests.bpf.packets import VECTORS_CLAT
from tests.bpf.programs import IPV6, Kind, Programs, missing
from tests.unit.proto import siit_packets as pk

pytestmark = [pytest.mark.root, pytest.mark.skipif(missing() is not None, reason=str(missing()))]

ESP = 50
OTHER_V6 = "64:ff9b::8.8.4.4"


@pytest.fixture
def programs() -> Iterator[Programs]:
    made = Programs(replace(VECTORS_CLAT, shared=True))
    yield made
    made.close()


def out(protocol: int, **fields: object) -> bytes:
    """From the host, as IPv4. Ports 40000 → 443 (TCP), 53 (UDP); echo with identifier 7."""
    body = {pk.TCP: pk.tcp(b"q"), pk.UDP: pk.udp(b"q"), pk.ICMP: pk.icmp(8, 0, 7 << 16)}[protocol]
    return pk.summed(pk.ipv4(body, protocol, **fields))  # type: ignore[arg-type]


def back(protocol: int, *, near: int = 40000, far: int | None = None, **fields: object) -> bytes:
    """From the network, as IPv6."""
    body = {
        pk.TCP: pk.tcp(b"a", source=far or 443, destination=near),
        pk.UDP: pk.udp(b"a", source=far or 53, destination=near),
        pk.ICMPV6: pk.icmp(129, 0, (far or 7) << 16),
    }[protocol]
    return pk.summed(pk.ipv6(body, protocol, **fields))  # type: ignore[arg-type]


ANSWERED = {pk.TCP: pk.TCP, pk.UDP: pk.UDP, pk.ICMP: pk.ICMPV6}


@pytest.mark.parametrize("protocol", ANSWERED, ids=["tcp", "udp", "icmp"])
def test_answer_is_ours_once_something_was_sent(programs: Programs, protocol: int) -> None:
    answer = back(ANSWERED[protocol])
    assert programs.from_network(answer).kind is Kind.NOT_OURS
    assert programs.from_host(out(protocol)).kind is Kind.TRANSLATED
    assert programs.from_network(answer).kind is Kind.TRANSLATED


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(back(pk.UDP, near=40001), id="other-own-port"),
        pytest.param(back(pk.UDP, far=54), id="other-remote-port"),
        pytest.param(back(pk.UDP, near=53, far=40000), id="ports-swapped"),
        pytest.param(back(pk.TCP, far=53), id="other-protocol"),
        pytest.param(back(pk.UDP, source=OTHER_V6), id="other-host"),
        pytest.param(back(pk.UDP, source="2001:db8::8"), id="host-outside-the-prefix"),
        pytest.param(back(pk.ICMPV6), id="echo-reply"),
        pytest.param(pk.ipv6(pk.icmp(136, 0, 0, bytes(16)), pk.ICMPV6), id="neighbour-discovery"),
        pytest.param(pk.ipv6(bytes(20), ESP), id="esp"),
        pytest.param(pk.ipv6(pk.udp(b"")[:4], pk.UDP), id="cut-in-the-ports"),
    ],
)
def test_anything_else_is_the_hosts_own(programs: Programs, packet: bytes) -> None:
    assert programs.from_host(out(pk.UDP)).kind is Kind.TRANSLATED
    assert programs.from_network(back(pk.UDP)).kind is Kind.TRANSLATED
    assert programs.from_network(packet).kind is Kind.NOT_OURS


def test_answer_to_what_the_process_sent_is_ours(programs: Programs) -> None:
    """Protocols without ports are the process's, and known by the hosts alone."""
    sent = pk.ipv6(bytes(20), ESP, source=pk.CLAT_V6, destination=pk.PEER_V6)
    answer = pk.ipv6(bytes(20), ESP)
    assert programs.from_network(answer).kind is Kind.NOT_OURS
    assert programs.from_process(sent, ethertype=IPV6).kind is Kind.TRANSLATED
    assert programs.from_network(answer).kind is Kind.TO_PROCESS
    assert programs.from_network(pk.ipv6(bytes(20), ESP, source=OTHER_V6)).kind is Kind.NOT_OURS


def quoting(inner: bytes, kind: int = 1) -> bytes:
    return pk.summed(pk.ipv6(pk.icmp(kind, 4, 0, inner), pk.ICMPV6, source="2001:db8::99"))


def test_error_is_ours_if_it_quotes_us(programs: Programs) -> None:
    sent = programs.from_host(out(pk.UDP)).packet
    theirs = pk.ipv6(pk.udp(b"q", source=40001), pk.UDP, source=pk.CLAT_V6, destination=pk.PEER_V6)
    assert programs.from_network(quoting(sent)).kind is Kind.TO_PROCESS
    assert programs.from_network(quoting(sent, kind=2)).kind is Kind.TO_PROCESS
    assert programs.from_network(quoting(sent[:44])).kind is Kind.NOT_OURS  # cut within the ports
    assert programs.from_network(quoting(theirs)).kind is Kind.NOT_OURS


def fragment(offset: int, body: bytes, *, ident: int = 9, source: object = pk.PEER_V6) -> bytes:
    head = pk.fragment_header(pk.UDP, offset=offset, more=True, ident=ident)
    return pk.ipv6(head + body, 44, source=source)  # type: ignore[arg-type]


def test_fragments_go_where_their_first_one_went(programs: Programs) -> None:
    programs.from_host(out(pk.UDP))
    first, later = fragment(0, pk.udp(bytes(40), source=53, destination=40000)), fragment(48, bytes(48))
    assert programs.from_network(later).kind is Kind.NOT_OURS
    assert programs.from_network(fragment(0, pk.udp(bytes(40), source=53, destination=40001))).kind is Kind.NOT_OURS
    assert programs.from_network(later).kind is Kind.NOT_OURS
    assert programs.from_network(first).kind is Kind.TO_PROCESS
    assert programs.from_network(later).kind is Kind.TO_PROCESS
    assert programs.from_network(fragment(48, bytes(48), ident=10)).kind is Kind.NOT_OURS
    assert programs.from_network(fragment(48, bytes(48), source=OTHER_V6)).kind is Kind.NOT_OURS


def test_first_fragment_sent_tells_what_to_expect(programs: Programs) -> None:
    """The process cuts what is too large; only the first piece has ports, and only that may be learnt from."""
    later = pk.fragment_header(pk.UDP, offset=48, ident=1) + pk.udp(b"", source=1, destination=2)
    first = pk.fragment_header(pk.UDP, more=True, ident=1) + pk.udp(bytes(40))
    for payload in (first, later):
        packet = pk.ipv6(payload, 44, source=pk.CLAT_V6, destination=pk.PEER_V6)
        assert programs.from_process(packet, ethertype=IPV6).kind is Kind.TRANSLATED
    assert programs.from_network(back(pk.UDP)).kind is Kind.TRANSLATED
    assert programs.from_network(back(pk.UDP, near=1, far=2)).kind is Kind.NOT_OURS


def test_what_is_not_sent_is_not_expected(programs: Programs) -> None:
    assert programs.from_host(out(pk.UDP, ttl=1)).kind is Kind.TO_PROCESS
    assert programs.from_network(back(pk.UDP)).kind is Kind.NOT_OURS


def test_embedded_addresses_tell_hosts_apart(programs: Programs) -> None:
    for last in (1, 2):
        programs.from_host(out(pk.UDP, destination=IPv4Address(f"8.8.8.{last}")))
    kinds = [programs.from_network(back(pk.UDP, source=f"64:ff9b::8.8.8.{last}")).kind for last in (1, 2, 3)]
    assert kinds == [Kind.TRANSLATED, Kind.TRANSLATED, Kind.NOT_OURS]
