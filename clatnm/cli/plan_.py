# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm plan`"""

from __future__ import annotations

import argparse
import sys

from clatnm.cli import EXIT_NOTHING_TO_DO, EXIT_OK
from clatnm.config import CONFIG_DIR, STATE_DIR


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    from pathlib import Path

    parser.add_argument("--replay", metavar="FILE", help="a trace that `clatnm daemon --record` wrote; - for the input")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, for programs")
    parser.add_argument("--config", type=Path, default=CONFIG_DIR, metavar="DIR", help=f"default: {CONFIG_DIR}")
    parser.add_argument("--state", type=Path, default=STATE_DIR, metavar="DIR", help=f"default: {STATE_DIR}")


def run(arguments: argparse.Namespace) -> int:
    """Print the steps, take none."""
    from collections.abc import Iterable

    from clatnm import planner
    from clatnm.cli import interruptible
    from clatnm.printable import json_text

    scenes: Iterable[planner.Scene]
    if arguments.replay is not None:
        scenes = planner.replay(planner.read_trace(arguments.replay))
    else:
        scenes = [interruptible.run(planner.now(config_dir=arguments.config, state_dir=arguments.state))]
    scene, anything = None, False
    for scene in scenes:
        anything = anything or bool(scene.steps)
        print(json_text(planner.as_json(scene), indent=None) if arguments.json else planner.as_text(scene))
    if scene is None:
        print("the trace is empty", file=sys.stderr)
    return EXIT_OK if anything else EXIT_NOTHING_TO_DO
