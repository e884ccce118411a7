# SPDX-License-Identifier: GPL-2.0-or-later
"""The question that RFC 7050 asks a resolver, and what an answer's bytes mean. The only room that imports dnspython."""

from __future__ import annotations

from ipaddress import IPv6Address

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype

from clatnm.discovery.asking import Answer, Failure, Reading, Unusable
from clatnm.proto.dns64 import WELL_KNOWN_NAME, prefixes_from

_HEADER_BYTES = 12


class Question:
    """AAAA of ipv4only.arpa, and what an answer says about the prefix."""

    def __init__(self) -> None:
        # Checking Disabled stays off, or nothing is synthesised (RFC 7050 section 3); nobody asks for signatures, as
        # the zone has none (RFC 8880 section 7).
        self._message = dns.message.make_query(WELL_KNOWN_NAME, dns.rdatatype.AAAA, use_edns=False)
        self.wire = self._message.to_wire()

    def read(self, data: bytes) -> Reading:
        flags = int.from_bytes(data[2:4], "big")
        if len(data) < _HEADER_BYTES or data[:2] != self.wire[:2] or not flags & dns.flags.QR:
            return Unusable.UNRELATED
        truncated = bool(flags & dns.flags.TC)
        try:
            message = dns.message.from_wire(data, question_only=truncated)
            if not isinstance(message, dns.message.QueryMessage) or not self._message.is_response(message):
                return Unusable.UNRELATED
            return Unusable.TRUNCATED if truncated else _meaning(message)
        except Exception:  # a parser of every record type there is: whatever anyone's bytes do to it, they are garbage
            return Failure(words="answers garbage")


def _meaning(message: dns.message.QueryMessage) -> Answer | Failure:
    code = message.rcode()
    if code not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return Failure(words=f"says {dns.rcode.to_text(code)}")
    chain = message.resolve_chaining()
    ttl_s = chain.minimum_ttl
    if chain.answer is None:
        if not any(records.rdtype == dns.rdatatype.SOA for records in message.authority):
            ttl_s = 0  # RFC 2308 section 5: not to be remembered
        return Answer(ttl_s=ttl_s, words="says NXDOMAIN" if code == dns.rcode.NXDOMAIN else "says NODATA")
    prefixes = prefixes_from(IPv6Address(record.address) for record in chain.answer)
    return Answer(prefixes=prefixes, ttl_s=ttl_s, words="" if prefixes else "tells no synthesised address")
