# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm explain CONNECTION`"""

from __future__ import annotations

import argparse

from clatnm.cli import EXIT_OK


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("connection", metavar="CONNECTION", help="its name, its UUID, or its network interface")
    parser.add_argument("--json", action="store_true", help="everything, for programs")


def run(arguments: argparse.Namespace) -> int:
    """Ask the daemon and print its answer; ConfigError when it knows no such connection."""
    import json

    from clatnm import explain
    from clatnm.cli import interruptible
    from clatnm.cli.answers import understood
    from clatnm.dbus import service
    from clatnm.errors import ConfigError
    from clatnm.printable import json_text

    answer = interruptible.run(service.ask("Explain", arguments.connection))
    with understood():
        told = json.loads(answer)
        text = json_text(told)
        if not arguments.json:
            text = "\n\n".join(explain.as_text(each) for each in told)
    if not told:
        raise ConfigError(f"there is no active connection '{arguments.connection}'", hint="see: clatnm status")
    print(text)
    return EXIT_OK
