# SPDX-License-Identifier: GPL-2.0-or-later
"""What the service tells programs: metrics, from within its confinement, and messages in the journal."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from clatnm.log import Message
from tests.lab.poll import eventually
from tests.machines.clat_service import SERVICE
from tests.machines.inside import systemctl
from tests.machines.systemd_place import UPLINK, Place

CONFIG = Path("/etc/clatnm/clatnm.conf")
SOCKET = "/run/clatnm/metrics.sock"
_REPOSITORY = Path(__file__).resolve().parents[2]
_CATALOGS = Path("/usr/lib/systemd/catalog")
# What Prometheus does, in a few lines.
_SCRAPE = """
import socket, sys
place = sys.argv[1]
if place.startswith("/"):
    with_whom = socket.socket(socket.AF_UNIX)
    with_whom.connect(place)
else:
    with_whom = socket.create_connection(("::1", int(place)))
with_whom.sendall(b"GET /metrics HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
sys.stdout.write(with_whom.makefile(encoding="utf-8").read())
"""


def metrics_are_handed_out(place: Place) -> None:
    """By a path and by ::1; not by 127.0.0.1, since the unit leaves IPv4 out."""
    before = CONFIG.read_text() if CONFIG.exists() else None
    try:
        for where, asked in ((SOCKET, SOCKET), ("[::1]:9864", "9864")):
            _configure(f"metrics = {where}")
            page = eventually(lambda asked=asked: _scraped(place, asked), message=f"metrics at {where}")
            assert f'clatnm_connection_state{{interface="{UPLINK}"' in page, page
        refused = "metrics cannot be at 127.0.0.1:9864: Address family not supported by protocol"
        _configure("metrics = 127.0.0.1:9864")
        eventually(lambda: refused in place.clat.log(), message="no IPv4 for the service, which says so")
        assert not Path(SOCKET).exists()
    finally:
        CONFIG.unlink(missing_ok=True) if before is None else CONFIG.write_text(before)
        systemctl("reload", SERVICE)


def messages_are_explained(place: Place) -> None:
    """The fields are in the journal, and the catalog has words for them."""
    _CATALOGS.mkdir(parents=True, exist_ok=True)
    shutil.copy(_REPOSITORY / "packaging/systemd/clatnm.catalog", _CATALOGS)
    place.here.run("journalctl", "--update-catalog")
    place.clat.restart()
    match = ("-b", "-q", "-u", SERVICE, f"MESSAGE_ID={Message.CLAT_UP}", f"CLATNM_UPLINK={UPLINK}", "-n", "1")
    told = eventually(lambda: place.here.run("journalctl", *match, "-o", "json").stdout, message="the CLAT is told of")
    entry = json.loads(told)
    assert entry["CLATNM_PREFIX"] == "64:ff9b::/96" and entry["_TRANSPORT"] == "journal", entry
    assert entry["MESSAGE"].startswith(f"{UPLINK}: CLAT up, "), entry
    explained = place.here.run("journalctl", *match, "-x").stdout
    assert f"IPv4 works on {UPLINK}, by CLAT" in explained, explained


def _configure(line: str) -> None:
    CONFIG.parent.mkdir(exist_ok=True)
    CONFIG.write_text(f"[clatnm]\n{line}\n")
    systemctl("reload", SERVICE)


def _scraped(place: Place, where: str) -> str:
    """What a user without rights reads there."""
    told = place.here.as_user("python3", "-c", _SCRAPE, where)
    assert told.returncode == 0, told.stderr
    return told.stdout
