# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm status`"""

from __future__ import annotations

import argparse

from clatnm.cli import EXIT_OK


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("--json", action="store_true", help="everything, for programs")


def run(arguments: argparse.Namespace) -> int:
    """Ask the daemon and print its answer."""
    import asyncio
    import json

    from clatnm import status
    from clatnm.dbus import service

    told = json.loads(asyncio.run(service.ask("Status")))
    print(json.dumps(told, indent=2, ensure_ascii=False) if arguments.json else status.as_text(told))
    return EXIT_OK
