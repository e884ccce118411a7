# SPDX-License-Identifier: GPL-2.0-or-later
"""The translator that clatd uses: TAYGA does the translation, our own process everything around it.

TAYGA expects a host that forwards to it and from it. It gets a network of its own instead, in which it is alone with
its device (`worker.enclosure`); our process carries packets there and back (`worker.relay`). So the host is set up as
by every other backend, and what TAYGA was started with is gone with it, its configuration included: that is a file
without a name.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any, Final

from clatnm.errors import TranslatorError
from clatnm.kernel import tun
from clatnm.kernel.host import Host
from clatnm.memo import Memo, Past
from clatnm.model import Plan
from clatnm.translators import bringup, device
from clatnm.translators.base import Ended
from clatnm.translators.enclosed import Enclosed
from clatnm.translators.estate import Estate
from clatnm.translators.orphan import Orphan
from clatnm.translators.selfcheck import Inwards, Outwards, Probe
from clatnm.waiting import wait_for
from clatnm.worker.enclosure import DEVICE
from clatnm.worker.vnet import BLANK
from clatnm.worker.wire import DUMMY_ICMP_SOURCE, PROGRAM_V6

log = logging.getLogger(__name__)

_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_DIRECTIVES: Final = ("wkpf-strict", "udp-cksum-mode", "workers")  # that only newer versions know
_VERSION: Final = re.compile(rb"starting tayga (\d[\w.+~-]*)", re.IGNORECASE)

# TAYGA opens its device a few milliseconds after it was started; what comes before that is lost.
_ANSWER_S: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 1.0)
_LATE_S: Final = 1.0
_ANSWER_BYTES: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """An installed TAYGA: its version, and the directives of `_DIRECTIVES` that it knows."""

    path: str
    version: str
    directives: frozenset[str]


def find() -> str:
    """The path of TAYGA; empty when it is not installed."""
    return shutil.which("tayga", path=_PATH) or ""


def examine(path: str) -> Program:
    """What the program at `path` knows. TranslatorError when there is none, or it cannot be read.

    0.9.2 does not tell its version but in its log, and the versions since were patched by distributions; so the words
    in the program itself are asked.
    """
    if not path:
        raise TranslatorError("tayga is not installed")
    try:
        binary = Path(path).read_bytes()
    except OSError as error:
        raise TranslatorError(f"{path}: {error.strerror}") from error
    version = _VERSION.search(binary)
    known = frozenset(word for word in _DIRECTIVES if word.encode() + b"\0" in binary)
    return Program(path=path, version=version[1].decode() if version else "of unknown version", directives=known)


def configuration(plan: Plan, program: Program) -> str:
    """The text of tayga.conf(5) for a plan."""
    from clatnm.templates import render  # noqa: PLC0415 - few need Jinja2, which takes long to import

    return render(
        "tayga.conf.j2",
        version=program.version,
        directives=program.directives,
        device=DEVICE,
        prefix=plan.prefix,
        pairs=_pairs(plan),
        own_v4=_own_v4(plan),
        own_v6=PROGRAM_V6,
    )


def _pairs(plan: Plan) -> list[tuple[IPv4Address, IPv6Address]]:
    """What stands for what. TranslatorError for prefixes: TAYGA 0.9.2 knows hosts only."""
    if plan.relay is None:
        return [(plan.clat_v4, plan.clat_v6)]
    for v4, v6 in plan.relay.mappings:
        if v4.prefixlen < 32 or v6.prefixlen < 128:
            raise TranslatorError(f"tayga maps hosts only, not {v4} = {v6}", hint="choose another backend")
    return [(v4.network_address, v6.network_address) for v4, v6 in plan.relay.mappings]


def _own_v4(plan: Plan) -> IPv4Address:
    if plan.relay is not None:  # nobody has it: its traffic has mapped ones
        return plan.clat_v4
    return DUMMY_ICMP_SOURCE if plan.clat_v4 != DUMMY_ICMP_SOURCE else DUMMY_ICMP_SOURCE + 1


class TaygaBackend:
    """A `translators.Backend`."""

    # As with `tun`: the kernel would answer what comes for the host's own address.
    shares = False
    marks = False

    def __init__(self, host: Host) -> None:
        self._host = host

    def probe(self) -> str:
        if not os.access(tun.DEVICE, os.R_OK | os.W_OK):
            return f"{tun.DEVICE} cannot be opened"
        return "" if find() else "tayga is not installed"

    async def start(self, plan: Plan) -> TaygaTranslator:
        tayga = await start(plan, examine(find()))
        try:
            translator = await bringup.start(self._host, plan, None, relay=tayga.packets)
        except BaseException:
            await tayga.stop()
            raise
        finally:
            tayga.packets.close()
        return TaygaTranslator(tayga, translator, plan)

    async def adopt(self, memo: Memo, orphan: Orphan, estate: Estate) -> TaygaTranslator:
        raise TranslatorError("tayga ends with the daemon that has started it")


class TaygaTranslator:
    """A `translators.Translator`: TAYGA, and the device with our process. Neither outlives the other."""

    def __init__(self, tayga: Enclosed, translator: device.DeviceTranslator, plan: Plan) -> None:
        self._tayga = tayga
        self._device = translator
        self._plan = plan
        self._end = asyncio.ensure_future(self._watch())

    @property
    def pids(self) -> tuple[int, ...]:
        return (*self._device.pids, self._tayga.pid)

    async def update(self, plan: Plan) -> None:
        told = (plan.prefix, plan.clat_v6, plan.relay)
        if told != (self._plan.prefix, self._plan.clat_v6, self._plan.relay):
            raise TranslatorError("tayga learns of new addresses only at its start")
        await self._device.update(plan)
        self._plan = plan

    async def stop(self) -> None:
        await self._device.stop()
        await self._end

    async def counters(self) -> Mapping[str, Any]:
        return await self._device.counters()

    async def ended(self) -> Ended:
        return await asyncio.shield(self._end)

    async def entrust(self, estate: Estate, past: Past) -> bool:
        return await self._device.entrust(estate, past)

    async def _watch(self) -> Ended:
        ours, its = asyncio.ensure_future(self._device.ended()), asyncio.ensure_future(self._tayga.ended())
        await asyncio.wait({ours, its}, return_when=asyncio.FIRST_COMPLETED)
        ended = ours.result() if ours.done() else Ended(error=its.result())
        await self._device.stop()
        await self._tayga.stop()
        await asyncio.wait({ours, its})
        return ended


async def start(plan: Plan, program: Program) -> Enclosed:
    """TAYGA in a network of its own, seen to translate as `plan` says. TranslatorError: nothing is left."""
    with contextlib.ExitStack() as undo:
        config = os.memfd_create("tayga.conf")
        undo.callback(os.close, config)
        os.write(config, configuration(plan, program).encode())
        command = (program.path, "-d", "-c", f"/proc/self/fd/{config}")
        tayga = await Enclosed.start(command, (config,), name="tayga")
    (clat_v4, clat_v6), *_ = _pairs(plan)
    probed = replace(plan, clat_v4=clat_v4, clat_v6=clat_v6)
    try:
        for probe in (Outwards(probed), Inwards(probed)):
            await _check(tayga, probe, program)
    except BaseException:
        tayga.packets.close()
        await tayga.stop()
        raise
    log.debug("TAYGA %s is process %d", program.version, tayga.pid)
    return tayga


async def _check(tayga: Enclosed, probe: Probe, program: Program) -> None:
    """Have it translate a packet. No answer is left to come afterwards. TranslatorError."""
    for sequence, patience_s in enumerate(_ANSWER_S):
        with contextlib.suppress(OSError):  # no queue yet: as good as lost
            tayga.packets.send(BLANK + probe.packet(sequence))
        answer = await _answer(tayga, patience_s)
        while answer is not None:
            fault = probe.fault(answer)
            if fault:
                raise TranslatorError(f"TAYGA {program.version} translates wrongly: {fault}")
            # It answers in order, so after the last question's answer there is none to come.
            if probe.sequence(answer) == sequence:
                return
            answer = await _answer(tayga, _LATE_S)
        if not tayga.running:
            raise TranslatorError(await tayga.ended())
    raise TranslatorError(f"TAYGA {program.version} translates nothing")


async def _answer(tayga: Enclosed, patience_s: float) -> bytes | None:
    """What comes out of TAYGA next; None when nothing does in time."""
    try:
        data = await wait_for(asyncio.get_running_loop().sock_recv(tayga.packets, _ANSWER_BYTES), patience_s)
    except asyncio.TimeoutError:
        return None
    except OSError as error:
        raise TranslatorError(f"the network of tayga: {os.strerror(error.errno or 0)}") from error
    return data[len(BLANK) :]
