# SPDX-License-Identifier: GPL-2.0-or-later
"""How the network answers this host's DHCPv4 client, overheard on the wire.

No network manager tells that its client is still asking, that nobody answers, or that the answer was option 108: this
network wants hosts without IPv4 (RFC 8925). We ask nothing ourselves.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import NamedTuple

from clatnm.errors import HostError, ParseError
from clatnm.kernel.dhcp_socket import DhcpSocket
from clatnm.model import Dhcp4, Dhcp4State, Link
from clatnm.proto.dhcp4 import MIN_V6ONLY_WAIT_S, Message, MessageType, parse

log = logging.getLogger(__name__)

# A server that tries an address before it offers it takes 1 to 3 s; a client asks again after about 4 and 8 s.
_SILENT_AFTER_S = 10.0
_SILENT_AFTER_QUESTIONS = 4
_MAX_QUESTIONS = 8
# RFC 2131 section 4.1: a client that wants an address asks every 64 s at least.
_LISTEN_S = 70.0
# The kernel tells of a carrier within a second; a client may ask before we know.
_CARRIER_NEWS_S = 2.0
_MAX_RECENT = 16


@dataclass(slots=True)
class _Question:
    """What our client asked in one transaction, and how far that has come."""

    refusable: bool = False
    offered: bool = False
    refused: bool = False


class Conversation:
    """PURE: what passes between our client and the servers of one network, and what it comes to."""

    def __init__(self) -> None:
        self.state: Dhcp4 | None = None
        self._questions: dict[int, _Question] = {}  # by transaction; only who was asked can answer
        self._unanswered = 0
        self._asked_at: float | None = None

    @property
    def known(self) -> Dhcp4State | None:
        """What it comes to, in a word."""
        return None if self.state is None else self.state.state

    @property
    def due(self) -> float | None:
        """When `tick` has something to say unless an answer comes before."""
        return None if self._asked_at is None else self._asked_at + _SILENT_AFTER_S

    def take(self, message: Message, now: float) -> None:
        """A message of our client's, or one for it from a server."""
        if message.from_server:
            self._answered(message, now)
        elif message.kind in (MessageType.DISCOVER, MessageType.REQUEST):
            self._asked(message, now)

    def tick(self, now: float) -> None:
        """Let time pass."""
        if self.due is not None and now >= self.due:
            self._asked_at = None
            self._enter(Dhcp4State.SILENT, now)

    def doubt(self) -> None:
        """What we know cannot be so any more; answers to what was asked still count."""
        self.state, self._unanswered, self._asked_at = None, 0, None

    def _asked(self, message: Message, now: float) -> None:
        question = self._questions.pop(message.xid, None) or _Question()
        self._questions[message.xid] = question
        if len(self._questions) > _MAX_QUESTIONS:
            del self._questions[next(iter(self._questions))]
        # RFC 8925 section 3.2: option 108 is obeyed in an offer, and by a client that restarts with an old address;
        # one that has chosen an offer or renews its lease goes on.
        question.refusable = message.wants_v6only and not message.chosen and not message.renewing
        if message.chosen or message.renewing or question.offered:
            return  # it has an address, or is about to
        self._unanswered += 1
        if self._asked_at is None:
            self._asked_at = now
        if self._unanswered > _SILENT_AFTER_QUESTIONS:
            self._enter(Dhcp4State.SILENT, now)
        elif self.known in (None, Dhcp4State.ANSWERED):
            # Silence and refusal last until an answer says otherwise or, after a refusal, none comes.
            self._enter(Dhcp4State.ASKING, now)

    def _answered(self, message: Message, now: float) -> None:
        question = self._questions.get(message.xid)
        if question is None and message.kind is MessageType.OFFER and message.v6only_wait_s is not None:
            # It was asked before we listened, and for option 108 too, or the answer would not have it (RFC 8925 3.3).
            question = self._questions[message.xid] = _Question(refusable=True)
        if question is None:
            return
        if message.kind is not MessageType.OFFER:
            del self._questions[message.xid]
        elif question.refused and message.v6only_wait_s is None:
            return  # another server; but the client has stopped
        self._unanswered, self._asked_at = 0, None
        if message.kind is MessageType.NAK:
            self._asked_at = now  # RFC 2131 section 3.2: the client starts over
            self._enter(Dhcp4State.ASKING, now)
        elif message.v6only_wait_s is not None and question.refusable:
            question.offered = question.refused = True
            self._enter(Dhcp4State.REFUSED, now, until=now + max(MIN_V6ONLY_WAIT_S, message.v6only_wait_s))
        else:
            question.offered = True
            self._enter(Dhcp4State.ANSWERED, now)

    def _enter(self, state: Dhcp4State, now: float, *, until: float | None = None) -> None:
        since = self.state.since if self.state is not None and self.known is state else now
        self.state = Dhcp4(state=state, since=since, until=until)


class _Heard(NamedTuple):
    message: Message
    at: float


class _Ear:
    """One link: what was heard since its carrier came back, and the socket while we listen."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.conversation = Conversation()
        self.recent: deque[_Heard] = deque(maxlen=_MAX_RECENT)  # since somebody last looked
        self.listen_until = 0.0
        self.socket: DhcpSocket | None = None
        self.timer: asyncio.TimerHandle | None = None

    @property
    def asked_again_at(self) -> float | None:
        """When a refused client comes back, unless we listen then anyway."""
        state = self.conversation.state
        if state is None or state.until is None or state.until < self.listen_until:
            return None
        return state.until

    def update(self, link: Link, now: float) -> bool:
        """Take in what the kernel has now; True when that is a reason to listen again."""
        before, self.link = self.link, link
        since_last_look, self.recent = self.recent, deque(maxlen=_MAX_RECENT)
        if (before.carrier, before.carrier_changes) != (link.carrier, link.carrier_changes):
            self.conversation = Conversation()
            # A client may ask as soon as the carrier is back, which is before we get to know of that.
            for message, at in since_last_look:
                if at > now - _CARRIER_NEWS_S:
                    self.conversation.take(message, at)
            return True
        gained, lost = _addresses(link) - _addresses(before), _addresses(before) - _addresses(link)
        if gained and self.conversation.known in (Dhcp4State.SILENT, Dhcp4State.REFUSED):
            self.conversation.doubt()  # it was answered while we did not listen
        return bool(gained or lost)


class Dhcp4Watch:
    """Overhears DHCPv4 on the uplinks given to `follow`; `changed` is called when the state of one changes.

    It listens for a while after whatever may make a client ask or a network answer otherwise.
    """

    def __init__(self, *, clock: Callable[[], float], changed: Callable[[], None]) -> None:
        self._clock = clock
        self._changed = changed
        self._ears: dict[int, _Ear] = {}
        self.heard = 0
        self.dropped = 0

    def close(self) -> None:
        """Stop listening."""
        for ear in self._ears.values():
            self._rest(ear)
        self._ears.clear()

    def follow(self, links: Mapping[str, Link], uplinks: Collection[str]) -> None:
        """Keep up with the links; listen on those that are `uplinks` (interface names) and have an Ethernet address.

        A link whose carrier came or went may be on another network: forget what it said.
        """
        wanted = {link.index: link for link in links.values() if link.name in uplinks and link.link_address}
        for index, ear in list(self._ears.items()):
            if index not in wanted or wanted[index].link_address != ear.link.link_address:
                self._rest(self._ears.pop(index))
        now = self._clock()
        for index, link in wanted.items():
            ear = self._ears.setdefault(index, _Ear(link))
            if ear.update(link, now) or not ear.listen_until:
                ear.listen_until = now + _LISTEN_S
            self._tend(ear, now)

    def forget(self, ifindex: int | None = None) -> None:
        """The link, or any, may be on another network now: forget what it said, and listen anew."""
        now = self._clock()
        known = False
        for ear in [ear for index, ear in self._ears.items() if ifindex in (None, index)]:
            known |= ear.conversation.known is not None
            ear.conversation = Conversation()
            ear.recent.clear()
            ear.listen_until = now + _LISTEN_S
            self._tend(ear, now)
        if known:
            self._changed()

    def state(self, interface: str) -> Dhcp4 | None:
        """What is known of a link; None: no client has asked since its carrier came back, or we did not hear it."""
        return next((ear.conversation.state for ear in self._ears.values() if ear.link.name == interface), None)

    def _read(self, ear: _Ear) -> None:
        assert ear.socket is not None
        now = self._clock()
        before = ear.conversation.known
        for packet, sent in ear.socket.heard():
            try:
                message = parse(packet)
            except ParseError as error:
                self.dropped += 1
                log.debug("%s: DHCPv4 message dropped: %s", ear.link.name, error)
                continue
            # The host may be a server, too, or the other side of a bridge.
            if message.from_server is not sent and message.client == ear.link.link_address:
                self.heard += 1
                ear.recent.append(_Heard(message, now))
                ear.conversation.take(message, now)
        self._judge(ear, before, now)

    def _pass_time(self, ear: _Ear) -> None:
        now = self._clock()
        before = ear.conversation.known
        ear.conversation.tick(now)
        again = ear.asked_again_at
        if again is not None and now >= again:
            ear.listen_until = now + _LISTEN_S
        self._judge(ear, before, now)

    def _judge(self, ear: _Ear, before: Dhcp4State | None, now: float) -> None:
        if ear.conversation.known is not before:
            log.debug("%s: DHCPv4: %s", ear.link.name, ear.conversation.known)
            ear.listen_until = now + _LISTEN_S
            self._changed()
        self._tend(ear, now)

    def _tend(self, ear: _Ear, now: float) -> None:
        """Listen, or stop to; wake up when time alone changes something."""
        # Without a carrier listening is free, and it may come back with the client asking at once.
        if now < ear.listen_until or not ear.link.carrier:
            self._listen(ear)
        else:
            self._deafen(ear)
        if ear.timer is not None:
            ear.timer.cancel()
            ear.timer = None
        moments = [ear.conversation.due, ear.asked_again_at, ear.listen_until if ear.socket is not None else None]
        ahead = [moment for moment in moments if moment is not None]
        if ahead and ear.link.carrier:
            ear.timer = asyncio.get_running_loop().call_later(max(0.0, min(ahead) - now), self._pass_time, ear)

    def _listen(self, ear: _Ear) -> None:
        if ear.socket is not None or ear.link.link_address is None:
            return
        try:
            ear.socket = DhcpSocket(ear.link.index, ear.link.link_address)
        except HostError as error:
            log.debug("%s: %s", ear.link.name, error)
            return
        asyncio.get_running_loop().add_reader(ear.socket.fileno(), self._read, ear)

    def _deafen(self, ear: _Ear) -> None:
        if ear.socket is not None:
            asyncio.get_running_loop().remove_reader(ear.socket.fileno())
            ear.socket.close()
            ear.socket = None

    def _rest(self, ear: _Ear) -> None:
        self._deafen(ear)
        if ear.timer is not None:
            ear.timer.cancel()
            ear.timer = None


def _addresses(link: Link) -> frozenset[IPv4Address]:
    """The IPv4 addresses that somebody gave the link; a link-local one it takes itself (RFC 3927)."""
    return frozenset(address for address in link.addresses4 if not address.is_link_local)
