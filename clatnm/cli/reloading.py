# SPDX-License-Identifier: GPL-2.0-or-later
"""For verbs that have changed a file in /etc/clatnm: the daemon, if there is one, is to read it."""

from __future__ import annotations

import sys

from clatnm.errors import BusError, NoDaemonError


def reload_daemon() -> None:
    """Have it read its configuration again; a line on standard error when it has not."""
    from clatnm.cli import interruptible
    from clatnm.dbus import service
    from clatnm.printable import printable

    try:
        fault = interruptible.run(service.ask("Reload"))
    except NoDaemonError:  # it will read it when it starts
        fault = ""
    except BusError as error:
        fault = str(error)
    if fault:
        print(f"but the daemon has not read it: {printable(fault)}", file=sys.stderr)
