# SPDX-License-Identifier: GPL-2.0-or-later
"""What TAYGA is told, what is made of its answers, and how it and our process end together. TAYGA itself: e2e."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any, cast

import pytest

from clatnm.errors import TranslatorError
from clatnm.kernel.host import Host
from clatnm.model import Plan, Relay
from clatnm.proto.eam import EamTable, host_pair
from clatnm.proto.nat64 import embed
from clatnm.proto.siit import Siit, SiitConfig
from clatnm.translators import device, tayga
from clatnm.translators.backends import BACKENDS
from clatnm.translators.base import Ended
from clatnm.translators.enclosed import Enclosed
from clatnm.translators.selfcheck import ANYWHERE, Inwards, Outwards
from clatnm.translators.tayga import Program, TaygaBackend, TaygaTranslator, configuration, examine
from tests.unit.aio import run_virtual, settle

PLAN = Plan(
    interface="up0",
    ifindex=2,
    uuid="",
    device="clat-up0",
    backend="tayga",
    clat_v4=IPv4Address("192.0.0.4"),
    clat_v6=IPv6Address("2001:db8:1::c1a7"),
    prefix=IPv6Network("64:ff9b::/96"),
    gateway=None,
    link_address=None,
    ipv6_mtu_bytes=1500,
    ipv4_mtu_bytes=1472,
    metric=1,
)
OLD = Program(path="/usr/sbin/tayga", version="0.9.2", directives=frozenset())
NEW = replace(OLD, version="0.9.6", directives=frozenset({"wkpf-strict", "udp-cksum-mode", "workers"}))
PREFIXES = [
    pytest.param("2001:db8::/32", id="rfc6052-2.4-len32"),
    pytest.param("2001:db8:100::/40", id="rfc6052-2.4-len40"),
    pytest.param("2001:db8:122::/48", id="rfc6052-2.4-len48"),
    pytest.param("2001:db8:122:300::/56", id="rfc6052-2.4-len56"),
    pytest.param("2001:db8:122:344::/64", id="rfc6052-2.4-len64"),
    pytest.param("2001:db8:122:344::/96", id="rfc6052-2.4-len96"),
    pytest.param("64:ff9b::/96", id="rfc6052-2.1-well-known"),
    pytest.param("64:ff9b:1::/48", id="rfc8215-local-use"),
]


# The configuration


def directives(plan: Plan, program: Program) -> dict[str, list[str]]:
    """Directive → its arguments. Each stands there once, as TAYGA demands."""
    lines = [line.split() for line in configuration(plan, program).splitlines() if line and line[0] != "#"]
    told = {words[0]: words[1:] for words in lines}
    assert len(told) == len(lines)
    return told


@pytest.mark.parametrize("program", [OLD, NEW], ids=["0.9.2", "0.9.6"])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_configuration_is_one_map_and_the_prefix(prefix: str, program: Program) -> None:
    told = directives(replace(PLAN, prefix=IPv6Network(prefix)), program)
    assert told["tun-device"] == ["tayga"]
    assert told["prefix"] == [prefix]
    assert told["map"] == ["192.0.0.4", "2001:db8:1::c1a7"]
    assert told["ipv4-addr"] == ["192.0.0.8"]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_own_ipv6_address_is_outside_of_the_prefix(prefix: str) -> None:
    """tayga-132, clatd-52: 0.9.5 refuses one within 64:ff9b::/96, be it its own choice."""
    (own,) = directives(replace(PLAN, prefix=IPv6Network(prefix)), NEW)["ipv6-addr"]
    assert IPv6Address(own) not in IPv6Network(prefix)
    assert IPv6Address(own) != PLAN.clat_v6


def test_old_version_gets_no_directive_that_it_would_refuse() -> None:
    assert set(directives(PLAN, OLD)) == {"tun-device", "prefix", "map", "ipv4-addr", "ipv6-addr"}


def test_new_version_gets_what_it_knows() -> None:
    told = directives(PLAN, NEW)
    assert (told["wkpf-strict"], told["udp-cksum-mode"], told["workers"]) == (["no"], ["calc"], ["0"])
    between = directives(PLAN, replace(NEW, directives=frozenset({"wkpf-strict"})))
    assert between.keys() == directives(PLAN, OLD).keys() | {"wkpf-strict"}


def test_own_ipv4_address_is_never_the_clats() -> None:
    taken = replace(PLAN, clat_v4=IPv4Address("192.0.0.8"))
    told = directives(taken, OLD)
    assert told["map"][0] == "192.0.0.8"
    assert told["ipv4-addr"] == ["192.0.0.9"]


RELAY = Relay(
    mappings=EamTable(
        (IPv4Network(v4), IPv6Network(v6))
        for v4, v6 in (("192.0.2.1/32", "2001:db8:1::201/128"), ("192.0.2.2/32", "2001:db8:9::2/128"))
    )
)


def test_relay_has_a_map_for_each_host_and_none_for_its_own_addresses() -> None:
    """RFC 7756; 192.0.0.8 reports errors only (RFC 7600)."""
    told = configuration(replace(PLAN, relay=RELAY, clat_v4=IPv4Address("192.0.0.8")), OLD).splitlines()
    maps = [line for line in told if line.startswith("map ")]
    assert maps == ["map 192.0.2.1 2001:db8:1::201", "map 192.0.2.2 2001:db8:9::2"]
    assert "ipv4-addr 192.0.0.8" in told


@pytest.mark.parametrize(("v4", "v6"), [("192.0.2.0/24", "2001:db8::/120"), ("192.0.2.1/32", "2001:db8::/64")])
def test_relay_of_prefixes_is_refused_in_words(v4: str, v6: str) -> None:
    relay = Relay(mappings=EamTable([(IPv4Network(v4), IPv6Network(v6))]))
    with pytest.raises(TranslatorError, match=f"hosts only, not {v4} = {v6}"):
        configuration(replace(PLAN, relay=relay), NEW)


def test_lines_are_short_enough_for_tayga() -> None:
    longest = replace(PLAN, clat_v6=IPv6Address("2001:db8:1111:2222:3333:4444:5555:6666"))
    assert max(map(len, configuration(longest, NEW).splitlines())) < 510


# The program


@pytest.mark.parametrize(
    ("words", "version", "known"),
    [
        pytest.param(b"starting TAYGA 0.9.2\n", "0.9.2", set(), id="0.9.2"),
        pytest.param(b"Starting TAYGA 0.9.5\n\0wkpf-strict", "0.9.5", {"wkpf-strict"}, id="0.9.5"),
        pytest.param(
            b"Starting tayga 0.9.6-15-g1fcb318\n\0wkpf-strict\0udp-cksum-mode\0workers",
            "0.9.6-15-g1fcb318",
            {"wkpf-strict", "udp-cksum-mode", "workers"},
            id="0.9.6-from-git",
        ),
        pytest.param(b"Using %d workers based on CPU cores\n", "of unknown version", set(), id="only-mentioned"),
        pytest.param(b"", "of unknown version", set(), id="nothing"),
    ],
)
def test_program_is_asked_for_its_version_and_directives(
    tmp_path: Path, words: bytes, version: str, known: set[str]
) -> None:
    path = tmp_path / "tayga"
    path.write_bytes(b"\x7fELF\0ipv4-addr\0" + words + b"\0\x01\x02")
    assert examine(str(path)) == Program(path=str(path), version=version, directives=frozenset(known))


def test_program_that_is_gone_is_a_translator_error(tmp_path: Path) -> None:
    with pytest.raises(TranslatorError, match="No such file"):
        examine(str(tmp_path / "tayga"))
    with pytest.raises(TranslatorError, match="tayga is not installed"):
        examine("")


def test_probe_says_in_one_line_that_it_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    backend = TaygaBackend(cast("Host", None))
    monkeypatch.setattr(tayga.tun, "DEVICE", str(tmp_path))
    monkeypatch.setattr(tayga, "_PATH", str(tmp_path))
    assert backend.probe() == "tayga is not installed"
    program = tmp_path / "tayga"
    program.touch()
    assert backend.probe() == "tayga is not installed"
    program.chmod(0o755)
    assert backend.probe() == ""
    monkeypatch.setattr(tayga.tun, "DEVICE", str(tmp_path / "tun"))
    assert backend.probe() == f"{tmp_path}/tun cannot be opened"


def test_it_is_the_last_choice() -> None:
    assert list(BACKENDS)[-1] == "tayga"


# The check


def translated(packet: bytes, source: IPv6Address | IPv4Address, destination: IPv6Address | IPv4Address) -> bytes:
    """A packet's ICMP message behind another header."""
    if source.version == 6:
        return b"\x60" + bytes(7) + source.packed + destination.packed + packet[20:]
    return b"\x45" + bytes(11) + source.packed + destination.packed + packet[40:]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_right_translation_has_no_fault(prefix: str) -> None:
    plan = replace(PLAN, prefix=IPv6Network(prefix))
    far = embed(plan.prefix, ANYWHERE)
    out, back = Outwards(plan), Inwards(plan)
    answers = {
        out: translated(out.packet(513), plan.clat_v6, far),
        back: translated(back.packet(513), ANYWHERE, plan.clat_v4),
    }
    for probe, answer in answers.items():
        assert probe.fault(answer) == ""
        assert probe.sequence(answer) == 513


@pytest.mark.parametrize("prefix", PREFIXES)
def test_our_own_translation_would_pass(prefix: str) -> None:
    plan = replace(PLAN, prefix=IPv6Network(prefix))
    eam = EamTable([host_pair(plan.clat_v4, plan.clat_v6)])
    siit = Siit(SiitConfig(prefix=plan.prefix, eam=eam, ipv6_mtu_bytes=1500, ipv4_mtu_bytes=1480), first_ident=1)
    out, back = Outwards(plan), Inwards(plan)
    for probe, outcome in ((out, siit.from_ipv4(out.packet(7), 0.0)), (back, siit.from_ipv6(back.packet(7), 0.0))):
        (answer,) = outcome.forward
        assert (probe.fault(answer), probe.sequence(answer)) == ("", 7)


def test_wrong_source_is_told_with_what_was_expected() -> None:
    """Debian's 0.9.2-9: clatd-53."""
    seen = translated(Outwards(PLAN).packet(0), IPv6Address("64:ff9b::c000:4"), embed(PLAN.prefix, ANYWHERE))
    assert Outwards(PLAN).fault(seen) == (
        "it makes a packet from 64:ff9b::c000:4 to 64:ff9b::c629:4, not from 2001:db8:1::c1a7 to 64:ff9b::c629:4"
    )


def test_refusal_is_told() -> None:
    refusal = translated(Inwards(PLAN).packet(0), IPv4Address("192.0.0.8"), PLAN.clat_v4)
    assert "from 192.0.0.8 to 192.0.0.4" in Outwards(PLAN).fault(refusal)


@pytest.mark.parametrize("packet", [b"", b"\x60", b"\x45" * 27, b"\x60" * 47, b"\x50" * 60])
def test_no_packet_at_all_is_told(packet: bytes) -> None:
    assert Outwards(PLAN).fault(packet) == "it makes packets that are neither IPv4 nor IPv6"


# Ending together


class Half:
    """TAYGA, or the device with our process, as the translator sees it."""

    def __init__(self) -> None:
        self.end: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.stopped = 0
        self.plans: list[Plan] = []

    async def ended(self) -> Any:
        return await asyncio.shield(self.end)

    async def stop(self) -> None:
        self.stopped += 1
        if not self.end.done():
            self.end.set_result(self.last_word)

    last_word: Any = "tayga ended with signal 9"

    async def update(self, plan: Plan) -> None:
        self.plans.append(plan)

    async def counters(self) -> Mapping[str, Any]:
        return {"counted": 1}


class DeviceHalf(Half):
    last_word = Ended(error="the translator process ended with status 0")


def halves() -> tuple[Half, DeviceHalf, TaygaTranslator]:
    its, ours = Half(), DeviceHalf()
    return its, ours, TaygaTranslator(cast("Enclosed", its), cast("device.DeviceTranslator", ours), PLAN)


def test_end_of_tayga_ends_the_device() -> None:
    async def work() -> None:
        its, ours, translator = halves()
        its.end.set_result("tayga ended with signal 11")
        assert await translator.ended() == Ended(error="tayga ended with signal 11")
        assert ours.stopped

    run_virtual(work())


@pytest.mark.parametrize("ended", [Ended(error="gone"), Ended(error="", collision="2001:db8:1::c1a7")])
def test_end_of_our_process_ends_tayga(ended: Ended) -> None:
    async def work() -> None:
        its, ours, translator = halves()
        ours.end.set_result(ended)
        assert await translator.ended() == ended
        assert its.stopped

    run_virtual(work())


def test_stop_ends_both_and_returns_when_they_have() -> None:
    async def work() -> None:
        its, ours, translator = halves()
        watching = asyncio.ensure_future(translator.ended())
        await settle()
        await translator.stop()
        assert its.end.done()
        assert ours.end.done()
        assert await watching == DeviceHalf.last_word
        await translator.stop()

    run_virtual(work())


def test_it_counts_what_our_process_counts() -> None:
    async def work() -> None:
        _, _, translator = halves()
        assert await translator.counters() == {"counted": 1}
        await translator.stop()

    run_virtual(work())


def test_what_tayga_does_not_know_is_applied_live() -> None:
    async def work() -> None:
        _, ours, translator = halves()
        new = replace(PLAN, ipv6_mtu_bytes=1400, ipv4_mtu_bytes=1372, metric=7, gateway=IPv6Address("fe80::2"))
        await translator.update(new)
        assert ours.plans == [new]
        await translator.stop()

    run_virtual(work())


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"prefix": IPv6Network("2001:db8:64::/96")}, id="prefix"),
        pytest.param({"clat_v6": IPv6Address("2001:db8:2::c1a7")}, id="renumbered"),
    ],
)
def test_what_tayga_was_told_is_not(changed: dict[str, Any]) -> None:
    async def work() -> None:
        _, ours, translator = halves()
        with pytest.raises(TranslatorError, match="only at its start"):
            await translator.update(replace(PLAN, **changed))
        assert ours.plans == []
        await translator.stop()

    run_virtual(work())
