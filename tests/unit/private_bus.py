# SPDX-License-Identifier: GPL-2.0-or-later
"""A message bus of our own, for any user: everybody may own and say everything, and it can be killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""


class PrivateBus:
    """dbus-daemon in a directory. `kill` is what the death of the bus looks like to everybody on it."""

    def __init__(self, directory: Path) -> None:
        daemon = shutil.which("dbus-daemon")
        if daemon is None:
            pytest.skip("needs dbus-daemon (package dbus-daemon)")
        config = directory / "bus.conf"
        config.write_text(_CONFIG.format(path=directory / "bus"))
        self._command = [daemon, "--nofork", "--nopidfile", "--print-address=1", f"--config-file={config}"]
        self.start()

    def start(self) -> None:
        """Also again, after `kill`: at the same address."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("DBUS_")}
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True, env=environment)
        assert self._process.stdout is not None
        # It prints the address when it listens.
        self.address = self._process.stdout.readline().strip()
        assert self.address, "dbus-daemon did not start"

    def freeze(self) -> None:
        """It does nothing any more, and does not notice who goes."""
        self._process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
