# SPDX-License-Identifier: GPL-2.0-or-later
"""Configurations of clatd under a real clatd, then imported, under clatnm, in the same network: the same for a user?

Those that clatd's manual shows, and one that uses every option. `make test-clatd`: Debian 13's clatd with its TAYGA,
in a tree of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from clatnm import clatd_rules
from tests.e2e import clat, inbound
from tests.lab.clatd import CONFIGURATION, Clatd
from tests.lab.fixtures import running_lab
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.poll import eventually

LOG = "/run/scripts.log"
RELAY_PREFIX, SERVICE_V6, SERVICE_V4 = "2001:db8:64::", "2001:db8:a::c1a7", "192.0.2.1"
AT_ONCE = "v4-conncheck-delay=0\n"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A configuration, and what has to be the same by clatnm; the network is A or C."""

    text: str
    network: str = "c"
    same: tuple[str, ...] = ()
    """Names in what `_facts` finds."""
    log: tuple[str, ...] = ()
    """What scripts have written, with {device} for the device's name."""
    arguments: tuple[str, ...] = ()
    extra: dict[str, str] = field(default_factory=dict)


EVERY_OPTION = f"""\
; one of each
quiet=1
debug=1
script-up=echo "up $clat_dev $clat_v4_addr $plat_dev $plat_prefix" >> {LOG}
script-down=echo "down $clat_dev" >> {LOG}
clat-dev=clat
clat-v4-addr=192.0.0.3
clat-v6-addr=derived
dns64-servers=2001:db8:c::1
cmd-ip=ip
cmd-networkctl=
cmd-nft=nft
cmd-tayga=tayga
cmd-ufw=
// of no effect for a CLAT with an address of its own
ctmark=0
forwarding-enable=yes
plat-dev=up0
plat-prefix=2001:db8:64:0:c::/96
plat-fallback-prefix=64:ff9b::/96
proxynd-enable=yes
route-table=49575
tayga-conffile=/run/clatd-tayga.conf
tayga-v4-addr=192.0.0.2
v4-conncheck-enable=yes
v4-conncheck-delay=0
v4-defaultroute-enable=yes
v4-defaultroute-replace=no
v4-defaultroute-metric=3000
v4-defaultroute-mtu=1300
v4-defaultroute-advmss=1260
"""
SAMPLES = {
    "no-configuration": Sample(text=AT_ONCE),
    "manual-script-up-log": Sample(
        text=f"{AT_ONCE}script-up=echo `date -Ins`: clatd started on $clat_dev | tee -a {LOG}\n",
        log=(": clatd started on {device}",),
    ),
    "manual-script-up-route": Sample(
        text=f"{AT_ONCE}v4-defaultroute-enable=no\nscript-up=ip route add 198.51.100.0/24 dev $clat_dev || true\n",
        same=("default", "to-inet"),
    ),
    "manual-derived": Sample(text=f"{AT_ONCE}clat-v6-addr=derived\nv4-defaultroute-mtu=1260\n", same=("mtu",)),
    "manual-dns64-servers": Sample(text=f"{AT_ONCE}dns64-servers=2001:db8:c::1\n"),
    "manual-prefix": Sample(text=f"{AT_ONCE}plat-prefix=2001:db8:64:0:c::/96\nclat-v6-addr=shared\n"),
    "manual-edge-relay": Sample(
        text=f"{AT_ONCE}plat-prefix={RELAY_PREFIX}/96\nclat-v4-addr={SERVICE_V4}\nclat-v6-addr={SERVICE_V6}\nclat-dev=er\n",
        network="a",
        same=("device", "address", "inbound", "default"),
    ),
    "every-option": Sample(
        text=EVERY_OPTION,
        same=("device", "address", "metric", "mtu", "default"),
        log=("up clat 192.0.0.3 up0 2001:db8:64:0:c::/96", "down clat"),
        arguments=("--connection", "net"),
    ),
}


def test_every_option_is_in_the_sample() -> None:
    keys = {line.partition("=")[0] for line in EVERY_OPTION.splitlines() if "=" in line}
    assert keys == set(clatd_rules.RULES)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:  # clean_lab and quick_lab of this module follow it
    yield from running_lab("clatd")


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_imported_configuration_does_what_it_did(quick_lab: Lab, sample: Sample) -> None:
    host = quick_lab.host
    host.plug("up0", sample.network)
    host.add_profile("net", "up0")
    host.up("net")
    eventually(host.has_ipv6, message="IPv6")
    eventually(lambda: host.run("getent", "ahostsv6", "v4only.test", check=False).stdout or True, message="DNS")
    with inbound.service(host), inbound.caller(quick_lab, RELAY_PREFIX):
        with Clatd(host, sample.text):
            before = _facts(quick_lab, sample)
            # What clatd's configuration is for, it did.
            assert before["ping"] and before["download"] and before["datagrams"], before
            assert before["inbound"] is ("inbound" in sample.same)
            log_before = _log(host, sample, before["device"])
            if sample.network == "c" and before["default"]:
                daemon = host.daemon("-v")
                clat.wait_off(daemon, "other-translator")
                assert _facts(quick_lab, sample) == before
                assert daemon.stop() == 0
        _log(host, sample, before["device"], ended=True)
        host.path(LOG).unlink(missing_ok=True)

        daemon = host.daemon("-v")
        eventually(daemon.status, message="the daemon answers")
        clat.wait_on(daemon)  # the connection is known, by its name
        told = host.clatnm("import-clatd", CONFIGURATION, "--write", *sample.arguments, check=False)
        assert told.returncode in (0, 3), told.stderr
        if told.returncode == 0 and "static.d" in told.stdout:
            host.clatnm("set", "--default", "no")
        assert daemon.stop() == 0
        host.path(LOG).unlink(missing_ok=True)
        daemon = host.daemon("-v")
        eventually(lambda: _facts(quick_lab, sample)["ping"], timeout_s=20, message="IPv4 by clatnm")
        after = _facts(quick_lab, sample)
        assert {key: after[key] for key in ("ping", "download", "datagrams", *sample.same)} == {
            key: before[key] for key in ("ping", "download", "datagrams", *sample.same)
        }
        assert len(_log(host, sample, after["device"])) == len(log_before)
        assert daemon.stop() == 0
        _log(host, sample, after["device"], ended=True)


def _facts(lab: Lab, sample: Sample) -> dict[str, Any]:
    """What somebody on the host has of its IPv4, and what an administrator sees."""
    host = lab.host
    to_inet = host.ip_json("-4", "route", "get", clat.INET)[0]
    default = host.ip_json("-4", "route", "show", "default")
    device = to_inet["dev"]
    best = default[0] if default else {}
    return {
        "device": device,
        "address": to_inet["prefsrc"],
        "default": bool(default),
        "to-inet": device is not None,
        "metric": best.get("metric"),
        "mtu": next((entry["mtu"] for entry in best.get("metrics", ()) if "mtu" in entry), None),
        "ping": clat.answers(host),
        "download": _succeeds(lambda: clat.download(host, clat.MIB)),
        "datagrams": _succeeds(lambda: clat.udp_echo(host, 10, 1000)),
        "inbound": sample.network == "a" and inbound.call(lab, SERVICE_V6, prefix=RELAY_PREFIX),
    }


def _succeeds(work: Any) -> bool:
    try:
        work()
    except Exception:  # whatever it is, it has not worked
        return False
    return True


def _log(host: Host, sample: Sample, device: str, *, ended: bool = False) -> list[str]:
    """What the scripts have written; in the end all of it."""
    expected = [line.format(device=device) for line in sample.log]
    wanted = expected if ended else [line for line in expected if not line.startswith("down")]

    def check() -> list[str]:
        path = host.path(LOG)
        lines = path.read_text().splitlines() if path.exists() else []
        assert all(any(want in line for line in lines) for want in wanted), (wanted, lines)
        return lines or ["none"]

    return eventually(check, message="the scripts have run")
