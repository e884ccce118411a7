# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab itself, without clatnm: its networks do what the other tests rely on."""

from __future__ import annotations

from tests.lab import Lab, eventually


def test_host_gets_ipv6_only_in_a(clean_lab: Lab) -> None:
    host = clean_lab.host
    host.add_profile("netA", "up0", ipv4_method="auto")
    host.up("netA")
    eventually(host.has_ipv6, message="IPv6 in A")
    assert {address.version for address in host.addresses("up0")} == {6}
    host.run("ping", "-c1", "-W2", "64:ff9b::198.51.100.10")
