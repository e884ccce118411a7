# SPDX-License-Identifier: GPL-2.0-or-later
"""What supervisor and worker say to each other survives the way, and nonsense is refused with its name."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clatnm.errors import ConfigError
from clatnm.proto.eam import EamTable
from clatnm.worker import wire
from clatnm.worker.wire import WorkerConfig

GOOD: dict[str, Any] = {
    "clat_v4": "192.0.0.2",
    "clat_v6": "2001:db8:1::c1a7",
    "prefix": "64:ff9b::/96",
    "ipv6_mtu_bytes": 1500,
    "uplink": "wlan0",
    "link_address": "020000000001",
    "gateway": "fe80::1",
    "well_known_strict": False,
    "icmp_source": "192.0.0.8",
    "hooked": False,
    "expecting": False,
    "relayed": False,
    "mapped": False,
}
TABLE = EamTable([(IPv4Network("192.0.2.0/24"), IPv6Network("2001:db8:9::/120"))])


def test_config_is_read_into_addresses() -> None:
    assert WorkerConfig.from_json(GOOD) == WorkerConfig(
        clat_v4=IPv4Address("192.0.0.2"),
        clat_v6=IPv6Address("2001:db8:1::c1a7"),
        prefix=IPv6Network("64:ff9b::/96"),
        ipv6_mtu_bytes=1500,
        uplink="wlan0",
        link_address=b"\x02\0\0\0\0\x01",
        gateway=IPv6Address("fe80::1"),
        well_known_strict=False,
        icmp_source=IPv4Address("192.0.0.8"),
    )


def test_config_without_neighbours_has_defaults() -> None:
    config = WorkerConfig.from_json({key: GOOD[key] for key in list(GOOD)[:5]})
    assert (config.link_address, config.gateway) == (None, None)
    assert config.well_known_strict is True
    assert config.icmp_source == IPv4Address("192.0.0.8")


@given(
    st.builds(
        WorkerConfig,
        clat_v4=st.sampled_from([IPv4Address(f"192.0.0.{n}") for n in range(1, 8)]),
        clat_v6=st.integers(0, 2**64 - 1).map(lambda n: IPv6Address((0x20010DB8 << 96) | n)),
        prefix=st.sampled_from([IPv6Network("64:ff9b::/96"), IPv6Network("2001:db8:64::/48")]),
        ipv6_mtu_bytes=st.integers(1280, 65536),
        uplink=st.text(min_size=1, max_size=15),
        link_address=st.none() | st.binary(min_size=5, max_size=5).map(lambda mac: b"\x02" + mac),
        gateway=st.none() | st.integers(1, 2**64 - 1).map(lambda n: IPv6Address((0xFE80 << 112) | n)),
        well_known_strict=st.booleans(),
        icmp_source=st.just(IPv4Address("192.0.0.8")),
        hooked=st.booleans(),
        expecting=st.booleans(),
        relayed=st.booleans(),
    )
)
def test_config_survives_the_way(config: WorkerConfig) -> None:
    op, fields = wire.decode(wire.encode("update", config=config.to_json()))
    assert op == "update"
    assert WorkerConfig.from_json(fields["config"]) == config


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("clat_v4", "192.0.0"),
        ("clat_v4", "224.0.0.1"),
        ("clat_v4", 3221225474),
        ("clat_v4", None),
        ("clat_v6", "ff02::1"),
        ("clat_v6", "fe80::2"),
        ("clat_v6", "fe80::2%eth0"),
        ("clat_v6", "2001:db8::1%eth0"),
        ("clat_v6", "::"),
        ("clat_v6", "64:ff9b::1"),  # inside the NAT64 prefix
        ("prefix", "64:ff9b::/97"),
        ("prefix", "64:ff9b::1/96"),
        ("prefix", 6),
        ("ipv6_mtu_bytes", 1279),
        ("ipv6_mtu_bytes", 65537),
        ("ipv6_mtu_bytes", True),
        ("ipv6_mtu_bytes", "1500"),
        ("ipv6_mtu_bytes", 1500.0),
        ("uplink", None),
        ("uplink", ""),
        ("relayed", 1),
        ("link_address", "0200000000"),
        ("link_address", "02000000000g"),
        ("link_address", "01005e000001"),  # a group
        ("link_address", "000000000000"),
        ("gateway", "ff02::2"),
        ("gateway", "2001:db8:1::c1a7"),  # ourselves
        ("gateway", "fe80::1%eth0"),
        ("gateway", 1),
        ("well_known_strict", 1),
        ("icmp_source", "255.255.255.255"),
        ("icmp_source", "0.0.0.0"),
        ("colour", "blue"),
    ],
)
def test_wrong_value_is_refused(key: str, value: object) -> None:
    with pytest.raises(ConfigError):
        WorkerConfig.from_json({**GOOD, key: value})


@pytest.mark.parametrize("key", list(GOOD)[:5])
def test_missing_key_is_named(key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        WorkerConfig.from_json({name: value for name, value in GOOD.items() if name != key})


@pytest.mark.parametrize("value", [None, [], "config", 7])
def test_config_that_is_no_object_is_refused(value: object) -> None:
    with pytest.raises(ConfigError):
        WorkerConfig.from_json(value)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff\xfe", b"[]", b"{}", b'{"op":1}', b'"start"', b"[" * 30000, b"1" * 5000],
    ids=["empty", "open", "not-text", "list", "no-op", "op-number", "text", "deep", "long-number"],
)
def test_message_that_is_no_operation_is_refused(data: bytes) -> None:
    with pytest.raises(ConfigError):
        wire.decode(data)


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists).map(
        lambda v: json.dumps(v).encode()
    )
)
def test_decode_raises_nothing_but_config_error(data: bytes) -> None:
    try:
        op, _ = wire.decode(data)
    except ConfigError:
        return
    assert json.loads(data)["op"] == op


@given(st.dictionaries(st.sampled_from([*GOOD, "else"]), st.none() | st.booleans() | st.integers() | st.text()))
def test_from_json_raises_nothing_but_config_error(changes: dict[str, Any]) -> None:
    try:
        config = WorkerConfig.from_json({**GOOD, **changes})
    except ConfigError:
        return
    assert WorkerConfig.from_json(config.to_json()) == config


def test_start_hands_over_descriptors_in_order() -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pipe = os.pipe()
    config = WorkerConfig.from_json(GOOD)
    with near, far:
        wire.send_start(near, config, pipe)
        data, descriptors, _, _ = socket.recv_fds(far, wire.MESSAGE_BYTES, wire.DESCRIPTORS)
    assert wire.decode(data) == ("start", {"config": config.to_json(), "table": False})
    os.write(descriptors[1], b"through")
    assert os.read(pipe[0], 100) == b"through"
    for descriptor in (*pipe, *descriptors):
        os.close(descriptor)


def test_update_is_a_whole_config() -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    config = WorkerConfig.from_json(GOOD)
    with near, far:
        wire.send_update(near, config)
        assert wire.decode(far.recv(wire.MESSAGE_BYTES)) == ("update", {"config": GOOD, "table": False})


def received(far: socket.socket, *, known: EamTable | None = None) -> tuple[WorkerConfig, list[int]]:
    data, descriptors, complete = wire.receive(far)
    assert complete
    _, fields = wire.decode(data)
    return wire.read_config(fields, descriptors, known=known), descriptors


def test_ten_thousand_mappings_come_with_the_start_behind_its_descriptors() -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    many = EamTable(
        (IPv4Network(0x0A000000 + number), IPv6Network((0x20010DB8 << 96) + number)) for number in range(10_000)
    )
    config = replace(WorkerConfig.from_json(GOOD), mappings=many)
    pipe = os.pipe()
    with near, far:
        wire.send_start(near, config, pipe)
        got, descriptors = received(far)
    assert got == config
    assert got.mappings is not many
    os.write(descriptors[1], b"through")
    assert os.read(pipe[0], 100) == b"through"
    for descriptor in (*pipe, *descriptors):
        os.close(descriptor)


def test_update_brings_mappings_only_when_they_are_new() -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    config = replace(WorkerConfig.from_json(GOOD), mappings=TABLE)
    with near, far:
        wire.send_update(near, config, known=TABLE)
        wire.send_update(near, config, known=EamTable())
        assert received(far, known=TABLE) == (config, [])
        assert received(far, known=None) == (config, [])


def test_mappings_that_did_not_come_are_missed() -> None:
    fields = {"config": replace(WorkerConfig.from_json(GOOD), mappings=TABLE).to_json()}
    with pytest.raises(ConfigError, match="did not come"):
        wire.read_config({**fields, "table": True}, [])
    with pytest.raises(ConfigError, match="did not come"):
        wire.read_config({**fields, "table": False}, [])


def test_file_that_is_no_table_is_refused() -> None:
    fields = {"config": replace(WorkerConfig.from_json(GOOD), mappings=TABLE).to_json(), "table": True}
    file = os.memfd_create("mappings")
    os.write(file, b"no")
    with pytest.raises(ConfigError, match="not a table"):
        wire.read_config(fields, [file])
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.close(file)


def test_nobody_can_change_mappings_once_they_are_handed_over() -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near, far:
        wire.send_update(near, replace(WorkerConfig.from_json(GOOD), mappings=TABLE))
        _, (file,), _ = wire.receive(far)
    with pytest.raises(PermissionError):
        os.write(file, b"x")
    os.close(file)
