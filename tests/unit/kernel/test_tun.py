# SPDX-License-Identifier: GPL-2.0-or-later
"""Opening a TUN device, against a kernel that answers from a table."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Callable

import pytest

from clatnm.errors import HostError
from clatnm.kernel import tun

TUNSETIFF, TUNSETOFFLOAD = 0x454CA, 0x454D0  # without the direction bits
WITH_USO, WITHOUT_USO = 0x6F, 0x0F
FD = 77


class FakeKernel:
    """Takes one device and the offloads it knows; refuses whatever `refuse` names with that errno."""

    def __init__(self, *, offloads: tuple[int, ...] = (), refuse: dict[str, int] | None = None) -> None:
        self.offloads = offloads
        self.refuse = refuse or {}
        self.device: tuple[str, int] | None = None
        self.closed: list[int] = []

    def open(self, path: str, flags: int) -> int:
        assert path == "/dev/net/tun"
        assert flags & os.O_CLOEXEC and flags & os.O_NONBLOCK and flags & os.O_RDWR
        self._maybe_refuse("open")
        return FD

    def ioctl(self, fd: int, request: int, argument: object) -> bytes | int:
        assert fd == FD
        if request & 0xFFFFF == TUNSETIFF:
            assert isinstance(argument, bytes) and len(argument) == 40
            self._maybe_refuse("device")
            name, flags = struct.unpack("16sH22x", argument)
            self.device = (name.rstrip(b"\0").decode().replace("%d", "3"), flags)
            return struct.pack("16sH22x", self.device[0].encode(), flags)
        assert request & 0xFFFFF == TUNSETOFFLOAD
        if argument not in self.offloads:
            raise OSError(errno.EINVAL, "no such offload")
        return 0

    def close(self, fd: int) -> None:
        self.closed.append(fd)

    def _maybe_refuse(self, step: str) -> None:
        if step in self.refuse:
            raise OSError(self.refuse[step], "refused")


Install = Callable[[FakeKernel], FakeKernel]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    def patch(kernel: FakeKernel) -> FakeKernel:
        monkeypatch.setattr(os, "open", kernel.open)
        monkeypatch.setattr(os, "close", kernel.close)
        monkeypatch.setattr(fcntl, "ioctl", kernel.ioctl)
        return kernel

    return patch


@pytest.mark.parametrize(
    ("known", "got"),
    [
        pytest.param((WITH_USO, WITHOUT_USO), WITH_USO, id="linux-6.2"),
        pytest.param((WITHOUT_USO,), WITHOUT_USO, id="linux-5.15-no-uso"),
        pytest.param((), 0, id="no-offloads-at-all"),
    ],
)
def test_open_takes_the_offloads_the_kernel_knows(install: Install, known: tuple[int, ...], got: int) -> None:
    install(FakeKernel(offloads=known))
    assert tun.open_tun("clat-wlan0") == tun.Tun(fd=FD, name="clat-wlan0", offloads=got)


def test_open_takes_no_large_packets_where_they_could_not_be_sent(install: Install) -> None:
    install(FakeKernel(offloads=(WITH_USO, WITHOUT_USO, tun.CSUM)))
    assert tun.open_tun("clat-ppp0", large=False).offloads == tun.CSUM


def test_open_asks_for_a_new_packet_device_with_vnet_header(install: Install) -> None:
    kernel = install(FakeKernel(offloads=(WITH_USO,)))
    tun.open_tun("clat0")
    assert kernel.device == ("clat0", 0x0001 | 0x1000 | 0x4000 | 0x8000)


def test_open_returns_the_name_the_kernel_chose(install: Install) -> None:
    install(FakeKernel(offloads=(WITH_USO,)))
    assert tun.open_tun("clat%d").name == "clat3"


@pytest.mark.parametrize(
    ("step", "number", "hint"),
    [
        ("open", errno.ENOENT, "modprobe tun"),
        ("open", errno.ENODEV, "modprobe tun"),
        ("open", errno.EACCES, "DeviceAllow"),
        ("device", errno.EPERM, "CAP_NET_ADMIN"),
        ("device", errno.EBUSY, "another program"),
        ("device", errno.EINVAL, "no TUN device"),
    ],
)
def test_refusal_names_errno_and_hint(install: Install, step: str, number: int, hint: str) -> None:
    kernel = install(FakeKernel(refuse={step: number}))
    with pytest.raises(HostError) as caught:
        tun.open_tun("clat0")
    assert caught.value.errno == number
    assert hint in caught.value.hint
    assert kernel.closed == ([FD] if step == "device" else [])


@pytest.mark.parametrize("name", ["", "a" * 16, "ü" * 8])
def test_illegal_name_is_refused_before_the_kernel_sees_it(install: Install, name: str) -> None:
    kernel = install(FakeKernel(offloads=(WITH_USO,)))
    with pytest.raises(HostError) as caught:
        tun.open_tun(name)
    assert caught.value.errno == errno.EINVAL
    assert kernel.device is None
