# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm metrics`"""

from __future__ import annotations

import argparse
import contextlib
import os
from pathlib import Path

from clatnm.cli import EXIT_OK

_STDOUT = "-"
_FORMATS = ("openmetrics", "prometheus")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument(
        "--output", metavar="FILE", default=_STDOUT, help="write it there, in one step (default: standard output)"
    )
    parser.add_argument(
        "--format",
        choices=_FORMATS,
        default=_FORMATS[0],
        help="openmetrics (default), or the text format that Prometheus had before",
    )
    parser.add_argument("--names", action="store_true", help="tell the connections' names too, mostly those of Wi-Fi")


def run(arguments: argparse.Namespace) -> int:
    """Ask the daemon, and write its answer as metrics. Without a daemon these say so, instead of what was before."""
    import json

    from clatnm.cli import interruptible
    from clatnm.cli.answers import understood
    from clatnm.dbus import service
    from clatnm.errors import NoDaemonError
    from clatnm.metrics import families

    classic = arguments.format != _FORMATS[0]
    try:
        answer = interruptible.run(service.ask("Status"))
    except NoDaemonError:
        _write(families.absent(classic=classic), arguments.output)
        raise
    with understood():
        page = families.as_text(json.loads(answer), names=arguments.names, classic=classic)
    _write(page, arguments.output)
    return EXIT_OK


def _write(page: str, output: str) -> None:
    """HostError: the file cannot be written."""
    if output == _STDOUT:
        print(page, end="")
        return
    from clatnm.errors import HostError

    try:
        _replace(Path(output), page)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        told = error.strerror if isinstance(error, OSError) else str(error)
        number = error.errno if isinstance(error, OSError) else None
        raise HostError(f"{output}: {told}", errno=number or 0, hint="the old file stays as it is") from error


def _replace(path: Path, page: str) -> None:
    """The file, whole or as it was. Whoever collects metrics is another user. OSError."""
    if path.exists() and not path.is_file():  # a pipe or a device: nothing to replace
        path.write_text(page, encoding="utf-8")
        return
    # Its name ends otherwise, so that nobody collects it half written.
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    try:
        with fresh.open("x", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(page)
        fresh.replace(path)
    finally:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
