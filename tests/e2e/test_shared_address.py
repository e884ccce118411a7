# SPDX-License-Identifier: GPL-2.0-or-later
"""On a network that gives single addresses (DHCPv6 without SLAAC) the CLAT shares the host's, and disturbs it not."""

from __future__ import annotations

import pytest

from tests.e2e import clat
from tests.lab.lab import Lab
from tests.lab.poll import eventually

BACKENDS = ("ebpf", "ebpf-clsact")
INET6 = "64:ff9b::198.51.100.10"

_BOTH = """
import socket, sys
v4 = socket.create_connection((sys.argv[1], 80), timeout=5)
v6 = socket.create_connection((sys.argv[2], 80), timeout=5)
for sock in (v4, v6, v4, v6):
    sock.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    answer = b""
    while b"hello" not in answer or not answer.endswith(b"\\n"):
        more = sock.recv(4096)
        assert more, sock
        answer += more
udp4, udp6 = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
for sock, address in ((udp4, sys.argv[1]), (udp6, sys.argv[2])) * 3:
    sock.settimeout(5)
    sock.sendto(b"x" * 1200, (address, 9999))
    assert sock.recv(2000) == b"x" * 1200
print("both")
"""


@pytest.fixture(params=BACKENDS)
def joined(clean_lab: Lab, request: pytest.FixtureRequest) -> clat.Joined:
    clean_lab.a.ra(managed=True, pflags=0x80)
    clean_lab.a.dhcp6("on")
    clean_lab.host.path("/etc/clatnm/clatnm.conf").write_text(f"[clatnm]\nbackend = {request.param}\n")
    return clat.join(clean_lab)


def test_single_address_is_shared(joined: clat.Joined) -> None:
    (own,) = (str(a.ip) for a in joined.host.addresses("up0") if a.version == 6)
    translator = clat.connection(joined.daemon)["translator"]
    assert (translator["shared"], translator["clat_v6"]) == (True, own)
    assert "the host's own, shared" in joined.host.clatnm("status").stdout
    clat.ping(joined.host)
    clat.udp_echo(joined.host, 1, 1400, 4000)
    clat.download(joined.host, 8 * clat.MIB)
    clat.upload(joined.host, 8 * clat.MIB)


def test_own_ipv6_traffic_with_the_same_nat64_goes_on(joined: clat.Joined) -> None:
    host = joined.host
    assert host.python(_BOTH, clat.INET, INET6) == "both\n"
    host.run("ping", "-6", "-c", "1", "-W", "3", INET6)
    host.run("ping", "-6", "-c", "1", "-W", "3", "-s", "4000", "2001:db8:100::10")
    clat.ping(host)


def test_what_nobody_asked_for_is_the_hosts(joined: clat.Joined) -> None:
    """A connection to the shared address is answered by the host, not swallowed by the translator."""
    own = clat.connection(joined.daemon)["translator"]["clat_v6"]
    joined.lab.a.run("ping", "-6", "-c", "1", "-W", "3", own)
    probe = (
        "import socket,sys\n"
        "try: socket.create_connection((sys.argv[1], 7), 3)\n"
        "except ConnectionRefusedError: print('no')"
    )
    assert joined.lab.inet.python(probe, own) == "no\n"


def test_errors_about_our_packets_reach_the_ipv4_socket(joined: clat.Joined) -> None:
    refused = (
        "import socket,sys\ns=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(3)\n"
        "s.connect((sys.argv[1], 4)); s.send(b'x')\n"
        "try: s.recv(1)\nexcept ConnectionRefusedError: print('refused')"
    )
    assert joined.host.python(refused, clat.INET) == "refused\n"


def test_renumbered_host_is_followed(joined: clat.Joined) -> None:
    host = joined.host
    first = clat.connection(joined.daemon)["translator"]["clat_v6"]
    host.ip("-6", "addr", "add", "2001:db8:a::beef/128", "dev", "up0", "nodad")
    host.ip("-6", "addr", "change", f"{first}/128", "dev", "up0", "preferred_lft", "0", "valid_lft", "600")

    def moved() -> bool:
        translator = clat.connection(joined.daemon)["translator"]
        return bool(translator and translator["clat_v6"] == "2001:db8:a::beef")

    eventually(moved, message="the new address")
    clat.wait_on(joined.daemon)
    eventually(lambda: clat.answers(host), message="IPv4 works from it")


def test_prefix_of_the_dns64_that_dhcp6_tells_is_enough(clean_lab: Lab) -> None:
    clean_lab.a.ra(managed=True, pflags=0x80, pref64=[], rdnss=None)
    clean_lab.a.dhcp6("on")
    joined = clat.join(clean_lab)
    told = clat.connection(joined.daemon)
    assert told["translator"]["shared"]
    assert (told["prefix"]["source"], told["prefix"]["prefix"]) == ("dns64", "64:ff9b::/96")
    clat.ping(joined.host)
    clat.download(joined.host, clat.MIB)


def test_user_space_path_cannot_share_and_says_so(clean_lab: Lab) -> None:
    clean_lab.a.ra(managed=True, pflags=0x80)
    clean_lab.a.dhcp6("on")
    clean_lab.host.path("/etc/clatnm/clatnm.conf").write_text("[clatnm]\nbackend = tun\n")
    joined = clat.join(clean_lab, wait=False)
    clat.wait_off(joined.daemon, "no-clat-address")


def test_sharing_can_be_asked_for_by_hand(clean_lab: Lab) -> None:
    host = clean_lab.host
    host.dad(False)
    host.add_profile("netA", "up0")
    host.up("netA")
    eventually(host.has_ipv6, message="IPv6 in A")
    (own,) = (str(a.ip) for a in host.addresses("up0") if a.version == 6)
    arguments = ("translate", "--uplink", "up0", "--plat-prefix", "64:ff9b::/96", "--clat-v6-addr")
    for choice in ("shared", own):
        service = host.popen("clatnm", *arguments, choice)
        eventually(lambda service=service: f" {own} " in service.log(), message="ready with the host's address")
        clat.ping(host)
        assert host.python(_BOTH, clat.INET, INET6) == "both\n"
        service.stop()
        clat.wait_no_device(host)
