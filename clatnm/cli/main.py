# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm VERB …`: the arguments, and which file does the work. A verb's imports happen only when it is used."""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from clatnm import __version__
from clatnm.cli import EXIT_FAILED, EXIT_USAGE
from clatnm.errors import ClatnmError, ConfigError
from clatnm.printable import printable

_VERBS = {
    "daemon": "follow the network managers and translate where it is needed",
    "status": "every active connection: is there a CLAT, and why (not)",
    "explain": "why one connection has CLAT or not, what is known, and what would change it",
    "monitor": "what the daemon does, as it happens: connections, rates, decisions",
    "metrics": "what the daemon counts, for Prometheus and its relatives",
    "doctor": "what is wrong, and what to do about it",
    "plan": "the steps that the daemon would take now, taking none",
    "set": "switch CLAT on or off for one connection",
    "import-clatd": "say in clatnm's words what clatd's configuration says, and keep it",
    "translate": "run one translator by hand, in the foreground",
    "pcap": "translate the packets of a capture file",
    "notify": "tell on the desktop, once for each network, whether IPv4 works there",
    "indicator": "one line about IPv4 for a status bar",
    "cleanup": "remove what a killed translator may have left behind",
}


# Made before garbage is looked for: what is imported is none, and to look for some takes up to a tenth of a start.
_OBJECTS = 10_000
# Set in the environment, it has the traceback of a bug told as well.
_TRACEBACK = "CLATNM_TRACEBACK"


class _Parser(argparse.ArgumentParser):
    """argparse, but a mistake costs one line: `error: what (hint)`."""

    def error(self, message: str) -> None:  # type: ignore[override]  # argparse's never returns; nor does this
        sys.exit(_complain(f"{message} (see: {self.prog} --help)", EXIT_USAGE))

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """`--option=--` has a value. argparse before Python 3.13 takes it away, and makes a list of nothing."""
        if not action.option_strings or arg_strings != ["--"]:
            return super()._get_values(action, arg_strings)
        value = self._get_value(action, "--")
        self._check_value(action, value)
        return value


def parser(only: str | None = None) -> argparse.ArgumentParser:
    """The command line; each verb's file adds its own arguments, unless another one is the only one asked for."""
    top = _Parser(prog="clatnm", description="IPv4 on IPv6-only networks, by itself (464XLAT).", allow_abbrev=False)
    top.add_argument("--version", action="version", version=f"clatnm {__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb, text in _VERBS.items():
        sub = verbs.add_parser(verb, help=text, description=text, allow_abbrev=False)
        sub.set_defaults(refuse=sub.error)
        if only in (None, verb):
            _module(verb).add_arguments(sub)
    return top


def _module(verb: str):  # type: ignore[no-untyped-def]  # a module with add_arguments() and run()
    return importlib.import_module(f"clatnm.cli.{verb.replace('-', '_')}_")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status. Nothing the user sees is a traceback."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that lacks our arrows shows question marks
    words = sys.argv[1:] if argv is None else argv
    try:
        top = parser(words[0] if words and words[0] in _VERBS else None)
        arguments, rest = top.parse_known_args(words)
        if rest:  # what follows a verb is explained by that verb's own help
            refuse = arguments.refuse if words[0] == arguments.verb else top.error
            refuse(f"unrecognized arguments: {' '.join(rest)}")
        run: Callable[[argparse.Namespace], int] = _module(arguments.verb).run
        status = run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()  # a full disk or a closed pipe is found out here, not after the end
        return status
    except ConfigError as error:
        return _complain(str(error), EXIT_USAGE)
    except ClatnmError as error:
        return _complain(str(error), EXIT_FAILED)
    except KeyboardInterrupt:
        return EXIT_FAILED
    except BrokenPipeError:  # the reader had enough (`clatnm status | head`)
        _abandon_output()
        return EXIT_FAILED
    except OSError as error:
        _abandon_output()
        return _complain(": ".join(filter(None, (_name(error), error.strerror))) or str(error), EXIT_FAILED)
    except Exception as error:  # ours to mend, and nothing that a user can read
        return _complain(_bug(error), EXIT_FAILED)


def _name(error: OSError) -> str:
    """The file that it is about, if it is about one that has a name."""
    return os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ""


def _bug(error: Exception) -> str:
    """What whoever reads a report wants to know, on one line; all of it on standard error, where it was asked for."""
    if os.environ.get(_TRACEBACK):
        traceback.print_exception(error)
    place = traceback.extract_tb(error.__traceback__)[-1:]
    at = "".join(f" at {Path(frame.filename).name}:{frame.lineno}" for frame in place)
    return f"{type(error).__name__}: {error}{at} (a bug in clatnm {__version__}; {_TRACEBACK}=1 tells more)"


def _complain(what: str, status: int) -> int:
    if sys.stderr is not None:  # print() would take standard output in its place
        try:
            print(f"error: {printable(what)}", file=sys.stderr, flush=True)
        except OSError:  # whoever sees to it that nobody hears still gets the status
            _abandon(sys.stderr)
    return status


def _abandon_output() -> None:
    _abandon(sys.stdout)


def _abandon(stream: TextIO | None) -> None:
    """What is still buffered goes nowhere, so that Python does not complain about it at exit either."""
    if stream is not None:
        with contextlib.suppress(OSError, ValueError):  # one that is no file, or closed, keeps nothing
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _occupy_closed_streams() -> None:
    """Where nobody gave us one of the three, a socket would get its number, and all that is meant for the stream."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


def entry() -> None:
    """The console script."""
    gc.set_threshold(_OBJECTS)
    _occupy_closed_streams()
    try:
        status = main()
    except KeyboardInterrupt:  # one more, while the first was answered
        status = EXIT_FAILED
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # or the next one would be told with a traceback
    sys.exit(status)
