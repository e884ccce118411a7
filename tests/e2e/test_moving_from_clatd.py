# SPDX-License-Identifier: GPL-2.0-or-later
"""From clatd to clatnm in five minutes: imported, clatd stopped, and everything is where it was. And its scripts."""

from __future__ import annotations

import signal

from tests.e2e import clat
from tests.e2e.clatd_like import clatd
from tests.lab.lab import Lab
from tests.lab.poll import eventually

LOG = "/run/scripts.log"
CONFIGURATION = f"""\
# As under clatd
plat-prefix=2001:db8:64::/96
clat-dev=clat
clat-v4-addr=192.0.0.1
v4-defaultroute-metric=2048
v4-defaultroute-mtu=1260
script-up=echo "up $clat_dev $clat_v4_addr $plat_dev $plat_prefix; $v4_defaultroute_mtu" >> {LOG}
script-down=echo "down $clat_dev" >> {LOG} || exit 1
"""


def test_all_is_where_it_was(quick_lab: Lab) -> None:
    host = quick_lab.host
    host.add_profile("netA", "up0")
    host.up("netA")
    eventually(host.has_ipv6, message="IPv6 in A")
    host.path("/etc/clatd.conf").write_text(CONFIGURATION)
    log = host.path(LOG)
    with clatd(host):
        daemon = host.daemon("-v")
        clat.wait_off(daemon, "other-translator")
        told = host.clatnm("import-clatd", "--write", "--connection", "netA").stdout
        assert "line 2: plat-prefix = 2001:db8:64::/96: kept as prefix = 2001:db8:64::/96 in " in told
        assert "systemctl disable --now clatd" in told
        clat.wait_off(daemon, "other-translator")
        assert not log.exists()
    clat.wait_on(daemon, timeout_s=20)
    (route,) = host.ip_json("-4", "route", "show", "default")
    assert (route["dev"], route["metric"], route["metrics"]) == ("clat", 2048, [{"mtu": 1260}])
    assert host.ip_json("-4", "route", "get", clat.INET)[0]["prefsrc"] == "192.0.0.1"
    clat.ping(host)
    clat.download(host, clat.MIB)
    assert log.read_text() == "up clat 192.0.0.1 up0 2001:db8:64::/96; 1260\n"
    assert host.clatnm("import-clatd", "--write", "--connection", "netA", check=False).returncode == 3
    assert daemon.stop() == 0
    assert log.read_text().splitlines()[1:] == ["down clat"]


def test_script_that_fails_ends_its_translator_until_it_does_not(quick_lab: Lab) -> None:
    joined = clat.join(quick_lab)
    host = joined.host
    host.clatnm("set", "netA", "no")
    clat.wait_off(joined.daemon, "opted-out")
    script = host.path("/etc/clatnm/up")
    script.write_text("#!/bin/sh\nip route add 203.0.113.0/24 dev $clat_dev\nexit 3\n")
    script.chmod(0o755)
    host.path("/etc/clatnm/clatnm.conf").write_text(
        "[clatnm]\nscript-up = /etc/clatnm/up\ndefault-route = no\nmetric = 77\n"
    )
    joined.daemon.signal(signal.SIGHUP)
    host.clatnm("set", "netA", "auto")

    def failing() -> bool:
        told = clat.connection(joined.daemon)
        seen = (told["reason"], told["error"])
        return seen == ("backing-off", "script-up: /etc/clatnm/up ended with status 3")

    eventually(failing, message="the script's failure is told")
    clat.wait_no_device(host)
    script.write_text("#!/bin/sh\nip route add 198.51.100.0/24 dev $clat_dev\n")
    clat.wait_on(joined.daemon, timeout_s=30)
    assert host.ip_json("-4", "route", "show", "default") == []
    clat.ping(host)  # by the script's route
    assert not clat.answers(host, "203.0.113.1")
