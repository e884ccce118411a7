# SPDX-License-Identifier: GPL-2.0-or-later
"""clatd's configuration in our words: a row for each option it has, and what its own reader makes of odd lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clatnm import clatd_conf, clatd_rules, config
from clatnm.clatd_conf import Fate, Imported
from clatnm.clatd_rules import Becomes, Place
from clatnm.errors import ConfigError
from clatnm.translators.backends import BACKENDS

KEPT, NOT_NEEDED, NOT_SUPPORTED = Becomes.KEPT, Becomes.NOT_NEEDED, Becomes.NOT_SUPPORTED


def imported(text: str, *, for_connection: bool = False) -> Imported:
    return clatd_conf.translate(clatd_conf.parse(text), source="clatd.conf", for_connection=for_connection)


def only_fate(text: str, *, for_connection: bool = False) -> Fate:
    (fate,) = imported(text, for_connection=for_connection).fates
    return fate


# The setting; what becomes of it; for what is kept, as what (in clatnm.conf)
OPTIONS: dict[str, tuple[str, Becomes, dict[str, str]]] = {
    "c01-quiet": ("quiet=2", NOT_NEEDED, {}),
    "c02-debug": ("debug=1", NOT_NEEDED, {}),
    "c08-cmd-ip": ("cmd-ip=/sbin/ip", NOT_NEEDED, {}),
    "c08-cmd-networkctl": ("cmd-networkctl=/bin/networkctl", NOT_NEEDED, {}),
    "c08-cmd-networkctl-off": ("cmd-networkctl=", NOT_SUPPORTED, {}),
    "c08-cmd-nft": ("cmd-nft=nft", NOT_NEEDED, {}),
    "c08-cmd-tayga": ("cmd-tayga=/usr/sbin/tayga", NOT_NEEDED, {}),
    "c08-cmd-ufw": ("cmd-ufw=ufw", NOT_NEEDED, {}),
    "c08-cmd-ufw-off": ("cmd-ufw=", NOT_NEEDED, {}),
    "c10-plat-prefix": ("plat-prefix=64:ff9b::/96", KEPT, {"prefix": "64:ff9b::/96"}),
    "c16-plat-prefix-of-40": ("plat-prefix=2001:db8::/40", KEPT, {"prefix": "2001:db8::/40"}),
    "c10-plat-prefix-unset": ("plat-prefix=", NOT_NEEDED, {}),
    "c13-dns64-servers": (
        "dns64-servers=2001:db8::53,2001:db8::54",
        KEPT,
        {"dns64-servers": "2001:db8::53, 2001:db8::54"},
    ),
    "c13-dns64-server-by-name": ("dns64-servers=dns64.example", NOT_SUPPORTED, {}),
    "c13-dns64-server-is-this-host": ("dns64-servers=127.0.0.53", NOT_SUPPORTED, {}),
    "c15-fallback": ("plat-fallback-prefix=64:ff9b::/96", KEPT, {"fallback-prefix": "64:ff9b::/96"}),
    "c17-plat-dev": ("plat-dev=eth0", NOT_SUPPORTED, {}),
    "c18-clat-v4": ("clat-v4-addr=192.0.0.1", NOT_NEEDED, {}),
    "c18-clat-v4-of-the-user": ("clat-v4-addr=198.51.100.7", NOT_SUPPORTED, {}),
    "c19-tayga-v4": ("tayga-v4-addr=192.0.0.2", NOT_NEEDED, {}),
    "c20-shared": ("clat-v6-addr=shared", KEPT, {"clat-v6-addr": "shared"}),
    "c21-derived": ("clat-v6-addr=derived", KEPT, {"clat-v6-addr": "dedicated"}),
    "c22-address": ("clat-v6-addr=2001:db8::c1a7", NOT_SUPPORTED, {}),
    "c30-ctmark": ("ctmark=0xc1a7", NOT_NEEDED, {}),
    "c33-route-table": ("route-table=49575", NOT_NEEDED, {}),
    "c34-forwarding": ("forwarding-enable=no", NOT_NEEDED, {}),
    "c35-proxynd": ("proxynd-enable=Yes", NOT_NEEDED, {}),
    "c38-clat-dev": ("clat-dev=clat", NOT_NEEDED, {}),
    "c38-clat-dev-of-the-user": ("clat-dev=xlat0", NOT_SUPPORTED, {}),
    "c39-conncheck": ("v4-conncheck-enable=yes", NOT_NEEDED, {}),
    "c39-no-conncheck": ("v4-conncheck-enable=off", KEPT, {"mode": "force"}),
    "c40-delay": ("v4-conncheck-delay=0", NOT_NEEDED, {}),
    "c41-default-route": ("v4-defaultroute-enable=true", NOT_NEEDED, {}),
    "c41-no-default-route": ("v4-defaultroute-enable=no", KEPT, {"default-route": "no"}),
    "c42-metric": ("v4-defaultroute-metric=2048", KEPT, {"metric": "2048"}),
    "c43-mtu": ("v4-defaultroute-mtu=1260", KEPT, {"mtu": "1260"}),
    "c43-no-mtu": ("v4-defaultroute-mtu=0", NOT_NEEDED, {}),
    "c44-advmss": ("v4-defaultroute-advmss=1220", NOT_NEEDED, {}),
    "c44-no-advmss": ("v4-defaultroute-advmss=0", NOT_NEEDED, {}),
    "c45-replace": ("v4-defaultroute-replace=yes", KEPT, {"mode": "force", "metric": "1"}),
    "c45-no-replace": ("v4-defaultroute-replace=no", NOT_NEEDED, {}),
    "c50-script-up": (
        "script-up=ip route add 192.0.2.0/24 dev $clat_dev || true",
        KEPT,
        {"script-up": "/etc/clatnm/clatd-script-up"},
    ),
    "c51-script-down": ("script-down=logger down", KEPT, {"script-down": "/etc/clatnm/clatd-script-down"}),
    "c47-tayga-conffile": ("tayga-conffile=/run/tayga.conf", NOT_NEEDED, {}),
}


@pytest.mark.parametrize(("line", "becomes", "keys"), OPTIONS.values(), ids=OPTIONS)
def test_option_becomes(line: str, becomes: Becomes, keys: dict[str, str]) -> None:
    fate = only_fate(line)
    assert (fate.becomes, dict(fate.keys)) == (becomes, keys)
    assert fate.why or becomes is KEPT


# What only one connection can have has a place where one is named.
FOR_ONE = {
    "clat-dev=clat": {"device": "clat"},
    "clat-v4-addr=192.0.0.1": {"clat-v4-addr": "192.0.0.1"},
    "clat-v6-addr=2001:db8::c1a7": {"clat-v6-addr": "2001:db8::c1a7"},
}


@pytest.mark.parametrize(("line", "keys"), FOR_ONE.items(), ids=FOR_ONE)
def test_option_for_one_connection_is_kept_where_one_is_named(line: str, keys: dict[str, str]) -> None:
    fate = only_fate(line, for_connection=True)
    assert (fate.becomes, fate.place, dict(fate.keys)) == (KEPT, Place.CONNECTION, keys)


def test_interface_needs_no_words_where_a_connection_is_named() -> None:
    assert only_fate("plat-dev=eth0", for_connection=True).becomes is NOT_NEEDED


def test_script_is_kept_as_a_program_of_the_same_line() -> None:
    found = imported("script-up=echo `date -Ins`: clatd started on $clat_dev | tee -a ~/clatd.log # x; y")
    ((path, text),) = found.scripts.items()
    assert path == "/etc/clatnm/clatd-script-up"
    assert text.startswith("#!/bin/sh\n")
    assert text.endswith("\necho `date -Ins`: clatd started on $clat_dev | tee -a ~/clatd.log # x; y\n")


def test_every_option_of_clatd_has_a_row() -> None:
    rows = {line.partition("=")[0] for line, _, _ in OPTIONS.values()}
    assert rows == set(clatd_rules.RULES)


def test_what_is_kept_is_what_our_reader_takes() -> None:
    lines = "\n".join(line for line, becomes, _ in OPTIONS.values() if becomes is KEPT)
    keys = imported(lines).keys[Place.COMMON]
    text = "".join(f"{key} = {value}\n" for key, value in keys.items())
    settings = config.parse(f"[clatnm]\n{text}", source="", backends=tuple(BACKENDS))
    assert len(settings.written) == len(keys) > 5


# Options that go by what another one says: text; what the first line becomes; all that is kept
TOGETHER: dict[str, tuple[str, Becomes, dict[str, str]]] = {
    "replace-includes-no-conncheck": (
        "v4-conncheck-enable=no\nv4-defaultroute-replace=yes",
        NOT_NEEDED,
        {"mode": "force", "metric": "1"},
    ),
    "replaced-routes-need-no-metric": (
        "v4-defaultroute-metric=2048\nv4-defaultroute-replace=1",
        NOT_NEEDED,
        {"mode": "force", "metric": "1"},
    ),
    "advmss-of-an-mtu": ("v4-defaultroute-advmss=1400\nv4-defaultroute-mtu=1440", NOT_NEEDED, {"mtu": "1440"}),
    "advmss-for-itself": ("v4-defaultroute-advmss=1000\nv4-defaultroute-mtu=1440", NOT_SUPPORTED, {"mtu": "1440"}),
    "last-one-counts": (
        "plat-prefix=64:ff9b::/96\nplat-prefix=2001:db8::/96",
        Becomes.IGNORED,
        {"prefix": "2001:db8::/96"},
    ),
}


@pytest.mark.parametrize(("text", "first", "keys"), TOGETHER.values(), ids=TOGETHER)
def test_options_together(text: str, first: Becomes, keys: dict[str, str]) -> None:
    found = imported(text)
    assert found.fates[0].becomes is first
    assert dict(found.keys[Place.COMMON]) == keys


# A SIIT-DC Edge Relay, as clatd's manual has it, and what else may be said with it
RELAY = "plat-prefix=2001:db8:46::/96\nclat-v6-addr=2001:db8:12:34::1\n"
PAIR = {"prefix": "2001:db8:46::/96", "clat-v6-addr": "2001:db8:12:34::1"}
STATIC: dict[str, tuple[str, Becomes, dict[str, str]]] = {
    "c48-service": (
        "clat-v4-addr=192.0.2.1",
        KEPT,
        {"clat-v4-addr": "192.0.2.1", "addresses": "192.0.2.1", "uplink": "eth9"},
    ),
    "c22-pair": ("clat-v4-addr=192.0.0.3", KEPT, {"clat-v4-addr": "192.0.0.3"}),
    "c17-plat-dev": ("plat-dev=eth1", KEPT, {"uplink": "eth1"}),
    "c31-ctmark": ("ctmark=0xc1a7", NOT_SUPPORTED, {}),
    "c32-no-ctmark": ("ctmark=0", NOT_NEEDED, {}),
    "c38-clat-dev": ("clat-dev=clat", KEPT, {"device": "clat"}),
    "c39-conncheck": ("v4-conncheck-enable=no", NOT_NEEDED, {}),
    "c41-no-default-route": ("v4-defaultroute-enable=no", KEPT, {"routes": "none"}),
    "c42-metric": ("v4-defaultroute-metric=2048", KEPT, {"metric": "2048"}),
    "c43-mtu": ("v4-defaultroute-mtu=1260", KEPT, {"mtu": "1260"}),
    "c45-replace": ("v4-defaultroute-replace=yes", KEPT, {"metric": "1"}),
    "c13-dns64-servers": ("dns64-servers=2001:db8::53", NOT_NEEDED, {}),
    "c15-fallback": ("plat-fallback-prefix=64:ff9b::/96", NOT_NEEDED, {}),
    "c34-forwarding": ("forwarding-enable=yes", NOT_NEEDED, {}),
    "c50-script-up": ("script-up=true", KEPT, {"script-up": "/etc/clatnm/clatd-script-up"}),
}


@pytest.mark.parametrize(("line", "becomes", "keys"), STATIC.values(), ids=STATIC)
def test_relay_becomes_a_static_translator(line: str, becomes: Becomes, keys: dict[str, str]) -> None:
    found = clatd_conf.translate(
        clatd_conf.parse(f"{line}\n{RELAY}"), source="clatd.conf", for_connection=False, uplink="eth9"
    )
    fate = found.fates[0]
    assert fate.becomes is becomes
    assert fate.place is Place.STATIC
    assert found.keys[Place.STATIC] == {"uplink": "eth9", "clat-v4-addr": "192.0.0.1", **PAIR, **keys}
    assert not found.keys[Place.COMMON]
    assert fate.why or becomes is KEPT


def test_relay_on_no_interface_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="no interface is named, and none has an IPv6 default route"):
        imported(RELAY)


def test_connection_that_is_named_makes_no_static_translator_of_it() -> None:
    found = imported(RELAY, for_connection=True)
    assert not found.keys[Place.STATIC]
    assert found.keys[Place.CONNECTION] == {"clat-v6-addr": "2001:db8:12:34::1"}
    assert found.keys[Place.COMMON] == {"prefix": "2001:db8:46::/96"}


def test_lines_are_read_as_clatd_reads_them() -> None:
    text = "# a\n ; b\n// c=1\n\n  quiet = 1  \nwhat is this\nno-such=1\nscript-up=a=b # c; d\r\nctmark = \n"
    assert [(line.number, line.key, line.value) for line in clatd_conf.parse(text)] == [
        (5, "quiet", "1"),
        (6, "", "what is this"),
        (7, "no-such", "1"),
        (8, "script-up", "a=b # c; d"),
        (9, "ctmark", ""),
    ]
    found = imported(text)
    assert [fate.becomes for fate in found.fates][1:3] == [Becomes.IGNORED, Becomes.IGNORED]


MISTAKES = {
    "plat-prefix=64:ff9b::": "64:ff9b::/128: a NAT64 prefix has 32, 40, 48, 56, 64 or 96 bits",
    "plat-prefix=nonsense": "'nonsense' is not an IPv6 prefix",
    "plat-fallback-prefix=64:ff9b::/95": "64:ff9b::/95: a NAT64 prefix has 32, 40, 48, 56, 64 or 96 bits",
    "v4-conncheck-enable=maybe": "'maybe' is neither yes nor no",
    "proxynd-enable=2": "'2' is neither yes nor no",
    "v4-conncheck-delay=soon": "'soon' is no number",
    "v4-defaultroute-metric=-1": "'-1' is no number",
    "v4-defaultroute-metric=9999999999": "'9999999999' is no metric",
    "v4-defaultroute-mtu=70000": "'70000' is no MTU",
    "ctmark=0xzz": "'0xzz' is no number",
    "clat-v4-addr=1.2.3": "'1.2.3' is no IPv4 address",
    "clat-v4-addr=auto": "'auto' is no IPv4 address",
    "clat-v6-addr=own": "'own' is no IPv6 address",
    "clat-dev=a/b": "'a/b' is no name of a device",
}


@pytest.mark.parametrize(("line", "what"), MISTAKES.items(), ids=MISTAKES)
def test_mistake_is_told_with_its_line(line: str, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        imported(f"# one\n{line}\n")
    key = line.partition("=")[0]
    assert caught.value.what == f"clatd.conf:2: {key}: {what}"
    assert caught.value.hint


@pytest.mark.parametrize("key", ["plat-prefix", "plat-fallback-prefix", "clat-v4-addr", "clat-v6-addr", "clat-dev"])
def test_value_of_any_length_is_told_shortly(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        imported(f"{key}={'9' * 5000}\n")
    assert caught.value.what.startswith(f"clatd.conf:1: {key}: '999")
    assert len(str(caught.value)) < 400


def test_mistake_in_another_line_is_told_as_that_line_s() -> None:
    with pytest.raises(ConfigError) as caught:
        imported("v4-conncheck-enable=no\nv4-defaultroute-replace=maybe\n")
    assert caught.value.what.startswith("clatd.conf:2: v4-defaultroute-replace: ")


@given(st.text(max_size=200), st.booleans())
def test_any_text_has_fates_or_a_mistake(text: str, for_connection: bool) -> None:
    lines = clatd_conf.parse(text)
    try:
        found = clatd_conf.translate(lines, source="f", for_connection=for_connection)
    except ConfigError as error:
        assert error.what.startswith("f:")
    else:
        assert [fate.line for fate in found.fates] == list(lines)


@given(st.sampled_from(sorted(clatd_rules.RULES)), st.text(max_size=40), st.booleans())
def test_any_value_has_a_fate_or_is_a_mistake(key: str, value: str, for_connection: bool) -> None:
    line = clatd_conf.Line(number=1, key=key, value=value)
    try:
        (fate,) = clatd_conf.translate([line], source="f", for_connection=for_connection).fates
    except ConfigError as error:
        assert error.what.startswith(f"f:1: {key}: ")
    else:
        assert fate.why or fate.keys
