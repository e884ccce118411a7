# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm notify`"""

from __future__ import annotations

import argparse
import sys

from clatnm.cli import EXIT_NOTHING_TO_DO, EXIT_OK


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("-v", "--verbose", action="store_true", help="log what does not work, too")


def run(arguments: argparse.Namespace) -> int:
    """Notify until SIGTERM or SIGINT. BusError when there is no session bus, or no longer one."""
    import asyncio

    from clatnm import log
    from clatnm.desktop.memory import MemoryFile, usual_place
    from clatnm.desktop.notifier import serve
    from clatnm.errors import AlreadyRunningError

    log.setup(verbose=arguments.verbose)
    try:
        asyncio.run(serve(MemoryFile(usual_place())))
    except AlreadyRunningError as error:
        print(error, file=sys.stderr)
        return EXIT_NOTHING_TO_DO
    return EXIT_OK
