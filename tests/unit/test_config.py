# SPDX-License-Identifier: GPL-2.0-or-later
"""The configuration file: what is accepted, and what each mistake is answered with."""

from __future__ import annotations

import os
from dataclasses import fields, replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clatnm import config
from clatnm.errors import ConfigError
from clatnm.model import AroundVpn, Mode, Settings

BACKENDS = ("ebpf", "tun")
FORM = "the form is: [clatnm], then key = value"
MODES = "one of: auto, force, no"
KEYS = f"known keys: {', '.join(config.KEYS)}"
ENDLESS = "9" * 5000


def parse(text: str) -> Settings:
    return config.parse(text, source="/etc/clatnm/clatnm.conf", backends=BACKENDS)


ACCEPTED: dict[str, tuple[str, Settings]] = {
    "empty": ("", Settings(mode=Mode.AUTO, backend="auto")),
    "only-comments": ("# nothing\n; here\n\n", Settings()),
    "empty-section": ("[clatnm]\n", Settings()),
    "mode": ("[clatnm]\nmode = force\n", Settings(mode=Mode.FORCE)),
    "backend": ("[clatnm]\nbackend = tun\n", Settings(backend="tun")),
    "both": ("[clatnm]\nmode = no\nbackend = ebpf\n", Settings(mode=Mode.NO, backend="ebpf")),
    "colon-and-case": ("[clatnm]\nMODE: No\n", Settings(mode=Mode.NO)),
    "comment-behind": ("[clatnm]\nmode = no # not here\nbackend=tun ; slow\n", Settings(mode=Mode.NO, backend="tun")),
    "windows-line-ends": ("[clatnm]\r\nmode = no\r\n", Settings(mode=Mode.NO)),
    "no-line-end": ("[clatnm]\nmode=no", Settings(mode=Mode.NO)),
    "percent-is-no-magic": ("[clatnm]\n# 100 %(mode)s\nmode = no\n", Settings(mode=Mode.NO)),
    "prefix": ("[clatnm]\nprefix = 2001:db8:64::/96\n", Settings(prefix=IPv6Network("2001:db8:64::/96"))),
    "clatd-39-fallback": (
        "[clatnm]\nfallback-prefix = 64:ff9b::/96\n",
        Settings(fallback_prefix=IPv6Network("64:ff9b::/96")),
    ),
    "clatd-c16-length-40": ("[clatnm]\nprefix = 2001:db8::/40\n", Settings(prefix=IPv6Network("2001:db8::/40"))),
    "dns": (
        "[clatnm]\ndns64 = off\ndns64-servers = 2001:db8::53, 192.0.2.53\n",
        Settings(dns64=False, dns64_servers=(IPv6Address("2001:db8::53"), IPv4Address("192.0.2.53"))),
    ),
    "plat-check": (
        "[clatnm]\nplat-check = no\nplat-check-targets = 192.0.2.1 192.0.2.2\n",
        Settings(plat_check=False, plat_check_targets=(IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2"))),
    ),
    "drain": ("[clatnm]\ndrain = 0\n", Settings(drain_s=0)),
    "vpn": ("[clatnm]\nvpn = Bypass\n", Settings(vpn=AroundVpn.BYPASS)),
    "interfaces": ("[clatnm]\ninterfaces = eth0, wlan* eth0\n", Settings(interfaces=("eth0", "wlan*"))),
}


@pytest.mark.parametrize(("text", "expected"), ACCEPTED.values(), ids=ACCEPTED)
def test_file_is_read(text: str, expected: Settings) -> None:
    found = parse(text)
    assert replace(found, written=frozenset()) == expected
    assert found.written == {
        field.name for field in fields(expected) if getattr(expected, field.name) != getattr(Settings(), field.name)
    }


# Text, line of the mistake, what is said, hint
MISTAKES: dict[str, tuple[str, int, str, str]] = {
    "unknown-mode": ("[clatnm]\n\nmode = maybe\n", 3, "mode 'maybe' is unknown", MODES),
    "no-value": ("[clatnm]\nmode =\n", 2, "mode '' is unknown", MODES),
    "value-over-two-lines": ("[clatnm]\nmode = auto\n  no\n", 2, r"mode 'auto\nno' is unknown", MODES),
    "unknown-backend": ("[clatnm]\nbackend = magic\n", 2, "unknown backend 'magic'", "one of: auto, ebpf, tun"),
    "backend-is-exact": ("[clatnm]\nbackend = TUN\n", 2, "unknown backend 'TUN'", "one of: auto, ebpf, tun"),
    "prefix-length": (
        "[clatnm]\nprefix = 2001:db8::/80\n",
        2,
        "2001:db8::/80: a NAT64 prefix has 32, 40, 48, 56, 64 or 96 bits",
        "a NAT64 prefix, as 64:ff9b::/96",
    ),
    "no-prefix": (
        "[clatnm]\nfallback-prefix = yes\n",
        2,
        "'yes' is not an IPv6 prefix",
        "a NAT64 prefix, as 64:ff9b::/96",
    ),
    "no-resolver": (
        "[clatnm]\ndns64-servers = dns.test\n",
        2,
        "'dns.test' is not an address",
        "addresses with commas between them",
    ),
    "target-is-ipv4": (
        "[clatnm]\nplat-check-targets = 2001:db8::1\n",
        2,
        "'2001:db8::1' is not an IPv4 address",
        "addresses with commas between them",
    ),
    "no-target": (
        "[clatnm]\nplat-check-targets =\n",
        2,
        "no address is given",
        "IPv4 addresses that answer a ping; or plat-check = no",
    ),
    "no-flag": ("[clatnm]\ndns64 = maybe\n", 2, "'maybe' is neither yes nor no", "yes or no"),
    "vpn-word": ("[clatnm]\nvpn = no\n", 2, "unknown word 'no'", "one of: strict, bypass"),
    "negative-drain": ("[clatnm]\ndrain = -1\n", 2, "'-1' is no number of seconds", "0 to 86400"),
    "long-drain": ("[clatnm]\ndrain = 86401\n", 2, "'86401' is no number of seconds", "0 to 86400"),
    "endless-drain": (f"[clatnm]\ndrain = {ENDLESS}\n", 2, f"'{ENDLESS[:199]}…", "0 to 86400"),
    **{
        f"target-{address}": (
            f"[clatnm]\nplat-check-targets = 1.1.1.1, {address}\n",
            2,
            f"no host behind a NAT64 has the address {address}",
            "IPv4 addresses that answer a ping; or plat-check = no",
        )
        for address in ("0.0.0.0", "127.0.0.1", "169.254.0.1", "224.0.0.1", "255.255.255.255")
    },
    **{
        f"resolver-{address}": (
            f"[clatnm]\ndns64-servers = 2001:db8::53, {address}\n",
            2,
            f"no resolver on the network can be {address}",
            "it is asked over the connection",
        )
        for address in ("127.0.0.53", "::1", "ff02::fb", "::", "0.0.0.0")
    },
    "interface-with-a-path": (
        "[clatnm]\ninterfaces = eth0 /dev/x\n",
        2,
        "no interface has the name '/dev/x'",
        "names or patterns, as eth0 or wlan*",
    ),
    "interface-of-our-own": (
        "[clatnm]\ninterfaces = clat-eth0\n",
        2,
        "'clat-eth0' leads to no network",
        "the interfaces that do, as eth0 or wlan*",
    ),
    "unknown-key": ("[clatnm]\nmode = no\nmodus = no\n", 3, "unknown key 'modus'", KEYS),
    "key-that-another-begins-with": ("[clatnm]\nmode = no\nmod = no\n", 3, "unknown key 'mod'", KEYS),
    "key-in-a-comment-before": ("[clatnm]\n# modus = no\nmodus = no\n", 3, "unknown key 'modus'", KEYS),
    "odd-key": ("[clatnm]\na.b[c = 1\n", 2, "unknown key 'a.b[c'", KEYS),
    "unknown-section": ("[clatnm]\n[Global]\n", 2, "unknown section [Global]", "the only one is [clatnm]"),
    "section-case": ("[Clatnm]\nmode = no\n", 1, "unknown section [Clatnm]", "the only one is [clatnm]"),
    "default-section": ("[DEFAULT]\nmode = no\n", 1, "unknown section [DEFAULT]", "the only one is [clatnm]"),
    "default-beside-ours": (
        "[clatnm]\n[DEFAULT]\nmode=no\n",
        2,
        "unknown section [DEFAULT]",
        "the only one is [clatnm]",
    ),
    "no-section": ("# hi\nmode = no\n", 2, "this line belongs to no section", FORM),
    "no-equals-sign": ("[clatnm]\nmode = no\nforce\n", 3, "this line is not understood", FORM),
    "key-twice": ("[clatnm]\nmode = no\nmode = auto\n", 3, "'mode' is set twice", FORM),
    "section-twice": ("[clatnm]\nmode = no\n[clatnm]\n", 3, "[clatnm] appears twice", FORM),
    "binary": ("[clatnm]\n\0\0\n", 2, "this line is not understood", FORM),
}


@pytest.mark.parametrize("word", ["none", "None", "NONE"])
def test_none_may_be_written_in_any_case(word: str) -> None:
    found = parse(f"[clatnm]\nprefix = {word}\nfallback-prefix = {word}\ndns64-servers = {word}\n")
    assert replace(found, written=frozenset()) == Settings()
    assert len(found.written) == 3


@pytest.mark.parametrize(("text", "line", "what", "hint"), MISTAKES.values(), ids=MISTAKES)
def test_mistake_is_answered_with_file_line_and_hint(text: str, line: int, what: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert str(caught.value) == f"/etc/clatnm/clatnm.conf:{line}: {what} ({hint})"


@given(st.text(st.sampled_from("[]clatnm=:;# \n\r\tmodebkx\x0b\x1c\u2028é"), max_size=60))
@settings(deadline=None)
def test_any_text_is_settings_or_one_line(text: str) -> None:
    try:
        parse(text)
    except ConfigError as error:
        assert "\n" not in str(error)
        assert str(error).startswith("/etc/clatnm/clatnm.conf:")
        assert error.hint


@pytest.mark.parametrize(
    ("words", "mode"),
    [
        (("no", "off", "false", "0", " No "), Mode.NO),
        (("auto", "yes", "on", "true", "1", "AUTO"), Mode.AUTO),
        (("force", "2", "Force\n"), Mode.FORCE),
    ],
)
def test_mode_has_many_words(words: tuple[str, ...], mode: Mode) -> None:
    assert {config.parse_mode(word) for word in words} == {mode}


@pytest.mark.parametrize("word", ["", "-1", "3", "nope", "autoforce", "\N{FULLWIDTH DIGIT ONE}"])
def test_other_words_are_no_mode(word: str) -> None:
    with pytest.raises(ConfigError, match="is unknown"):
        config.parse_mode(word)


# The file


def test_absent_file_means_defaults(tmp_path: Path) -> None:
    assert config.load(tmp_path, backends=BACKENDS) == Settings()
    assert config.load(tmp_path / "absent", backends=BACKENDS) == Settings()


def test_file_is_found_in_its_directory(tmp_path: Path) -> None:
    (tmp_path / "clatnm.conf").write_text("[clatnm]\nmode = no\n")
    assert config.load(tmp_path, backends=BACKENDS).mode is Mode.NO


def test_mark_of_an_editor_before_the_text_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "clatnm.conf").write_bytes(b"\xef\xbb\xbf[clatnm]\r\nmode = no\r\n")
    assert config.load(tmp_path, backends=BACKENDS).mode is Mode.NO


def test_mistake_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "clatnm.conf"
    path.write_text("[clatnm]\nmode = maybe\n")
    with pytest.raises(ConfigError) as caught:
        config.load(tmp_path, backends=BACKENDS)
    assert str(caught.value).startswith(f"{path}:2: ")


def test_file_that_is_not_utf8_is_a_mistake_in_its_line(tmp_path: Path) -> None:
    path = tmp_path / "clatnm.conf"
    path.write_bytes(b"[clatnm]\nmode = no\n# caf\xe9\n")
    with pytest.raises(ConfigError) as caught:
        config.load(tmp_path, backends=BACKENDS)
    assert str(caught.value) == f"{path}:3: not UTF-8 text (save the file as UTF-8)"


def test_file_that_cannot_be_read_is_a_mistake(tmp_path: Path) -> None:
    path = tmp_path / "clatnm.conf"
    path.mkdir()
    with pytest.raises(ConfigError) as caught:
        config.load(tmp_path, backends=BACKENDS)
    assert str(caught.value) == f"{path}: not a regular file"


# One connection's file

UUID = "bbcd7cc0-dfd2-4e95-8d38-c9bc4872809c"


def connection_file(directory: Path, text: str, *, name: str = f"{UUID}.conf") -> Path:
    file = directory / "connections.d" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def test_connection_file_goes_over_the_common_one(tmp_path: Path) -> None:
    (tmp_path / "clatnm.conf").write_text("[clatnm]\nmode = force\ndrain = 5\n", encoding="utf-8")
    connection_file(tmp_path, "[clatnm]\ndrain = 7\n")
    connection_file(tmp_path, "not ours", name="README")
    loaded = config.load(tmp_path, backends=BACKENDS)
    own = loaded.of(UUID)
    assert (own.mode, own.drain_s, own.written) == (Mode.FORCE, 7, {"drain_s"})
    other = loaded.of("another")
    assert (other.mode, other.drain_s) == (Mode.FORCE, 5)


def test_mistake_in_a_connection_file_names_that_file(tmp_path: Path) -> None:
    file = connection_file(tmp_path, "[clatnm]\n\nmodus = no\n")
    with pytest.raises(ConfigError, match=f"^{file}:3: unknown key 'modus'"):
        config.load(tmp_path, backends=BACKENDS)


def test_connection_file_of_a_plain_interface_has_its_name(tmp_path: Path) -> None:
    (tmp_path / "clatnm.conf").write_text("[clatnm]\ninterfaces = eth0 wlan*\n", encoding="utf-8")
    for name in ("eth0", "wlan1"):
        connection_file(tmp_path, "[clatnm]\nmode = no\n", name=f"{name}.conf")
    loaded = config.load(tmp_path, backends=BACKENDS)
    assert loaded.interfaces == ("eth0", "wlan*")
    assert [loaded.of(name).mode for name in ("eth0", "wlan1", "eth1")] == [Mode.NO, Mode.NO, Mode.AUTO]
    file = connection_file(tmp_path, "[clatnm]\n", name="eth1.conf")
    with pytest.raises(ConfigError, match=f"^{file}: the name is not .* name the interface in `interfaces`"):
        config.load(tmp_path, backends=BACKENDS)


def test_connection_file_cannot_say_what_holds_for_all(tmp_path: Path) -> None:
    file = connection_file(tmp_path, "[clatnm]\ninterfaces = eth0\n")
    with pytest.raises(ConfigError, match=f"^{file}:2: unknown key 'interfaces'"):
        config.load(tmp_path, backends=BACKENDS)


def test_connection_file_without_a_uuid_is_a_mistake(tmp_path: Path) -> None:
    file = connection_file(tmp_path, "[clatnm]\n", name="Home.conf")
    with pytest.raises(ConfigError, match=f"^{file}: the name is not the UUID of a connection .*nmcli"):
        config.load(tmp_path, backends=BACKENDS)


@pytest.mark.parametrize("directory", ["connections.d", "static.d"])
@pytest.mark.parametrize(("name", "told"), [(b"a\nb.conf", r"'a\nb.conf'"), (b"\xff.conf", r"'\udcff.conf'")])
def test_file_whose_name_cannot_be_told_is_a_mistake_on_one_line(
    tmp_path: Path, directory: str, name: bytes, told: str
) -> None:
    (tmp_path / directory).mkdir()
    Path(os.fsdecode(bytes(tmp_path / directory) + b"/" + name)).write_text("[clatnm]\n")
    with pytest.raises(ConfigError) as caught:
        config.load(tmp_path, backends=BACKENDS)
    said = f"{tmp_path / directory}: {told} is no name for a file of ours (rename or remove it)"
    assert str(caught.value) == said
    assert said.encode().isascii()


@pytest.mark.parametrize("name", ["clatnm.conf", "static.d/web.conf"])
def test_file_that_is_huge_is_not_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    with (tmp_path / name).open("wb") as file:
        file.truncate(1 << 40)  # of nothing: more than fits into memory
    with pytest.raises(ConfigError) as caught:
        config.load(tmp_path, backends=BACKENDS)
    assert str(caught.value) == f"{tmp_path / name}: longer than 16 MiB (is it the file that is meant?)"


# Interfaces without a network manager


def test_interface_that_is_not_there_is_told_once() -> None:
    before = parse("[clatnm]\ninterfaces = eth0 eth7, wlan* veth[0-9]\n")
    assert config.missing_uplinks(before, {"eth0"}) == [
        "interfaces: there is no interface 'eth7' (waiting for it; see: ip link)"
    ]
    assert config.missing_uplinks(before, {"eth0", "eth7"}) == []
    assert config.missing_uplinks(before, {"eth0"}, before=before) == []
    (line,) = config.missing_uplinks(parse("[clatnm]\ninterfaces = eth7 eth8\n"), {"eth0"}, before=before)
    assert "'eth8'" in line
