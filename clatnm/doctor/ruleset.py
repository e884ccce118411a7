# SPDX-License-Identifier: GPL-2.0-or-later
"""What nftables would do with a packet that is forwarded, found out by reading its rules: nothing has to be sent.

Rules may ask what is not known here (marks, named sets). Then each answer is thought to its end, and a packet counts as
dropped only where all of them drop it. Rules of iptables-nft are in the list; those of iptables-legacy are not.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any, TypeAlias

from clatnm.compat import StrEnum
from clatnm.doctor.filters import Chain

_OF_IPV4 = ("ip", "inet")
_SIDE_EFFECTS = ("counter", "log", "mangle", "notrack", "flow", "secmark", "ct helper", "ct timeout")
_ANSWERS = ("conntrack", "state")  # iptables' matches, whose states nft does not list
_OF_PACKET = ("ip", "tcp", "th", "ether", "vlan")  # headers that it may have
_PORT = 443
_Value: TypeAlias = str | int | IPv4Address
_Key: TypeAlias = tuple[str, str, str]  # family, table and name of a chain


class End(StrEnum):
    """What may become of a packet in a chain."""

    ACCEPT = "accept"
    DROP = "drop"
    MASKED = "masked"
    """Gets an address of this host for its source."""
    RETURN = "return"


_ENDS = {
    **dict.fromkeys(("accept", "queue"), End.ACCEPT),
    **dict.fromkeys(("drop", "reject"), End.DROP),
    **dict.fromkeys(("masquerade", "snat"), End.MASKED),
    "return": End.RETURN,
}
_XT_ENDS = {"REJECT": End.DROP, "NFQUEUE": End.ACCEPT, "MASQUERADE": End.MASKED, "SNAT": End.MASKED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Passing:
    """A packet on its way through this host: to TCP's port 443, which whoever lets anything through lets through.

    `answer`: it comes from there, and belongs to a connection that there is.
    """

    comes: str
    goes: str
    source: IPv4Address
    target: IPv4Address
    answer: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruleset:
    """Base chains, and the rules of all chains."""

    bases: tuple[tuple[Chain, str, End], ...] = ()
    """With their type and policy."""
    rules: Mapping[_Key, tuple[tuple[Any, ...], ...]] = field(default_factory=dict)

    def masks(self, packet: Passing) -> bool:
        """Some rule may give it an address of this host."""
        return any(End.MASKED in self._ends(chain, packet) for chain in self._at("nat", "postrouting"))

    def droppers(self, packet: Passing) -> tuple[Chain, ...]:
        """The base chains that drop it, whatever it holds."""
        policies = {chain: policy for chain, _, policy in self.bases}
        found = []
        for chain in self._at("filter", "forward"):
            ends = {policies[chain] if end is End.RETURN else end for end in self._ends(chain, packet)}
            if ends == {End.DROP}:
                found.append(chain)
        return tuple(found)

    def _at(self, kind: str, hook: str) -> Iterator[Chain]:
        return (c for c, own, _ in self.bases if (own, c.hook) == (kind, hook) and c.family in _OF_IPV4)

    def _ends(self, chain: Chain, packet: Passing) -> frozenset[End]:
        return self._walk((chain.family, chain.table, chain.name), packet, {})

    def _walk(self, key: _Key, packet: Passing, known: dict[_Key, frozenset[End]]) -> frozenset[End]:
        """All ends that are possible; RETURN for the end of the chain, too. `known`: of chains that were walked."""
        if key in known:
            return known[key]
        known[key] = frozenset(End)  # the kernel takes no circles; nor do we go around one
        possible: set[End] = set()
        for rule in self.rules.get(key, ()):
            matches, verdict = _applied(rule, packet)
            if matches is False or verdict is None:
                continue
            ends, goes_on = self._after(verdict, key, packet, known)
            possible |= ends
            if matches and not goes_on:
                break
        else:
            possible.add(End.RETURN)
        known[key] = frozenset(possible)
        return known[key]

    def _after(
        self, verdict: tuple[str, str], key: _Key, packet: Passing, known: dict[_Key, frozenset[End]]
    ) -> tuple[frozenset[End], bool]:
        """The ends that a rule leads to, and whether the next one may be reached behind it."""
        word, target = verdict
        if word not in ("jump", "goto"):
            return frozenset({End(word)}), False
        inner = self._walk((*key[:2], target), packet, known)
        if word == "goto":
            return inner, False
        return inner - {End.RETURN}, End.RETURN in inner


def parse(text: str) -> Ruleset:
    """Of `nft -j list ruleset`; an empty one where that is none."""
    try:
        listed = [item for item in json.loads(text)["nftables"] if isinstance(item, dict)]
        bases = tuple(_base(item["chain"]) for item in listed if "hook" in item.get("chain", {}))
        rules: dict[_Key, list[tuple[Any, ...]]] = {}
        for rule in (item["rule"] for item in listed if "rule" in item):
            key = (str(rule["family"]), str(rule["table"]), str(rule["chain"]))
            rules.setdefault(key, []).append(tuple(rule["expr"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        return Ruleset()
    return Ruleset(bases=bases, rules={key: tuple(found) for key, found in rules.items()})


def _base(item: Mapping[str, Any]) -> tuple[Chain, str, End]:
    family, table, name, hook = (str(item[key]) for key in ("family", "table", "name", "hook"))
    policy = End.DROP if item.get("policy") == "drop" else End.ACCEPT
    return Chain(family=family, table=table, name=name, hook=hook), str(item["type"]), policy


def _applied(rule: Iterable[Any], packet: Passing) -> tuple[bool | None, tuple[str, str] | None]:
    """Whether a rule matches (None: that is not known), and its verdict: a word of `End`, or a jump and its target."""
    try:
        return _read(rule, packet)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None, (End.ACCEPT, "")  # of another version of nft: it may do anything


def _read(rule: Iterable[Any], packet: Passing) -> tuple[bool | None, tuple[str, str] | None]:
    matches: bool | None = True
    names_device = False
    for statement in rule:
        ((kind, what),) = statement.items()
        known: bool | None = True
        if kind in ("jump", "goto", *_ENDS):
            return matches, _verdict(kind, what)
        if kind == "vmap":
            return _looked_up(what, packet, matches)
        if kind == "match":
            known = _matches(what, packet)
            names_device = names_device or (known is True and what["left"] == {"meta": {"key": "iifname"}})
        elif kind == "xt" and what["type"] == "target":
            if what["name"] in _XT_ENDS:
                return matches, (_XT_ENDS[what["name"]], "")
        elif kind == "xt":
            # What iptables accepts by state is nearly always answers, unless it says from where.
            known = packet.answer if what["name"] in _ANSWERS and not names_device else None
        elif kind not in _SIDE_EFFECTS:
            known = None
        if known is False:
            return False, None
        matches = None if known is None else matches
    return matches, None


def _verdict(kind: str, what: Any) -> tuple[str, str]:
    return (kind, str(what["target"])) if kind in ("jump", "goto") else (_ENDS[kind], "")


def _looked_up(
    vmap: Mapping[str, Any], packet: Passing, matches: bool | None
) -> tuple[bool | None, tuple[str, str] | None]:
    """The verdict that a map has for the packet; one that cannot be read may accept it."""
    table = vmap["data"].get("set") if isinstance(vmap["data"], dict) else None
    value = _value(vmap["key"], packet)
    if table is None or value is None:
        return None, (End.ACCEPT, "")
    for key, verdict in table:
        if _is(value, key):
            ((kind, what),) = verdict.items()
            return matches, _verdict(kind, what)
    return False, None


def _matches(match: Mapping[str, Any], packet: Passing) -> bool | None:
    left, right, op = match["left"], match["right"], match["op"]
    if isinstance(left, dict) and left.get("payload", {}).get("protocol", "ip") not in _OF_PACKET:
        return False
    value = _value(left, packet)
    if value is None or op not in ("==", "!=", "in"):
        return None
    same = _is(value, right)
    return same if same is None or op != "!=" else not same


def _value(left: Any, packet: Passing) -> _Value | None:
    """What the packet has there; None where that is not known."""
    match left:
        case {"meta": {"key": "iifname" | "iif"}}:
            return packet.comes
        case {"meta": {"key": "oifname" | "oif"}}:
            return packet.goes
        case {"meta": {"key": "nfproto"}}:
            return "ipv4"
        case {"meta": {"key": "l4proto"}} | {"payload": {"protocol": "ip", "field": "protocol"}}:
            return "tcp"
        case {"payload": {"protocol": "tcp" | "th", "field": "sport" | "dport" as field}}:
            return _PORT if (field == "sport") is packet.answer else None
        case {"payload": {"protocol": "ip", "field": "saddr"}}:
            return packet.source
        case {"payload": {"protocol": "ip", "field": "daddr"}}:
            return packet.target
        case {"ct": {"key": "state"}}:
            return "established" if packet.answer else "new"
        case {"ct": {"key": "status"}}:
            return "snat" if packet.answer else "none of them"
        case _:
            return None


def _is(value: _Value, right: Any) -> bool | None:
    """Whether it is what a rule names; None where that is not known."""
    match right:
        case {"set": list(items)} | list(items):
            answers = [_is(value, item) for item in items]
            return True if True in answers else None if None in answers else False
        case int(number):
            return value == number
        case {"range": [int(low), int(high)]} if isinstance(value, int):
            return low <= value <= high
        case {"prefix": {"addr": str(address), "len": int(length)}} if isinstance(value, IPv4Address):
            return ":" not in address and value in IPv4Network((address, length), strict=False)
        case {"range": [str(low), str(high)]} if isinstance(value, IPv4Address):
            return ":" not in low and IPv4Address(low) <= value <= IPv4Address(high)
        case str(text) if text.startswith("@"):
            return None
        case str(text) if text.endswith("*"):
            return str(value).startswith(text[:-1])
        case str(text):
            return str(value) == text
        case _:
            return None
