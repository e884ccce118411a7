# SPDX-License-Identifier: GPL-2.0-or-later
"""NetworkManager with the example that asks for DHCPv4 option 108: a network that wants no IPv4 gives none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e import clat
from tests.lab import Host, Lab, eventually
from tests.lab.fixtures import EVERY_VERSION, running_lab
from tests.lab.system import REPOSITORY

EXAMPLE = REPOSITORY / "nm-dispatcher/clatnm-option-108.conf"
PLACE = f"/etc/NetworkManager/conf.d/{EXAMPLE.name}"
SINCE = (1, 52)


@pytest.fixture(scope="module", params=EVERY_VERSION)
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    yield from running_lab(request.param)


@pytest.fixture
def network(quick_lab: Lab) -> Iterator[Lab]:
    """A has IPv4 too, and would rather not give it to whoever can do without; the example is in use."""
    place = quick_lab.host.system_path(PLACE)
    place.write_text(EXAMPLE.read_text())
    quick_lab.host.nmcli("general", "reload", "conf")
    quick_lab.a.dhcp4("108")
    yield quick_lab
    place.unlink()
    quick_lab.host.nmcli("general", "reload", "conf")


def asks(host: Host) -> bool:
    """Whether this NetworkManager knows the option."""
    version = host.nmcli("-g", "VERSION", "general").stdout.strip()
    return tuple(map(int, version.split(".")[:2])) >= SINCE


def has_lease(host: Host) -> bool:
    return any(address.version == 4 for address in host.addresses("up0"))


def wait_refused(lab: Lab) -> None:
    """The daemon has overheard that the network wants no IPv4, and there is none."""
    eventually(lambda: "ipv6-only-preferred" in lab.host.nm_log(), message="NetworkManager was told option 108")
    assert not has_lease(lab.host)


def test_network_that_wants_no_ipv4_gives_none_and_ipv4_works(network: Lab) -> None:
    joined = clat.join(network, ipv4="auto", wait=False)
    if not asks(joined.host):
        told = clat.wait_off(joined.daemon, "native-ipv4")
        assert told["evidence"]["ipv4"] == "native"
        return
    clat.wait_on(joined.daemon)
    wait_refused(network)
    # A quick server has answered before the daemon knows that the connection begins, and listens.
    assert clat.connection(joined.daemon)["evidence"]["ipv4"] in ("none", "ipv6-only")
    clat.ping(joined.host)
    clat.download(joined.host, clat.MIB)


def test_example_alone_makes_the_difference(network: Lab) -> None:
    network.host.system_path(PLACE).write_text("")
    network.host.nmcli("general", "reload", "conf")
    joined = clat.join(network, ipv4="auto", wait=False)
    clat.wait_off(joined.daemon, "native-ipv4")
    assert has_lease(joined.host)


def test_network_without_the_option_gives_ipv4_as_before(network: Lab) -> None:
    network.a.dhcp4("on")
    joined = clat.join(network, ipv4="auto", wait=False)
    clat.wait_off(joined.daemon, "native-ipv4")
    assert has_lease(joined.host)


def test_profile_has_the_last_word(network: Lab) -> None:
    if not asks(network.host):
        pytest.skip("this NetworkManager has no ipv4.dhcp-ipv6-only-preferred")
    network.host.add_profile("netA", "up0", ipv4_method="auto", ipv4_dhcp_ipv6_only_preferred="no")
    network.host.up("netA")
    eventually(lambda: has_lease(network.host), message="a lease")


def test_connection_without_ipv6_is_left_with_nothing(network: Lab) -> None:
    # Why the example is an example.
    if not asks(network.host):
        pytest.skip("this NetworkManager has no ipv4.dhcp-ipv6-only-preferred")
    network.host.add_profile("netA", "up0", ipv4_method="auto", ipv6_method="disabled")
    network.host.up("netA", wait_s=0)
    wait_refused(network)
