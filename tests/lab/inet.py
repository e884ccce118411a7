# SPDX-License-Identifier: GPL-2.0-or-later
"""What the lab's internet serves: a web server on port 80 and a UDP echo on port 9999, over IPv4 and IPv6.

GET /          hello and the address the request came from
GET /bytes/N   N pseudo-random bytes, the same for every N; header X-Sha256 has their hash
PUT /hash      the SHA-256 of the body sent
"""

from __future__ import annotations

import functools
import hashlib
import http.server
import random
import socket
import threading
from collections.abc import Iterator

WEB_PORT = 80
ECHO_PORT = 9999
CHUNK_BYTES = 1 << 20
_NOISE = random.Random(6877).randbytes(CHUNK_BYTES)


def pseudo_random(length: int) -> Iterator[bytes]:
    """`length` bytes in chunks; each chunk begins with its number, so that a lost or doubled one shows."""
    for number, start in enumerate(range(0, length, CHUNK_BYTES)):
        chunk = number.to_bytes(8, "big") + _NOISE[8:]
        yield chunk[: min(CHUNK_BYTES, length - start)]


@functools.lru_cache(maxsize=64)
def pseudo_random_hash(length: int) -> str:
    digest = hashlib.sha256()
    for chunk in pseudo_random(length):
        digest.update(chunk)
    return digest.hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        if self.path.startswith("/bytes/") and self.path[7:].isdigit():
            self._send_bytes(int(self.path[7:]))
        else:
            peer = self.client_address[0].removeprefix("::ffff:")
            self._send_text(f"hello {peer}\n")

    def do_PUT(self) -> None:
        digest = hashlib.sha256()
        left = int(self.headers.get("Content-Length", "0"))
        while left:
            chunk = self.rfile.read(min(left, CHUNK_BYTES))
            if not chunk:
                self.close_connection = True
                return
            digest.update(chunk)
            left -= len(chunk)
        self._send_text(digest.hexdigest() + "\n")

    def _send_text(self, text: str) -> None:
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send_bytes(self, length: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.send_header("X-Sha256", pseudo_random_hash(length))
        self.end_headers()
        for chunk in pseudo_random(length):
            self.wfile.write(chunk)


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    request_queue_size = 128


def dual_stack_udp(port: int) -> socket.socket:
    udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    udp.bind(("::", port))
    return udp


def echo(udp: socket.socket) -> None:
    while True:
        try:
            data, peer = udp.recvfrom(65535)
            udp.sendto(data, peer)
        except OSError as error:  # an ICMP error about an earlier answer
            print(f"echo: {error}", flush=True)


def main() -> None:
    server = Server(("::", WEB_PORT), Handler)
    threading.Thread(target=echo, args=(dual_stack_udp(ECHO_PORT),), daemon=True).start()
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
