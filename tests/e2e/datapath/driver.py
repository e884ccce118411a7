# SPDX-License-Identifier: GPL-2.0-or-later
"""A translator that obeys: run in the host, told what to do line by line.

    python driver.py BACKEND UPLINK {"offered": false, ...}

Standard input: {"counters": true}, {"users": true}, {"old_kernel": true} or {"update": {"gateway": "fe80::2", ...}}.
With {"hold": "prepare"} or {"hold": "attach"} among the fields, hooks wait before they do that, for {"hook": true}.

It answers each line with one on standard output, the first after the translator has started. No input: the end.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError

from clatnm.kernel.host import Host
from clatnm.kernel.netlink import Netlink
from clatnm.kernel.sockets import users
from clatnm.model import Link, Plan
from clatnm.translators.backends import available
from clatnm.translators.hooks import Hooks
from clatnm.translators.takeover import Takeover
from tests.e2e.datapath.rig import CLAT, GATEWAY, PREFIX, Rig
from tests.lab.namespace import PYTHON
from tests.lab.system import REPOSITORY

CLAT_V4 = IPv4Address("192.0.0.4")
_ANSWER_S = 10.0


class Driven:
    """The test's end: a translator on the rig whose plan the test changes and whose counters it reads.

    `changes`: what is different in its first plan; and `hold`, see above.
    """

    def __init__(self, rig: Rig, backend: str, uplink: str = "wan0", **changes: object) -> None:
        command = (PYTHON, "-m", __name__, backend, uplink, json.dumps(_plain(changes)))
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
        self.end()

    def end(self) -> None:
        """Stop the translator, as one does."""
        if self._process.poll() is None:
            self._process.communicate()

    def update(self, **changes: object) -> None:
        """Other values for fields of the plan; in force when this returns."""
        self._ask({"update": _plain(changes)})
        self.counters()  # the process takes its orders one after the other

    def counters(self) -> Mapping[str, Any]:
        """As `status` has them."""
        told: Mapping[str, Any] = self._ask({"counters": True})
        return told

    def users(self) -> int:
        """How many sockets of the host use the CLAT's IPv4 address."""
        return int(self._ask({"users": True}))

    def hook(self) -> None:
        """Let hooks that are held take over; they have when this returns, or have failed to."""
        self._ask({"hook": True})

    def be_old_kernel(self) -> None:
        """From now on no device is renamed while it is up, as before Linux 6.3."""
        self._ask({"old_kernel": True})

    def kill(self) -> None:
        """SIGKILL, for the translator's supervisor alone."""
        self._process.kill()
        self._process.wait()

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


def _plain(fields: Mapping[str, object]) -> Mapping[str, int | str]:
    return {name: value if isinstance(value, int) else str(value) for name, value in fields.items()}


async def main(backend: str, uplink: str, changes: str) -> None:
    """The host's end."""
    host = Host()
    link = (await host.do(lambda kernel: kernel.links()))[uplink]
    fields = json.loads(changes)
    gate = _Gate(fields.pop("hold", ""))
    plan = _changed(_plan(backend, link), fields)
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
        elif "hook" in order:
            await gate.let_through()
            _say({})
        elif "users" in order:
            _say((await host.do(lambda _: users((CLAT_V4,))))[CLAT_V4])
        elif "old_kernel" in order:
            await host.do(_refuse_live_names)
            _say({})
        else:
            _say(await translator.counters())
    await translator.stop()
    await host.close()


class _Gate:
    """Where hooks are held: before they `prepare`, or before they `attach`."""

    def __init__(self, step: str) -> None:
        self._open = asyncio.Event()
        self._over = asyncio.Event()
        if step:
            setattr(Hooks, step, self._held(getattr(Hooks, step)))
            Takeover._attach = self._told(Takeover._attach)  # type: ignore[method-assign]

    async def let_through(self) -> None:
        self._open.set()
        await self._over.wait()

    def _held(self, work: Callable[..., Any]) -> Callable[..., Any]:
        async def held(*arguments: Any) -> None:
            await self._open.wait()
            await work(*arguments)

        return held

    def _told(self, work: Callable[..., Any]) -> Callable[..., Any]:
        async def told(*arguments: Any) -> None:
            await work(*arguments)
            self._over.set()

        return told


def _plan(backend: str, link: Link) -> Plan:
    return Plan(
        interface=link.name,
        ifindex=link.index,
        uuid="",
        device=f"clat-{link.name}",
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


def _refuse_live_names(kernel: Netlink) -> None:
    link = kernel.raw.link
    up = True

    def obeyed(verb: str, **arguments: Any) -> Any:
        nonlocal up
        if "ifname" in arguments and up:
            raise NetlinkError(errno.EBUSY)
        up = arguments.get("state", "up") == "up"
        return link(verb, **arguments)

    kernel.raw.link = obeyed


def children_of_this_process() -> list[int]:
    with open(f"/proc/self/task/{os.getpid()}/children") as listed:
        return [int(pid) for pid in listed.read().split()]


def _changed(plan: Plan, fields: Mapping[str, Any]) -> Plan:
    kinds: dict[str, Callable[[Any], Any]] = {
        "gateway": IPv6Address,
        "clat_v6": IPv6Address,
        "prefix": IPv6Network,
        "offered": bool,
        "shared": bool,
        "device": str,
    }
    return replace(plan, **{name: kinds.get(name, int)(value) for name, value in fields.items()})


def _say(answer: Mapping[str, Any] | int) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
