# SPDX-License-Identifier: GPL-2.0-or-later
"""NAT64 prefixes that a network manager knows already. It heard them from the same routers as we do, perhaps earlier.

Which managers tell any, and how, is their own file's business in `uplinks`: see `Teller`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from clatnm.errors import ParseError
from clatnm.model import Link, PrefixCandidate, PrefixSource, SourceReport
from clatnm.proto.nat64 import check_prefix

# A manager that learns a prefix says nothing, so it is asked while nobody else knows one.
_INTERVAL_S = 30.0


class Teller(Protocol):
    """A network manager that can be asked for NAT64 prefixes."""

    @property
    def name(self) -> str:
        """For people: `systemd-networkd`."""

    def prefixes(self, interface: str) -> tuple[PrefixCandidate, ...] | None:
        """What it knew of a link when it was asked last; None when the link is not its own."""

    def look_again(self) -> None:
        """Ask it anew; it calls the daemon's `changed` when the answer is another one."""


class ManagerKnowledge:
    """A source of prefixes; `changed` is called when what counted does not count any more."""

    def __init__(self, *, changed: Callable[[], None], tellers: Sequence[Teller]) -> None:
        self._changed = changed
        self._tellers = tuple(tellers)
        self._links: dict[str, Link] = {}
        self._doubted: dict[str, frozenset[PrefixCandidate]] = {}
        self._reports: dict[str, SourceReport] = {}
        self._timer: asyncio.TimerHandle | None = None

    def follow(self, links: Mapping[str, Link], wanted: Collection[str]) -> None:
        """Keep up with the links. The managers are asked again when a link of `wanted` changes, and now and then.

        `wanted`: the interfaces of which nothing better is known.
        """
        before, self._links = self._links, dict(links)
        for name, link in links.items():
            if name in before and _plugged(before[name]) != _plugged(link):
                self._doubt(name)
        asked = {name for name in wanted if name in links and self._teller(name)}
        if any(before.get(name) not in (None, links[name]) for name in asked):
            self._ask()
        for name in [name for name in self._doubted if name not in links]:
            del self._doubted[name]
        for name in [name for name in self._reports if name not in links]:
            del self._reports[name]
        if asked and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_INTERVAL_S, self._ask_in_time)
        elif not asked:
            self._rest()

    def forget(self, ifindex: int | None = None) -> None:
        """The link (None: any) may be on another network. What is told of it now counts only once it is confirmed."""
        for name, link in self._links.items():
            if ifindex in (None, link.index):
                self._doubt(name)
        self._ask()
        self._changed()

    def candidates(self, interface: str, now: float) -> tuple[PrefixCandidate, ...]:
        """The prefixes valid on a link now; no manager tells which of them it thinks best."""
        told = self._told(interface) or ()
        # A confirmed one has another end.
        fresh = (candidate for candidate in told if candidate not in self._doubted.get(interface, ()))
        valid = [candidate for candidate in fresh if candidate.expires_at is None or candidate.expires_at > now]
        return tuple(sorted(valid, key=lambda candidate: candidate.prefix))

    def report(self, interface: str, now: float) -> SourceReport:
        """What there is to say to people; there is never anything to wait for."""
        teller = self._teller(interface)
        known = ", ".join(str(candidate.prefix) for candidate in self.candidates(interface, now))
        detail = f"{teller.name} knows {known or 'none'}" if teller else "the network manager does not tell"
        last = self._reports.get(interface)
        if last is None or last.detail != detail:
            last = SourceReport(source=PrefixSource.MANAGER, settled=True, detail=detail, since=now)
            self._reports[interface] = last
        return last

    def close(self) -> None:
        """Stop asking."""
        self._rest()

    def _doubt(self, interface: str) -> None:
        self._doubted[interface] = frozenset(self._told(interface) or ())

    def _teller(self, interface: str) -> Teller | None:
        return next((teller for teller in self._tellers if teller.prefixes(interface) is not None), None)

    def _told(self, interface: str) -> tuple[PrefixCandidate, ...] | None:
        teller = self._teller(interface)
        return None if teller is None else tuple(filter(_is_possible, teller.prefixes(interface) or ()))

    def _ask(self) -> None:
        for teller in self._tellers:
            teller.look_again()

    def _ask_in_time(self) -> None:
        self._ask()
        self._timer = asyncio.get_running_loop().call_later(_INTERVAL_S, self._ask_in_time)

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _plugged(link: Link) -> tuple[int, bool, int]:
    return link.index, link.carrier, link.carrier_changes


def _is_possible(candidate: PrefixCandidate) -> bool:
    try:
        check_prefix(candidate.prefix)
    except ParseError:
        return False
    return True
