# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm set`"""

from __future__ import annotations

import argparse
import sys

from clatnm.cli import EXIT_NOTHING_TO_DO, EXIT_OK


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("connection", metavar="CONNECTION", help="name or UUID of a NetworkManager connection")
    parser.add_argument("mode", metavar="MODE", help="auto, force or no")


def run(arguments: argparse.Namespace) -> int:
    """Write the mode into the stored profile, as the calling user: NetworkManager decides who may."""
    import asyncio

    from clatnm.config import parse_mode
    from clatnm.status import printable
    from clatnm.uplinks import nm_profiles

    mode = parse_mode(arguments.mode)
    changed = asyncio.run(nm_profiles.set_mode(arguments.connection, mode))
    print(f"{printable(arguments.connection)}: CLAT mode {'is now' if changed else 'is already'} {mode}")
    own_file = asyncio.run(_own_file(arguments.connection))
    if own_file:
        print(f"but it has no effect: {printable(own_file)}, and that goes before it", file=sys.stderr)
    return EXIT_OK if changed else EXIT_NOTHING_TO_DO


async def _own_file(connection: str) -> str:
    """`FILE says mode = MODE` where the running daemon takes the mode from a file of the connection's own, else ''."""
    import json

    from clatnm.config import CONFIG_DIR, CONNECTIONS_NAME
    from clatnm.dbus import service
    from clatnm.errors import BusError

    try:
        told = json.loads(await service.ask("Explain", connection))
    except BusError:  # no daemon: nothing has an effect
        return ""
    for each in told:
        for fact in each["evidence"]:
            if fact["what"] == "mode" and fact["source"].startswith(str(CONFIG_DIR / CONNECTIONS_NAME)):
                return f"{fact['source']} says mode = {fact['value']}"
    return ""
