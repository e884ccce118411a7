# SPDX-License-Identifier: GPL-2.0-or-later
"""What units of translators are called."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clatnm.dbus.scopes import unit_behind, unit_name

# systemd.unit(5): letters, digits and these; at most 255 with the suffix.
_VALID = re.compile(r"clat[a-zA-Z0-9:_.\\-]*\.scope")
_LONGEST = 255


@pytest.mark.parametrize(
    ("device", "name"),
    [
        ("clat-wlan0", "clat-wlan0.scope"),
        ("clat-eth0.100", "clat-eth0.100.scope"),
        ("v4-wwan0", "clat-v4-wwan0.scope"),
        ("init", "clat-init.scope"),
        ("session-1", "clat-session-1.scope"),
        ("clat-a@b", r"clat-a\x40b.scope"),
        ("clat-é", r"clat-\xc3\xa9.scope"),
        ("clat-\udcff", r"clat-\xff.scope"),
        (r"clat-\x40", r"clat-\x5cx40.scope"),
    ],
)
def test_unit_is_called_after_the_device(device: str, name: str) -> None:
    assert unit_name(device) == name
    assert unit_name(device, pid=4711) == name.removesuffix(".scope") + "-4711.scope"


@given(st.binary(min_size=1, max_size=15), st.integers(1, 1 << 22))
def test_name_is_valid_whatever_the_device_is_called(device: bytes, pid: int) -> None:
    for name in (unit_name(device.decode(errors="surrogateescape"), pid=each) for each in (0, pid)):
        assert _VALID.fullmatch(name), name
        assert len(name) <= _LONGEST


@given(st.binary(min_size=1, max_size=15), st.binary(min_size=1, max_size=15))
def test_names_are_as_different_as_devices(one: bytes, other: bytes) -> None:
    prefixed = [b"clat-" + name for name in (one, other)]
    named = [unit_name(device.decode(errors="surrogateescape")) for device in prefixed]
    assert (named[0] == named[1]) == (one == other)


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("/org/freedesktop/systemd1/unit/clat_2dwlan0_2escope", "clat-wlan0.scope"),
        ("/org/freedesktop/systemd1/unit/clatnm_2eservice", "clatnm.service"),
        ("/org/freedesktop/systemd1/unit/clat_2da_5cx40b_2escope", r"clat-a\x40b.scope"),
        ("/org/freedesktop/systemd1/unit/_31_2escope", "1.scope"),
        ("", ""),
    ],
)
def test_object_is_known_by_its_path(path: str, unit: str) -> None:
    assert unit_behind(path) == unit
