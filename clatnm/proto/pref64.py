# SPDX-License-Identifier: GPL-2.0-or-later
"""The PREF64 option (RFC 8781) and the NAT64 prefixes that one link's routers currently announce with it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv6Address, IPv6Network
from typing import TYPE_CHECKING

from clatnm.errors import ParseError
from clatnm.proto import nat64

if TYPE_CHECKING:  # ndp reads options with this module, so it cannot be imported back
    from clatnm.proto.ndp import Preference, RouterAdvert

OPTION_PREF64 = 38
MAX_ENTRIES = 8

_BODY_BYTES = 14
_LENGTH_CODES = (96, 64, 56, 48, 40, 32)  # RFC 8781 4, indexed by the Prefix Length Code
_LIFETIME_UNIT_S = 8
# RFC 4861 6.2.3: options may be split over several RAs, so that one without a prefix says nothing yet.
_FADES_AFTER = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Pref64Option:
    """One announced NAT64 prefix; lifetime 0 (to 65528) seconds, where 0 withdraws it."""

    prefix: IPv6Network
    lifetime_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pref64Entry:
    """A NAT64 prefix in force: who announced it, how that router ranks, and when it ends (CLOCK_BOOTTIME seconds)."""

    prefix: IPv6Network
    router: IPv6Address
    preference: Preference
    expires_at: float
    heard_at: float
    """When the router last announced it."""
    fading: bool = False
    """The router now announces others instead, without having withdrawn this one."""


def parse_option(body: bytes) -> Pref64Option | None:
    """A PREF64 option without its type and length bytes, or None when it is to be ignored (RFC 8781 4)."""
    if len(body) != _BODY_BYTES:  # RFC 8781 4: Length is 2, else ignore
        return None
    scaled = int.from_bytes(body[:2], "big")
    code = scaled & 0b111
    if code >= len(_LENGTH_CODES):  # RFC 8781 4: other codes are ignored
        return None
    # RFC 8781 4: bits past the prefix length are ignored by the receiver
    prefix = IPv6Network((body[2:] + bytes(4), _LENGTH_CODES[code]), strict=False)
    try:
        nat64.check_prefix(prefix)
    except ParseError:
        return None
    return Pref64Option(prefix=prefix, lifetime_s=(scaled >> 3) * _LIFETIME_UNIT_S)  # RFC 8781 4.1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Router:
    preference: Preference
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Announced:
    expires_at: float
    heard_at: float
    missed: int = 0
    """How many RAs in a row have announced other prefixes of its router, but not this one."""


class Pref64Table:
    """What the routers of one link say now; `now` is CLOCK_BOOTTIME seconds, so lifetimes run on through a suspend.

    At most MAX_ENTRIES prefixes are kept, and only routers that have one, so neither can grow. When there are more,
    the one `valid` would list last is evicted: the least preferred, among equals the latest to arrive. A flood of
    equal rank thus never displaces what was there before it.
    """

    def __init__(self) -> None:
        self._routers: dict[IPv6Address, _Router] = {}
        self._announced: dict[tuple[IPv6Address, IPv6Network], _Announced] = {}  # in order of arrival

    def update(self, advert: RouterAdvert, now: float) -> bool:
        """Take in one RA. True when it changed which prefixes are valid, their routers, their order or their fading.

        A prefix that the RA leaves out stays until it expires (RFC 4861 6.2.3: options may be split over RAs). One that
        several leave out while they announce others is fading: among equals, the others come first.
        """
        before = self._ranking(now)
        self._keep(self.valid(now))
        # A lifetime of 0 ends what it is about at `now`, and what has ended is not kept: one prefix (RFC 8781 4),
        # or all of a router that is the way to nowhere any more (RFC 4861 6.3.4).
        self._routers[advert.router] = _Router(preference=advert.preference, expires_at=now + advert.lifetime_s)
        if any(option.lifetime_s for option in advert.pref64):
            for key, announced in self._announced.items():
                if key[0] == advert.router:
                    self._announced[key] = replace(announced, missed=announced.missed + 1)
        for option in advert.pref64:
            announced = _Announced(expires_at=now + option.lifetime_s, heard_at=now)
            self._announced[advert.router, option.prefix] = announced
        self._keep(self.valid(now)[:MAX_ENTRIES])
        return self._ranking(now) != before

    def valid(self, now: float) -> tuple[Pref64Entry, ...]:
        """The prefixes in force: high router preference first (RFC 4191 2.1), fading ones after others of the same
        preference, then in order of first arrival."""
        entries = (self._entry(router, prefix, said) for (router, prefix), said in self._announced.items())
        alive = (entry for entry in entries if entry.expires_at > now)
        return tuple(sorted(alive, key=lambda entry: (-entry.preference, entry.fading)))

    def next_expiry(self, now: float) -> float | None:
        """When `valid` next loses an entry by itself; None when it has none."""
        return min((entry.expires_at for entry in self.valid(now)), default=None)

    def keep_only(self, advert: RouterAdvert) -> None:
        """Forget all that this RA does not announce too: the link may be another one now (RFC 8781 5)."""
        kept = {(advert.router, option.prefix) for option in advert.pref64}
        self._announced = {key: announced for key, announced in self._announced.items() if key in kept}
        self._routers = {router: state for router, state in self._routers.items() if router == advert.router}

    def clear(self) -> None:
        """Forget everything: the link went away or is another one now (RFC 8781 5: prefixes belong to a link)."""
        self._routers.clear()
        self._announced.clear()

    def _entry(self, router: IPv6Address, prefix: IPv6Network, announced: _Announced) -> Pref64Entry:
        state = self._routers[router]
        return Pref64Entry(
            prefix=prefix,
            router=router,
            preference=state.preference,
            expires_at=min(announced.expires_at, state.expires_at),
            heard_at=announced.heard_at,
            fading=announced.missed >= _FADES_AFTER,
        )

    def _keep(self, entries: tuple[Pref64Entry, ...]) -> None:
        kept = {(entry.router, entry.prefix) for entry in entries}
        self._announced = {key: announced for key, announced in self._announced.items() if key in kept}
        speaking = {router for router, _ in kept}
        self._routers = {router: state for router, state in self._routers.items() if router in speaking}

    def _ranking(self, now: float) -> list[tuple[IPv6Network, IPv6Address, Preference, bool]]:
        return [(entry.prefix, entry.router, entry.preference, entry.fading) for entry in self.valid(now)]
