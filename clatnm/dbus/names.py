# SPDX-License-Identifier: GPL-2.0-or-later
"""Names on the bus, ours and others'."""

from __future__ import annotations

BUS_NAME = "org.clatnm1"
OBJECT_PATH = "/org/clatnm1"
MANAGER_INTERFACE = "org.clatnm1.Manager"
CONNECTION_PATH = "/org/clatnm1/connection"
CONNECTION_INTERFACE = "org.clatnm1.Connection"
ERROR_FAILED = "org.freedesktop.DBus.Error.Failed"
ERROR_GONE = "org.clatnm1.Error.Gone"
API_VERSION = 1

DBUS = "org.freedesktop.DBus"
DBUS_PATH = "/org/freedesktop/DBus"
NO_DAEMON = ("org.freedesktop.DBus.Error.ServiceUnknown", "org.freedesktop.DBus.Error.NameHasNoOwner")
"""Errors of a bus on which nobody has a name that was called."""
PROPERTIES = "org.freedesktop.DBus.Properties"
OBJECT_MANAGER = "org.freedesktop.DBus.ObjectManager"

POLKIT = "org.freedesktop.PolicyKit1"
POLKIT_PATH = "/org/freedesktop/PolicyKit1/Authority"
POLKIT_AUTHORITY = "org.freedesktop.PolicyKit1.Authority"

LOGIN1 = "org.freedesktop.login1"
LOGIN1_PATH = "/org/freedesktop/login1"
LOGIN1_MANAGER = "org.freedesktop.login1.Manager"

SYSTEMD1 = "org.freedesktop.systemd1"
SYSTEMD1_PATH = "/org/freedesktop/systemd1"
SYSTEMD1_MANAGER = "org.freedesktop.systemd1.Manager"
