# SPDX-License-Identifier: GPL-2.0-or-later
"""Firewalls that drop what they do not know: what a CLAT needs of them, shown by packets. That is nothing.

Its IPv6 packets pass none of the kernel's filters, neither forwarded nor as the host's own; its IPv4 packets pass those
of a host with an interface, by their connection.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator

import pytest

from tests.e2e import clat, inbound
from tests.e2e.clat import Joined
from tests.lab.lab import Lab
from tests.lab.namespace import SYSTEM_PATH, Namespace
from tests.lab.poll import eventually

# What a careful administrator writes for a host: nothing comes in, nothing is forwarded, of either family.
DROP_ALL = """
table inet strict {
  chain input {
    type filter hook input priority filter; policy drop;
    iif lo accept
    ct state established,related accept
    icmpv6 type { nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept
    iifname "up0" tcp dport 8888 accept comment "from the network, as it says"
  }
  chain forward { type filter hook forward priority filter; policy drop; }
}
"""
# The uplink is no way for IPv6 at all, but for neighbours and routers.
NO_IPV6 = """
table ip6 strict6 {
  chain in  { type filter hook input priority filter; policy drop; icmpv6 type { 133, 134, 135, 136 } accept; }
  chain out { type filter hook output priority filter; policy drop; icmpv6 type { 133, 134, 135, 136 } accept; }
  chain raw { type filter hook prerouting priority raw; fib saddr . iif oif missing drop; }
}
"""
# As dockerd 20 to 28 has it, for a bridge docker0 with 172.17.0.0/16.
DOCKER = """
table ip filter {
  chain INPUT { type filter hook input priority filter; policy accept; }
  chain FORWARD {
    type filter hook forward priority filter; policy drop;
    counter jump DOCKER-USER
    counter jump DOCKER-ISOLATION-STAGE-1
    oifname "docker0" ct state related,established counter accept
    oifname "docker0" counter jump DOCKER
    iifname "docker0" oifname != "docker0" counter accept
    iifname "docker0" oifname "docker0" counter accept
  }
  chain DOCKER { }
  chain DOCKER-USER { counter return; }
  chain DOCKER-ISOLATION-STAGE-1 {
    iifname "docker0" oifname != "docker0" counter jump DOCKER-ISOLATION-STAGE-2
    counter return
  }
  chain DOCKER-ISOLATION-STAGE-2 { oifname "docker0" counter drop; counter return; }
}
table ip nat {
  chain POSTROUTING {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr 172.17.0.0/16 oifname != "docker0" counter masquerade
  }
}
table ip6 filter {
  chain FORWARD { type filter hook forward priority filter; policy drop; }
}
"""


@pytest.fixture
def joined(quick_lab: Lab) -> Iterator[Joined]:
    with inbound.caller(quick_lab):
        yield clat.join(quick_lab)


def works(joined: Joined) -> None:
    """All that a program may want of IPv4: both ways, fragments, errors."""
    clat.ping(joined.host)
    clat.download(joined.host, clat.MIB)
    clat.upload(joined.host, clat.MIB)
    clat.udp_echo(joined.host, 10, 5000)
    traced = joined.host.run("ping", "-c", "1", "-W", "3", "-t", "1", clat.INET, check=False).stdout
    assert "Time to live exceeded" in traced


def use(joined: Joined, backend: str, address: str) -> str:
    """Its CLAT's IPv6 address, by that backend, dedicated or shared."""
    text = f"[clatnm]\nbackend = {backend}\nclat-v6-addr = {address}\ndrain = 0\n"
    joined.host.path("/etc/clatnm/clatnm.conf").write_text(text)
    joined.daemon.signal(signal.SIGHUP)

    def check() -> str:
        told = clat.connection(joined.daemon)
        assert told["state"] == "on"
        assert told["translator"]["backend"].startswith(backend)
        assert told["translator"]["shared"] is (address == "shared")
        return str(told["translator"]["clat_v6"])

    return eventually(check, message=f"CLAT by {backend}") or ""


def test_shared_address_needs_no_rule_either(joined: Joined) -> None:
    use(joined, "ebpf", "shared")
    joined.host.nft(DROP_ALL)
    works(joined)
    joined.host.nft(NO_IPV6)
    works(joined)


@pytest.mark.parametrize("backend", ["ebpf", "tun"])
def test_host_that_drops_what_it_does_not_know(joined: Joined, backend: str) -> None:
    clat_v6 = use(joined, backend, "dedicated")
    with inbound.service(joined.host):
        eventually(lambda: inbound.call(joined.lab, clat_v6), message="a call is let in")
        joined.host.nft(DROP_ALL)
        joined.lab.a.ip("neigh", "flush", "dev", "lan")
        works(joined)
        # Whoever comes by IPv4, comes by our device: what is said about the uplink does not let them in.
        assert not inbound.call(joined.lab, clat_v6)
        joined.host.nft('add rule inet strict input iifname "clat-*" tcp dport 8888 accept\n')
        eventually(lambda: inbound.call(joined.lab, clat_v6), message="a call is let in")
        joined.host.nft(NO_IPV6)
        works(joined)


def test_docker_s_rules_stop_neither_the_host_nor_its_containers(joined: Joined) -> None:
    host = joined.host
    box = Namespace("box", host.session)
    host.ip("link", "add", "docker0", "type", "bridge")
    host.ip("link", "add", "veth0", "type", "veth", "peer", "name", "eth0", "netns", box.netns)
    host.ip(
        "-batch", "-", stdin="addr add 172.17.0.1/16 dev docker0\nlink set docker0 up\nlink set veth0 master docker0\n"
    )
    host.ip("link", "set", "veth0", "up")
    box.ip("-batch", "-", stdin="addr add 172.17.0.2/16 dev eth0\nlink set eth0 up\nroute add default via 172.17.0.1\n")
    host.sysctl(ipv4__ip_forward=1)
    host.nft(DOCKER)
    works(joined)
    eventually(lambda: box.run("ping", "-c", "1", "-W", "1", clat.INET), message="the container has IPv4")
    hello = box.run("curl", "-sSm", "5", f"http://{clat.INET}/").stdout
    assert "hello" in hello.lower()


def test_ufw_needs_no_rule(joined: Joined) -> None:
    if shutil.which("ufw", path=SYSTEM_PATH) is None:
        pytest.skip("needs ufw (package ufw)")
    host = joined.host
    clat_v6 = clat.connection(joined.daemon)["translator"]["clat_v6"]
    with inbound.service(host):
        eventually(lambda: inbound.call(joined.lab, clat_v6), message="a call is let in")
        host.run("ufw", "default", "deny", "incoming")
        host.run("ufw", "default", "deny", "routed")
        host.run("ufw", "--force", "enable", timeout_s=60)
        try:
            assert "Status: active" in host.run("ufw", "status").stdout
            before = host.run("ufw", "status", "numbered").stdout
            works(joined)
            assert not inbound.call(joined.lab, clat_v6)
            host.run("ufw", "allow", "8888/tcp")
            eventually(lambda: inbound.call(joined.lab, clat_v6), message="a call is let in")
            host.run("ufw", "delete", "allow", "8888/tcp")
            assert joined.daemon.stop() == 0
            assert host.run("ufw", "status", "numbered").stdout == before
        finally:
            host.run("ufw", "--force", "disable", timeout_s=60)
