# SPDX-License-Identifier: GPL-2.0-or-later
"""What `translators.hooks.config` packs is struct config of clatnm/bpf/config.h, field for field."""

from __future__ import annotations

import struct
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from clatnm import bpf
from clatnm.model import Plan, Relay
from clatnm.proto.eam import EamTable
from clatnm.proto.nat64 import WELL_KNOWN
from clatnm.translators.hooks import config
from tests.bpf.programs import config_layout, missing, table

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

PLAN = Plan(
    interface="wan0",
    ifindex=0x01020304,
    uuid="",
    device="clat-wan0",
    backend="ebpf",
    clat_v4=IPv4Address("192.0.0.5"),
    clat_v6=IPv6Address("2001:db8:1:2:3:4:5:6"),
    prefix=IPv6Network("2001:db8:64::/48"),
    gateway=IPv6Address("fe80::abcd"),
    link_address=None,
    ipv6_mtu_bytes=1500,
    ipv4_mtu_bytes=1472,
    metric=0,
)
DEVICE = 0x05060708
PACKED = {
    "clat_v4": PLAN.clat_v4.packed,
    "clat_v6": PLAN.clat_v6.packed,
    "prefix": PLAN.prefix.network_address.packed,
    "prefix_length": 48,
    "gateway": IPv6Address("fe80::abcd").packed,
    "has_gateway": 1,
    "device": DEVICE,
    "uplink": PLAN.ifindex,
    "ipv4_mtu": 1500,  # what comes from the network may be as large as its MTU, whatever is to be sent
    "ipv6_mtu": 1500,
    "global_only": 0,
    "shared": 0,
    "relay": 0,
    "prefixes4": 0,
    "prefixes6": 0,
}


def fields(plan: Plan) -> dict[str, bytes | int]:
    """What the C sees in the packed bytes."""
    packed = config(plan, DEVICE)
    seen: dict[str, bytes | int] = {}
    for name, (offset, size) in config_layout()[1].items():
        data = packed[offset : offset + size]
        address = isinstance(PACKED[name], bytes)
        seen[name] = data if address else struct.unpack("=I", data)[0]
    return seen


def test_size_is_that_of_the_struct_and_of_the_table() -> None:
    size, layout = config_layout()
    assert len(config(PLAN, DEVICE)) == size == table().config_size
    assert sum(length for _, length in layout.values()) == size  # no padding


def test_every_field_is_where_the_programs_look() -> None:
    assert fields(PLAN) == PACKED


@pytest.mark.parametrize(
    ("plan", "changed"),
    [
        pytest.param(replace(PLAN, gateway=None), {"gateway": bytes(16), "has_gateway": 0}, id="on-link"),
        pytest.param(
            replace(PLAN, prefix=WELL_KNOWN),
            {"prefix": WELL_KNOWN.network_address.packed, "prefix_length": 96, "global_only": 1},
            id="rfc6052-3.1-well-known",
        ),
        pytest.param(replace(PLAN, shared=True), {"shared": 1}, id="shared"),
        pytest.param(replace(PLAN, relay=Relay(mappings=EamTable())), {"relay": 1}, id="rfc7756-relay"),
        pytest.param(
            replace(
                PLAN, relay=Relay(mappings=EamTable([(IPv4Network("192.0.2.0/24"), IPv6Network("2001:db8::/120"))]))
            ),
            {"relay": 1, "prefixes4": 1, "prefixes6": 1},
            id="rfc7757-prefixes",
        ),
        pytest.param(
            replace(PLAN, relay=Relay(mappings=EamTable([(IPv4Network("192.0.2.1"), IPv6Network("2001:db8::/64"))]))),
            {"relay": 1, "prefixes6": 1},
            id="rfc7757-host-with-a-prefix",
        ),
        pytest.param(replace(PLAN, ipv6_mtu_bytes=70000), {"ipv6_mtu": 70000, "ipv4_mtu": 0xFFFF}, id="rfc791-largest"),
        pytest.param(replace(PLAN, ipv6_mtu_bytes=1280), {"ipv6_mtu": 1280, "ipv4_mtu": 1280}, id="small-mtu"),
    ],
)
def test_field_follows_the_plan(plan: Plan, changed: dict[str, bytes | int]) -> None:
    assert fields(plan) == {**PACKED, **changed}


def test_what_is_installed_was_built_from_this_source() -> None:
    installed = bpf.table()
    assert installed is not None, "run: python -m clatnm.bpf.build"
    built = table(flows=True)
    assert installed.maps == built.maps
    assert installed.config_size == built.config_size
    assert {name: built.programs[name] for name in installed.programs} == installed.programs
    assert built.programs.keys() - installed.programs.keys() == {
        "device_egress_ethernet",
        "device_ingress_ethernet",
    }
