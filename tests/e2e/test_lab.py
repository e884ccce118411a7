# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab itself, without clatnm: its networks do what the other tests rely on."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from ipaddress import IPv6Network, ip_address
from pathlib import Path

import pytest

from tests.lab import CommandError, Host, Lab, eventually, inet
from tests.lab import dhcp_probe as dhcp_probe_module
from tests.lab.topology import INET_V6
from tests.lab.within import Within

DHCP_PROBE = dhcp_probe_module.__file__
ECHO = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
with socket.socket(family, socket.SOCK_DGRAM) as udp:
    udp.settimeout(3)
    udp.connect((sys.argv[1], 9999))
    udp.send(b"x" * 1200)
    assert udp.recv(2000) == b"x" * 1200
"""


def join(host: Host, uplink: str = "up0", **settings: str) -> None:
    host.add_profile(uplink, uplink, **settings)
    host.up(uplink)
    eventually(lambda: host.has_ipv6(uplink), message=f"IPv6 on {uplink}")


def resolve(host: Host, name: str) -> set[str]:
    """Every address of a name, by the host's own resolver (which leaves out IPv4 where the host has none)."""
    lines = host.run("getent", "ahosts", name, check=False).stdout.splitlines()
    return {str(ip_address(line.split()[0])) for line in lines}


def prefixes(host: Host) -> set[str]:
    return {str(address.network) for address in host.addresses("up0")}


# Networks


def test_host_in_a_has_ipv6_only(clean_lab: Lab) -> None:
    host = clean_lab.host
    join(host, ipv4_method="auto")
    assert {address.version for address in host.addresses("up0")} == {6}
    with pytest.raises(CommandError):
        host.run("ping", "-c1", "-W1", "198.51.100.10")


@pytest.mark.parametrize("target", ["64:ff9b::198.51.100.10", "2001:db8:64::198.51.100.10", "2001:db8:100::10"])
def test_network_a_reaches_the_internet(quick_lab: Lab, target: str) -> None:
    join(quick_lab.host)
    quick_lab.host.run("ping", "-c1", "-W2", target)


def test_two_uplinks_reach_two_nat64s(quick_lab: Lab) -> None:
    host = quick_lab.host
    host.plug("up1", "c")
    join(host, "up0")
    join(host, "up1")
    host.run("ping", "-c1", "-W2", "-I", "up0", "64:ff9b::198.51.100.10")
    host.run("ping", "-c1", "-W2", "-I", "up1", "2001:db8:64:0:c::198.51.100.10")


def test_dns64_synthesizes_and_plain_dns_does_not(quick_lab: Lab) -> None:
    host = quick_lab.host
    join(host)
    assert resolve(host, "v4only.test") == {"64:ff9b::c633:640a"}
    assert resolve(host, "ipv4only.arpa") == {"64:ff9b::c000:aa", "64:ff9b::c000:ab"}
    assert resolve(host, "dual.test") == {"2001:db8:100::10"}
    quick_lab.a.dns("plain")
    assert "64:ff9b::c633:640a" not in resolve(host, "v4only.test")
    assert resolve(host, "dual.test") == {"2001:db8:100::10"}


def test_big_bodies_pass_the_nat64_unharmed(quick_lab: Lab) -> None:
    host = quick_lab.host
    join(host)
    url, length = "http://[64:ff9b::198.51.100.10]", 8_000_001
    fetched = "/var/lib/clatnm/body"
    headers = host.run("curl", "-sS", "-D", "-", "-o", fetched, f"{url}/bytes/{length}").stdout
    body = host.path(fetched).read_bytes()
    assert len(body) == length
    assert f"X-Sha256: {hashlib.sha256(body).hexdigest()}" in headers
    assert host.run("curl", "-sS", "-T", fetched, f"{url}/hash").stdout.strip() == hashlib.sha256(body).hexdigest()


def test_network_b_has_native_ipv4_and_ipv6(quick_lab: Lab) -> None:
    host = quick_lab.host
    host.plug("up0", "b")
    join(host, ipv4_method="auto")
    eventually(lambda: len(host.addresses("up0")) == 2, message="a lease")
    assert host.run("curl", "-sS4", "http://dual.test/").stdout == "hello 198.51.100.2\n"
    assert host.run("curl", "-sS6", "http://dual.test/").stdout == "hello 2001:db8:b::ff:fe00:0\n"
    for target in ("198.51.100.10", "2001:db8:100::10"):
        host.python(ECHO, target)


def test_dhcp_108_is_offered_to_who_asks(clean_lab: Lab) -> None:
    clean_lab.a.dhcp4("108")
    probe = ("python3", DHCP_PROBE, "up0")
    offer = json.loads(eventually(lambda: clean_lab.host.run(*probe).stdout, message="an offer with 108"))
    assert offer["address"].startswith("192.168.1.")
    assert offer["v6only_wait_s"] == 1800
    clean_lab.a.dhcp4("on")
    offer = json.loads(eventually(lambda: clean_lab.host.run(*probe).stdout, message="an offer without 108"))
    assert offer["v6only_wait_s"] is None


def test_dhcp6_alone_gives_an_address(quick_lab: Lab) -> None:
    quick_lab.a.dhcp6("on")
    quick_lab.a.ra(managed=True, pflags=0x80)
    join(quick_lab.host)
    (address,) = quick_lab.host.addresses("up0")
    assert address.network.prefixlen == 128
    assert address.ip in IPv6Network("2001:db8:a::1000/116")


def test_advert_changes_reach_the_host(quick_lab: Lab) -> None:
    host = quick_lab.host
    join(host)
    quick_lab.a.ra(prefixes=[["2001:db8:a::/64", 3600, 1800], ["2001:db8:a1::/64", 3600, 1800]])
    eventually(lambda: prefixes(host) == {"2001:db8:a::/64", "2001:db8:a1::/64"}, message="the second prefix")
    quick_lab.a.ra(lifetime=0)
    eventually(lambda: not host.has_ipv6(), message="the router is no default router any more")


def test_advert_with_unknown_key_is_refused(lab: Lab) -> None:
    with pytest.raises(TypeError, match="pref46"):
        lab.a.ra(pref46=[])


def test_forged_advert_arrives_and_is_ignored(quick_lab: Lab) -> None:
    host = quick_lab.host
    join(host)
    sniffer = host.popen("tcpdump", "-lnvi", "up0", "-c1", "ip6[7] = 64 and icmp6 and ip6[40] = 134")
    eventually(lambda: "listening" in sniffer.log(), message="tcpdump listens")
    quick_lab.a.forge_ra("--hop-limit", "64", prefixes=[["2001:db8:bad::/64", 3600, 1800]])
    assert sniffer.wait() == 0
    quick_lab.a.ra(prefixes=[["2001:db8:a2::/64", 3600, 1800]])
    eventually(lambda: "2001:db8:a2::/64" in prefixes(host), message="the honest advert after it")
    assert "2001:db8:bad::/64" not in prefixes(host)


def test_real_radvd_is_understood(quick_lab: Lab) -> None:
    quick_lab.a.ra_silent()
    conf = quick_lab.directory / "radvd.conf"
    conf.write_text("interface lan { AdvSendAdvert on; MaxRtrAdvInterval 10; prefix 2001:db8:ad::/64 {}; };\n")
    quick_lab.a.popen("radvd", "-n", "-m", "stderr", "-C", str(conf), "-p", f"{conf}.pid", name="radvd")
    join(quick_lab.host)
    assert prefixes(quick_lab.host) == {"2001:db8:ad::/64"}


def test_broken_nat64_swallows_silently(quick_lab: Lab) -> None:
    host = quick_lab.host
    join(host)
    ping = ("ping", "-c1", "-W1", "64:ff9b::198.51.100.10")
    quick_lab.a.nat64(False)
    result = host.run(*ping, check=False)
    assert "100% packet loss" in result.stdout
    assert "errors" not in result.stdout
    quick_lab.a.nat64(True)
    host.run(*ping)


@pytest.mark.parametrize("silent", [False, True], ids=["flap", "silent"])
def test_roam_from_a_to_c(quick_lab: Lab, silent: bool) -> None:
    host = quick_lab.host
    join(host)
    said = len(host.nm_log())
    host.plug("up0", "c", silent=silent)
    quick_lab.c.ra()
    # The first advertisement may come before the carrier, the next one 10 s later.
    eventually(lambda: "2001:db8:c::/64" in prefixes(host), timeout_s=30, message="C's prefix")
    assert ("carrier: link disconnected" in host.nm_log()[said:]) is not silent


# NetworkManager, the bus, files


def test_networkmanager_restart_keeps_the_address(quick_lab: Lab) -> None:
    host = quick_lab.host
    join(host)
    assert host.nm_stop() == 0
    assert host.has_ipv6()
    host.nm_start()
    # 70, IP configuration: NetworkManager 1.42 may stay there until the next advert if the address it finds is fresh.
    eventually(lambda: host.device_state("up0") >= 70, message="up0 is taken over")
    assert host.has_ipv6()


def test_dispatcher_runs_hooks(quick_lab: Lab) -> None:
    host = quick_lab.host
    host.dispatcher_start()
    hook = host.system_path("/etc/NetworkManager/dispatcher.d/50-probe")
    hook.write_text('#!/bin/sh\necho "$1 $2" >>/run/clatnm/probe\n')
    hook.chmod(0o755)
    try:
        join(host)
        eventually(lambda: "up0 up" in host.run("cat", "/run/clatnm/probe").stdout, message="the hook ran")
    finally:
        hook.unlink()


def test_clatnms_devices_are_left_alone_by_networkmanager(quick_lab: Lab) -> None:
    host = quick_lab.host
    for name in ("clat-up0", "tun-other"):
        host.ip("tuntap", "add", name, "mode", "tun")
        host.ip("addr", "add", "192.0.2.1/32", "dev", name)
        host.ip("link", "set", name, "up")
    eventually(lambda: host.device_state("tun-other") > 10, message="a stranger's device is adopted")
    assert host.device_state("clat-up0") == 10  # unmanaged


def test_user_data_survives_networkmanager(quick_lab: Lab) -> None:
    host = quick_lab.host
    host.add_profile("marked", "up0")
    host.set_user_data("marked", {"clatnm.mode": "no"})
    host.modify("marked", {"connection.autoconnect-priority": 5})  # NetworkManager writes the file anew
    text = host.system_path("/etc/NetworkManager/system-connections/marked.nmconnection").read_text()
    assert "autoconnect-priority=5" in text
    assert "clatnm.mode=no" in text


def test_writes_in_the_host_stay_there(clean_lab: Lab) -> None:
    host = clean_lab.host
    host.run("sh", "-c", "echo host >/etc/clatnm/probe; echo host >/var/lib/clatnm/probe; echo host >/run/probe")
    assert host.path("/etc/clatnm/probe").read_text() == "host\n"
    assert not any(Path(place).exists() for place in ("/etc/clatnm/probe", "/var/lib/clatnm/probe", "/run/probe"))
    assert set(os.listdir(host.path("/sys/class/net"))) != set(os.listdir("/sys/class/net"))
    assert host.run("ls", "/sys/class/net").stdout.split() == ["lo", "up0", "up1"]


# State


def test_snapshot_ignores_traffic_and_shows_changes(quick_lab: Lab) -> None:
    host = quick_lab.host
    join(host)
    host.run("ping", "-c1", "-W2", "64:ff9b::198.51.100.10")
    before = host.snapshot()
    host.run("ping", "-c3", "-i0.2", "64:ff9b::198.51.100.10")
    quick_lab.a.ra()
    assert before.diff(host.snapshot()) == ""
    host.ip("-4", "route", "add", "192.0.2.0/24", "dev", "lo")
    host.sysctl(ipv6__conf__all__forwarding=1)
    host.nft("table ip left_over { }\n")
    changes = before.diff(host.snapshot())
    assert "+dst=192.0.2.0/24 dev=lo" in changes
    assert "+net.ipv6.conf.all.forwarding = 1" in changes
    assert "+table ip left_over {" in changes


def test_reset_ends_connections_that_have_lost_their_way(quick_lab: Lab) -> None:
    """They would be sent again for minutes, and be somebody who uses an address that the next test has, too."""
    host = quick_lab.host
    join(host)
    with Within.of(host).sock(socket.AF_INET6, socket.SOCK_STREAM) as sock:
        sock.connect((str(INET_V6), inet.WEB_PORT))
        host.nft("table inet lost { chain out { type filter hook output priority 0; tcp dport 80 drop; }; }\n")
        sock.send(b"never heard")
    assert "FIN-WAIT-1" in host.run("ss", "-tan").stdout
    quick_lab.reset()
    assert "FIN-WAIT-1" not in host.run("ss", "-tan").stdout


def test_reset_mends_everything(quick_lab: Lab) -> None:
    host = quick_lab.host
    quick_lab.reset()
    start, default = host.snapshot(), quick_lab.a.default_ra()
    host.add_profile("left", "up0")
    host.up("left")
    stray = host.popen("sleep", "60")
    host.bus_stop()
    quick_lab.a.ra(lifetime=0, silent=True)
    quick_lab.b.dhcp4("off")
    quick_lab.c.nat64(False)
    host.ip("tuntap", "add", "clat-left", "mode", "tun")
    host.ip("-6", "rule", "add", "priority", "99", "table", "local")
    host.sysctl(ipv6__conf__all__forwarding=1, ipv4__ip_forward=1)
    host.nft("table ip left { }\n")
    host.run("sh", "-c", "echo x >/etc/clatnm/left; sleep 60 >/dev/null 2>&1 &")
    host.ip("link", "del", "up1")
    quick_lab.reset()
    assert start.diff(host.snapshot()) == ""
    assert not stray.running
    assert not host.path("/etc/clatnm/left").exists()
    assert json.loads((quick_lab.directory / "ra-a.json").read_text()) == default
    assert "left" not in host.nmcli("connection").stdout
    assert len(host.processes()) == 3  # the holder of the namespace, dbus-daemon, NetworkManager
