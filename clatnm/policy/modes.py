# SPDX-License-Identifier: GPL-2.0-or-later
"""Which mode holds for a connection: the first of several places that says one."""

from __future__ import annotations

from clatnm.model import Mode, ToldMode, Uplink, World

GLOBAL_FILE = "/etc/clatnm/clatnm.conf"


def own_file(uuid: str) -> str:
    """The administrator's file about one connection, which goes before what is stored with the connection."""
    return f"/etc/clatnm/connections.d/{uuid}.conf"


def told_modes(uplink: Uplink, world: World) -> tuple[ToldMode, ...]:
    """Everything that is said about the mode of `uplink`, in the order of belief; the last one always counts."""
    settings = world.settings
    own = settings.connections.get(uplink.uuid)
    told = list(uplink.told_modes)
    if own is not None and "mode" in own.written:
        told.insert(0, ToldMode(source=own_file(uplink.uuid), text=str(own.mode), mode=own.mode))
    default = GLOBAL_FILE if "mode" in settings.written else "default"
    return (*told, ToldMode(source=default, text=str(settings.mode), mode=settings.mode))


def chosen_itself(uplink: Uplink, world: World) -> bool:
    """Somebody wants CLAT on this very connection, not only wherever it is needed."""
    *said, _ = told_modes(uplink, world)
    counting = (told.mode for told in said if told.mode is not None)
    return next(counting, Mode.NO) is not Mode.NO


def mode_of(uplink: Uplink, world: World) -> Mode:
    """The administrator's word about this connection, else the connection's own, else the global default."""
    counting = (told.mode for told in told_modes(uplink, world) if told.mode is not None)
    return next(counting, world.settings.mode)
