# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm doctor` of a machine that is well: for root, for anybody, without a daemon, and as an archive."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from clatnm.doctor.findings import TITLES
from tests.e2e import clat
from tests.e2e.doctor_scene import BASE, CLATNM
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.poll import eventually

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/schemas/doctor.json").read_text(encoding="utf-8"))
# The tests may be somewhere where only root can read, as in /root.
_READING = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *_READING, "--")


@pytest.fixture
def joined(quick_lab: Lab) -> Iterator[clat.Joined]:
    quick_lab.host.path("/etc/clatnm/clatnm.conf").write_text(BASE)
    yield clat.join(quick_lab)


def examined(host: Host, *argv: str, user: tuple[str, ...] = (), status: int = 0) -> Any:
    """The JSON, which is as its schema says."""
    result = host.run(*user, CLATNM, "doctor", "--json", *argv, check=False, timeout_s=60)
    assert result.returncode == status, (result.stdout, result.stderr)
    told = json.loads(result.stdout)
    jsonschema.validate(told, SCHEMA)
    return told


def levels(told: Any, interface: str | None = "up0") -> dict[str, str]:
    return {row["check"]: row["level"] for row in told["findings"] if row["interface"] in (interface, None)}


def test_machine_that_is_well_is_told_so_by_every_check(joined: clat.Joined) -> None:
    before = joined.host.snapshot()
    told = examined(joined.host)
    assert levels(told) == dict.fromkeys(TITLES, "ok")
    assert (told["level"], told["cause"], told["root_adds"]) == ("ok", None, [])
    assert before.diff(joined.host.snapshot()) == "", "looking changes nothing"
    assert joined.host.clatnm("doctor", "netA").stdout.rstrip().endswith("All is well.")


def test_anybody_may_ask_and_hears_what_root_would_see(joined: clat.Joined) -> None:
    told = examined(joined.host, user=NOBODY)
    found = levels(told)
    assert (found["daemon"], found["translator"], found["ipv4"]) == ("ok", "ok", "ok")
    assert (told["as_root"], told["level"], found["plat"]) == (False, "ok", "skipped")
    assert len(told["root_adds"]) == 3
    joined.lab.a.nat64(False)
    told = examined(joined.host, user=NOBODY, status=1)
    assert told["cause"]["check"] == "plat", "what the translator counts tells as well"


def test_without_the_daemon_the_network_is_looked_at_all_the_same(joined: clat.Joined) -> None:
    assert joined.daemon.stop() == 0
    told = examined(joined.host, status=1)
    found = levels(told)
    assert told["cause"]["check"] == "daemon"
    assert (found["pref64"], found["plat"], found["translator"]) == ("ok", "ok", "skipped")
    joined.lab.a.dns("plain")
    joined.lab.a.ra(pref64=[["64:ff9b::/96", 0]])
    told = examined(joined.host, status=1)
    assert levels(told)["pref64"] == "fail"
    told = examined(joined.host, user=NOBODY, status=1)
    found = levels(told)
    assert (found["link"], found["address"], found["ipv6-route"], found["mode"]) == ("ok", "ok", "ok", "skipped")
    assert len(told["root_adds"]) == 4


def test_nobody_is_connected(quick_lab: Lab) -> None:
    host = quick_lab.host
    daemon = host.daemon("-v")
    eventually(daemon.status, message="the daemon answers")
    result = host.run(CLATNM, "doctor", check=False)
    said = "there is no connection to look at (clatnm doctor INTERFACE looks at one: up0)\n"
    assert (result.returncode, result.stderr) == (3, said)
    told = examined(host, "up0", status=1)
    assert told["cause"]["check"] == "connection"
    assert told["cause"]["command"] == "nmcli device connect up0"
    result = host.run(CLATNM, "doctor", "nowhere", check=False)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: there is no active connection 'nowhere' (")


def test_connection_with_native_ipv4_needs_nothing(quick_lab: Lab) -> None:
    host = quick_lab.host
    host.path("/etc/clatnm/clatnm.conf").write_text(BASE)
    daemon = host.daemon("-v")
    eventually(daemon.status, message="the daemon answers")
    host.plug("up0", "b")
    host.add_profile("netB", "up0", ipv4_method="auto")
    host.up("netB")
    clat.wait_off(daemon, "native-ipv4")
    told = examined(host)
    found = levels(told)
    assert (told["level"], found["native"], found["pref64"], found["translator"]) == ("ok", "ok", "skipped", "skipped")


def test_static_translator_that_does_not_run_is_named(joined: clat.Joined) -> None:
    place = joined.host.path("/etc/clatnm/static.d")
    place.mkdir(exist_ok=True)
    text = "[clatnm]\nuplink = up1\nprefix = 2001:db8:64::/96\n"
    (place / "edge.conf").write_text(text)
    joined.host.run("busctl", "call", "org.clatnm1", "/org/clatnm1", "org.clatnm1.Manager", "Reload")
    cause = eventually(lambda: examined(joined.host, status=1)["cause"], message="it is read")
    assert cause["check"] == "static"
    assert cause["cause"].startswith("static.d/edge does not run: ")


def test_archive_shows_networks_and_neither_hosts_nor_names(joined: clat.Joined) -> None:
    host = joined.host
    told = clat.connection(joined.daemon)
    own = str(next(address.ip for address in host.addresses("up0") if address.version == 6))
    secrets = ("netA", own, told["uuid"], told["translator"]["clat_v6"], "02:00:00:00:00:00")
    result = host.clatnm("doctor", "--bundle", "/run/clatnm/help.tar.gz", timeout_s=60)
    assert "world.json" in result.stderr
    with tarfile.open(fileobj=io.BytesIO(host.path("/run/clatnm/help.tar.gz").read_bytes()), mode="r:gz") as archive:
        files = {member.name: archive.extractfile(member) for member in archive.getmembers()}
        texts = {name: file.read().decode() for name, file in files.items() if file is not None}
    assert {f"clatnm-doctor/{name}" for name in ("findings.txt", "status.json", "etc/clatnm.conf")} <= texts.keys()
    for name, text in texts.items():
        assert [secret for secret in secrets if secret in text] == [], name
    assert "2001:db8:a:0:aaaa::" in texts["clatnm-doctor/world.json"]
    assert host.path("/run/clatnm/help.tar.gz").stat().st_mode & 0o777 == 0o600
