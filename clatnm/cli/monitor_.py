# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm monitor`"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from clatnm.cli import EXIT_OK

if TYPE_CHECKING:
    import asyncio

    from clatnm.monitor.view import View

_SHORTEST_S, _LONGEST_S = 0.1, 86400.0
_SCREEN_S = 1.0


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not _SHORTEST_S <= value <= _LONGEST_S:  # nan is not either
        raise argparse.ArgumentTypeError(f"'{text}' is no number of seconds from {_SHORTEST_S:g} to {_LONGEST_S:g}")
    return value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("--plain", action="store_true", help="lines, one a change, as where it is no terminal")
    parser.add_argument(
        "--interval",
        metavar="SECONDS",
        type=_seconds,
        help="how often to tell the rates; on the whole screen once a second by default, in lines never",
    )


def run(arguments: argparse.Namespace) -> int:
    """Show what the daemon does until `q` or a signal. BusError when there is no bus to begin with."""
    import asyncio

    whole = not arguments.plain and _has_terminal()
    asyncio.run(_on_screen(arguments.interval or _SCREEN_S) if whole else _in_lines(arguments.interval))
    return EXIT_OK


def _has_terminal() -> bool:
    """A terminal that can show a picture, and the library to do it with; a hint where only that is missing."""
    import importlib
    import os

    streams = (sys.stdin, sys.stdout)
    if any(stream is None or not stream.isatty() for stream in streams) or os.environ.get("TERM", "") in ("", "dumb"):
        return False
    try:
        importlib.import_module("clatnm.monitor.screen")
    except ImportError:
        print("no whole screen without urwid (install python3-urwid), so these are lines", file=sys.stderr)
        return False
    return True


async def _in_lines(rates_s: float | None) -> None:
    from clatnm.monitor.plain import Plain
    from clatnm.pipes import reader_gone

    def say(line: str) -> None:
        print(_time_of_day(), line, flush=True)

    with reader_gone(sys.stdout) as gone:
        await _watch(Plain(say, rates_s=rates_s), _until_told(gone), interval_s=rates_s)


async def _on_screen(interval_s: float) -> None:
    from clatnm.monitor.screen import Screen

    screen = Screen(interval_s=interval_s, time_of_day=_time_of_day)
    told = _until_told(screen.left)
    screen.start()
    try:
        await _watch(screen, told, interval_s=interval_s)
    finally:
        screen.stop()


async def _watch(view: View, told: asyncio.Event, *, interval_s: float | None) -> None:
    """Follow the daemon until `told`. What ends the following before that is raised."""
    import asyncio

    from clatnm.clock import boottime
    from clatnm.monitor.view import following as follow

    following = asyncio.ensure_future(follow(view, interval_s=interval_s, clock=boottime).run())
    enough = asyncio.ensure_future(told.wait())
    try:
        await asyncio.wait({following, enough}, return_when=asyncio.FIRST_COMPLETED)
        if following.done():
            following.result()
    finally:
        following.cancel()
        enough.cancel()
        await asyncio.gather(following, enough, return_exceptions=True)


def _until_told(told: asyncio.Event | None = None) -> asyncio.Event:
    """Set when somebody wants us to end: the terminal must not stay as it is then."""
    import asyncio
    import signal

    from clatnm.cli.interruptible import at_the_first

    told = told or asyncio.Event()
    at_the_first(told.set, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    return told


def _time_of_day() -> str:
    import time

    return time.strftime("%H:%M:%S")
