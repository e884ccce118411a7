# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm set`"""

from __future__ import annotations

import argparse

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
    return EXIT_OK if changed else EXIT_NOTHING_TO_DO
