# SPDX-License-Identifier: GPL-2.0-or-later
"""Hearing Router Advertisements link by link, and believing only those that RFC 4861 lets us believe."""

from __future__ import annotations

import asyncio
import logging
from ipaddress import IPv6Address, IPv6Network

import pytest

from clatnm.model import PrefixSource
from tests.unit.aio import settle
from tests.unit.discovery.adverts import OTHER_ROUTER, OWN_PREFIX, ROUTER, SLAAC, WELL_KNOWN, advert, mtu, pref64, slaac
from tests.unit.discovery.stage import LINK, OTHER_LINK, Play, Stage


def test_advertised_prefix_is_a_candidate_with_its_router_and_end(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await stage.hears(advert(pref64(lifetime_s=600)))
        (candidate,) = stage.adverts.candidates("wlan0", stage.now())
        assert (candidate.prefix, candidate.source, candidate.router) == (WELL_KNOWN, PrefixSource.RA, ROUTER)
        assert candidate.expires_at == pytest.approx(stage.now() + 600)
        assert (stage.adverts.heard, stage.adverts.dropped, stage.changes) == (1, 0, 1)

    play(scene)


def test_links_do_not_hear_each_others_prefixes(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow(LINK, OTHER_LINK)
        await stage.hears(advert(pref64(WELL_KNOWN), mtu(1400), slaac()), ifindex=2)
        await stage.hears(advert(pref64(OWN_PREFIX)), ifindex=3)
        assert stage.prefixes("wlan0") == [WELL_KNOWN]
        assert stage.prefixes("eth0") == [OWN_PREFIX]
        assert stage.prefixes("wwan0") == []
        assert (stage.adverts.mtu("wlan0"), stage.adverts.mtu("eth0"), stage.adverts.mtu("wwan0")) == (1400, None, None)
        assert stage.adverts.slaac_prefixes("wlan0", stage.now()) == {SLAAC}
        assert stage.adverts.slaac_prefixes("eth0", stage.now()) == frozenset()

    play(scene)


def test_same_advertisement_again_is_no_change(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        for _ in range(3):
            await stage.hears(advert(pref64(), mtu(1400), slaac()))
            await asyncio.sleep(10)
        assert (stage.adverts.heard, stage.changes) == (3, 1)

    play(scene)


def test_advertisements_read_together_are_one_change(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await stage.hears(advert(pref64()), advert(pref64(OWN_PREFIX)), advert(mtu(1300)))
        assert (stage.adverts.heard, stage.changes) == (3, 1)

    play(scene)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(advert(pref64()), advert(pref64(lifetime_s=0)), id="rfc8781-4.1-withdrawn"),
        pytest.param(advert(pref64()), advert(pref64(), lifetime_s=0), id="rfc4861-6.3.4-router-gives-up"),
        pytest.param(advert(pref64()), advert(pref64(OWN_PREFIX)), id="another-prefix"),
        pytest.param(advert(mtu(1500)), advert(mtu(1400)), id="another-mtu"),
        pytest.param(advert(slaac()), advert(slaac(preferred_s=0)), id="rfc4862-5.5.4-deprecated"),
    ],
)
def test_changed_advertisement_is_a_change(play: Play, first: bytes, second: bytes) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await stage.hears(first)
        before = stage.changes
        await stage.hears(second)
        assert stage.changes == before + 1

    play(scene)


def test_prefix_ends_with_its_lifetime_by_itself(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await stage.hears(advert(pref64(lifetime_s=16), pref64(OWN_PREFIX, lifetime_s=600)))
        await asyncio.sleep(15)
        assert stage.prefixes() == [WELL_KNOWN, OWN_PREFIX]
        await asyncio.sleep(1)
        assert stage.prefixes() == [OWN_PREFIX]

    play(scene)


def test_preferred_router_comes_first(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await stage.hears(advert(pref64(WELL_KNOWN)), router=ROUTER)
        await stage.hears(advert(pref64(OWN_PREFIX), preference=1), router=OTHER_ROUTER)
        assert stage.prefixes() == [OWN_PREFIX, WELL_KNOWN]

    play(scene)


def test_mtu_left_out_later_stays(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await stage.hears(advert(mtu(1400)))
        await stage.hears(advert(pref64()))
        assert stage.adverts.mtu("wlan0") == 1400

    play(scene)


@pytest.mark.parametrize(
    "option",
    [
        pytest.param(slaac(flags=0x80), id="rfc4862-5.5.3-a-not-autonomous"),
        pytest.param(slaac(IPv6Network("fe80::/64")), id="rfc4862-5.5.3-b-link-local"),
        pytest.param(slaac(valid_s=60, preferred_s=61), id="rfc4862-5.5.3-c-preferred-beyond-valid"),
        pytest.param(slaac(IPv6Network("2001:db8::/56")), id="rfc4862-5.5.3-d-not-64"),
        pytest.param(slaac(preferred_s=0), id="rfc4862-5.5.4-deprecated"),
        pytest.param(slaac(IPv6Network("ff0e::/64")), id="rfc4291-2.7-multicast"),
    ],
)
def test_prefix_nobody_may_take_an_address_from_is_left_out(play: Play, option: bytes) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await stage.hears(advert(option))
        assert stage.adverts.slaac_prefixes("wlan0", stage.now()) == frozenset()

    play(scene)


def test_slaac_prefix_is_preferred_until_its_time(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await stage.hears(advert(slaac(preferred_s=30)))
        await asyncio.sleep(29)
        assert stage.adverts.slaac_prefixes("wlan0", stage.now()) == {SLAAC}
        await asyncio.sleep(1)
        assert stage.adverts.slaac_prefixes("wlan0", stage.now()) == frozenset()

    play(scene)


def test_flood_of_prefixes_does_not_grow_memory(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        for n in range(40):
            many = (slaac(IPv6Network((0x20010DB8 << 96 | (40 * n + k) << 64, 64))) for k in range(40))
            await stage.hears(advert(*many, *(pref64(IPv6Network((n << 96 | k << 64, 96))) for k in range(1, 9))))
        assert len(stage.adverts.slaac_prefixes("wlan0", stage.now())) <= 16
        assert len(stage.prefixes()) <= 8

    play(scene)


FORGED: dict[str, tuple[bytes, str, int]] = {
    "rfc4861-6.1.2-source-not-link-local": (advert(pref64()), "2001:db8:a::1", 255),
    "rfc4861-6.1.2-source-unspecified": (advert(pref64()), "::", 255),
    "rfc4861-6.1.2-hop-limit-64": (advert(pref64()), "fe80::1", 64),
    "rfc4861-6.1.2-hop-limit-unknown": (advert(pref64()), "fe80::1", -1),
    "rfc4861-6.1.2-code": (b"\x86\x01" + advert(pref64())[2:], "fe80::1", 255),
    "rfc4861-6.1.2-too-short": (advert()[:15], "fe80::1", 255),
    "rfc4861-6.1.2-option-length-0": (advert(b"\x26\x00" + bytes(14)), "fe80::1", 255),
    "option-past-the-end": (advert(pref64()[:8]), "fe80::1", 255),
    "other-type": (b"\x88" + advert(pref64())[1:], "fe80::1", 255),
    "empty": (b"", "fe80::1", 255),
}


@pytest.mark.parametrize(("data", "source", "hop_limit"), FORGED.values(), ids=FORGED)
def test_forged_advertisement_is_counted_and_otherwise_ignored(
    play: Play, caplog: pytest.LogCaptureFixture, data: bytes, source: str, hop_limit: int
) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        stage.socket.deliver(data, router=IPv6Address(source), hop_limit=hop_limit)
        await settle()
        assert (stage.adverts.heard, stage.adverts.dropped) == (0, 1)
        assert (stage.prefixes(), stage.changes) == ([], 0)
        await asyncio.sleep(20)
        assert len(stage.asked()) == 3  # a forgery is no answer

    with caplog.at_level(logging.INFO):
        play(scene)
    assert not caplog.records


def test_forgery_does_not_keep_a_good_advertisement_from_being_read(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await stage.hears(b"", advert(pref64()), b"\x86")
        assert (stage.adverts.heard, stage.adverts.dropped) == (1, 2)
        assert stage.prefixes() == [WELL_KNOWN]

    play(scene)


def test_advertisement_on_an_unknown_link_is_left_until_it_is_asked_for(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.follow()
        await stage.hears(advert(pref64()), ifindex=77)
        assert (stage.adverts.heard, stage.changes) == (0, 0)

    play(scene)
