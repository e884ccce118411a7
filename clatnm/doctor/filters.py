# SPDX-License-Identifier: GPL-2.0-or-later
"""The packet filters that a host has, as `nft -j list chains` tells; what would let a packet past them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from dataclasses import dataclass

_OF_BOTH, _OUT, _IN = "inet", ("output", "postrouting"), ("prerouting", "input")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A base chain of type `filter`."""

    family: str
    table: str
    name: str
    hook: str

    @property
    def called(self) -> str:
        """Its name as nft(8) takes it."""
        return f"{self.family} {self.table} {self.name}"


def chains(text: str) -> tuple[Chain, ...]:
    """Those in the JSON of nft(8); none where it is none."""
    try:
        listed = json.loads(text)["nftables"]
        found = [item["chain"] for item in listed if isinstance(item, dict) and "chain" in item]
        return tuple(
            Chain(family=str(c["family"]), table=str(c["table"]), name=str(c["name"]), hook=str(c["hook"]))
            for c in found
            if c.get("type") == "filter" and c.get("hook")
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()


def let_out(known: Iterable[Chain], device: str) -> str:
    """A command after which IPv4 may leave by a device; "" where no filter is known."""
    return _insert(known, "ip", _OUT, f"oifname {device} accept")


def let_in(known: Iterable[Chain], device: str) -> str:
    """A command after which IPv4 may come in by a device."""
    return _insert(known, "ip", _IN, f"iifname {device} accept")


def let_out6(known: Iterable[Chain], device: str) -> str:
    """A command after which IPv6 may leave by a device."""
    return _insert(known, "ip6", _OUT, f"oifname {device} accept")


def let_adverts_in(known: Iterable[Chain], device: str) -> str:
    """A command after which programs hear Router Advertisements."""
    return _insert(known, "ip6", _IN, f"iifname {device} icmpv6 type nd-router-advert accept")


def _insert(known: Iterable[Chain], family: str, hooks: tuple[str, ...], rule: str) -> str:
    """First in each of them: whichever it was that dropped the packet."""
    wanted = [chain for chain in known if chain.hook in hooks and chain.family in (family, _OF_BOTH)]
    return _first_in(wanted, rule)


def let_through(comes: str, goes: str, out: Iterable[Chain], back: Iterable[Chain]) -> str:
    """A command after which new connections pass the chains `out`, and their answers the chains `back`."""
    there, here = shlex.quote(comes), shlex.quote(goes)
    answers = f"iifname {here} oifname {there} ct state established,related accept"
    told = (_first_in(out, f"iifname {there} oifname {here} accept"), _first_in(back, answers))
    return " && ".join(filter(None, told))


def _first_in(chains_: Iterable[Chain], rule: str) -> str:
    return " && ".join(f"nft insert rule {chain.called} {rule}" for chain in chains_)
