# SPDX-License-Identifier: GPL-2.0-or-later
"""Others behind the host: clients of a connection that NetworkManager shares, and a container that is masqueraded.

inet ── A ── up0 host up1 ── OFF ── a client
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.e2e import clat
from tests.e2e.clat import INET
from tests.lab import dhcp_probe
from tests.lab.lab import Lab
from tests.lab.namespace import PYTHON, Namespace
from tests.lab.poll import eventually

BY_NAT64 = "198.51.100.1"
NEEDED = ("/usr/sbin/dnsmasq", "/usr/sbin/nft")
MASQUERADE = """
table ip box {
  chain post { type nat hook postrouting priority srcnat; oifname "clat-*" masquerade; }
}
"""
UDP_ECHO = """
import os, socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(3)
for size in map(int, sys.argv[2:]):
    sent = os.urandom(size)
    sock.sendto(sent, (sys.argv[1], 9999))
    assert sock.recv(65535) == sent, size
print("echoed")
"""


@pytest.fixture(scope="module")
def place(lab: Lab) -> Namespace:
    return Namespace("client", lab.host.session)


@pytest.fixture
def client(quick_lab: Lab, place: Namespace) -> Iterator[Namespace]:
    """Somebody at the other end of up1's cable, where there is no network but what the host makes of it."""
    quick_lab.switch.ip("link", "add", "c0", "type", "veth", "peer", "name", "eth0", "netns", place.netns)
    quick_lab.switch.ip("link", "set", "c0", "master", "brOFF", "up")
    place.ip("link", "set", "eth0", "up")
    quick_lab.host.carrier("up1", True)
    yield place
    place.ip("link", "del", "eth0")


@pytest.fixture
def box(quick_lab: Lab, place: Namespace) -> Iterator[Namespace]:
    """A container, as container engines make them: a cable to the host, forwarding, a masquerading rule."""
    host = quick_lab.host
    host.ip("link", "add", "box0", "type", "veth", "peer", "name", "eth0", "netns", place.netns)
    # As the packages of container engines have it: else NetworkManager may take the address away again.
    eventually(lambda: host.nmcli("device", "set", "box0", "managed", "no"), message="NetworkManager knows the device")
    host.ip("-batch", "-", stdin="addr add 172.17.0.1/16 dev box0\nlink set box0 up\n")
    place.ip("-batch", "-", stdin="addr add 172.17.0.2/16 dev eth0\nlink set eth0 up\n")
    place.ip("route", "add", "default", "via", "172.17.0.1")
    host.sysctl(ipv4__ip_forward=1)
    host.nft(MASQUERADE)
    yield place
    place.ip("link", "del", "eth0")


def share(lab: Lab) -> None:
    """`ipv4.method shared` on up1, as for a hotspot or a cable to another computer."""
    lacking = [path for path in NEEDED if not lab.host.system_path(path).exists()]
    if lacking:
        pytest.skip(f"the tree that NetworkManager runs from has no {' and no '.join(lacking)} to share with")
    lab.host.add_profile("shared", "up1", ipv4_method="shared", ipv6_method="disabled")
    lab.host.up("shared")


def lease(client: Namespace) -> None:
    """Take the address that the host offers, and the host as the router."""
    offered = eventually(
        lambda: json.loads(client.run(PYTHON, dhcp_probe.__file__, "eth0").stdout)["address"], message="an offer"
    )
    client.ip("addr", "add", f"{offered}/24", "dev", "eth0")
    client.ip("route", "add", "default", "via", f"{offered.rpartition('.')[0]}.1")


def reaches_the_internet(client: Namespace) -> None:
    def seen_as_the_nat64() -> bool:
        return client.run("curl", "-sm2", f"http://{INET}/").stdout == f"hello {BY_NAT64}\n"

    eventually(seen_as_the_nat64, message="the client is on the internet")
    client.run("ping", "-c", "1", "-W", "3", INET)
    size = client.run("curl", "-sm20", "-o", "/dev/null", "-w", "%{size_download}", f"http://{INET}/bytes/{clat.MIB}")
    assert size.stdout == str(clat.MIB)
    assert client.python(UDP_ECHO, INET, "10", "1400", "4000") == "echoed\n"


def test_clients_of_a_shared_connection_have_ipv4_by_the_clat(quick_lab: Lab, client: Namespace) -> None:
    joined = clat.join(quick_lab)
    share(quick_lab)
    lease(client)
    reaches_the_internet(client)
    # The rule is about the clients' addresses, wherever their packets leave.
    rules = joined.host.run("nft", "list", "ruleset").stdout
    assert "10.42.0.0/24" in rules
    assert "masquerade" in rules
    assert "oifname" not in next(line for line in rules.splitlines() if "masquerade" in line)
    assert clat.connection(joined.daemon, "up1")["reason"] == "no-ipv6"


def test_clients_that_were_there_first_have_ipv4_as_soon_as_there_is_a_clat(quick_lab: Lab, client: Namespace) -> None:
    share(quick_lab)
    lease(client)
    assert client.run("ping", "-c", "1", "-W", "1", INET, check=False).returncode != 0
    clat.join(quick_lab)
    reaches_the_internet(client)


def test_clients_go_on_with_another_translator(quick_lab: Lab, client: Namespace) -> None:
    joined = clat.join(quick_lab)
    share(quick_lab)
    lease(client)
    reaches_the_internet(client)
    joined.host.clatnm("set", "netA", "no")
    clat.wait_no_device(joined.host)
    assert client.run("ping", "-c", "1", "-W", "1", INET, check=False).returncode != 0
    joined.host.clatnm("set", "netA", "auto")
    reaches_the_internet(client)


def test_container_has_ipv4_by_the_clat(quick_lab: Lab, box: Namespace) -> None:
    clat.join(quick_lab)
    reaches_the_internet(box)


def test_container_has_ipv4_on_a_host_that_forwards_ipv6_too(quick_lab: Lab, box: Namespace) -> None:
    """As container engines have it: what comes for the CLAT's address must not be taken for somebody else's."""
    quick_lab.host.sysctl(ipv6__conf__all__forwarding=1)
    clat.join(quick_lab)
    reaches_the_internet(box)
