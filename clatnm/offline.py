# SPDX-License-Identifier: GPL-2.0-or-later
"""Captures through the translator, packet by packet. `clatnm pcap` gives it a file; it reads and writes none itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from clatnm.pcapfile import Record
from clatnm.proto import frames, snapped
from clatnm.proto.fragments import DatagramKey, datagram_key
from clatnm.proto.packet import ICMP, ICMPV6, Packet, parse_ipv4, parse_ipv6
from clatnm.proto.refusal import DropReason, Refused
from clatnm.proto.siit import Siit, SiitConfig
from clatnm.proto.snapped import SnappedOutcome, Start

NOT_IP = "not-ip"
INCOMPLETE = "reassembly-incomplete"  # fragments of ICMP whose others never came

_NO_LIMIT = 2**53


class OfflineTranslator:
    """Translates the frames of one capture in their order; time is what their stamps say.

    `tell` gets number and reason of each that is not translated, the number counted from 1; of fragments that waited
    in vain only once that is known. ICMP errors are not limited in rate as they are on a link: the limit protects the
    link, and who reads a capture wants to see what each packet leads to, however dense they are.
    """

    def __init__(self, config: SiitConfig, tell: Callable[[int, str], None]) -> None:
        self._siit = Siit(replace(config, icmp_error_burst=_NO_LIMIT))
        self._ipv6_mtu_bytes = config.ipv6_mtu_bytes
        self._tell = tell
        self._now = 0.0
        self._number = 0
        self._waiting: dict[DatagramKey, list[int]] = {}
        self.ip_packets = 0
        """How many IP packets there were, translated or not."""

    def translate(self, record: Record) -> tuple[Start, ...]:
        """The packets made of a frame: to the other side, or an ICMP error to the side it came from."""
        self._number += 1
        # The clock of a capture may step back, the translator's must not.
        self._now = max(self._now, record.time_ns / 1e9)
        found = frames.find_ip(record.link, record.data)
        if isinstance(found, str):
            self._tell(self._number, f"{NOT_IP} ({found})")
            return ()
        self.ip_packets += 1
        data = record.data[found.at :]
        length = None if record.length == len(record.data) else record.length - found.at
        outcome = snapped.translate(self._siit, data, self._now, version=found.version, length=length)
        if outcome.drop is not None:
            self._tell(self._number, self._words(outcome.drop, record))
        if self._waiting or not (outcome.forward or outcome.drop):
            self._follow_fragments(_icmp_fragment(data, found.version), outcome)
        return outcome.forward + outcome.reply

    def close(self) -> None:
        """There are no more frames: tell what still waits."""
        for numbers in self._waiting.values():
            self._lose(numbers, INCOMPLETE)
        self._waiting.clear()

    def _words(self, reason: DropReason, record: Record) -> str:
        if reason is DropReason.TOO_BIG:
            return f"{reason} (an IPv6 packet of at most {self._ipv6_mtu_bytes} bytes was asked for)"
        if reason is DropReason.TRUNCATED and len(record.data) < record.length:
            return f"{reason} (the capture has {len(record.data)} of its {record.length} bytes)"
        return str(reason)

    def _follow_fragments(self, packet: Packet | None, outcome: SnappedOutcome) -> None:
        """Keep the numbers of those that the translator holds, tell of those that it gave up."""
        if packet is None:
            return
        key = datagram_key(packet)
        if outcome.forward:
            self._waiting.pop(key, None)
        elif outcome.drop is None:
            self._waiting.setdefault(key, []).append(self._number)
        held = self._siit.waiting()
        for other, numbers in list(self._waiting.items()):
            # A datagram given up may have begun anew: the oldest are the lost ones.
            lost = numbers[: len(numbers) - held.get(other, 0)]
            mine = other == key and outcome.drop is not None
            self._lose(lost, str(outcome.drop) if mine else INCOMPLETE)
            del numbers[: len(lost)]
            if not numbers:
                del self._waiting[other]

    def _lose(self, numbers: list[int], reason: str) -> None:
        for number in numbers:
            self._tell(number, reason)


def _icmp_fragment(data: bytes, version: int) -> Packet | None:
    """The packet, if it is one that has to wait for others."""
    try:
        packet: Packet = parse_ipv4(data, quoted=True) if version == 4 else parse_ipv6(data, quoted=True)
    except Refused:
        return None
    return packet if packet.fragmented and packet.protocol == (ICMP if version == 4 else ICMPV6) else None
