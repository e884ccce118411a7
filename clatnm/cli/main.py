# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm VERB …`: the arguments, and which file does the work. A verb's imports happen only when it is used."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence

from clatnm import __version__
from clatnm.cli import EXIT_FAILED, EXIT_USAGE
from clatnm.errors import ClatnmError, ConfigError

_VERBS = {
    "daemon": "follow the network managers and translate where it is needed",
    "status": "every connection: is there a CLAT, and why (not)",
    "set": "switch CLAT on or off for one NetworkManager connection",
    "translate": "run one translator by hand, in the foreground",
    "cleanup": "remove what a killed translator may have left behind",
}


class _Parser(argparse.ArgumentParser):
    """argparse, but a mistake costs one line: `error: what (hint)`."""

    def error(self, message: str) -> None:  # type: ignore[override]  # argparse's never returns; nor does this
        self.exit(EXIT_USAGE, f"error: {message} (see: {self.prog} --help)\n")


def parser() -> argparse.ArgumentParser:
    """The whole command line; each verb's file adds its own arguments."""
    top = _Parser(prog="clatnm", description="IPv4 on IPv6-only networks, by itself (464XLAT).", allow_abbrev=False)
    top.add_argument("--version", action="version", version=f"clatnm {__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb, text in _VERBS.items():
        _module(verb).add_arguments(verbs.add_parser(verb, help=text, description=text, allow_abbrev=False))
    return top


def _module(verb: str):  # type: ignore[no-untyped-def]  # a module with add_arguments() and run()
    return importlib.import_module(f"clatnm.cli.{verb}_")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status. Nothing the user sees is a traceback."""
    arguments = parser().parse_args(argv)
    run: Callable[[argparse.Namespace], int] = _module(arguments.verb).run
    try:
        return run(arguments)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE
    except ClatnmError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_FAILED
    except BrokenPipeError:
        # The reader had enough (`clatnm status | head`); Python must not complain at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED


def entry() -> None:
    """The console script."""
    sys.exit(main())
