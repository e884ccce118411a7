# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages as a real systemd-journald keeps them, and as `journalctl -x` explains them by our catalog."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from clatnm.log import Message
from tests.lab.poll import eventually
from tests.unit.programs import need

CATALOG = Path(__file__).resolve().parents[2] / "packaging/systemd/clatnm.catalog"
JOURNALD = Path("/lib/systemd/systemd-journald")
# Its own /run, /var/log and identity, in a mount namespace; then it is as on any machine.
_START = """
set -e
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/log
mount --bind "$1/machine-id" /etc/machine-id
mkdir -p /run/systemd/journal /run/systemd/journald.conf.d
printf '%s\\n' '[Journal]' Storage=volatile ReadKMsg=no Audit=no >/run/systemd/journald.conf.d/a.conf
exec "$2"
"""
# As systemd starts a service: standard error is a stream of the journal's, and JOURNAL_STREAM names it.
_SERVICE = """
import os, socket, sys
stream = socket.socket(socket.AF_UNIX)
stream.connect("/run/systemd/journal/stdout")
stream.sendall(b"clatnm\\n\\n6\\n1\\n0\\n0\\n0\\n")
told = os.fstat(stream.fileno())
os.environ["JOURNAL_STREAM"] = f"{told.st_dev}:{told.st_ino}"
os.dup2(stream.fileno(), 2)
import logging
from clatnm import log
from clatnm.log import Message, about
log.setup(verbose=1)
logger = logging.getLogger("clatnm.test")
fields = dict(connection="u-u-i-d", uplink="wlan0", reason="plat-unreachable", prefix="64:ff9b::/96")
logger.info("wlan0: no CLAT", extra=about(Message.CLAT_ABSENT, **fields))
logger.warning("first\\nsecond", extra=about(Message.BUS_LOST))
logger.debug("evidence")
logger.error("x" * (1 << 20))
print("plain", file=sys.stderr)
"""


class Journald:
    """One in a namespace of its own."""

    def __init__(self, directory: Path) -> None:
        (directory / "machine-id").write_text("0123456789abcdef0123456789abcdef\n")
        self._log = (directory / "journald.log").open("w")
        argv = ["unshare", "--mount", "--propagation", "private", "--", "sh", "-c", _START, "sh", str(directory)]
        self._process = subprocess.Popen([*argv, str(JOURNALD)], stderr=self._log, stdin=subprocess.DEVNULL)
        eventually(self._listens, message=f"systemd-journald listens; it says {directory / 'journald.log'}")

    def _listens(self) -> bool:
        assert self._process.poll() is None, Path(self._log.name).read_text()
        return Path(f"/proc/{self._process.pid}/root/run/systemd/journal/stdout").exists()

    def run(self, *argv: str) -> str:
        """Where the journal is."""
        enter = ["nsenter", f"--mount=/proc/{self._process.pid}/ns/mnt", "--"]
        done = subprocess.run([*enter, *argv], capture_output=True, text=True, check=True, timeout=20)
        return done.stdout

    def entries(self, *match: str) -> list[dict[str, str]]:
        told = self.run("journalctl", "-q", "-o", "json", *match)
        return [json.loads(line) for line in told.splitlines()]

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=10)
        self._log.close()


@pytest.fixture
def journald(tmp_path: Path, needs_root: None) -> Iterator[Journald]:
    need("journalctl", "systemd")
    if not JOURNALD.exists():
        pytest.skip("needs systemd-journald (package systemd)")
    running = Journald(tmp_path)
    yield running
    running.close()


def test_journal_has_the_fields_and_explains_the_message(journald: Journald, tmp_path: Path) -> None:
    environment = [f"PYTHONPATH={os.pathsep.join(path for path in sys.path if path)}"]
    journald.run("env", *environment, sys.executable, "-c", _SERVICE)
    eventually(lambda: len(journald.entries("SYSLOG_IDENTIFIER=clatnm")) >= 5, message="all has arrived")

    (entry,) = journald.entries(f"MESSAGE_ID={Message.CLAT_ABSENT}", "CLATNM_REASON=plat-unreachable")
    assert (entry["MESSAGE"], entry["PRIORITY"], entry["_TRANSPORT"]) == ("wlan0: no CLAT", "6", "journal")
    assert (entry["CLATNM_UPLINK"], entry["CLATNM_PREFIX"]) == ("wlan0", "64:ff9b::/96")
    assert (entry["CLATNM_CONNECTION"], entry["SYSLOG_IDENTIFIER"]) == ("u-u-i-d", "clatnm")
    (warning,) = journald.entries(f"MESSAGE_ID={Message.BUS_LOST}")
    assert (warning["MESSAGE"], warning["PRIORITY"]) == ("first\nsecond", "4")
    assert [entry["MESSAGE"] for entry in journald.entries("PRIORITY=7", "SYSLOG_IDENTIFIER=clatnm")] == ["evidence"]
    # Too long for a datagram, and what others write: as lines, through standard error.
    streamed = journald.entries("_TRANSPORT=stdout", "SYSLOG_IDENTIFIER=clatnm")
    assert any(entry["PRIORITY"] == "3" for entry in streamed)
    assert [entry["PRIORITY"] for entry in streamed if entry["MESSAGE"] == "plain"] == ["6"]

    catalog = tmp_path / "root/usr/lib/systemd/catalog"
    catalog.mkdir(parents=True)
    (tmp_path / "root/var/lib/systemd/catalog").mkdir(parents=True)
    shutil.copy(CATALOG, catalog)
    subprocess.run(["journalctl", f"--root={tmp_path}/root", "--update-catalog"], check=True, capture_output=True)
    database = tmp_path / "root/var/lib/systemd/catalog/database"
    journald.run("sh", "-c", f"mount -t tmpfs tmpfs /var/lib/systemd/catalog && cp {database} /var/lib/systemd/catalog")
    told = journald.run("journalctl", "-q", "-x", f"MESSAGE_ID={Message.CLAT_ABSENT}")
    assert "Subject: No CLAT on wlan0: plat-unreachable" in told
    assert "The connection on wlan0 (u-u-i-d) has no CLAT" in told
    assert "clatnm explain wlan0" in told
