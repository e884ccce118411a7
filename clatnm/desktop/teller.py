# SPDX-License-Identifier: GPL-2.0-or-later
"""What is to be told now, once, and what is no longer true and is to go. Pure: `now` in seconds, of any clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clatnm.desktop.memory import Key, Memory
from clatnm.desktop.state import HAS_IPV4, Kind, Network

TOLD = frozenset({Kind.NAT64, Kind.NONE})
"""What is worth a notification. That IPv4 works as ever, or that the user switched CLAT off, is not."""

# A network that has just been joined is without a prefix for a moment; and one that is lost may be back at once.
SETTLED_AFTER_S = {Kind.NAT64: 2.0, Kind.NONE: 10.0}
_OTHERWISE_S = 5.0
GONE_AFTER_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Show:
    """Make a notification about this network, in the place of its last one if there is one."""

    network: Network
    key: Key


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdraw:
    """Take the notification about this connection away: what it says is no longer so."""

    uuid: str


Act = Show | Withdraw


class Patience:
    """Since when each connection has been as it is."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[Key | None, float]] = {}

    def settled(self, networks: Sequence[Network], watched: Sequence[str], now: float) -> dict[str, Network | None]:
        """By UUID, those that have been the same for long enough; None for one of `watched` that has gone.

        What is not known yet is not among them: all stays as it is.
        """
        there: dict[str, Network | None] = dict.fromkeys(watched)
        there.update((network.uuid, network) for network in networks)
        self._since = {
            uuid: since if (since := self._since.get(uuid)) and since[0] == _key(network) else (_key(network), now)
            for uuid, network in there.items()
        }
        return {
            uuid: network
            for uuid, network in there.items()
            if now >= self._due(uuid) and (network is None or network.kind is not Kind.STARTING)
        }

    def next_at(self, now: float) -> float | None:
        """When the next one will have settled; None: nothing comes by time alone."""
        return min((at for uuid in self._since if (at := self._due(uuid)) > now), default=None)

    def _due(self, uuid: str) -> float:
        key, since = self._since[uuid]
        return since + (GONE_AFTER_S if key is None else SETTLED_AFTER_S.get(key.kind, _OTHERWISE_S))


def acts(settled: Mapping[str, Network | None], memory: Memory, *, has_ipv4: bool) -> list[Act]:
    """What is to be done now. Nothing the second time, once `memory` knows that it has been done.

    `has_ipv4`: some connection has it, so that one without it is nobody's trouble.
    """
    found: list[Act] = []
    for uuid, network in settled.items():
        key = _key(network)
        shown = memory.shown.get(uuid)
        if shown is not None and shown.key == key:
            continue
        if network is not None and key is not None and key not in memory.told and _matters(network, has_ipv4=has_ipv4):
            found.append(Show(network=network, key=key))
        elif shown is not None:
            found.append(Withdraw(uuid=uuid))
    return found


def _matters(network: Network, *, has_ipv4: bool) -> bool:
    """It is worth a notification; a network without IPv4 only if no other connection has it."""
    return network.kind in TOLD and (network.kind in HAS_IPV4 or not has_ipv4)


def _key(network: Network | None) -> Key | None:
    return None if network is None else Key(uuid=network.uuid, prefix=network.prefix, kind=network.kind)
