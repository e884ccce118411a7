# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm doctor [CONNECTION]`"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from clatnm.cli import EXIT_FAILED, EXIT_NOTHING_TO_DO, EXIT_OK
from clatnm.config import CONFIG_DIR
from clatnm.errors import ConfigError

_SOME = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.epilog = "Exit status: 0 nothing fails, whether or not there are warnings; 1 something fails; "
    parser.epilog += "2 there is no such connection; 3 there is no connection to look at."
    parser.add_argument(
        "connection",
        metavar="CONNECTION",
        nargs="?",
        help="its name, its UUID, or its network interface (default: all)",
    )
    parser.add_argument("--json", action="store_true", help="everything, for programs")
    parser.add_argument("--bundle", type=Path, metavar="FILE", help="write what is known into an archive (.tar.gz), "
                        "without names of networks and without the host parts of addresses")  # fmt: skip
    parser.add_argument("--with-names", action="store_true", help="leave names of networks in the archive")
    parser.add_argument("--config", type=Path, default=CONFIG_DIR, metavar="DIR", help=f"default: {CONFIG_DIR}")


def _instead(interfaces: Sequence[str]) -> str:
    """What can be looked at without one."""
    from clatnm.printable import printable

    some = ", ".join(interfaces[:_SOME]) + (", …" if len(interfaces) > _SOME else "")
    return f" (clatnm doctor INTERFACE looks at one: {printable(some)})" if some else ""


def run(arguments: argparse.Namespace) -> int:
    """Gather the facts, check them, tell."""
    from clatnm.cli import interruptible
    from clatnm.doctor import bundle, report
    from clatnm.doctor.findings import Level
    from clatnm.doctor.gather import gather
    from clatnm.printable import json_text, printable

    if arguments.with_names and arguments.bundle is None:
        raise ConfigError("--with-names is about --bundle", hint="clatnm doctor --bundle FILE --with-names")
    facts = interruptible.run(gather(arguments.connection, config_dir=arguments.config))
    found = report.findings(facts)
    if arguments.json:
        print(json_text(report.as_json(found, facts)))
    else:
        print(report.as_text(found, facts))
    if arguments.bundle is not None:
        names = arguments.with_names
        parts = bundle.write(arguments.bundle, found, facts, config_dir=arguments.config, with_names=names)
        print(printable(f"{arguments.bundle}: {', '.join(parts)}"), file=sys.stderr)
    if report.worst(found) is Level.FAIL:
        return EXIT_FAILED
    if not facts.subjects and not facts.machine.statics:
        print(f"there is no connection to look at{_instead(facts.interfaces)}", file=sys.stderr)
        return EXIT_NOTHING_TO_DO
    return EXIT_OK
