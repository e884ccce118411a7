# SPDX-License-Identifier: GPL-2.0-or-later
"""What a test of `clatnm.dbus` works with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MODULES = ("library", "bus", "authority", "objects", "service", "front", "following")
"""Those that name a library, or are made of it."""


@dataclass(frozen=True)
class Room:
    """The modules of `clatnm.dbus`, imported anew with one library."""

    library: str
    chosen: Any
    bus: Any
    authority: Any
    objects: Any
    service: Any
    front: Any
    following: Any
