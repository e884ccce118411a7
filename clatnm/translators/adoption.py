# SPDX-License-Identifier: GPL-2.0-or-later
"""Translators that an earlier daemon has left: taken over as they are, or ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import NamedTuple

from clatnm.errors import ClatnmError, ParseError, TranslatorError
from clatnm.kernel import who
from clatnm.kernel.host import Host
from clatnm.log import Message, about
from clatnm.memo import Memo, Past
from clatnm.translators.base import Backend, Translator
from clatnm.translators.estate import Estate
from clatnm.translators.orphan import BusyError, Orphan, knock
from clatnm.translators.stuck import end_stuck
from clatnm.worker import wire

log = logging.getLogger(__name__)

_ENDS_S = 2.0  # one that cannot be adopted, after its daemon


async def adopt_all(
    host: Host, estate: Estate, backends: Mapping[str, Backend]
) -> list[tuple[Past, Translator | None]]:
    """Take over whatever can be, and end what cannot. Those of a daemon that lives are left alone.

    None in the place of a translator: it is gone, and what was to be run in the end has not been run.
    """
    found: list[tuple[Past, Translator | None]] = []
    for index, past, orphan, _ in await _claim_all(host, estate):
        if orphan is None:
            if past is not None:
                found.append((past, None))
            continue
        try:
            memo = _known(estate.read(index), orphan, index, backends)
            plan = memo.past.plan
            found.append((memo.past, await backends[plan.backend].adopt(memo, orphan, estate)))
        except Exception as error:  # a bug included: better none than one that nobody has
            if not isinstance(error, ClatnmError):
                log.exception("translator %d", index)
            log.info("an earlier translator is ended: %s", error, extra=about(Message.LEFTOVER_REMOVED))
            await _end(estate, index, orphan)
            if past is not None:
                found.append((past, None))
        else:
            log.debug("%s: process %d of an earlier daemon goes on", plan.device, orphan.process.pid)
    return found


async def end_orphans(host: Host, estate: Estate) -> list[str]:
    """End what no daemon has; what it was, as `the translator clat-up0`."""
    ended = []
    for index, past, orphan, hung in await _claim_all(host, estate):
        if orphan is not None:
            ended.append(f"a translator, process {orphan.process.pid}" if past is None else _words(past))
            await _end(estate, index, orphan)
        elif hung:
            ended.append(f"the translator {index}" if past is None else _words(past))
    return ended


def _words(past: Past) -> str:
    return f"the translator {past.plan.device}"


class _Claimed(NamedTuple):
    device: int
    """Its ifindex."""
    past: Past | None
    """None: nothing is known."""
    orphan: Orphan | None
    """None: it is gone."""
    hung: bool = False
    """It has just been ended, since it did not answer."""


async def _claim_all(host: Host, estate: Estate) -> list[_Claimed]:
    """All that is nobody else's. At the same time: who hangs delays those who do not no more than once."""
    claims = await asyncio.gather(*(_claim(host, estate, index) for index in estate.indexes()))
    return [claim for claim in claims if claim is not None]


async def _claim(host: Host, estate: Estate, index: int) -> _Claimed | None:
    """Its process, now ours to take over or to end; None when it is somebody else's, or cannot be had."""
    memo: Memo | None = None
    with contextlib.suppress(ParseError):
        memo = estate.read(index)
    past = None if memo is None else memo.past
    try:
        orphan = await knock(estate.door(index))
    except BusyError:
        log.debug("translator %d has a daemon", index)
        return None
    except TranslatorError as error:
        log.debug("%s", error)
        return await _end_stuck(host, estate, index, past)
    if orphan is None:
        if memo is not None and who.lives(memo.daemon):  # it ended this moment, and that daemon will see
            return None
        process = "" if memo is None else memo.process
        if await host.do(lambda _: who.lives(process, after_s=_ENDS_S)):  # it should have ended with its daemon
            return await _end_stuck(host, estate, index, past)
        estate.remove(index)
    return _Claimed(index, past, orphan)


async def _end_stuck(host: Host, estate: Estate, index: int, past: Past | None) -> _Claimed | None:
    try:
        ended, words = await host.do(lambda kernel: end_stuck(kernel, estate, index))
    except BusyError:
        log.debug("translator %d has a daemon, and hangs", index)
        return None
    where = {} if past is None else {"uplink": past.plan.interface, "device": past.plan.device}
    log.warning("%s", words, extra=about(Message.TRANSLATOR_STUCK, **where))
    return _Claimed(index, past, None, hung=True) if ended else None


def _known(memo: Memo, orphan: Orphan, index: int, backends: Mapping[str, Backend]) -> Memo:
    """The memo, if it is one of this translator that we understand. TranslatorError."""
    if orphan.version != wire.VERSION or memo.version != wire.VERSION:
        raise TranslatorError(f"it speaks version {orphan.version}, not {wire.VERSION}")
    if memo.index != index:
        raise TranslatorError("the memo is about another one")
    if memo.past.plan.backend not in backends:
        raise TranslatorError(f"there is no backend {memo.past.plan.backend}")
    return memo


async def _end(estate: Estate, index: int, orphan: Orphan) -> None:
    await orphan.end()
    estate.remove(index)
