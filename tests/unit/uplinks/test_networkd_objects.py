# SPDX-License-Identifier: GPL-2.0-or-later
"""What networkd's description of its links means, and what its files say."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clatnm import config
from clatnm.model import AroundVpn, Mode, PrefixCandidate, PrefixSource, Settings, ToldMode
from clatnm.uplinks.networkd_objects import (
    FileSettings,
    NetworkdLink,
    assignments,
    links_from,
    merge,
    settings_from,
    uplink,
)

HERE = Path(__file__).parent
FILE = "/run/systemd/network/20-up0.network"
ROUTER = IPv6Address("fe80::1")


def recorded(version: str) -> str:
    """What a real networkd told of lo, up0 (managed, in an IPv6-only network) and up1 (unmanaged)."""
    return (HERE / f"networkd-{version}.json").read_text()


def entry(**changes: Any) -> dict[str, Any]:
    """One link as networkd describes it."""
    plain = {"Index": 2, "Name": "up0", "Type": "ether", "AdministrativeState": "configured", "NetworkFile": FILE}
    return {key: value for key, value in (plain | changes).items() if value is not None}


def described(*entries: dict[str, Any]) -> str:
    return json.dumps({"Interfaces": list(entries)})


def only(**changes: Any) -> NetworkdLink:
    (link,) = links_from(described(entry(**changes)))
    return link


@pytest.mark.parametrize("version", ["252", "257", "262"])
def test_recorded_description_has_one_uplink_with_its_resolver(version: str) -> None:
    (link,) = links_from(recorded(version))
    assert (link.index, link.interface, link.network_file, link.decided) == (2, "up0", FILE, True)
    assert link.resolvers == (IPv6Address("2001:db8:a::1"),)
    assert not link.is_tunnel


@pytest.mark.parametrize(("version", "until"), [("257", 14189.633147), ("262", 14996.632801)])
def test_recorded_prefix_is_a_candidate(version: str, until: float) -> None:
    (link,) = links_from(recorded(version))
    (told,) = link.prefixes
    assert told == PrefixCandidate(
        prefix=IPv6Network("64:ff9b::/96"), source=PrefixSource.MANAGER, router=ROUTER, expires_at=told.expires_at
    )
    assert told.expires_at == pytest.approx(until)


def test_networkd_252_knows_no_prefix() -> None:
    assert links_from(recorded("252"))[0].prefixes == ()


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        pytest.param({"AdministrativeState": "configuring"}, True, id="configuring"),
        pytest.param({"AdministrativeState": "unmanaged"}, False, id="unmanaged"),
        pytest.param({"AdministrativeState": "failed"}, False, id="failed"),
        pytest.param({"AdministrativeState": "linger"}, False, id="removed"),
        pytest.param({"AdministrativeState": None, "SetupState": "configured"}, True, id="other-name-of-the-state"),
        pytest.param({"AdministrativeState": None}, False, id="no-state"),
        pytest.param({"Name": "lo", "Type": "loopback"}, False, id="loopback"),
        pytest.param({"Name": "clat-up0", "Kind": "tun"}, False, id="our-own"),
        pytest.param({"Kind": "dummy"}, False, id="dummy"),
        pytest.param({"OperationalState": "enslaved"}, False, id="port-of-a-bridge"),
        pytest.param({"OperationalState": "no-carrier"}, True, id="unplugged"),
        pytest.param({"Name": None}, False, id="nameless"),
        pytest.param({"Index": "2"}, False, id="odd-index"),
    ],
)
def test_link_is_an_uplink_while_networkd_manages_it(changes: dict[str, Any], seen: bool) -> None:
    assert bool(links_from(described(entry(**changes)))) is seen


@pytest.mark.parametrize("kind", ["wireguard", "tun", "vti6", "gre", "ip6gretap", "sit", "xfrm"])
def test_tunnel_is_told_as_one(kind: str) -> None:
    assert uplink(only(Kind=kind), FileSettings()).is_vpn


@pytest.mark.parametrize("kind", [None, "veth", "vlan", "bridge", "bond", "macvlan"])
def test_other_kinds_are_no_tunnels(kind: str | None) -> None:
    assert not uplink(only(Kind=kind), FileSettings()).is_vpn


def dns(address: str, source: str) -> dict[str, Any]:
    octets = list(ip_address(address).packed)
    return {"Family": 10 if len(octets) > 4 else 2, "Address": octets, "ConfigSource": source}


def test_resolvers_are_those_the_network_told_before_configured_ones() -> None:
    link = only(
        DNS=[
            dns("2001:db8::99", "static"),
            dns("2001:db8::53", "NDisc"),
            dns("192.0.2.53", "DHCPv4"),
            dns("2001:db8::6", "DHCPv6"),
            dns("2001:db8::53", "NDisc"),
            dns("2001:db8::bad", "runtime"),  # by `resolvectl dns`, or a VPN
            {"Family": 10, "Address": [1, 2, 3], "ConfigSource": "NDisc"},
            {"Family": 10, "Address": "2001:db8::1", "ConfigSource": "NDisc"},
            {"ConfigSource": "NDisc"},
        ]
    )
    told = [str(address) for address in link.resolvers]
    assert told == ["2001:db8::6", "2001:db8::53", "192.0.2.53", "2001:db8::99"]
    assert isinstance(link.resolvers[2], IPv4Address)


@pytest.mark.parametrize(
    ("bssid", "told"),
    [([2, 0, 0, 0, 1, 171], "02:00:00:00:01:AB"), ([2, 0], ""), ([300] * 6, ""), ("02:00", ""), (None, "")],
)
def test_access_point_is_told_as_an_address(bssid: object, told: str) -> None:
    assert only(BSSID=bssid).access_point == told


def pref64(prefix: str, length: int = 96, **changes: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "Prefix": list(IPv6Address(prefix).packed),
        "PrefixLength": length,
        "LifetimeUSec": 5_000_000,
        "ConfigProvider": list(ROUTER.packed),
    }
    return {key: value for key, value in (plain | changes).items() if value is not None}


def test_prefixes_are_told_with_router_and_end() -> None:
    link = only(
        NDisc={
            "PREF64": [
                pref64("64:ff9b::"),
                pref64("2001:db8:64::", 56, LifetimeUSec=None, ConfigProvider=None, PrefixString="2001:db8:64::"),
            ]
        }
    )
    assert [(str(c.prefix), c.router, c.expires_at) for c in link.prefixes] == [
        ("64:ff9b::/96", ROUTER, 5.0),
        ("2001:db8:64::/56", None, None),
    ]


@pytest.mark.parametrize(
    "odd",
    [
        pref64("64:ff9b::1"),  # bits beyond its length
        pref64("64:ff9b::", 129),
        pref64("64:ff9b::", Prefix=[0, 100]),
        pref64("64:ff9b::", Prefix="64:ff9b::"),
        pref64("64:ff9b::", PrefixLength="much"),
        pref64("64:ff9b::", LifetimeUSec="long"),
        {},
        "64:ff9b::/96",
    ],
)
def test_odd_prefix_is_left_out(odd: object) -> None:
    assert [str(c.prefix) for c in only(NDisc={"PREF64": [odd, pref64("64:ff9b::")]}).prefixes][-1] == "64:ff9b::/96"
    assert len(only(NDisc={"PREF64": [odd]}).prefixes) == 0


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "{}", '{"Interfaces": 1}'])
def test_what_is_no_description_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        links_from(text)


@pytest.mark.parametrize("state", ["pending", "initialized"])
def test_link_networkd_has_not_decided_about_yet_stays_as_it_was(state: str) -> None:
    last = links_from(recorded("252"))
    undecided = links_from(described(entry(AdministrativeState=state, NetworkFile=None), entry(Index=3, Name="up1")))
    assert [link.interface for link in merge(undecided, last)] == ["up0", "up1"]
    assert merge(undecided, last)[0] == last[0]


@pytest.mark.parametrize("changes", [{"Index": 7}, {"Name": "up9"}], ids=["other-index", "other-name"])
def test_undecided_link_that_was_not_known_is_not_told(changes: dict[str, Any]) -> None:
    last = links_from(recorded("252"))
    fresh = links_from(described(entry(AdministrativeState="initialized", **changes)))
    assert merge(fresh, last) == ()


def test_connection_has_a_stable_id_of_file_and_interface() -> None:
    told = ToldMode(source="here", text="no", mode=Mode.NO)
    one = uplink(only(), FileSettings(told_modes=(told,), ipv4_disabled=True))
    assert (one.interface, one.name, one.manager) == ("up0", "20-up0", "systemd-networkd")
    assert (one.mode, one.ipv4_disabled) == (Mode.NO, True)
    assert one.uuid == uplink(only(Index=9, NetworkFile="/etc/systemd/network/20-up0.network"), FileSettings()).uuid
    assert one.uuid != uplink(only(Name="up1"), FileSettings()).uuid
    assert one.uuid != uplink(only(NetworkFile="/etc/systemd/network/30-up0.network"), FileSettings()).uuid


@pytest.mark.parametrize(
    ("texts", "mode"),
    [
        pytest.param([""], None, id="nothing"),
        pytest.param(["[X-Clatnm]\nMode=no\n"], Mode.NO, id="no"),
        pytest.param(["[X-Clatnm]\n Mode = force \n"], Mode.FORCE, id="spaces"),
        pytest.param(["[X-Clatnm]\nMode=no\nMode=auto\n"], Mode.AUTO, id="last-line-wins"),
        pytest.param(["[X-Clatnm]\nMode=no\n", "[X-Clatnm]\nMode=force\n"], Mode.FORCE, id="drop-in-wins"),
        pytest.param(["[X-Clatnm]\nMode=no\n", "[X-Clatnm]\nMode=\n"], None, id="drop-in-takes-it-back"),
        pytest.param(["[X-Clatnm]\nMode=no\n", "[Network]\nMode=force\n"], Mode.NO, id="other-section"),
        pytest.param(["#[X-Clatnm]\n;x\n[X-Clatnm]\n# Mode=force\nMode=no"], Mode.NO, id="comments"),
        pytest.param(["[X-Clatnm]\nMode=\\\n# why\nno\n"], Mode.NO, id="continued-line"),
        pytest.param(["[X-Clatnm\nMode=no\n"], None, id="broken-header"),
        pytest.param(["Mode=no\n"], None, id="no-section"),
    ],
)
def test_mode_is_read_as_networkd_would(texts: list[str], mode: Mode | None) -> None:
    settings = settings_from((f"file{n}", text) for n, text in enumerate(texts))
    assert (settings.mode, settings.problems) == (mode, ())


def test_mode_that_is_none_is_told_and_ignored() -> None:
    settings = settings_from([("a.network", "[X-Clatnm]\nMode=no\n"), ("b.conf", "#\n[X-Clatnm]\nMode=sometimes\n")])
    assert settings.mode is Mode.NO
    assert [(told.source, told.text, told.mode) for told in settings.told_modes] == [
        ("[X-Clatnm] at a.network:2", "no", Mode.NO),
        ("b.conf:3", "sometimes", None),
    ]
    (problem,) = settings.problems
    assert problem == "b.conf:3: [X-Clatnm] mode 'sometimes' is unknown; ignored (one of: auto, force, no)"


EVERY_KEY = """\
[X-Clatnm]
Mode=auto
Backend=tun
Prefix=64:ff9b::/96
FallbackPrefix=2001:db8:64::/96
DNS64=no
DNS64Servers=2001:db8::53 192.0.2.53
PLATCheck=yes
PLATCheckTargets=192.0.2.1
Drain=60
VPN=bypass
"""


def test_every_setting_of_a_connection_can_stand_in_the_section() -> None:
    settings = settings_from([("a.network", EVERY_KEY)], backends=("tun",))
    assert settings.problems == ()
    assert settings.own == Settings(
        backend="tun",
        prefix=IPv6Network("64:ff9b::/96"),
        fallback_prefix=IPv6Network("2001:db8:64::/96"),
        dns64=False,
        dns64_servers=(IPv6Address("2001:db8::53"), IPv4Address("192.0.2.53")),
        plat_check=True,
        plat_check_targets=(IPv4Address("192.0.2.1"),),
        drain_s=60,
        vpn=AroundVpn.BYPASS,
        written=settings.own.written if settings.own else frozenset(),
    )


@pytest.mark.parametrize("key", config.CONNECTION_KEYS)
def test_key_of_connections_d_is_known_with_and_without_hyphens(key: str) -> None:
    for word in (key, key.replace("-", ""), key.upper()):
        text = f"[X-Clatnm]\n{word}=\n"
        assert settings_from([("a.network", text)]) == settings_from([("a.network", "")])


def test_later_setting_wins_and_an_empty_one_takes_it_back() -> None:
    files = [("a.network", "[X-Clatnm]\nDrain=5\nPrefix=64:ff9b::/96\n"), ("b.conf", "[X-Clatnm]\nDrain=6\nPrefix=\n")]
    own = settings_from(files).own
    assert own == Settings(drain_s=6, written=frozenset({"drain_s"}))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        pytest.param("Prefix=64:ff9b::/97", "a NAT64 prefix, as 64:ff9b::/96", id="rfc6052-2.2-length"),
        pytest.param("Drain=soon", "'soon' is no number of seconds", id="seconds"),
        pytest.param("Backend=magic", "unknown backend 'magic'", id="backend"),
        pytest.param("Modus=no", "unknown key 'Modus'", id="unknown-key"),
        pytest.param("Interfaces=eth0", "unknown key 'Interfaces'", id="key-for-all"),
    ],
)
def test_setting_that_makes_no_sense_is_named_with_its_line(line: str, said: str) -> None:
    settings = settings_from([("a.network", f"[Match]\nName=up0\n\n[X-Clatnm]\nMode=no\n{line}\n")])
    assert (settings.mode, settings.own) == (Mode.NO, None)
    (problem,) = settings.problems
    assert problem.startswith("a.network:6: [X-Clatnm] ")
    assert said in problem
    assert "\n" not in problem


def test_line_over_several_is_where_it_begins() -> None:
    (problem,) = settings_from([("a.network", "[X-Clatnm]\nDrain=\\\n# why\nsoon\nMode=no\n")]).problems
    assert problem.startswith("a.network:2: ")


@pytest.mark.parametrize(
    ("lines", "disabled"),
    [
        ("DHCP=no", True),
        ("", True),
        ("DHCP=ipv6", True),
        ("DHCP=yes", False),
        ("DHCP=ipv4", False),
        ("DHCP=yes\nDHCP=no", True),
        ("Address=2001:db8::2/64", True),
        ("Address=192.0.2.2/24", False),
        ("Address=192.0.2.2/24\nAddress=\nAddress=2001:db8::2/64", True),
        ("Address=0.0.0.0/24", False),
        ("[Address]\nAddress=192.0.2.2/24", False),
        ("Address=_dhcp4", True),
    ],
)
def test_ipv4_is_disabled_where_no_file_asks_for_it(lines: str, disabled: bool) -> None:
    assert settings_from([("a.network", f"[Network]\n{lines}\n")]).ipv4_disabled is disabled


@given(st.text())
def test_any_text_is_taken_for_a_file(text: str) -> None:
    lines = 1 + sum(map(text.count, "\r\n\0"))
    for number, _, key, value in assignments(text):
        assert (key, value) == (key.strip(), value.strip())
        assert 1 <= number <= lines


@pytest.mark.parametrize("line", [f"Mode={'x' * 5000}", f"{'x' * 5000}=1", f"Prefix={'9' * 5000}"])
def test_mistake_of_any_length_is_told_shortly(line: str) -> None:
    found = settings_from([("a.network", f"[X-Clatnm]\n{line}\n")], backends=("tun",))
    (problem,) = found.problems
    assert problem.startswith("a.network:2: [X-Clatnm] ")
    assert problem.partition("; ignored")[0].endswith("…")
    assert all(len(told.text) + len(told.fault) < 500 for told in found.told_modes)


@pytest.mark.parametrize("odd", ["\f", "\v", "\x85", "\u2028"])
def test_comment_goes_on_behind_what_is_no_end_of_line(odd: str) -> None:
    text = f"[X-Clatnm]\r\n# not yet:{odd}Mode=no\r\nDrain=7\r\n"
    assert list(assignments(text)) == [(3, "X-Clatnm", "Drain", "7")]


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=8))
def test_whatever_stands_in_a_field_only_that_field_is_lost(value: Any) -> None:
    link = only(DNS=value, BSSID=value, NDisc={"PREF64": value}, NetworkFile=FILE)
    assert link.interface == "up0"
    assert only(NDisc=value, Kind=value).interface == "up0"
    links_from(described(entry(AdministrativeState=value, Name=value, Index=value)))
