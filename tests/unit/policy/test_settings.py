# SPDX-License-Identifier: GPL-2.0-or-later
"""Which settings hold for a connection that has some of its own."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Network

from clatnm.model import AroundVpn, Mode, Settings
from clatnm.policy.modes import mode_of
from clatnm.policy.settings import with_own
from tests.unit.policy.worlds import WELL_KNOWN, a_world, an_uplink

OTHER = IPv6Network("2001:db8:64::/96")
COMMON = Settings(drain_s=7, prefix=OTHER, written=frozenset({"drain_s", "prefix"}))
OWN = Settings(prefix=WELL_KNOWN, dns64=False, written=frozenset({"prefix", "dns64"}))
UPLINK = replace(an_uplink(), settings=OWN)


def test_own_settings_go_over_those_for_all() -> None:
    found = with_own(COMMON, [UPLINK])
    own = found.of(UPLINK.uuid)
    assert (own.prefix, own.dns64, own.drain_s) == (WELL_KNOWN, False, 7)
    assert own.written == {"prefix", "dns64"}
    assert found.of("another").prefix == OTHER


def test_administrators_file_goes_over_own_settings() -> None:
    file = replace(COMMON, prefix=None, written=frozenset({"prefix"}))
    found = with_own(replace(COMMON, connections={UPLINK.uuid: file}), [UPLINK]).of(UPLINK.uuid)
    assert (found.prefix, found.dns64, found.drain_s) == (None, False, 7)


def test_connection_without_settings_changes_nothing() -> None:
    assert with_own(COMMON, [an_uplink()]) is COMMON


def test_again_is_fine() -> None:
    once = with_own(COMMON, [UPLINK])
    assert with_own(once, [UPLINK]) == once


def test_own_settings_say_nothing_about_the_mode() -> None:
    uplink = replace(UPLINK, settings=Settings(vpn=AroundVpn.BYPASS, written=frozenset({"vpn"})))
    settings = with_own(Settings(mode=Mode.NO, written=frozenset({"mode"})), [uplink])
    world = replace(a_world(), settings=settings, uplinks=(uplink,))
    assert mode_of(uplink, world) is Mode.NO
    assert settings.of(uplink.uuid).vpn is AroundVpn.BYPASS
