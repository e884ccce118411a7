# SPDX-License-Identifier: GPL-2.0-or-later
"""What a connection's settings choose for its translator, where nobody has chosen by hand."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

from clatnm.model import AddressKind, Settings, Uplink


def chosen(uplink: Uplink, settings: Settings) -> Uplink:
    """`uplink` with all that is chosen for it. Its own choices go before those in `settings`."""
    own, set_for = uplink.choices, settings.of(uplink.uuid)
    address = set_for.clat_v6 if isinstance(set_for.clat_v6, IPv6Address) else None
    kind = set_for.clat_v6 if isinstance(set_for.clat_v6, AddressKind) else AddressKind.AUTO
    is_open = own.clat_v6 is None and own.address_kind is AddressKind.AUTO
    choices = replace(
        own,
        clat_v4=own.clat_v4 or set_for.clat_v4,
        clat_v6=address if is_open else own.clat_v6,
        address_kind=kind if is_open else own.address_kind,
        device=own.device or set_for.device,
        metric=set_for.metric if own.metric is None else own.metric,
        mtu_bytes=set_for.mtu_bytes if own.mtu_bytes is None else own.mtu_bytes,
        default_route=own.default_route and set_for.default_route,
    )
    return uplink if choices == own else replace(uplink, choices=choices)
