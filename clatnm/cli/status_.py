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
    import json

    from clatnm import status
    from clatnm.cli import interruptible
    from clatnm.cli.answers import understood
    from clatnm.dbus import service
    from clatnm.printable import json_text

    answer = interruptible.run(service.ask("Status"))
    with understood():
        told = json.loads(answer)
        text = json_text(told) if arguments.json else status.as_text(told)
    print(text)
    return EXIT_OK
