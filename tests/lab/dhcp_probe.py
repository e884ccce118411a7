# SPDX-License-Identifier: GPL-2.0-or-later
"""One DHCPv4 DISCOVER that asks for option 108 (RFC 8925), whatever the system's own DHCP client asks for.

dhcp_probe.py INTERFACE     prints the offer: {"address": "192.168.1.123", "v6only_wait_s": 1800 or null}
"""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import struct
import sys

MAGIC = b"\x63\x82\x53\x63"
MESSAGE_TYPE, PARAMETER_LIST, END = 53, 55, 255
DISCOVER, V6ONLY_PREFERRED = 1, 108
TIMEOUT_S = 5


def discover(transaction: bytes, mac: bytes) -> bytes:
    # RFC 2131 2: BOOTREQUEST on Ethernet with the broadcast flag, as there is no address to answer to.
    fixed = struct.pack("!BBBB4sHH16x16s192x", 1, 1, 6, 0, transaction, 0, 0x8000, mac)
    wanted = bytes([1, 3, 6, V6ONLY_PREFERRED])
    options = bytes([MESSAGE_TYPE, 1, DISCOVER, PARAMETER_LIST, len(wanted)]) + wanted + bytes([END])
    return fixed + MAGIC + options


def options_of(message: bytes) -> dict[int, bytes]:
    found, rest = {}, message[240:]
    while rest and rest[0] != END:
        if rest[0] == 0:
            rest = rest[1:]
            continue
        found[rest[0]] = rest[2 : 2 + rest[1]]
        rest = rest[2 + rest[1] :]
    return found


def main() -> None:
    interface = sys.argv[1]
    with open(f"/sys/class/net/{interface}/address") as text:
        mac = bytes.fromhex(text.read().strip().replace(":", ""))
    transaction = os.urandom(4)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        client.bind(("", 68))
        client.settimeout(TIMEOUT_S)
        client.sendto(discover(transaction, mac), ("255.255.255.255", 67))
        while True:
            offer = client.recv(1500)
            if offer[4:8] == transaction:
                break
    wait = options_of(offer).get(V6ONLY_PREFERRED)
    address = str(ipaddress.IPv4Address(offer[16:20]))
    print(json.dumps({"address": address, "v6only_wait_s": int.from_bytes(wait, "big") if wait else None}))


if __name__ == "__main__":
    main()
