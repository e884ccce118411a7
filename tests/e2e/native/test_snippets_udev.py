# SPDX-License-Identifier: GPL-2.0-or-later
"""NetworkManager leaves `clat-*` alone because of the udev rule alone, labelled by this machine's systemd-udevd."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.native import udev
from tests.lab import Lab, eventually
from tests.lab.fixtures import EVERY_VERSION, running_lab
from tests.lab.system import REPOSITORY

RULES = REPOSITORY / "packaging/udev/81-clatnm.rules"
UNMANAGED, CONNECTED = 10, 100

pytestmark = pytest.mark.skipif(not Path(udev.PROGRAM).exists(), reason=f"needs {udev.PROGRAM} (package udev)")


@pytest.fixture(params=EVERY_VERSION)
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """One for each test: nothing mends NetworkManager's belief in a udev."""
    yield from running_lab(request.param)


def test_devices_are_left_alone_by_the_rule(lab: Lab) -> None:
    host = lab.host
    udev.start(host, RULES)
    host.system_path("/etc/NetworkManager/conf.d/90-clatnm.conf").unlink()
    host.nmcli("general", "reload", "conf")
    for device in ("clat-up0", "stranger0"):
        host.ip("tuntap", "add", device, "mode", "tun")
        host.ip("addr", "add", "192.0.2.1/32", "dev", device)
        host.ip("link", "set", device, "up")
    eventually(lambda: host.device_state("stranger0") == CONNECTED, message="a stranger's device is adopted")
    assert host.device_state("clat-up0") == UNMANAGED
    told = udev.properties(host, "clat-up0")
    assert (told["NM_UNMANAGED"], told["ID_NET_MANAGED_BY"]) == ("1", "org.clatnm1")
    assert "NM_UNMANAGED" not in udev.properties(host, "stranger0")
    # The older of two translators of a connection gets another name.
    host.ip("link", "set", "clat-up0", "name", "clat-old")
    eventually(lambda: udev.properties(host, "clat-old").get("NM_UNMANAGED") == "1", message="the new name is ours too")
    assert host.device_state("clat-old") == UNMANAGED
