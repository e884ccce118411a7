# SPDX-License-Identifier: GPL-2.0-or-later
"""`starter.py TARGET COMMAND…`: run COMMAND and tell how long after its start the first echo reply from TARGET comes.

Runs in the namespace of the measured host, so that what it takes to get there does not count. It sends an echo request
each millisecond from the start on, prints `pid N` and `answer after N ms`, and then waits for COMMAND's end.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from types import FrameType

DEADLINE_S = 10.0
INTERVAL_S = 0.001


def main(target: str, command: list[str]) -> int:
    """Status of the command; 1 when no answer comes in time."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
    sock.setblocking(False)
    started = time.monotonic()
    process = subprocess.Popen(command)

    def pass_on(number: int, frame: FrameType | None) -> None:
        process.send_signal(number)

    signal.signal(signal.SIGTERM, pass_on)
    answered = first_answer(sock, target, started + DEADLINE_S)
    print(f"pid {process.pid}", flush=True)
    if answered is None:
        print("no answer", flush=True)
        process.kill()
        process.wait()
        return 1
    print(f"answer after {(answered - started) * 1000:.2f} ms", flush=True)
    return process.wait()


def first_answer(sock: socket.socket, target: str, deadline: float) -> float | None:
    """When the first reply was there, CLOCK_MONOTONIC seconds."""
    number = 0
    while time.monotonic() < deadline:
        number += 1
        try:
            sock.sendto(struct.pack("!BBHHH", 8, 0, 0, 0, number & 0xFFFF) + bytes(8), (target, 0))
        except OSError:
            pass  # no route yet
        if select.select([sock], [], [], INTERVAL_S)[0]:
            try:
                os.read(sock.fileno(), 2048)
            except OSError:
                continue  # an ICMP error about an earlier request
            return time.monotonic()
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
