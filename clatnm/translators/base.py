# SPDX-License-Identifier: GPL-2.0-or-later
"""What every translator backend offers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from clatnm.kernel.host import Host
from clatnm.memo import Memo, Past
from clatnm.model import Plan
from clatnm.translators.estate import Estate
from clatnm.translators.orphan import Orphan


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a translator came to its end: `error` is for the user; `collision` names an address somebody else has.

    `unfit`: it had only just begun when it showed that its backend cannot do this here. Another one may.
    `gave_way`: somebody else began to translate on the uplink.
    """

    error: str
    collision: str = ""
    unfit: bool = False
    gave_way: bool = False


class Translator(Protocol):
    """A running translator. Whatever ends it, nothing of it stays on the machine."""

    @property
    def pids(self) -> tuple[int, ...]:
        """Its processes, that with the device first; the same ones until its end."""

    async def update(self, plan: Plan) -> None:
        """Apply a plan for which `same_translator` holds, without losing packets. HostError, TranslatorError."""

    async def stop(self) -> None:
        """End it; afterwards device, address and route are gone."""

    async def counters(self) -> Mapping[str, Any]:
        """Packets and bytes so far, by direction and protocol, and drops by reason."""

    async def ended(self) -> Ended:
        """Wait until it ends by itself or by `stop`."""

    async def entrust(self, estate: Estate, past: Past) -> bool:
        """Have it go on for a while should we end, and a successor find it, until the next `update`.

        `past`: its life so far. False: it cannot, or has another plan by now. HostError, TranslatorError.
        """


class Backend(Protocol):
    """One way of moving packets.

    `shares`: it can do so from the host's own address beside its own traffic. `marks`: something of it stays when
    everybody is killed, to be found by our name.
    """

    shares: bool
    marks: bool

    def __init__(self, host: Host) -> None: ...

    def probe(self) -> str:
        """Empty when this backend can work on this machine, else why not."""

    async def start(self, plan: Plan) -> Translator:
        """Bring up a translator; its route is there when this returns. HostError, TranslatorError: nothing is left."""

    async def adopt(self, memo: Memo, orphan: Orphan, estate: Estate) -> Translator:
        """Take over one of this backend's that an earlier daemon has left.

        HostError, TranslatorError, GaveWayError: it cannot be, and whoever asked has to end it.
        """
