# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm indicator`"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from clatnm.cli import EXIT_OK

if TYPE_CHECKING:
    from clatnm.desktop.bars import Form
    from clatnm.desktop.state import Kind


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="a JSON object, for programs")
    form.add_argument("--waybar", action="store_true", help="the JSON object that Waybar reads")
    form.add_argument("--format", metavar="TEXT", help="a text with {text}, {state}, {name} and others")
    parser.add_argument(
        "--markup", choices=("none", "pango"), default="none", help="what reads the line, for --format (default: none)"
    )
    parser.add_argument("--only", metavar="STATES", default="", help="no text in other states, as nat64,none")
    parser.add_argument("--follow", action="store_true", help="stay, and print a line whenever it is another one")


def run(arguments: argparse.Namespace) -> int:
    """Print the line, once or with each change. ConfigError for a format or state that there is not."""
    import functools

    from clatnm.cli import interruptible
    from clatnm.dbus import service
    from clatnm.dbus.following import parsed
    from clatnm.desktop import bars
    from clatnm.desktop.follow import follow
    from clatnm.desktop.state import networks
    from clatnm.errors import NoDaemonError

    # Waybar takes both of its texts for markup.
    escape = bars.MARKUP["pango" if arguments.waybar else arguments.markup]
    make = functools.partial(bars.indicator, form=_form(arguments), escape=escape, only=_only(arguments.only))
    if arguments.follow:
        interruptible.run(follow(make, sys.stdout))
        return EXIT_OK
    try:
        told = parsed(interruptible.run(service.ask("Status")))
    except NoDaemonError:  # that is a state, too
        told = None
    print(make(None if told is None else networks(told)))
    return EXIT_OK


def _form(arguments: argparse.Namespace) -> Form:
    from clatnm.desktop import bars

    if arguments.format is not None:
        return bars.template(arguments.format)
    if arguments.waybar:
        return bars.waybar
    return bars.as_json if arguments.json else bars.words


def _only(text: str) -> tuple[Kind, ...]:
    from clatnm.desktop.state import Kind
    from clatnm.errors import ConfigError

    known = {str(kind): kind for kind in Kind}
    words = [word.strip() for word in text.split(",") if word.strip()]
    for word in words:
        if word not in known:
            raise ConfigError(f"--only: state '{word}' is unknown", hint=f"one of: {', '.join(known)}")
    return tuple(known[word] for word in words)
