# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm cleanup`"""

from __future__ import annotations

import argparse

from clatnm.cli import EXIT_NOTHING_TO_DO, EXIT_OK


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("--gone", action="store_true", help="only after those whose process is gone; end none")


def run(arguments: argparse.Namespace) -> int:
    """Remove what is found, say what it was."""
    from clatnm.kernel.netlink import Netlink
    from clatnm.printable import printable
    from clatnm.translators.leftovers import cleanup

    ended = [] if arguments.gone else _end_orphans()
    for what in ended:
        print(printable(f"ended {what}, which no daemon had"))
    with Netlink() as kernel:
        found = cleanup(kernel)
    for what in found:
        print(printable(f"removed {what} of a translator that is gone"))
    if not found and not ended:
        print("nothing to clean up")
    return EXIT_OK if found or ended else EXIT_NOTHING_TO_DO


def _end_orphans() -> list[str]:
    from clatnm.cli import interruptible
    from clatnm.kernel.host import Host
    from clatnm.translators.adoption import end_orphans
    from clatnm.translators.estate import Estate

    async def end() -> list[str]:
        host = Host()
        try:
            return await end_orphans(host, Estate())
        finally:
            await host.close()

    return interruptible.run(end())
