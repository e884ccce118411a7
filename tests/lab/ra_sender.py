# SPDX-License-Identifier: GPL-2.0-or-later
"""Router advertisements as a test wants them: a program of its own, for a router's namespace.

    ra_sender.py --interface lan --config ra.json              advertise; SIGHUP reads the file again and sends at once
    ra_sender.py --interface lan --config ra.json --once       send one and leave; with the options below, a forgery
                 [--source fe80::bad] [--hop-limit 64] [--code 1] [--destination ff02::1] [--mac 02:...]
                 [--set KEY=JSON]... [--bad-checksum]

Keys of the configuration, all optional:
  lifetime (s) interval (s) hop_limit managed other preference ("high", "medium", "low") mtu
  prefixes [[prefix, valid_s, preferred_s]...]  pflags (0xC0: on-link and autonomous)
  rdnss [[address...], lifetime_s]   pref64 [[prefix, lifetime_s]...]   raw [hex of a whole option...]
  silent (send nothing)   ignore_rs   unicast (answer a solicitation to its sender alone)   no_link_address

It answers every solicitation at once (RFC 4861 6.2.6 would delay that; a test need not wait).
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import select
import signal
import socket
import struct
import time
from pathlib import Path
from typing import Any

ROUTER_SOLICIT, ROUTER_ADVERT = 133, 134
ICMP6_FILTER = 1
ALL_NODES = ipaddress.IPv6Address("ff02::1")
ALL_ROUTERS = ipaddress.IPv6Address("ff02::2")
PREFIX_LENGTH_CODE = {96: 0, 64: 1, 56: 2, 48: 3, 40: 4, 32: 5}  # RFC 8781 4
PREFERENCE = {"medium": 0, "high": 1, "reserved": 2, "low": 3}  # RFC 4191 2.1
DEFAULT_INTERVAL_S = 10.0

Config = dict[str, Any]


def advert(config: Config, mac: bytes, *, code: int = 0) -> bytes:
    """The ICMPv6 message, checksum zero."""
    flags = 0x80 * bool(config.get("managed")) | 0x40 * bool(config.get("other"))
    flags |= PREFERENCE[config.get("preference", "medium")] << 3
    hop_limit, lifetime_s = config.get("hop_limit", 64), config.get("lifetime", 1800)
    message = struct.pack("!BBHBBHII", ROUTER_ADVERT, code, 0, hop_limit, flags, lifetime_s, 0, 0)
    if not config.get("no_link_address"):
        message += b"\x01\x01" + mac
    if config.get("mtu"):
        message += struct.pack("!BBHI", 5, 1, 0, config["mtu"])
    for text, valid_s, preferred_s in config.get("prefixes", []):
        prefix = ipaddress.IPv6Network(text)
        on_link = config.get("pflags", 0xC0)
        message += struct.pack("!BBBBIII", 3, 4, prefix.prefixlen, on_link, valid_s, preferred_s, 0)
        message += prefix.network_address.packed
    if config.get("rdnss"):
        servers, lifetime_s = config["rdnss"]
        message += struct.pack("!BBHI", 25, 1 + 2 * len(servers), 0, lifetime_s)  # RFC 8106 5.1
        message += b"".join(ipaddress.IPv6Address(server).packed for server in servers)
    for text, lifetime_s in config.get("pref64", []):
        message += pref64_option(ipaddress.IPv6Network(text), lifetime_s)
    return message + b"".join(bytes.fromhex(option) for option in config.get("raw", []))


def pref64_option(prefix: ipaddress.IPv6Network, lifetime_s: int) -> bytes:
    # RFC 8781 4: 13 bits in units of 8 seconds, rounded up, and the code of the prefix length below them.
    scaled = min((lifetime_s + 7) // 8, 8191)
    return (
        struct.pack("!BBH", 38, 2, scaled << 3 | PREFIX_LENGTH_CODE[prefix.prefixlen])
        + prefix.network_address.packed[:12]
    )


def checksum(source: bytes, destination: bytes, message: bytes) -> int:
    """RFC 4443 2.3, over the pseudo-header of RFC 8200 8.1."""
    text = source + destination + struct.pack("!II", len(message), 58) + message + b"\0" * (len(message) % 2)
    total: int = sum(struct.unpack(f"!{len(text) // 2}H", text))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Sender:
    """Writes whole Ethernet frames, so that nothing about an advert is out of a test's reach."""

    def __init__(self, interface: str, options: argparse.Namespace) -> None:
        self._options = options
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.bind((interface, 0))
        own_mac: bytes = self._socket.getsockname()[4]
        self._mac = bytes.fromhex(options.mac.replace(":", "")) if options.mac else own_mac
        self._source = ipaddress.IPv6Address(options.source)

    def send(self, config: Config, *, to: ipaddress.IPv6Address, to_mac: bytes | None = None) -> None:
        message = bytearray(advert(config, self._mac, code=self._options.code))
        check = checksum(self._source.packed, to.packed, bytes(message))
        struct.pack_into("!H", message, 2, check ^ 0x5555 * self._options.bad_checksum)
        header = struct.pack("!IHBB", 6 << 28, len(message), 58, self._options.hop_limit)
        frame_to = to_mac or b"\x33\x33" + to.packed[12:]
        frame = frame_to + self._mac + b"\x86\xdd" + header + self._source.packed + to.packed + message
        try:
            self._socket.send(frame)
            say(f"sent to {to}: {json.dumps(config)}")
        except OSError as error:  # the link is down; the next one may go out
            say(f"not sent: {error}")


def solicitation_socket(interface: str) -> socket.socket:
    index = socket.if_nametoindex(interface)
    solicits = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    solicits.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
    group = ALL_ROUTERS.packed + struct.pack("@I", index)
    solicits.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
    blocked = bytearray(b"\xff" * 32)
    blocked[ROUTER_SOLICIT // 8] &= ~(1 << ROUTER_SOLICIT % 8)
    solicits.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, bytes(blocked))
    return solicits


def link_address(solicitation: bytes) -> bytes | None:
    """The source link-layer address option of a solicitation (RFC 4861 4.1)."""
    offset = 8
    while offset + 8 <= len(solicitation) and solicitation[offset + 1]:
        if solicitation[offset] == 1:
            return solicitation[offset + 2 : offset + 8]
        offset += 8 * solicitation[offset + 1]
    return None


def serve(sender: Sender, interface: str, path: Path) -> None:
    wake, waker = socket.socketpair()
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.fileno())
    signal.signal(signal.SIGHUP, lambda *_: None)
    config = read(path)
    solicits = solicitation_socket(interface)
    say("ready")
    due = time.monotonic()
    while True:
        readable, _, _ = select.select([solicits, wake], [], [], max(0.0, due - time.monotonic()))
        if wake in readable:
            wake.recv(64)
            config = read(path)
            due = time.monotonic()
        if solicits in readable:
            message, (source, *_) = solicits.recvfrom(2048)
            say(f"solicited by {source}")
            if not (config.get("ignore_rs") or config.get("silent")):
                answer(sender, config, message, ipaddress.IPv6Address(source.partition("%")[0]))
        if time.monotonic() >= due:
            if not config.get("silent"):
                sender.send(config, to=ALL_NODES)
            due = time.monotonic() + config.get("interval", DEFAULT_INTERVAL_S)


def answer(sender: Sender, config: Config, message: bytes, source: ipaddress.IPv6Address) -> None:
    mac = link_address(message)
    if config.get("unicast") and mac and not source.is_unspecified:
        sender.send(config, to=source, to_mac=mac)
    else:
        sender.send(config, to=ALL_NODES)


def read(path: Path) -> Config:
    config: Config = json.loads(path.read_text())
    return config


def say(text: str) -> None:
    print(f"{time.monotonic():.3f} {text}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Send router advertisements.")
    parser.add_argument("--interface", required=True)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--once", action="store_true", help="send one advertisement and leave")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=JSON")
    parser.add_argument("--source", default="fe80::1")
    parser.add_argument("--destination", default=str(ALL_NODES))
    parser.add_argument("--mac", help="sender's link address, also in the option; default: the interface's")
    parser.add_argument("--hop-limit", type=int, default=255)
    parser.add_argument("--code", type=int, default=0)
    parser.add_argument("--bad-checksum", action="store_true")
    options = parser.parse_args()
    sender = Sender(options.interface, options)
    if not options.once:
        serve(sender, options.interface, options.config)
    config = read(options.config) if options.config else {}
    config.update((key, json.loads(value)) for key, _, value in (item.partition("=") for item in options.set))
    sender.send(config, to=ipaddress.IPv6Address(options.destination))


if __name__ == "__main__":
    main()
