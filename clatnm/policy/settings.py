# SPDX-License-Identifier: GPL-2.0-or-later
"""Which settings hold for a connection: the administrator's file about it, then its own, then those for all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from clatnm.model import Settings, Uplink


def with_own(settings: Settings, uplinks: Iterable[Uplink]) -> Settings:
    """`settings`, where `of(uuid)` also knows what connections say of themselves.

    The mode is none of that: `policy.modes` has several places for it, and shows them all.
    """
    connections = dict(settings.connections)
    for uplink in uplinks:
        if uplink.settings is not None:
            file = settings.connections.get(uplink.uuid)
            written = frozenset() if file is None else file.written
            own = uplink.settings.written - written
            given: dict[str, Any] = {field: getattr(uplink.settings, field) for field in own}
            connections[uplink.uuid] = replace(file or settings, **given, written=written | own)
    return settings if connections == settings.connections else replace(settings, connections=connections)
