# SPDX-License-Identifier: GPL-2.0-or-later
"""What an administrator chooses for a connection's translator: it takes effect at once, and IPv4 goes on."""

from __future__ import annotations

import signal
from typing import Any

from tests.e2e import clat
from tests.lab.lab import Lab
from tests.lab.poll import eventually

# Lines of the connection's file, one file after the other; and what `status` says of the translator then.
CHOICES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("metric = 77\nmtu = 1300", {"metric": 77, "ipv4_mtu_bytes": 1300, "device": "clat-up0"}),
    ("device = clat", {"device": "clat", "ipv4_mtu_bytes": 1472}),
    ("device = clat\ndefault-route = no", {"device": "clat", "metric": None}),
    ("clat-v4-addr = 192.0.0.1", {"device": "clat-up0", "clat_v4": "192.0.0.1"}),
    ("clat-v6-addr = 2001:db8:a::c1a7", {"clat_v6": "2001:db8:a::c1a7", "shared": False}),
    ("clat-v6-addr = dedicated", {"shared": False}),
)


def test_choice_takes_effect_at_once(quick_lab: Lab) -> None:
    joined = clat.join(quick_lab)
    host = joined.host
    uuid = host.nmcli("-g", "connection.uuid", "connection", "show", "netA").stdout.strip()
    file = host.path(f"/etc/clatnm/connections.d/{uuid}.conf")
    file.parent.mkdir()
    for lines, expected in CHOICES:
        file.write_text(f"[clatnm]\n{lines}\n")
        joined.daemon.signal(signal.SIGHUP)

        def check(expected: dict[str, Any] = expected) -> dict[str, Any]:
            told = clat.connection(joined.daemon)
            assert told["state"] == "on", told
            found: dict[str, Any] = told["translator"]
            assert {key: found[key] for key in expected} == expected
            return found

        found = eventually(check, timeout_s=20, message=lines)
        routes = [
            (route["dev"], route["metric"], route["metrics"][0]["mtu"])
            for route in host.ip_json("-4", "route", "show", "default")
            if route["dev"] == found["device"]
        ]
        if found["metric"] is None:
            assert routes == []
            host.ip("route", "add", f"{clat.INET}/32", "dev", found["device"])
        else:
            assert routes == [(found["device"], found["metric"], found["ipv4_mtu_bytes"])]
        eventually(lambda: clat.answers(host), message=f"IPv4 with {lines}")


def test_choice_that_makes_no_sense_leaves_all_as_it_was(quick_lab: Lab) -> None:
    joined = clat.join(quick_lab)
    before = clat.connection(joined.daemon)["translator"]["device"]
    joined.host.path("/etc/clatnm/clatnm.conf").write_text("[clatnm]\ndevice = clat\n")
    joined.daemon.signal(signal.SIGHUP)
    eventually(lambda: "clatnm.conf:2: " in joined.daemon.log(), message="the mistake is told with its line")
    assert "keeping the last good configuration" in joined.daemon.log()
    assert clat.connection(joined.daemon)["translator"]["device"] == before
    clat.ping(joined.host)
