# SPDX-License-Identifier: GPL-2.0-or-later
"""Keys about a translator's device, addresses and route: what is accepted, refused, and where."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import pytest

from clatnm import config
from clatnm.errors import ConfigError
from clatnm.model import AddressKind, Settings

UUID = "bbcd7cc0-dfd2-4e95-8d38-c9bc4872809c"


def parse(text: str) -> Settings:
    return config.parse(f"[clatnm]\n{text}\n", source="f.conf", backends=())


ACCEPTED: dict[str, tuple[str, Any]] = {
    "device = clat": ("device", "clat"),
    "device = auto": ("device", None),
    "clat-v4-addr = 192.0.0.1": ("clat_v4", IPv4Address("192.0.0.1")),
    "clat-v4-addr = 198.51.100.7": ("clat_v4", IPv4Address("198.51.100.7")),
    "clat-v4-addr = auto": ("clat_v4", None),
    "clat-v6-addr = 2001:db8::c1a7": ("clat_v6", IPv6Address("2001:db8::c1a7")),
    "clat-v6-addr = auto": ("clat_v6", AddressKind.AUTO),
    "clat-v6-addr = shared": ("clat_v6", AddressKind.SHARED),
    "clat-v6-addr = dedicated": ("clat_v6", AddressKind.DEDICATED),
    "metric = 2048": ("metric", 2048),
    "metric = 0": ("metric", 0),
    "metric = 4294967295": ("metric", 0xFFFFFFFF),
    "metric = auto": ("metric", None),
    "mtu = 1260": ("mtu_bytes", 1260),
    "mtu = auto": ("mtu_bytes", None),
}


@pytest.mark.parametrize(("line", "expected"), ACCEPTED.items(), ids=ACCEPTED)
def test_value_is_read(line: str, expected: tuple[str, Any]) -> None:
    field, value = expected
    settings = parse(line)
    assert getattr(settings, field) == value
    assert settings.written == {field}


REFUSED = {
    "device =": "'' is no name of a device",
    "device = a/b": "'a/b' is no name of a device",
    "device = sixteen-bytes-ab": "'sixteen-bytes-ab' is no name of a device",
    "device = lo": "'lo' is no name of a device",
    "clat-v4-addr = 192.0.0.256": "'192.0.0.256' is no IPv4 address",
    "clat-v4-addr = 127.0.0.1": "no translator can have the address 127.0.0.1",
    "clat-v6-addr = derived": "'derived' is no IPv6 address",
    "clat-v6-addr = fe80::1": "no translator can have the address fe80::1",
    "clat-v6-addr = ::": "no translator can have the address ::",
    "metric = -1": "'-1' is no metric",
    "metric = 4294967296": "'4294967296' is no metric",
    "metric = ٣": "'٣' is no metric",
    "mtu = 575": "'575' is no MTU",
    "mtu = 65536": "'65536' is no MTU",
}


@pytest.mark.parametrize(("line", "what"), REFUSED.items(), ids=REFUSED)
def test_mistake_is_told_with_its_line(line: str, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(line)
    assert caught.value.what == f"f.conf:2: {what}"
    assert caught.value.hint


@pytest.mark.parametrize("line", ["device = clat", "clat-v4-addr = 192.0.0.1", "clat-v6-addr = 2001:db8::1"])
def test_what_is_for_one_connection_has_no_place_in_the_file_for_all(tmp_path: Path, line: str) -> None:
    (tmp_path / "clatnm.conf").write_text(f"[clatnm]\n\n{line}\n")
    with pytest.raises(ConfigError) as caught:
        config.load(tmp_path, backends=())
    key = line.split()[0]
    assert caught.value.what == f"{tmp_path}/clatnm.conf:3: not all connections can have the same {key}"
    assert caught.value.hint == "put it into connections.d/UUID.conf"


def test_connection_has_its_own_over_what_is_for_all(tmp_path: Path) -> None:
    (tmp_path / "connections.d").mkdir()
    (tmp_path / "clatnm.conf").write_text("[clatnm]\nmtu = 1300\nmetric = 7\nclat-v6-addr = shared\n")
    own = tmp_path / "connections.d" / f"{UUID}.conf"
    own.write_text("[clatnm]\ndevice = clat\nclat-v4-addr = 192.0.0.1\nclat-v6-addr = 2001:db8::1\nmtu = 1260\n")
    settings = config.load(tmp_path, backends=())
    assert (settings.device, settings.clat_v4, settings.clat_v6) == (None, None, AddressKind.SHARED)
    of = settings.of(UUID)
    assert (of.device, of.clat_v4, of.clat_v6) == ("clat", IPv4Address("192.0.0.1"), IPv6Address("2001:db8::1"))
    assert (of.mtu_bytes, of.metric) == (1260, 7)


@pytest.mark.parametrize("key", ["script-up", "script-down"])
def test_script_is_an_absolute_path(key: str) -> None:
    field = key.replace("-", "_")
    assert getattr(parse(f"{key} = /etc/clatnm/a script"), field) == "/etc/clatnm/a script"
    assert getattr(parse(f"{key} = none"), field) == ""
    for wrong in ("up.sh", "", "echo up"):
        with pytest.raises(ConfigError) as caught:
            parse(f"{key} = {wrong}")
        assert caught.value.what == f"f.conf:2: {wrong!r} is no absolute path"


def test_static_translator_has_scripts_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "static.d").mkdir()
    (tmp_path / "clatnm.conf").write_text("[clatnm]\nscript-up = /all\n")
    file = tmp_path / "static.d" / "er.conf"
    text = "[clatnm]\nuplink = eth0\nprefix = 2001:db8:46::/96\n"
    file.write_text(f"{text}script-up = /own\nscript-down = none\n")
    (static,) = config.load(tmp_path, backends=()).statics
    assert (static.script_up, static.script_down) == ("/own", "")
    file.write_text(f"{text}script-up = own\n")
    with pytest.raises(ConfigError) as caught:
        config.load(tmp_path, backends=())
    assert caught.value.what == f"{file}:4: 'own' is no absolute path"
