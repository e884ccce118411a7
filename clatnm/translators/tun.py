# SPDX-License-Identifier: GPL-2.0-or-later
"""The user-space path: a TUN device for IPv4, a packet socket on the uplink for IPv6, Python in between."""

from __future__ import annotations

import os

from clatnm.kernel import tun
from clatnm.kernel.host import Host
from clatnm.memo import Memo
from clatnm.model import Plan
from clatnm.translators import bringup, device
from clatnm.translators.estate import Estate
from clatnm.translators.orphan import Orphan


class TunBackend:
    """A `translators.Backend`."""

    # The kernel sees every packet to the host's address as well, and would answer those it knows nothing of.
    shares = False
    marks = False

    def __init__(self, host: Host) -> None:
        self._host = host

    def probe(self) -> str:
        return "" if os.access(tun.DEVICE, os.R_OK | os.W_OK) else f"{tun.DEVICE} cannot be opened"

    async def start(self, plan: Plan) -> device.DeviceTranslator:
        return await bringup.start(self._host, plan, None)

    async def adopt(self, memo: Memo, orphan: Orphan, estate: Estate) -> device.DeviceTranslator:
        return await bringup.adopt(self._host, memo, orphan, estate, None)
