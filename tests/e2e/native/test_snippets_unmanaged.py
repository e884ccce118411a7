# SPDX-License-Identifier: GPL-2.0-or-later
"""NetworkManager leaves `clat-*` alone because of 90-clatnm.conf, as it is installed, and for no other reason."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.lab import Host, Lab, eventually
from tests.lab.fixtures import EVERY_VERSION, running_lab
from tests.lab.namespace import SYSTEM_PATH
from tests.lab.system import REPOSITORY

SNIPPET = "/etc/NetworkManager/conf.d/90-clatnm.conf"
ADMINS = "/etc/NetworkManager/conf.d/{}-admin.conf"
OURS, STRANGER, FORBIDDEN = "clat-wlan0", "stranger0", "forbidden0"
UNMANAGED, CONNECTED = 10, 100


@pytest.fixture(scope="module", params=EVERY_VERSION)
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    yield from running_lab(request.param)


@pytest.fixture
def host(quick_lab: Lab) -> Iterator[Host]:
    """Without the snippet, and without udev, as every lab is."""
    host = quick_lab.host
    host.system_path(SNIPPET).unlink()
    host.nmcli("general", "reload", "conf")
    yield host
    for number in ("10", "95"):
        host.system_path(ADMINS.format(number)).unlink(missing_ok=True)
    install(host, "uninstall")
    host.nm_stop()  # its next start brings the snippet back


def install(host: Host, verb: str = "files") -> None:
    """Let tools/install.sh put the files, as a package has them, where this NetworkManager looks (or remove them)."""
    subprocess.run(
        [str(REPOSITORY / "tools/install.sh"), verb],
        env={"PATH": SYSTEM_PATH, "DESTDIR": str(host.system_path("/")), "PREFIX": "/usr"},
        check=True,
        timeout=60,
        capture_output=True,
    )
    host.nmcli("general", "reload", "conf")


def appear(host: Host, device: str) -> None:
    """A device that another program makes and configures."""
    host.ip("tuntap", "add", device, "mode", "tun")
    host.ip("addr", "add", "192.0.2.1/32", "dev", device)
    host.ip("link", "set", device, "up")


def wait_adopted(host: Host, device: str) -> None:
    eventually(lambda: host.device_state(device) == CONNECTED, message=f"{device} is connected (externally)")
    assert device in profiles(host)


def wait_left_alone(host: Host, device: str) -> None:
    eventually(lambda: host.device_state(device) == UNMANAGED, message=f"{device} is unmanaged")
    assert device not in profiles(host)


def profiles(host: Host) -> list[str]:
    return host.nmcli("-g", "NAME", "connection").stdout.split()


def test_devices_are_left_alone_from_the_moment_the_snippet_is_there(host: Host) -> None:
    appear(host, OURS)
    wait_adopted(host, OURS)
    install(host)
    wait_left_alone(host, OURS)


def test_new_devices_are_never_adopted(host: Host) -> None:
    install(host)
    said = len(host.nm_log())
    appear(host, OURS)
    appear(host, STRANGER)
    wait_adopted(host, STRANGER)
    wait_left_alone(host, OURS)
    assert f"device ({OURS}): state change" not in host.nm_log()[said:]


def test_nobody_can_have_them_managed(host: Host) -> None:
    install(host)
    appear(host, OURS)
    host.nmcli("device", "set", OURS, "managed", "yes", check=False)
    wait_left_alone(host, OURS)


@pytest.mark.parametrize("number", ["10", "95"], ids=["before-ours", "after-ours"])
def test_list_of_an_administrator_holds_too(host: Host, number: str) -> None:
    admins = f"[keyfile]\nunmanaged-devices=interface-name:{FORBIDDEN}\n"
    host.system_path(ADMINS.format(number)).write_text(admins)
    install(host)
    for device in (OURS, FORBIDDEN, STRANGER):
        appear(host, device)
    wait_adopted(host, STRANGER)
    wait_left_alone(host, OURS)
    wait_left_alone(host, FORBIDDEN)
