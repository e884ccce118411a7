# SPDX-License-Identifier: GPL-2.0-or-later
"""How DHCPv4 is answered, overheard beside a real NetworkManager and real servers, in each network's way."""

from __future__ import annotations

import json
from typing import Any

from tests.lab import Host, Lab, eventually
from tests.lab import dhcp_probe as dhcp_probe_module
from tests.lab.host import NM_DISCONNECTED
from tests.lab.namespace import PYTHON
from tests.lab.process import Service

# Follows one link as the daemon does, and prints each state.
LISTENER = """
import asyncio, json, sys, time
from clatnm.discovery.dhcp4 import Dhcp4Watch
from clatnm.kernel.host import Host
from clatnm.kernel.changes import Monitor

def boottime():
    return time.clock_gettime(time.CLOCK_BOOTTIME)

async def main():
    wake, told = asyncio.Event(), []

    def tell():
        state = watch.state("up0")
        if told != [state]:
            told[:] = [state]
            left_s = state.until - boottime() if state and state.until else None
            print(json.dumps({"state": state and state.state, "left_s": left_s, "at": boottime()}), flush=True)
            wake.set()

    watch = Dhcp4Watch(clock=boottime, changed=tell)
    monitor, host = Monitor(wake.set), Host()
    while True:
        wake.clear()
        links = await host.do(lambda kernel: kernel.links())
        watch.follow(links, {"up0"})
        tell()
        await wake.wait()

asyncio.run(main())
"""


class Listener:
    """A Dhcp4Watch on up0 of the lab's host."""

    def __init__(self, host: Host) -> None:
        self._service: Service = host.popen(PYTHON, "-c", LISTENER)
        eventually(self.told, message="it listens")

    def told(self) -> list[dict[str, Any]]:
        """Each state so far; the first is None. A question answered before anybody looked is left out."""
        told = [json.loads(line) for line in self._service.log().splitlines()]
        answered = {index for index, item in enumerate(told) if item["state"] in ("answered", "ipv6-only")}
        return [item for index, item in enumerate(told) if item["state"] != "asking" or index + 1 not in answered]

    def states(self) -> list[str | None]:
        return [item["state"] for item in self.told()]

    def wait(self, *states: str | None, timeout_s: float = 10.0) -> list[dict[str, Any]]:
        """Wait until exactly these states were told, one after the other."""

        def check() -> bool:
            assert self.states() == list(states)
            return True

        eventually(check, timeout_s=timeout_s, message=f"DHCPv4 {states[-1]}")
        return self.told()


def probe(host: Host) -> dict[str, Any]:
    """What a client is offered that can do without IPv4, unlike the system's own."""
    answer: dict[str, Any] = json.loads(host.run("python3", dhcp_probe_module.__file__, "up0").stdout)
    return answer


def test_networkmanager_asks_in_vain_where_there_is_no_server(quick_lab: Lab) -> None:
    host = quick_lab.host
    listener = Listener(host)
    host.add_profile("netA", "up0", ipv4_method="auto")
    host.up("netA")
    told = listener.wait(None, "asking", "silent", timeout_s=30)
    assert 9.9 < told[2]["at"] - told[1]["at"] < 15


def test_networkmanager_is_answered_in_a_dual_stack_network(quick_lab: Lab) -> None:
    host = quick_lab.host
    host.plug("up0", "b")
    listener = Listener(host)
    host.add_profile("netB", "up0", ipv4_method="auto")
    host.up("netB")
    listener.wait(None, "answered")
    eventually(lambda: {a.version for a in host.addresses("up0")} == {4, 6}, message="the lease is there")
    assert listener.states() == [None, "answered"]


def test_profile_without_ipv4_asks_nothing(quick_lab: Lab) -> None:
    host = quick_lab.host
    listener = Listener(host)
    host.add_profile("netA", "up0", ipv4_method="disabled")
    host.up("netA")
    eventually(host.has_ipv6, message="IPv6")
    assert listener.states() == [None]


def test_client_that_can_do_without_ipv4_is_refused(quick_lab: Lab) -> None:
    host = quick_lab.host
    quick_lab.a.dhcp4("108")
    listener = Listener(host)
    assert eventually(lambda: probe(host), message="an offer")["v6only_wait_s"] == 1800
    told = listener.wait(None, "ipv6-only")
    assert 1795 < told[-1]["left_s"] <= 1800


def test_client_that_needs_ipv4_is_answered_where_others_are_refused(quick_lab: Lab) -> None:
    host = quick_lab.host
    quick_lab.a.dhcp4("108")
    listener = Listener(host)
    host.add_profile("netA", "up0", ipv4_method="auto")
    host.up("netA")
    listener.wait(None, "answered")


def test_server_that_comes_late_ends_the_silence(quick_lab: Lab) -> None:
    host = quick_lab.host
    listener = Listener(host)
    host.add_profile("netA", "up0", ipv4_method="auto")
    host.up("netA")
    listener.wait(None, "asking", "silent", timeout_s=30)
    quick_lab.a.dhcp4("on")
    listener.wait(None, "asking", "silent", "answered", timeout_s=40)


def test_other_network_is_another_conversation(quick_lab: Lab) -> None:
    host = quick_lab.host
    host.plug("up0", "b")
    listener = Listener(host)
    host.add_profile("anywhere", "up0", ipv4_method="auto")
    host.up("anywhere")
    listener.wait(None, "answered")
    host.plug("up0", None)
    listener.wait(None, "answered", None)
    eventually(lambda: host.device_state("up0") < 100, timeout_s=20, message="NetworkManager has let go")
    host.plug("up0", "a")
    eventually(lambda: host.device_state("up0") == NM_DISCONNECTED, message="NetworkManager sees the carrier")
    host.up("anywhere")
    listener.wait(None, "answered", None, "asking", "silent", timeout_s=30)
