# SPDX-License-Identifier: GPL-2.0-or-later
"""Who still talks from an address: the sockets of this network namespace, as proc(5) lists them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Iterable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

from clatnm.errors import HostError

# Of the calling thread: /proc/net is the namespace of the process's first one.
_TABLES: Final = Path("/proc/thread-self/net")
# net/tcp_states.h: established, SYN sent and received, FIN wait 1 and 2, close wait, last ACK, closing. Not TIME_WAIT,
# CLOSE and LISTEN; a UDP socket is "established" when it is connected.
_TCP: Final = (0x01, 0x02, 0x03, 0x04, 0x05, 0x08, 0x09, 0x0B)
_UDP: Final = (0x01,)
_KINDS: Final = {"tcp": _TCP, "tcp6": _TCP, "udp": _UDP, "udp6": _UDP}
_MAPPED: Final = bytes(10) + b"\xff\xff"  # RFC 4291 2.5.5.2


def users(addresses: Collection[IPv4Address]) -> dict[IPv4Address, int]:
    """How many TCP connections and connected UDP sockets have each of the addresses as their own. HostError.

    A few milliseconds with thousands of sockets.
    """
    counts = dict.fromkeys(addresses, 0)
    for name, states in _KINDS.items() if counts else ():
        try:
            table = (_TABLES / name).read_bytes()
        except FileNotFoundError:  # no IPv6 on this machine
            continue
        except OSError as error:
            number = error.errno or 0
            raise HostError(f"cannot read the sockets: {os.strerror(number)}", errno=number) from error
        for address, count in _count(table, states, counts.keys()).items():
            counts[address] += count
    return counts


def _count(table: bytes, states: Iterable[int], addresses: Collection[IPv4Address]) -> dict[IPv4Address, int]:
    """Per address, the lines of one table with it as the local one and one of the states."""
    spelt = {form: address for address in addresses for form in (_spell(address.packed), _spell_mapped(address))}
    # "  12: 040000C0:D431 016433C6:0050 01 ...": number, local and remote address and port, state.
    line = re.compile(
        rb"^ *\d+: (%b):[0-9A-F]{4} [0-9A-F]+:[0-9A-F]{4} (?:%b) "
        % (b"|".join(spelt), b"|".join(b"%02X" % state for state in states)),
        re.MULTILINE,
    )
    counts = dict.fromkeys(addresses, 0)
    for match in line.finditer(table):
        counts[spelt[match[1]]] += 1
    return counts


def _spell(packed: bytes) -> bytes:
    """As the kernel prints it: 32 bits at a time, each as the machine reads them."""
    words = (int.from_bytes(packed[at : at + 4], sys.byteorder) for at in range(0, len(packed), 4))
    return b"".join(b"%08X" % word for word in words)


def _spell_mapped(address: IPv4Address) -> bytes:
    return _spell(_MAPPED + address.packed)
