# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm cleanup`"""

from __future__ import annotations

import argparse

from clatnm.cli import EXIT_NOTHING_TO_DO, EXIT_OK


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb has none."""


def run(arguments: argparse.Namespace) -> int:
    """Remove what is found, say what it was."""
    from clatnm.kernel.netlink import Netlink
    from clatnm.status import printable
    from clatnm.translators.leftovers import cleanup

    with Netlink() as kernel:
        found = cleanup(kernel)
    for what in found:
        print(printable(f"removed {what} of a translator that is gone"))
    if not found:
        print("nothing to clean up")
    return EXIT_OK if found else EXIT_NOTHING_TO_DO
