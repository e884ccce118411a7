# SPDX-License-Identifier: GPL-2.0-or-later
"""What rules do with a packet that is forwarded. `rules/` has what nft 1.0.6 lists of Docker's rules by iptables-nft
with LXD's beside them, and of ufw's with `deny routed`; cut down to what is forwarded."""

from __future__ import annotations

import json
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clatnm.doctor.ruleset import Passing, Ruleset, parse

RECORDED = Path(__file__).parent / "rules"
BOX, FAR = IPv4Address("10.9.0.1"), IPv4Address("198.51.100.10")
THERE = Passing(comes="br0", goes="clat-up0", source=BOX, target=FAR)
BACK = Passing(comes="clat-up0", goes="br0", source=FAR, target=BOX, answer=True)
OF_DOCKER = IPv4Address("172.17.0.1")
ACCEPT, DROP = {"accept": None}, {"drop": None}


def recorded(name: str) -> Ruleset:
    return parse((RECORDED / f"{name}.json").read_text(encoding="utf-8"))


def called(rules: Ruleset, packet: Passing) -> list[str]:
    return [chain.called for chain in rules.droppers(packet)]


def match(key: str, right: Any, op: str = "==") -> dict[str, Any]:
    """As nft(8) lists it; `key` is one of meta's, ct's, or a header and a field of it."""
    header, _, fieldname = key.rpartition(".")
    left = {header: {"key": fieldname}} if header in ("meta", "ct") else {
        "payload": {"protocol": header, "field": fieldname}
    }  # fmt: skip
    return {"match": {"op": op, "left": left, "right": right}}


def strict(*rules: list[Any], policy: str = "drop", **chains: list[list[Any]]) -> Ruleset:
    """A forward chain of these rules, and other chains by name."""
    base = {"family": "inet", "table": "t", "name": "f", "type": "filter", "hook": "forward", "policy": policy}
    every = {"f": list(rules), **chains}
    listed = [
        {"rule": {"family": "inet", "table": "t", "chain": name, "expr": expr}}
        for name, found in every.items()
        for expr in found
    ]
    return parse(json.dumps({"nftables": [{"metainfo": {}}, {"chain": base}, *listed]}))


def test_docker_lets_its_own_containers_through_and_drops_those_of_others() -> None:
    rules = recorded("docker")
    own = Passing(comes="docker0", goes="clat-up0", source=OF_DOCKER, target=FAR)
    answer = Passing(comes="clat-up0", goes="docker0", source=FAR, target=OF_DOCKER, answer=True)
    assert rules.masks(own)
    assert (called(rules, own), called(rules, answer)) == ([], [])
    assert rules.masks(THERE)
    assert (called(rules, THERE), called(rules, BACK)) == (["ip filter FORWARD"], ["ip filter FORWARD"])


def test_ufw_drops_what_is_routed_until_a_rule_allows_it_and_never_the_answers() -> None:
    denied, allowed = recorded("ufw"), recorded("ufw-allowed")
    assert (called(denied, THERE), called(allowed, THERE)) == (["ip filter FORWARD"], [])
    assert (called(denied, BACK), called(allowed, BACK)) == ([], [])
    assert denied.masks(THERE)
    elsewhere = Passing(comes="br1", goes="clat-up0", source=IPv4Address("10.8.0.1"), target=FAR)
    assert called(allowed, elsewhere) == ["ip filter FORWARD"]
    assert not denied.masks(elsewhere)


LETS_THROUGH: dict[str, list[list[Any]]] = {
    "device": [[match("meta.iifname", "br0"), ACCEPT]],
    "devices": [[match("meta.iifname", {"set": ["br1", "br0"]}), ACCEPT]],
    "star": [[match("meta.iif", "br*"), match("meta.oifname", "clat-*"), ACCEPT]],
    "not-another": [[match("meta.iifname", "eth0", "!="), ACCEPT]],
    "new": [[match("ct.state", "new", "in"), ACCEPT]],
    "state-map": [[{"vmap": {"key": {"ct": {"key": "state"}}, "data": {"set": [["invalid", DROP], ["new", ACCEPT]]}}}]],
    "source": [[match("ip.saddr", {"prefix": {"addr": "10.0.0.0", "len": 8}}), ACCEPT]],
    "sources": [[match("ip.saddr", {"set": [{"range": ["10.9.0.0", "10.9.0.9"]}]}), {"counter": {}}, ACCEPT]],
    "port": [[match("meta.l4proto", "tcp"), match("tcp.dport", {"set": [80, 443]}), ACCEPT]],
    "ports": [[match("th.dport", {"range": [1, 1024]}), ACCEPT]],
    "some-port": [[match("tcp.sport", {"range": [1024, 65535]}), ACCEPT]],
    "unknown-set": [[match("ip.saddr", "@friends"), ACCEPT]],
    "unknown-set-before-a-drop": [[match("ip.saddr", "@friends"), ACCEPT], [DROP]],
    "unknown-mark": [[match("meta.mark", 7), ACCEPT]],
    "unknown-map": [[{"vmap": {"key": {"meta": {"key": "iifname"}}, "data": "@ways"}}]],
    "unknown-word": [[{"novel": {}}, ACCEPT]],
    "of-another-version": [["novel"]],
    "of-an-older-version": [[{"xt": None}, ACCEPT]],
    "rate": [[{"limit": {"rate": 5}}, ACCEPT]],
    "queue": [[{"queue": {"num": 1}}]],
    "state-of-iptables-with-device": [
        [match("meta.iifname", "br0"), {"xt": {"type": "match", "name": "state"}}, ACCEPT]
    ],
}
DROPS: dict[str, list[list[Any]]] = {
    "nothing": [],
    "another-device": [[match("meta.iifname", {"set": ["br1", "bridge*"]}), ACCEPT]],
    "answers": [[match("ct.state", ["established", "related"], "in"), ACCEPT]],
    "answers-by-map": [[{"vmap": {"key": {"ct": {"key": "state"}}, "data": {"set": [["established", ACCEPT]]}}}]],
    "answers-of-iptables": [[{"xt": {"type": "match", "name": "conntrack"}}, ACCEPT]],
    "translated-to-here": [[match("ct.status", "dnat", "in"), ACCEPT]],
    "another-source": [[match("ip.saddr", "10.9.0.2"), ACCEPT]],
    "another-target": [[match("ip.daddr", {"prefix": {"addr": "10.0.0.0", "len": 8}}), ACCEPT]],
    "ipv6": [[match("meta.nfproto", "ipv6"), ACCEPT], [match("ip6.saddr", "::", "!="), ACCEPT]],
    "ping": [[match("icmp.type", "echo-request"), ACCEPT], [match("ip.protocol", "icmp"), ACCEPT]],
    "another-port": [[match("tcp.dport", 22), ACCEPT], [match("udp.dport", 443), ACCEPT]],
    "refused": [[{"log": {}}], [{"reject": {}}], [ACCEPT]],
    "refused-by-iptables": [[{"counter": {}}, {"xt": {"type": "target", "name": "REJECT"}}], [ACCEPT]],
    "returned": [[{"return": None}], [ACCEPT]],
    "dropped-or-dropped": [[match("meta.mark", 7), DROP], [{"limit": {}}, {"reject": {}}]],
}  # fmt: skip


@pytest.mark.parametrize("name", LETS_THROUGH)
def test_rule_may_let_it_through(name: str) -> None:
    assert called(strict(*LETS_THROUGH[name]), THERE) == []


@pytest.mark.parametrize("name", DROPS)
def test_rule_leaves_it_to_the_policy_which_drops(name: str) -> None:
    assert called(strict(*DROPS[name]), THERE) == ["inet t f"]


def test_answers_are_known_by_their_state_and_port() -> None:
    assert called(strict(*DROPS["answers"]), BACK) == []
    assert called(strict(*DROPS["answers-by-map"]), BACK) == []
    assert called(strict([match("tcp.sport", 443), ACCEPT]), BACK) == []
    assert called(strict([match("tcp.sport", 80), ACCEPT]), BACK) == ["inet t f"]
    assert called(strict([match("ct.state", "new", "in"), ACCEPT]), BACK) == ["inet t f"]


def test_jump_comes_back_and_goto_does_not() -> None:
    jump, goto = {"jump": {"target": "side"}}, {"goto": {"target": "side"}}
    comes_back: list[list[Any]] = [[match("meta.iifname", "eth0"), DROP], [{"return": None}], [DROP]]
    assert called(strict([jump], [ACCEPT], side=comes_back), THERE) == []
    assert called(strict([goto], [ACCEPT], side=comes_back), THERE) == ["inet t f"]
    assert called(strict([jump], policy="accept", side=[[DROP]]), THERE) == ["inet t f"]
    assert called(strict([match("meta.mark", 7), jump], policy="accept", side=[[DROP]]), THERE) == []
    assert called(strict([jump], [ACCEPT], side=[[jump]]), THERE) == [], "a circle ends"


def test_policy_that_accepts_drops_nothing() -> None:
    assert called(strict(policy="accept"), THERE) == []


@given(
    st.recursive(
        st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_whatever_a_rule_holds_nothing_is_raised(expr: Any) -> None:
    for rules in (parse(json.dumps(expr)), strict([expr]), strict([{"match": expr}]), strict([{"vmap": expr}])):
        called(rules, THERE)
        rules.masks(THERE)
