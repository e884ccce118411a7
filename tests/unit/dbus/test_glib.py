# SPDX-License-Identifier: GPL-2.0-or-later
"""The bus comes without GObject, which dbus-next would load wherever it is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_gobject_is_not_imported(tmp_path: Path) -> None:
    (tmp_path / "gi").mkdir()
    (tmp_path / "gi/__init__.py").write_text("raise SystemExit('GObject was imported')\n")
    script = "import sys; sys.path.insert(0, sys.argv[1]); import clatnm.dbus.bus; print(clatnm.dbus.bus.MessageBus)"
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False, text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "MessageBus" in done.stdout or "PatientBus" in done.stdout
