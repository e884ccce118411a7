# SPDX-License-Identifier: GPL-2.0-or-later
"""Which library speaks D-Bus for us: dbus-next, or dbus-fast, which has the same API.

dbus-next is what distributions have had for longest; from Python 3.15 on only its maintained fork imports at all. This
room is the only one that names either.
"""

from __future__ import annotations

import sys
from types import ModuleType

# dbus-next's part for GLib would load all of GObject, where that is installed: a tenth of our start, and its memory.
sys.modules.setdefault("dbus_next.glib", ModuleType("dbus_next.glib"))

try:
    from dbus_next import BusType, Message, MessageFlag, MessageType, RequestNameReply, Variant
    from dbus_next import DBusError as LibraryError
    from dbus_next import service as library_service

    from clatnm.dbus.patient import PatientBus as MessageBus
except (ImportError, AttributeError):  # missing, or too old for this Python
    from dbus_fast import BusType, Message, MessageFlag, MessageType, RequestNameReply, Variant
    from dbus_fast import DBusError as LibraryError
    from dbus_fast import service as library_service
    from dbus_fast.aio import MessageBus  # type: ignore[no-redef]

__all__ = [
    "BusType",
    "LibraryError",
    "Message",
    "MessageBus",
    "MessageFlag",
    "MessageType",
    "RequestNameReply",
    "Variant",
    "library_service",
]
