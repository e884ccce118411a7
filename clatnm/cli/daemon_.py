# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm daemon`"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from clatnm.cli import EXIT_OK
from clatnm.config import CONFIG_DIR, STATE_DIR


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("-v", "--verbose", action="count", default=0, help="log the evidence behind each decision")
    parser.add_argument("--config", type=Path, default=CONFIG_DIR, metavar="DIR", help=f"default: {CONFIG_DIR}")
    parser.add_argument("--record", type=Path, metavar="FILE", help="write what is seen, for `clatnm plan --replay`")
    parser.add_argument("--state", type=Path, default=STATE_DIR, metavar="DIR", help=f"default: {STATE_DIR}")


def run(arguments: argparse.Namespace) -> int:
    """Stay until SIGTERM or SIGINT, or SIGUSR1: then the translators are left to the next one."""
    import asyncio
    import faulthandler
    import signal

    # Nothing has been read yet, so there is nothing to read again.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    from clatnm import log
    from clatnm.daemon import Daemon
    from clatnm.errors import ConfigError
    from clatnm.translators.estate import Estate

    async def work() -> None:
        daemon = Daemon(
            config_dir=arguments.config, state_dir=arguments.state, record=arguments.record, estate=Estate()
        )
        await daemon.run()

    if arguments.record == Path("-"):
        raise ConfigError("a trace goes into a file", hint="--record FILE")
    log.setup(verbose=arguments.verbose)
    # systemd's watchdog sends SIGABRT: its log is to say where we hung.
    if sys.stderr is not None:
        faulthandler.enable()
    asyncio.run(work())
    return EXIT_OK
