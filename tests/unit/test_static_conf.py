# SPDX-License-Identifier: GPL-2.0-or-later
"""`static.d/NAME.conf`: what is accepted, and what each mistake is answered with."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clatnm import config, static_conf
from clatnm.errors import ConfigError
from clatnm.model import AddressKind, Choices, Relay, Static
from clatnm.proto.eam import EamTable

BACKENDS = ("ebpf", "tun")
EAM_FILE = "# two of them\n192.0.2.1 2001:db8:1::1\n\n192.0.2.16/28 2001:db8:2::/124\n"
HEAD = "[clatnm]\nuplink = eth0\nprefix = 2001:db8:46::/96\n"
FORM = "the form is: [clatnm], then key = value; [eam], then IPv4 = IPv6"


def read(path: str) -> str:
    if path != "/etc/clatnm/table":
        raise ConfigError(f"there is no file {path}", hint="really")
    return EAM_FILE


def parse(text: str, *, name: str = "web", backend: str = "auto") -> static_conf.Read:
    source = f"/etc/clatnm/static.d/{name}.conf"
    return static_conf.parse(text, source=source, name=name, backends=BACKENDS, backend=backend, read=read)


def table(*pairs: tuple[str, str]) -> EamTable:
    return EamTable((IPv4Network(v4), IPv6Network(v6)) for v4, v6 in pairs)


ONE = table(("192.0.2.1", "2001:db8:1::1"))
TWO = table(("192.0.2.1", "2001:db8:1::1"), ("192.0.2.16/28", "2001:db8:2::/124"))
EVERYWHERE = (IPv4Network("0.0.0.0/0"),)

# What follows HEAD, and the choices it makes
ACCEPTED: dict[str, tuple[str, Choices]] = {
    "least": ("", Choices()),
    "windows-line-ends": ("metric = 7\r\n", Choices(metric=7)),
    "colon-case-comment": ("MTU: 1400 # for the tunnel\n; nothing\n", Choices(mtu_bytes=1400)),
    "auto-is-nothing": ("device = auto\nmetric = auto\nclat-v4-addr = auto\nclat-v6-addr = auto\n", Choices()),
    "clatd-c20-shared": ("clat-v6-addr = shared\n", Choices(address_kind=AddressKind.SHARED)),
    "clatd-c22-by-hand": (
        "clat-v4-addr = 192.0.0.1\nclat-v6-addr = 2001:db8::c1a7\ndevice = clat0\nmetric = 2048\nmtu = 1260\n",
        Choices(
            clat_v4=IPv4Address("192.0.0.1"),
            clat_v6=IPv6Address("2001:db8::c1a7"),
            device="clat0",
            metric=2048,
            mtu_bytes=1260,
        ),
    ),
    "rfc7756-host": (
        "addresses = 192.0.2.1\n[eam]\n192.0.2.1 = 2001:db8:1::1\n",
        Choices(relay=Relay(mappings=ONE, addresses=(IPv4Address("192.0.2.1"),))),
    ),
    "rfc7756-router": (
        "eam-file = /etc/clatnm/table\nroutes = 198.51.100.0/24, 203.0.113.0/24\nroutes = 10.0.0.0/8\n",
        Choices(
            relay=Relay(
                mappings=TWO,
                routes=tuple(map(IPv4Network, ("10.0.0.0/8", "198.51.100.0/24", "203.0.113.0/24"))),
            )
        ),
    ),
    "eam-without-equals-sign": ("[eam]\n192.0.2.1 2001:db8:1::1 ; and a remark\n", Choices(relay=Relay(mappings=ONE))),
    "file-and-section-add-up": (
        "eam-file = /etc/clatnm/table\n[eam]\n192.0.2.9 = 2001:db8:9::9\n",
        Choices(relay=Relay(mappings=table(("192.0.2.9", "2001:db8:9::9"), *((str(a), str(b)) for a, b in TWO)))),
    ),
    "sections-may-come-again": (
        "[eam]\n192.0.2.1 = 2001:db8:1::1\n[clatnm]\nmetric = 9\n[eam]\n192.0.2.16/28 = 2001:db8:2::/124\n",
        Choices(metric=9, relay=Relay(mappings=TWO)),
    ),
    "no-routes": ("routes = none\n", Choices(default_route=False)),
    "no-routes-of-a-relay": (
        "routes = none\n[eam]\n192.0.2.1 = 2001:db8:1::1\n",
        Choices(relay=Relay(mappings=ONE, routes=())),
    ),
    "default-by-its-name": (
        "routes = default 10.0.0.0/8\n[eam]\n192.0.2.1 = 2001:db8:1::1\n",
        Choices(relay=Relay(mappings=ONE, routes=(*EVERYWHERE, IPv4Network("10.0.0.0/8")))),
    ),
    "clatd-c48-is-a-relay-of-one": (
        "clat-v4-addr = 192.0.2.1\nclat-v6-addr = 2001:db8:1::1\nroutes = 198.51.100.0/24\n",
        Choices(
            clat_v4=IPv4Address("192.0.2.1"),
            clat_v6=IPv6Address("2001:db8:1::1"),
            relay=Relay(mappings=ONE, addresses=(IPv4Address("192.0.2.1"),), routes=(IPv4Network("198.51.100.0/24"),)),
        ),
    ),
}


@pytest.mark.parametrize(("text", "choices"), ACCEPTED.values(), ids=ACCEPTED)
def test_static_file_is_read(text: str, choices: Choices) -> None:
    assert parse(HEAD + text).static == Static(
        name="web",
        uplink="eth0",
        prefix=IPv6Network("2001:db8:46::/96"),
        choices=choices,
        told_at="/etc/clatnm/static.d/web.conf:2",
    )


def test_backend_is_that_for_all_unless_the_file_names_one() -> None:
    assert parse(HEAD, backend="tun").static.backend == "tun"
    assert parse(HEAD + "backend = ebpf\n", backend="tun").static.backend == "ebpf"
    assert parse(HEAD + "backend = auto\n", backend="tun").static.backend == "auto"


# What follows HEAD (three lines), line of the mistake, what is said, a part of the hint
MISTAKES: dict[str, tuple[str, int, str, str]] = {
    "unknown-key": ("\nmood = good\n", 5, "unknown key 'mood'", "known keys: addresses, backend,"),
    "twice": ("uplink = eth1\n", 4, "'uplink' is set twice", "first at /etc/clatnm/static.d/web.conf:2"),
    "no-line": ("metric\n", 4, "this line is not understood", FORM),
    "no-name": ("= 7\n", 4, "unknown key ''", "known keys"),
    "unknown-section": ("[static]\n", 4, "unknown section [static]", "[clatnm] or [eam]"),
    "open-section": ("[eam\n", 4, "unknown section [eam", "[clatnm] or [eam]"),
    "metric": ("metric = -1\n", 4, "'-1' is no metric", "0 to 4294967295"),
    "mtu": ("mtu = 70000\n", 4, "'70000' is no MTU", ""),
    "device": ("device = a/b\n", 4, "'a/b' is no name of a device", "1 to 15 bytes"),
    "device-of-an-uplink": ("device = clat-eth7\n", 4, "clat-eth7 is for the CLAT of an interface eth7", "clat-s-"),
    "eam-file-no-path": ("eam-file = /a\0b\n", 4, "'/a\\x00b' is no absolute path", ""),
    "clat-v4": ("clat-v4-addr = 300.1.1.1\n", 4, "'300.1.1.1' is no IPv4 address", "192.0.0.1"),
    "clat-v6": ("clat-v6-addr = fe80::1\n", 4, "no translator can have the address fe80::1", "dedicated"),
    "clat-v6-in-prefix": ("clat-v6-addr = 2001:db8:46::1\n", 4, "2001:db8:46::1 lies in the prefix", "uplink"),
    "relay-that-shares": (
        "clat-v6-addr = shared\n[eam]\n192.0.2.1 = 2001:db8:1::1\n",
        4,
        "an Edge Relay shares no address",
        "its own",
    ),
    "backend": ("backend = magic\n", 4, "unknown backend 'magic'", "one of: auto, ebpf, tun"),
    "address": ("addresses = 192.0.2.1, x\n", 4, "'x' is no IPv4 address", "commas"),
    "no-address": ("addresses =\n", 4, "'addresses' has no value", FORM),
    "address-unmapped": ("addresses = 192.0.2.2\n[eam]\n192.0.2.1 = 2001:db8:1::1\n", 4, "192.0.2.2 is not mapped", ""),
    "address-without-a-pair": ("addresses = 192.0.2.2\n", 4, "which IPv6 address stands for which IPv4 one?", "[eam]"),
    "routes-without-a-pair": ("\nroutes = 10.0.0.0/8\n", 5, "which IPv6 address stands for which", "clat-v6-addr"),
    "route": ("routes = 10.0.0.0/33\n", 4, "'10.0.0.0/33' is no IPv4 network", "as 198.51.100.0/24, or default"),
    "no-routes-and-some": ("routes = none\nroutes = default\n", 5, "no routes, and others", "routes = none, alone"),
    "route-host-bits": ("routes = 10.0.0.1/8\n", 4, "'10.0.0.1/8' is no IPv4 network", "host bits are not zero"),
    "eam-file-relative": ("eam-file = table\n", 4, "'table' is no absolute path", "as /etc/clatnm"),
    "eam-file-missing": ("eam-file = /nowhere\n", 4, "there is no file /nowhere", "really"),
    "eam-one-side": ("[eam]\n192.0.2.1\n", 5, "'192.0.2.1' is no mapping", "as 192.0.2.1 ="),
    "eam-ipv4": ("[eam]\n192.0.2.300 = 2001:db8::1\n", 5, "'192.0.2.300' is no IPv4 address", ""),
    "eam-host-bits": ("[eam]\n192.0.2.1/24 = 2001:db8::/120\n", 5, "'192.0.2.1/24' is no IPv4", "host bits"),
    "rfc7757-3.1-size": ("[eam]\n192.0.2.0/24 = 2001:db8::/124\n", 5, "does not fit into 2001:db8::/124", "RFC 7757"),
    "rfc7757-3.2-overlap": (
        "[eam]\n192.0.2.1 = 2001:db8::1\n192.0.2.2 = 2001:db8::1\n",
        6,
        "2001:db8::1/128 is mapped twice",
        "first by /etc/clatnm/static.d/web.conf:5",
    ),
    "overlap-with-the-file": (
        "eam-file = /etc/clatnm/table\n[eam]\n192.0.2.1 = 2001:db8:9::1\n",
        0,
        "/etc/clatnm/table:2: 192.0.2.1/32 is mapped twice",
        "first by /etc/clatnm/static.d/web.conf:6",
    ),
    "rfc7757-eam-in-prefix": (
        "[eam]\n\n192.0.2.1 = 2001:db8:46::1\n",
        6,
        "2001:db8:46::1/128 and the translation prefix 2001:db8:46::/96 overlap",
        "",
    ),
}


@pytest.mark.parametrize(("text", "line", "what", "hint"), MISTAKES.values(), ids=MISTAKES)
def test_mistake_is_named_with_its_line(text: str, line: int, what: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(HEAD + text)
    assert caught.value.what.startswith(f"/etc/clatnm/static.d/web.conf:{line}: " if line else what), caught.value
    assert what in caught.value.what
    assert hint in caught.value.hint
    assert "\n" not in str(caught.value)


# A whole file, and what is said
WITHOUT_HEAD: dict[str, tuple[str, str]] = {
    "empty": ("", ":1: no uplink is named"),
    "no-section": ("uplink = eth0\n", ":1: this line belongs to no section"),
    "no-uplink": ("[clatnm]\nprefix = 64:ff9b::/96\n", ":1: no uplink is named"),
    "no-prefix": ("[clatnm]\nuplink = eth0\n", ":1: no prefix is set"),
    "loopback": ("[clatnm]\nuplink = lo\n", ":2: 'lo' is no interface that leads to a network"),
    "own-device": ("[clatnm]\nuplink = clat-eth0\n", ":2: 'clat-eth0' is no interface"),
    "long-uplink": ("[clatnm]\nuplink = a-name-that-is-too-long\n", ":2: 'a-name-that-is-too-long' is no interface"),
    "rfc6052-2.2-length": ("[clatnm]\nuplink=a\nprefix = 64:ff9b::/95\n", ":3: 64:ff9b::/95: a NAT64 prefix has"),
    "prefix-host-bits": ("[clatnm]\nuplink=a\nprefix = 64:ff9b::1/96\n", ":3: '64:ff9b::1/96' is not an IPv6 prefix"),
    "endless": (f"[clatnm]\nuplink = {'x' * 5000}\n", ":2: 'xxx"),
}


@pytest.mark.parametrize(("text", "what"), WITHOUT_HEAD.values(), ids=WITHOUT_HEAD)
def test_file_without_what_it_needs_is_refused(text: str, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert caught.value.what.startswith(f"/etc/clatnm/static.d/web.conf{what}")
    assert caught.value.hint
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("name", ["", ".hidden", "a b", "ü", "-v", "x" * 65])
def test_file_whose_name_is_none_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="is no name for a translator"):
        parse(HEAD, name=name)


# What two files say besides HEAD, and what is said of the second, b.conf
TOGETHER: dict[str, tuple[str, str, str]] = {
    "device": ("device = x\n", "device = x\n", "b.conf:4: the device x is another translator's"),
    "device-by-default": ("device = clat-s-b\n", "", "b.conf:1: the device clat-s-b is another translator's"),
    "clat-v4": (
        "clat-v4-addr = 192.0.0.1\n",
        "\nclat-v4-addr = 192.0.0.1\n",
        "b.conf:5: the address 192.0.0.1 is another translator's",
    ),
    "clat-v6": (
        "clat-v6-addr = 2001:db8::1\n",
        "clat-v6-addr = 2001:db8::1\n",
        "b.conf:4: 2001:db8::1/128 on eth0 is another translator's",
    ),
    "addresses": (
        "addresses = 192.0.2.1\n[eam]\n192.0.2.1 = 2001:db8::1\n",
        "addresses = 192.0.2.1\n[eam]\n192.0.2.1 = 2001:db8::2\n",
        "b.conf:4: the address 192.0.2.1 is another translator's",
    ),
    "mapping": (
        "[eam]\n192.0.2.1 = 2001:db8::1\n",
        "[eam]\n192.0.2.2 = 2001:db8::1\n",
        "b.conf:5: 2001:db8::1/128 on eth0 is another translator's",
    ),
    "speaker": (
        "clat-v6-addr = 2001:db8::9\n[eam]\n192.0.2.1 = 2001:db8::1\n",
        "clat-v6-addr = 2001:db8::9\n[eam]\n192.0.2.2 = 2001:db8::2\n",
        "b.conf:4: 2001:db8::9/128 on eth0 is another translator's",
    ),
    "speaker-that-the-other-maps": (
        "[eam]\n192.0.2.0/24 = 2001:db8::/120\n",
        "clat-v6-addr = 2001:db8::9\n[eam]\n198.51.100.1 = 2001:db8:1::1\n",
        "b.conf:4: 2001:db8::9/128 on eth0 is another translator's",
    ),
    "mapping-within": (
        "[eam]\n192.0.2.0/24 = 2001:db8::/120\n",
        "[eam]\n198.51.100.1 = 2001:db8::7\n",
        "b.conf:5: 2001:db8::7/128 on eth0 is another translator's",
    ),
    "mapping-around": (
        "[eam]\n198.51.100.1 = 2001:db8::7\n",
        "[eam]\n192.0.2.0/24 = 2001:db8::/120\n",
        "b.conf:5: 2001:db8::7/128 on eth0 is another translator's",
    ),
}


@pytest.mark.parametrize(("first", "second", "what"), TOGETHER.values(), ids=TOGETHER)
def test_what_two_translators_cannot_share_is_refused(first: str, second: str, what: str) -> None:
    files = [parse(HEAD + first, name="a"), parse(HEAD + second, name="b")]
    with pytest.raises(ConfigError) as caught:
        static_conf.check_together(files)
    assert caught.value.what.endswith(what)
    assert "/static.d/a.conf:" in caught.value.hint


def test_same_ipv6_addresses_on_two_links_are_fine() -> None:
    mapped = "[eam]\n192.0.2.1 = 2001:db8::1\n"
    static_conf.check_together([parse(HEAD + mapped), parse(HEAD.replace("eth0", "eth1") + mapped, name="b")])


# Anything at all


@given(st.text(alphabet=st.sampled_from("[]=:#;,/. 019abceinoprtuvx-\n\t\0\x7fü"), max_size=200))
def test_text_makes_a_translator_or_one_line(text: str) -> None:
    try:
        parse(HEAD + text)
    except ConfigError as error:
        assert str(error).isprintable()
        assert len(str(error)) < 1000


# The directory


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "static.d").mkdir()
    return tmp_path


def write(directory: Path, name: str, text: str) -> Path:
    path = directory / "static.d" / name
    path.write_text(text)
    return path


def test_files_of_the_directory_are_read_by_name(directory: Path) -> None:
    (directory / "clatnm.conf").write_text("[clatnm]\nbackend = tun\n")
    for name in ("b.conf", "a.conf", "a.conf.bak", ".a.conf.swp"):
        write(directory, name, HEAD)
    statics = config.load(directory, backends=BACKENDS).statics
    assert [(static.name, static.backend) for static in statics] == [("a", "tun"), ("b", "tun")]


def test_mistake_in_a_table_names_file_and_line_of_the_table(directory: Path) -> None:
    (directory / "table").write_text("192.0.2.1 2001:db8::1\n\nnonsense\n")
    write(directory, "a.conf", f"{HEAD}eam-file = {directory}/table\n")
    with pytest.raises(ConfigError, match=f"{directory}/table:3: 'nonsense' is no mapping"):
        config.load(directory, backends=BACKENDS)


@pytest.mark.parametrize("text", ["", "# nothing\n"])
def test_empty_table_is_a_mistake(directory: Path, text: str) -> None:
    (directory / "table").write_text(text)
    path = write(directory, "a.conf", f"{HEAD}eam-file = {directory}/table\n")
    with pytest.raises(ConfigError, match=f"{path}:4: there are no mappings in it"):
        config.load(directory, backends=BACKENDS)


def test_table_that_is_missing_is_a_mistake(directory: Path) -> None:
    path = write(directory, "a.conf", f"{HEAD}eam-file = {directory}/none\n")
    with pytest.raises(ConfigError, match=f"{path}:4: there is no file {directory}/none"):
        config.load(directory, backends=BACKENDS)


def test_missing_uplink_is_told_once(directory: Path) -> None:
    path = write(directory, "a.conf", HEAD)
    before = config.load(directory, backends=BACKENDS)
    assert config.missing_uplinks(before, {"eth0"}) == []
    (line,) = config.missing_uplinks(before, {"lo"})
    assert line.startswith(f"{path}:2: there is no interface 'eth0' (")
    assert config.missing_uplinks(before, {"lo"}, before=before) == []
    write(directory, "a.conf", HEAD.replace("eth0", "eth1"))
    (line,) = config.missing_uplinks(config.load(directory, backends=BACKENDS), {"lo"}, before=before)
    assert "there is no interface 'eth1'" in line


def test_ten_thousand_mappings_are_read_in_a_moment(directory: Path) -> None:
    lines = [f"{IPv4Address('10.0.0.0') + n} {IPv6Address('2001:db8:1::') + n}\n" for n in range(10_000)]
    (directory / "table").write_text("".join(lines))
    write(directory, "a.conf", f"{HEAD}eam-file = {directory}/table\n")
    write(directory, "b.conf", f"{HEAD}[eam]\n192.0.2.1 = 2001:db8::9\n")
    (one, _) = config.load(directory, backends=BACKENDS).statics
    assert one.choices.relay is not None
    assert len(one.choices.relay.mappings) == 10_000


def test_table_that_is_read_again_is_the_same_one_unless_it_has_changed(directory: Path) -> None:
    write(directory, "a.conf", f"{HEAD}[eam]\n192.0.2.1 = 2001:db8::1\n")
    write(directory, "b.conf", f"{HEAD}[eam]\n192.0.2.2 = 2001:db8::2\n")
    before = config.load(directory, backends=BACKENDS)
    write(directory, "a.conf", f"# a remark\n{HEAD}[eam]\n192.0.2.1 = 2001:db8::1\n")
    write(directory, "b.conf", f"{HEAD}[eam]\n192.0.2.2 = 2001:db8::3\n")
    read_again = config.load(directory, backends=BACKENDS)
    found = config.kept(read_again, before)
    assert found == read_again != before
    same = [new.choices.relay is old.choices.relay for new, old in zip(found.statics, before.statics, strict=True)]
    assert same == [True, False]


@pytest.mark.parametrize(
    ("own", "static", "what"),
    [
        ("device = siit\n", "device = siit\n", "the device siit is another translator's"),
        ("clat-v4-addr = 192.0.0.1\n", "clat-v4-addr = 192.0.0.1\n", "the address 192.0.0.1 is another translator's"),
    ],
)
def test_what_a_connection_has_chosen_is_not_for_a_static_translator(
    directory: Path, own: str, static: str, what: str
) -> None:
    (directory / "connections.d").mkdir()
    connection = directory / "connections.d/bbcd7cc0-dfd2-4e95-8d38-c9bc4872809c.conf"
    connection.write_text(f"[clatnm]\n{own}")
    path = write(directory, "a.conf", HEAD + static)
    with pytest.raises(ConfigError) as caught:
        config.load(directory, backends=BACKENDS)
    assert caught.value.what == f"{path}:4: {what}"
    assert caught.value.hint == f"at {connection}"
