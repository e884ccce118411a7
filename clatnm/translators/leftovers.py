# SPDX-License-Identifier: GPL-2.0-or-later
"""What can outlive a killed translator, found by its mark and removed. Needs no memory of what was done."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from clatnm.errors import HostError, ParseError
from clatnm.kernel import clsact
from clatnm.kernel.netlink import Netlink
from clatnm.log import Message, about
from clatnm.translators.estate import Estate

if TYPE_CHECKING:  # what cleans up after a stop is to be quick
    from clatnm.kernel.host import Host

log = logging.getLogger(__name__)


def cleanup(kernel: Netlink) -> list[str]:
    """Remove it; what it was, as `the hook on up0`. A running translator's is left alone. HostError.

    Only hooks on clsact can be left, and the rule that keeps old connections in a device without a default route:
    device, address, routes and tcx hooks die with the process that held them.
    """
    hooks = [f"the hook on {name}" for name in clsact.clean(kernel)]
    return hooks + [f"the rule for {source}" for source in kernel.clean_pins()]


def forget_gone(kernel: Netlink, estate: Estate) -> None:
    """Remove what was written down about translators whose device is gone. HostError.

    What is to be run in the end stays, for the next daemon to do it.
    """
    there = {link.index for link in kernel.links().values()}
    for index in estate.indexes():
        if index not in there and not _has_a_last_wish(estate, index):
            estate.remove(index)


def _has_a_last_wish(estate: Estate, index: int) -> bool:
    try:
        return bool(estate.read(index).past.script_down)
    except ParseError:
        return False


async def clean_first(host: Host) -> None:
    """What a killed predecessor could not take away, before anything is started that it would be in the way of."""
    try:
        for what in await host.do(cleanup):
            log.info("removed %s of an earlier translator", what, extra=about(Message.LEFTOVER_REMOVED))
    except HostError as error:
        log.debug("%s", error)
