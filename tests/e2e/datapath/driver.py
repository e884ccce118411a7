# SPDX-License-Identifier: GPL-2.0-or-later
"""A translator that obeys: run in the host, told what to do line by line.

    python driver.py BACKEND UPLINK     standard input: {"counters": true} or {"update": {"gateway": "fe80::2", ...}}

It answers each line with one on standard output, the first after the translator has started. No input: the end.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Any

from clatnm.kernel.host import Host
from clatnm.model import Plan
from clatnm.translators import available
from tests.e2e.datapath.rig import CLAT, GATEWAY, PREFIX, Rig
from tests.lab.namespace import PYTHON
from tests.lab.system import REPOSITORY

CLAT_V4 = IPv4Address("192.0.0.4")
_ANSWER_S = 10.0


class Driven:
    """The test's end: a translator on the rig whose plan the test changes and whose counters it reads."""

    def __init__(self, rig: Rig, backend: str, uplink: str = "wan0") -> None:
        command = (PYTHON, "-m", __name__, backend, uplink)
        self._process = subprocess.Popen(
            [*rig.host.enter(), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
            text=True,
        )
        rig.session.adopt(self._process)
        self.device = f"clat-{uplink}"
        self.worker = int(self._answer()["worker"])

    def __enter__(self) -> Driven:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def update(self, **changes: object) -> None:
        """Other values for fields of the plan; in force when this returns."""
        self._ask(
            {"update": {name: value if isinstance(value, int) else str(value) for name, value in changes.items()}}
        )
        self.counters()  # the process takes its orders one after the other

    def counters(self) -> Mapping[str, Any]:
        """As `status` has them."""
        told: Mapping[str, Any] = self._ask({"counters": True})
        return told

    def drops(self, direction: str) -> int:
        """How many packets of `ipv4_to_ipv6` or `ipv6_to_ipv4` were refused or lost so far."""
        return sum(self.counters()[direction]["drops"].values())

    def _ask(self, question: Mapping[str, object]) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], _ANSWER_S)
        line = self._process.stdout.readline() if ready else ""
        assert line, f"the driver says nothing; status {self._process.poll()}"
        return json.loads(line)


async def main(backend: str, uplink: str) -> None:
    """The host's end."""
    host = Host()
    link = (await host.do(lambda kernel: kernel.links()))[uplink]
    plan = Plan(
        interface=uplink,
        ifindex=link.index,
        uuid="",
        device=f"clat-{uplink}",
        backend=backend,
        clat_v4=CLAT_V4,
        clat_v6=CLAT,
        prefix=PREFIX,
        gateway=GATEWAY,
        link_address=link.link_address,
        ipv6_mtu_bytes=link.ipv6_mtu_bytes,
        ipv4_mtu_bytes=link.ipv6_mtu_bytes - 28,
        metric=1074,
    )
    translator = await available(host)[backend].start(plan)
    (worker,) = children_of_this_process()
    _say({"worker": worker})
    lines = asyncio.get_running_loop()
    while line := await lines.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        if "update" in order:
            plan = _changed(plan, order["update"])
            await translator.update(plan)
            _say({})
        else:
            _say(await translator.counters())
    await translator.stop()
    await host.close()


def children_of_this_process() -> list[int]:
    with open(f"/proc/self/task/{os.getpid()}/children") as listed:
        return [int(pid) for pid in listed.read().split()]


def _changed(plan: Plan, fields: Mapping[str, Any]) -> Plan:
    kinds = {"gateway": IPv6Address, "clat_v6": IPv6Address, "prefix": IPv6Network}
    return replace(plan, **{name: kinds.get(name, int)(value) for name, value in fields.items()})


def _say(answer: Mapping[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
