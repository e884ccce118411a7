# SPDX-License-Identifier: GPL-2.0-or-later
"""The far ends of NetworkManager's VPNs.

NetworkManager keeps a VPN's far end out of the VPN by a route to it along the connection's own default route. Where the
connection has no IPv4 of its own there is none, and the VPN's packets would go into the VPN itself. No property has the
address; but the VPN's plugin says it in a signal, once, when the VPN comes up.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address
from typing import Any

from clatnm.dbus import names
from clatnm.dbus.bus import Bus, Signal
from clatnm.errors import BusError

log = logging.getLogger(__name__)

PLUGIN = "org.freedesktop.NetworkManager.VPN.Plugin"


class VpnGateways:
    """`known`: by the VPN's device. The devices of VPNs that have ended may still be there."""

    def __init__(self) -> None:
        self.known: dict[str, IPv4Address] = {}

    async def attach(self, bus: Bus) -> None:
        """Ask for what the plugins say. BusError."""
        await bus.add_match(f"type='signal',interface='{PLUGIN}',member='Config'")

    async def take(self, bus: Bus, signal: Signal, changed: Callable[[], None]) -> None:
        """Believe a plugin's signal, if it is root's: anybody could want his own traffic kept out of a VPN."""
        told = far_end(signal.body[0]) if signal.body and isinstance(signal.body[0], Mapping) else None
        if told is None:
            return
        try:
            reply = await bus.call(
                destination=names.DBUS,
                path=names.DBUS_PATH,
                interface=names.DBUS,
                member="GetConnectionUnixUser",
                signature="s",
                body=[signal.sender],
            )
        except BusError as error:
            log.debug("nobody knows who says where a VPN ends: %s", error)
            return
        if reply[:1] == [0]:
            device, gateway = told
            self.known[device] = gateway
            changed()


def is_news(signal: Signal) -> bool:
    """A plugin may say where its VPN ends."""
    return signal.interface == PLUGIN and signal.member == "Config"


def far_end(config: Mapping[str, Any]) -> tuple[str, IPv4Address] | None:
    """Device and far end of a VPN; None when it has no device, or its far end has an IPv6 address."""
    device, gateway = config.get("tundev"), config.get("gateway")
    if not isinstance(device, str) or not device or type(gateway) is not int or not 0 < gateway < 1 << 32:
        return None
    # The octets in their order, read as a number of this machine.
    return device, IPv4Address(gateway.to_bytes(4, sys.byteorder))
