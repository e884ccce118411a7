# SPDX-License-Identifier: GPL-2.0-or-later
"""A DNS resolver that does as it is told: `scripted_resolver.py SCRIPT ADDRESS`, over UDP and TCP.

Scripts: `truncated` answers in full over TCP only; `forged` sends answers with a wrong prefix first: with another id,
to another question, and from another port; `servfail`, `denied` and `silent` are what they say.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

TRUE = ("2001:db8:7050::c000:aa", "2001:db8:7050::c000:ab")
FALSE = ("2001:db8:bad::c000:aa", "2001:db8:bad::c000:ab")


def answer(query: dns.message.Message, addresses: tuple[str, ...]) -> dns.message.Message:
    made = dns.message.make_response(query, recursion_available=True)
    made.answer.append(dns.rrset.from_text(query.question[0].name, 600, "IN", "AAAA", *addresses))
    return made


def forgeries(query: dns.message.Message) -> Iterator[bytes]:
    other_id = answer(query, FALSE)
    other_id.id ^= 1
    yield other_id.to_wire()
    other_question = answer(query, FALSE)
    other_question.question = dns.message.make_query("ipv4only.example", "AAAA").question
    yield other_question.to_wire()


def serve(script: str, udp: socket.socket, elsewhere: socket.socket) -> None:
    while True:
        data, peer = udp.recvfrom(4096)
        query = dns.message.from_wire(data)
        print(f"asked over UDP for {query.question[0].name} by {peer[0]}", flush=True)
        response = dns.message.make_response(query, recursion_available=True)
        if script == "silent":
            continue
        if script == "forged":
            for forged in forgeries(query):
                udp.sendto(forged, peer)
            elsewhere.sendto(answer(query, FALSE).to_wire(), peer)
            response = answer(query, TRUE)
        elif script == "truncated":
            response.flags |= dns.flags.TC
        else:
            response.set_rcode(dns.rcode.SERVFAIL if script == "servfail" else dns.rcode.NXDOMAIN)
        udp.sendto(response.to_wire(), peer)


def serve_tcp(tcp: socket.socket) -> None:
    while True:
        connection, peer = tcp.accept()
        with connection, connection.makefile("rb") as incoming:
            query = dns.message.from_wire(incoming.read(int.from_bytes(incoming.read(2), "big")))
            print(f"asked over TCP for {query.question[0].name} by {peer[0]}", flush=True)
            wire = answer(query, TRUE).to_wire()
            connection.sendall(len(wire).to_bytes(2, "big") + wire)


def main(script: str, address: str) -> None:
    udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    udp.bind((address, 53))
    elsewhere = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    elsewhere.bind((address, 5300))
    tcp = socket.create_server((address, 53), family=socket.AF_INET6)
    threading.Thread(target=serve_tcp, args=(tcp,), daemon=True).start()
    print("ready", flush=True)
    serve(script, udp, elsewhere)


if __name__ == "__main__":
    main(*sys.argv[1:])
