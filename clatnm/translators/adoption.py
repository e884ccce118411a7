# SPDX-License-Identifier: GPL-2.0-or-later
"""Translators that an earlier daemon has left: taken over as they are, or ended."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from clatnm.errors import ClatnmError, ParseError, TranslatorError
from clatnm.log import Message, about
from clatnm.memo import Memo, Past
from clatnm.translators.base import Backend, Translator
from clatnm.translators.estate import Estate
from clatnm.translators.orphan import BusyError, Orphan, knock
from clatnm.worker import wire

log = logging.getLogger(__name__)


async def adopt_all(estate: Estate, backends: Mapping[str, Backend]) -> list[tuple[Past, Translator]]:
    """Take over whatever can be, and end what cannot. Those of a daemon that lives are left alone."""
    found: list[tuple[Past, Translator]] = []
    for index in estate.indexes():
        orphan = await _claim(estate, index)
        if orphan is None:
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
        else:
            log.debug("%s: process %d of an earlier daemon goes on", plan.device, orphan.process.pid)
    return found


async def end_orphans(estate: Estate) -> list[str]:
    """End what no daemon has; what it was, as `the translator clat-up0`."""
    ended = []
    for index in estate.indexes():
        orphan = await _claim(estate, index)
        if orphan is not None:
            try:
                name = f"the translator {estate.read(index).past.plan.device}"
            except ParseError:
                name = f"a translator, process {orphan.process.pid}"
            await _end(estate, index, orphan)
            ended.append(name)
    return ended


async def _claim(estate: Estate, index: int) -> Orphan | None:
    """Its process, now ours to take over or to end; None when it is gone, or somebody else's."""
    try:
        orphan = await knock(estate.door(index))
    except BusyError:
        log.debug("translator %d has a daemon", index)
        return None
    except TranslatorError as error:
        log.warning("%s", error, extra=about(Message.TRANSLATOR_STUCK))
        return None
    if orphan is None:
        estate.remove(index)
    return orphan


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
