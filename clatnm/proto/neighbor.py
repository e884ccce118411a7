# SPDX-License-Identifier: GPL-2.0-or-later
"""Neighbour discovery without I/O for the CLAT address, which is no address of the host and so is answered for here.

Ethernet frames out, parsed messages and `now` (seconds of any clock that never runs backwards) in. Link addresses
are 6 bytes. Three small machines: `NextHop` finds and watches the router's link address, `Responder` says ours,
`DuplicateCheck` asks whether somebody else has the CLAT address.

What the caller must let through its packet filter for this: neighbour messages to the CLAT address, to its
solicited-node group (questions, probes) and to ff02::1 (objections to our probe, a router that moved).
"""

from __future__ import annotations

from ipaddress import IPv6Address

from clatnm.proto import ndp
from clatnm.proto.ndp import NeighborAdvert, NeighborSolicit

# RFC 4861 10; one neighbour has no crowd to avoid, so REACHABLE_TIME has no random factor
RETRANS_TIMER_S = 1.0
REACHABLE_TIME_S = 30.0
MAX_UNICAST_SOLICIT = 3
MAX_MULTICAST_SOLICIT = 3
# RFC 7048 3: keep asking a silent neighbour, ever more slowly
MAX_RETRANS_S = 10.0

_ETHERTYPE_IPV6 = b"\x86\xdd"
_LONG_AGO = float("-inf")


class NextHop:
    """The link address of one router, resolved and kept right by asking from the CLAT address (RFC 4861 7.2, 7.3).

    Simpler than the RFC where only one neighbour exists and there is nowhere else to send to: use of an address past
    its reachable time is checked at once instead of after DELAY_FIRST_PROBE_TIME, and an unreachable router keeps its
    last known link address (RFC 7048 3), for silence is never a reason to stop sending.
    """

    def __init__(self, target: IPv6Address, source: IPv6Address, link_address: bytes) -> None:
        self._target = target
        self._source = source
        self._link_address = link_address
        self._mac: bytes | None = None
        self._unanswered = 0  # solicitations since we last heard what we wanted to hear
        self._asked_at = _LONG_AGO
        self._due_at = _LONG_AGO  # the next solicitation's time, if there is reason for one then
        self._used = False  # since the last solicitation or confirmation

    @property
    def mac(self) -> bytes | None:
        """Where to send frames for the router; None until it is first known, never None again."""
        return self._mac

    def next_deadline(self, now: float, used: bool) -> float | None:
        """When `poll` next has a frame to send, not before `now`; None while there is no reason to ask anything."""
        if not (used or self._used or self._insists()):
            return None
        return max(now, self._due_at)

    def poll(self, now: float, *, used: bool) -> tuple[bytes, ...]:
        """The frames to send now. `used`: since the last poll, something was sent to the router or waits to be."""
        due_at = self.next_deadline(now, used)
        self._used = self._used or used
        if due_at is None or due_at > now:
            return ()
        frame = self._solicitation()
        self._unanswered += 1
        self._used = False
        self._asked_at = now
        self._due_at = now + self._patience_s()
        return (frame,)

    def on_advert(self, advert: NeighborAdvert, now: float) -> None:
        """Take in an advertisement, of whomever (RFC 4861 7.2.5)."""
        mac = advert.link_address or self._mac
        if advert.target != self._target or mac is None:
            return
        moved = mac != self._mac
        if moved and not advert.override and not self._lost():
            if self._unanswered == 0:  # RFC 4861 7.2.5: a doubt, so ask; but believe what we have
                self._doubt(now)
            return
        self._mac = mac
        if advert.solicited:
            self._unanswered = 0
            self._used = False
            self._due_at = now + REACHABLE_TIME_S
        elif moved:
            self._doubt(now)

    def on_solicit(self, solicit: NeighborSolicit, now: float) -> None:
        """Take the router's link address from what it asks, if it is the router who asks (RFC 4861 7.2.3)."""
        if solicit.source != self._target or solicit.link_address in (None, self._mac):
            return
        self._mac = solicit.link_address
        self._doubt(now)

    def _insists(self) -> bool:
        """Is a question under way that goes on even if nothing is sent meanwhile (RFC 4861 7.2.2, 7.3.3)?"""
        if self._mac is None:
            return self._unanswered < MAX_MULTICAST_SOLICIT
        return 0 < self._unanswered < MAX_UNICAST_SOLICIT + MAX_MULTICAST_SOLICIT

    def _lost(self) -> bool:
        """Is whatever link address comes next better than ours: none, or one that answers no more?"""
        return self._mac is None or self._unanswered > MAX_UNICAST_SOLICIT

    def _doubt(self, now: float) -> None:
        """STALE (RFC 4861 7.3.2): to be checked when used next, at most one question a RETRANS_TIMER_S."""
        self._unanswered = 0
        self._due_at = max(now, self._asked_at + RETRANS_TIMER_S)

    def _solicitation(self) -> bytes:
        unicast_to = self._mac if self._unanswered < MAX_UNICAST_SOLICIT else None  # RFC 7048 3: multicast afterwards
        destination = self._target if unicast_to else ndp.solicited_node(self._target)
        # RFC 4861 4.3: our link address goes along, so the router need not ask back. RFC 4429 2.2 would rather wait
        # for the end of duplicate address detection, and with it the first packet.
        packet = ndp.neighbor_solicitation(
            source=self._source, target=self._target, link_address=self._link_address, destination=destination
        )
        return _frame(unicast_to or ndp.multicast_mac(destination), self._link_address, packet)

    def _patience_s(self) -> float:
        """How long to wait after the solicitation just counted."""
        extra = self._unanswered - MAX_UNICAST_SOLICIT - 1
        if self._mac is None or extra <= 0:
            return RETRANS_TIMER_S
        return min(RETRANS_TIMER_S * 2.0 ** min(extra, 16), MAX_RETRANS_S)


class Responder:
    """Answers for the CLAT address (RFC 4861 7.2.4)."""

    def __init__(self, address: IPv6Address, link_address: bytes) -> None:
        self._address = address
        self._link_address = link_address

    def answer(
        self, solicit: NeighborSolicit, *, frame_source: bytes | None = None, optimistic: bool = False
    ) -> bytes | None:
        """The frame to answer a solicitation with; None when it is not for us or nobody can be answered.

        The advertisement's source is the address itself, not one the host would choose. `frame_source`, the Ethernet
        source of the solicitation, serves where that carries no link address. `optimistic` while the `DuplicateCheck`
        runs: our claim then overrides nobody's (RFC 4429 2.2), and a probe is the check's business (RFC 4862 5.4.3).
        """
        if solicit.target != self._address or solicit.source == self._address:
            return None
        probe = solicit.source == ndp.UNSPECIFIED
        if probe and optimistic:
            return None
        mac = ndp.multicast_mac(ndp.ALL_NODES) if probe else solicit.link_address or frame_source
        if mac is None:
            return None
        packet = ndp.neighbor_advertisement(
            source=self._address,
            destination=ndp.ALL_NODES if probe else solicit.source,
            target=self._address,
            link_address=self._link_address,
            solicited=not probe,
            override=not optimistic,
        )
        return _frame(mac, self._link_address, packet)


class DuplicateCheck:
    """Does somebody else on the link have the CLAT address (RFC 4862 5.4, with the nonce of RFC 7527)?

    One probe, then RETRANS_TIMER_S of listening (RFC 4862 5.1: DupAddrDetectTransmits 1). On a conflict the caller
    goes on to another address, as RFC 7217 6 has it. Whether packets flow meanwhile (RFC 4429) is the caller's too.
    """

    def __init__(self, address: IPv6Address, link_address: bytes) -> None:
        self._address = address
        self._link_address = link_address
        self._nonce: bytes | None = None
        self._ends_at: float | None = None

    def start(self, now: float, *, nonce: bytes) -> tuple[bytes, ...]:
        """The frames to send now; `nonce` is 6 random bytes (RFC 7527 4.1)."""
        self._nonce = nonce
        self._ends_at = now + RETRANS_TIMER_S
        destination = ndp.solicited_node(self._address)
        packet = ndp.neighbor_solicitation(source=ndp.UNSPECIFIED, target=self._address, link_address=None, nonce=nonce)
        return (_frame(ndp.multicast_mac(destination), self._link_address, packet),)

    def done(self, now: float) -> bool:
        """Has the time for objections passed?"""
        return self._ends_at is not None and now >= self._ends_at

    def on_solicit(self, solicit: NeighborSolicit, now: float) -> bool:
        """Does this solicitation show a conflict: another node probing for the address while we do?

        Later it shows none: the address is ours then, and the `Responder` defends it (RFC 4862 5.4.3).
        """
        if solicit.target != self._address or solicit.source != ndp.UNSPECIFIED or self.done(now):
            return False
        return solicit.nonce is None or solicit.nonce != self._nonce  # RFC 7527 4.2: else our own, looped back

    def on_advert(self, advert: NeighborAdvert) -> bool:
        """Does this advertisement show a conflict: another station saying that it has the address (RFC 4862 5.4.4)?

        At any time: an answer may be late, and a claim after the check is one all the same. Without a link address it
        cannot be our own looped back, for ours always has one.
        """
        return advert.target == self._address and advert.link_address != self._link_address


def _frame(destination: bytes, source: bytes, packet: bytes) -> bytes:
    return destination + source + _ETHERTYPE_IPV6 + packet  # RFC 2464 3
