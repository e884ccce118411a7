# SPDX-License-Identifier: GPL-2.0-or-later
"""What systemd and clatnm say while the machine is switched off; it ends with the machine. For a box.

It has no checks of its own: who started it has the output, and test_scopes.py looks at that.
"""

from __future__ import annotations

import os
import signal
import time

from tests.e2e.clat import wait_on
from tests.machines import systemd_scopes as scopes
from tests.machines.inside import UNITS, systemctl
from tests.machines.systemd_place import UPLINK, Place

_LIMIT_S = 150
# Stopped after the service, it tells us all that was said until then.
_LAST = """\
[Unit]
Before=clatnm.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
ExecStop=/bin/sh -c 'journalctl --sync; exec journalctl -b -q -o short-monotonic --since @{since:.6f} >/proc/{pid}/fd/1'
"""

if __name__ == "__main__":
    # In the end, systemd stops all that are left for a moment. nsenter, which is outside, would stop with its child and
    # never go on.
    if os.fork():
        os._exit(0)
    signal.alarm(_LIMIT_S)
    with Place() as place:
        place.clat.start()
        wait_on(place.clat, UPLINK, timeout_s=60.0)
        pid, unit = scopes.moved(place)
        print(f"process {pid} in {unit}", flush=True)
        (UNITS / "last.service").write_text(_LAST.format(since=time.time(), pid=os.getpid()))
        systemctl("daemon-reload")
        systemctl("start", "last.service")
        systemctl("poweroff", "--no-block")
        signal.pause()
