# SPDX-License-Identifier: GPL-2.0-or-later
"""Somebody else's program is on the uplink already, and lets none run after it: ours run first."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator

import pytest

from clatnm.bpf import Program, Table
from clatnm.kernel import bpf
from clatnm.kernel.bpf import Loaded
from clatnm.kernel.host import Host
from clatnm.translators.backends import available
from tests.e2e.datapath import traffic
from tests.e2e.datapath.driver import Driven
from tests.e2e.datapath.hooks import hooks
from tests.e2e.datapath.rig import CLAT, Place, Rig
from tests.lab.poll import eventually

NAME = "goes_no_further"
# r0 = TCX_PASS; exit: as NetworkManager's programs end with what is not theirs.
CODE = bytes.fromhex("b7000000000000009500000000000000")


@pytest.fixture(autouse=True)
def needs_tcx() -> None:
    fault = available(Host())["ebpf"].probe()
    if fault:
        pytest.skip(f"ebpf: {fault}")


@contextlib.contextmanager
def in_the_way(place: Place, device: str) -> Iterator[None]:
    """A program in either direction of a device that leaves nothing to those behind it."""
    table = Table(programs={NAME: Program(code=CODE, relocations=())}, maps={}, config_size=4)
    with contextlib.ExitStack() as undo:
        with place.inside():
            index = socket.if_nametoindex(device)
            loaded = undo.enter_context(contextlib.closing(Loaded(table, bytes(4), names=(NAME,))))
            for egress in (False, True):
                undo.callback(os.close, bpf.attach_tcx(loaded.programs[NAME], index, egress=egress))
        yield


def own_address(place: Place, device: str) -> str:
    (link,) = place.ip_json("-6", "addr", "show", "dev", device, "scope", "global")
    return str(link["addr_info"][0]["local"])


@pytest.mark.parametrize("shared", [False, True], ids=["address-of-its-own", "the-hosts-address"])
def test_program_that_ends_the_chain_is_behind_ours(rig: Rig, shared: bool) -> None:
    """With the host's address all depends on that; with one of its own, the process would hear what the hook misses."""
    address = own_address(rig.host, "wan0") if shared else CLAT
    with in_the_way(rig.host, "wan0"):
        before = hooks(rig.host, "wan0")
        with Driven(rig, "ebpf", clat_v6=address, shared=shared):
            eventually(lambda: len(hooks(rig.host, "wan0")) > len(before), message="ours is there")
            assert hooks(rig.host, "wan0")[1:] == before
            traffic.ping(rig.host)
            for size in (100, 4000):  # and in fragments, which the hook leads into the TUN
                traffic.exchange(rig, size)
        assert hooks(rig.host, "wan0") == before
