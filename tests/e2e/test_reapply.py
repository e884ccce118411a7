# SPDX-License-Identifier: GPL-2.0-or-later
"""NetworkManager applies a changed profile: it takes addresses and routes away for a moment, and nothing is lost."""

from __future__ import annotations

import pytest

from tests.e2e import clat, flows
from tests.lab.lab import Lab
from tests.lab.poll import eventually


@pytest.mark.parametrize("change", ["ipv6.route-metric", "ipv4.method"])
def test_reapplied_profile_breaks_no_connection(clean_lab: Lab, change: str) -> None:
    joined = clat.join(clean_lab)
    host, pid = joined.host, clat.translator(joined.host)
    native = change == "ipv4.method"
    if native:
        clean_lab.a.dhcp4("on")
    with flows.download(host, clat.INET) as through_clat:
        through_clat.further()
        host.modify("netA", {change: "auto" if native else "77"})
        host.nmcli("device", "reapply", "up0")
        if native:
            message = "the CLAT drains"
            eventually(lambda: clat.connection(joined.daemon)["state"] == "draining", timeout_s=30, message=message)
        through_clat.further(2 << 20)
        assert clat.translators(host) == [pid]
        through_clat.end()
    assert (flows.source_of_new(host, clat.INET) == through_clat.source) is not native
