# SPDX-License-Identifier: GPL-2.0-or-later
"""An ordinary user asks the daemon without a pause and reads nothing: what networks do is noticed as ever."""

from __future__ import annotations

from tests.e2e import clat
from tests.lab.lab import Lab
from tests.lab.namespace import PYTHON
from tests.lab.poll import eventually
from tests.unit.dbus import by_hand

NOBODY = 65534
FLOOD = """
import os, socket, sys, time
user, hello, call = int(sys.argv[1]), bytes.fromhex(sys.argv[2]), bytes.fromhex(sys.argv[3])
os.setgroups([])
os.setgid(user)
os.setuid(user)
flood = socket.socket(socket.AF_UNIX)
flood.connect(os.environ["DBUS_SYSTEM_BUS_ADDRESS"].partition("path=")[2])
flood.sendall(b"\\0AUTH EXTERNAL " + str(user).encode().hex().encode() + b"\\r\\n")
assert flood.recv(100).startswith(b"OK ")
flood.sendall(b"BEGIN\\r\\n" + hello)
assert flood.recv(4096)
end = time.monotonic() + 60
sent = 0
while time.monotonic() < end:
    flood.sendall(call * 500)
    sent += 500
    if sent == 50_000:
        print("flooding", flush=True)
"""


def test_manager_is_heard_while_somebody_floods_the_daemon(clean_lab: Lab) -> None:
    joined = clat.join(clean_lab)
    host = joined.host
    call = by_hand.message(by_hand.CALL, by_hand.to_daemon(), flags=by_hand.SILENT)
    flood = host.popen(PYTHON, "-c", FLOOD, str(NOBODY), by_hand.hello().hex(), call.hex(), name="flood")
    eventually(lambda: "flooding" in flood.log(), timeout_s=30, message="it floods")
    host.clatnm("set", "netA", "no")  # NetworkManager tells the daemon
    eventually(lambda: "clat-up0" not in host.ip("link"), timeout_s=20, message="the translator has ended")
    assert flood.running, flood.log()
    assert joined.daemon.running
    flood.kill()
    assert joined.daemon.stop() == 0
