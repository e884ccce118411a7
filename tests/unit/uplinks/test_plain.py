# SPDX-License-Identifier: GPL-2.0-or-later
"""Which interfaces of the kernel are followed although nobody manages them, and which resolvers are theirs."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pytest

from clatnm.model import Link, Uplink
from clatnm.uplinks.plain import Plain
from tests.unit.aio import run, until
from tests.unit.policy.worlds import a_link

RESOLVERS = "search example.net\nnameserver 2001:db8::53\nnameserver fe80::1%eth0\nnameserver 192.0.2.53\n"


class Machine:
    """Links by name, and a resolv.conf."""

    def __init__(self, directory: Path) -> None:
        self.resolv_conf = directory / "resolv.conf"
        self.resolv_conf.write_text(RESOLVERS)
        self.changes = 0
        self.plain = Plain(resolv_conf=self.resolv_conf, changed=self._change)
        self.links: dict[str, Link] = {}
        for index, name in enumerate(("lo", "eth0", "eth1", "wlan0", "clat-eth0"), 1):
            self.add(name, index=index)

    def _change(self) -> None:
        self.changes += 1

    def add(self, name: str, *, index: int = 9, kind: str = "") -> None:
        self.links[name] = replace(a_link(name, index=index), kind=kind)

    def look(self, *patterns: str, managed: Collection[str] | None = ()) -> tuple[Uplink, ...]:
        """What is followed, once."""

        async def work() -> tuple[Uplink, ...]:
            self.plain.follow(patterns, self.links, managed)
            self.plain.close()
            return self.plain.uplinks()

        return run(work())

    def followed(self, *patterns: str, managed: Collection[str] | None = ()) -> list[str]:
        return [uplink.interface for uplink in self.look(*patterns, managed=managed)]

    def resolvers(self, *patterns: str, managed: Collection[str] = ()) -> list[str]:
        told = self.look(*patterns, managed=managed)
        return [str(address) for uplink in told for address in uplink.resolvers]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        pytest.param((), [], id="none-by-default"),
        pytest.param(("eth0",), ["eth0"], id="name"),
        pytest.param(("eth*",), ["eth0", "eth1"], id="pattern"),
        pytest.param(("eth1", "w*"), ["eth1", "wlan0"], id="several"),
        pytest.param(("*",), ["eth0", "eth1", "wlan0"], id="neither-loopback-nor-ours"),
        pytest.param(("eth7",), [], id="not-there"),
        pytest.param(("ETH0",), [], id="case-counts"),
    ],
)
def test_interfaces_that_are_named_are_followed(
    machine: Machine, patterns: tuple[str, ...], expected: list[str]
) -> None:
    assert machine.followed(*patterns) == expected


def test_interface_is_its_own_connection(machine: Machine) -> None:
    (uplink,) = machine.look("eth0")
    assert (uplink.uuid, uplink.name, uplink.manager, uplink.mode) == ("eth0", "eth0", "nobody", None)
    assert not uplink.is_vpn


def test_managed_interface_belongs_to_its_manager(machine: Machine) -> None:
    assert machine.followed("eth*", managed={"eth1"}) == ["eth0"]
    assert machine.followed("eth*", managed={"eth0", "eth1"}) == []


def test_nothing_is_followed_before_it_is_known_to_be_nobodys(machine: Machine) -> None:
    assert machine.followed("eth*", managed=None) == []
    assert machine.followed("eth*") == ["eth0", "eth1"]


def test_what_is_followed_stays_while_managers_are_not_known_again(machine: Machine) -> None:
    machine.followed("eth*")
    del machine.links["eth1"]
    assert machine.followed("eth*", managed=None) == ["eth0"]
    assert machine.followed("wlan*", managed=None) == []


def test_tunnel_has_to_be_named_in_full(machine: Machine) -> None:
    machine.add("tun0", kind="tun")
    assert "tun0" not in machine.followed("*")
    assert machine.followed("tun0") == ["tun0"]


def test_resolvers_of_the_machine_are_those_of_its_only_link(machine: Machine) -> None:
    assert machine.resolvers("eth0") == ["2001:db8::53", "fe80::1", "192.0.2.53"]


def test_resolvers_are_nobodys_where_they_may_be_anothers(machine: Machine) -> None:
    assert machine.resolvers("eth*") == []
    assert machine.resolvers("eth0", managed={"wlan0"}) == []
    machine.add("wg0", kind="wireguard")
    assert machine.resolvers("eth0") == []


def test_own_device_is_no_tunnel_that_resolvers_could_belong_to(machine: Machine) -> None:
    machine.add("clat-eth0", kind="tun")
    assert machine.resolvers("eth0")


def test_resolvers_that_change_are_read_again(machine: Machine) -> None:
    machine.resolvers("eth0")
    machine.resolv_conf.write_text("nameserver 2001:db8::99\n")
    assert machine.resolvers("eth0") == ["2001:db8::99"]
    machine.resolv_conf.unlink()
    assert machine.resolvers("eth0") == []


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("nameserver 127.0.0.53\nnameserver ::1\n", id="on-this-host"),
        pytest.param("#nameserver 192.0.2.1\n;nameserver 192.0.2.1\n", id="comments"),
        pytest.param("nameserver\nnameserver here\nnameserver ff02::fb\nnameserver ::\n", id="nonsense"),
        pytest.param("nameserver 192.0.2.1\n" + "#" * 70000, id="too-long"),
    ],
)
def test_resolver_that_cannot_be_asked_is_none(machine: Machine, text: str) -> None:
    machine.resolv_conf.write_text(text)
    assert machine.resolvers("eth0") == []


def test_resolv_conf_that_is_a_pipe_keeps_nobody_waiting(machine: Machine) -> None:
    machine.resolv_conf.unlink()
    os.mkfifo(machine.resolv_conf)
    assert machine.resolvers("eth0") == []


def test_resolv_conf_that_is_no_text_is_survived(machine: Machine) -> None:
    machine.resolv_conf.write_bytes(b"\xff\xfe\nnameserver 192.0.2.1\n")
    assert machine.resolvers("eth0") == ["192.0.2.1"]


def test_resolv_conf_that_is_written_or_led_elsewhere_is_noticed(machine: Machine, tmp_path: Path) -> None:
    def resolvers() -> list[str]:
        return [str(address) for uplink in machine.plain.uplinks() for address in uplink.resolvers]

    def look() -> None:
        machine.plain.follow(["eth0"], machine.links, ())

    async def work() -> None:
        look()
        machine.resolv_conf.write_text("nameserver 2001:db8::1\n")
        await until(lambda: machine.changes == 1)
        look()
        assert resolvers() == ["2001:db8::1"]
        (tmp_path / "run").mkdir()
        (tmp_path / "run/resolv.conf").write_text("nameserver 2001:db8::2\n")
        machine.resolv_conf.unlink()
        await until(lambda: machine.changes == 2)
        machine.resolv_conf.symlink_to("run/resolv.conf")
        await until(lambda: machine.changes == 3)
        look()
        (tmp_path / "run/resolv.conf").write_text("nameserver 2001:db8::3\n")
        await until(lambda: machine.changes == 4)
        look()
        assert resolvers() == ["2001:db8::3"]
        (tmp_path / "other").write_text("")
        machine.plain.follow([], machine.links, ())
        machine.resolv_conf.unlink()
        look()
        assert (machine.changes, resolvers()) == (4, [])
        machine.plain.close()

    run(work())


def test_resolv_conf_that_leads_in_a_circle_has_no_resolvers(machine: Machine) -> None:
    machine.resolv_conf.unlink()
    machine.resolv_conf.symlink_to(machine.resolv_conf.name)
    assert machine.resolvers("eth0") == []
