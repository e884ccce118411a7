# SPDX-License-Identifier: GPL-2.0-or-later
"""Whole machines under qemu: `python -m tests.machines run --root trixie --kernel 6.1 JOB [ARGS]`.

Exit status: the job's own; 1: a check failed; 3: no guest can be had here; 124: killed in time; 125: it ended early.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time

from tests.machines import kernels, machine, matrix, roots
from tests.machines.machine import Machine
from tests.machines.needs import MachineError
from tests.machines.results import Outcome

EXIT_FAILED, EXIT_UNAVAILABLE = 1, 3


def main() -> int:
    options = _parser().parse_args()
    # As an exception, so that guests and directories go.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda got, _: sys.exit(128 + got))
    try:
        status: int = options.verb(options)
    except MachineError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_UNAVAILABLE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.machines", description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(required=True)
    which = argparse.ArgumentParser(add_help=False)
    which.add_argument("--root", choices=roots.RECIPES, default="trixie")
    which.add_argument("--kernel", choices=kernels.SUITES, default="6.12")

    run = verbs.add_parser("run", parents=[which], help="one job in a guest; its exit status")
    run.add_argument("--limit", type=float, default=machine.LIMIT_S, metavar="SECONDS", help="then it is killed")
    run.add_argument("job", metavar="JOB", help=", ".join(machine.jobs()))
    run.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGS")
    run.set_defaults(verb=_run)

    shell = verbs.add_parser("shell", parents=[which], help="a shell in a guest, on this terminal")
    shell.set_defaults(verb=_shell)

    every = verbs.add_parser("matrix", help="every job where it belongs; writes docs/tested-on.md")
    every.add_argument("--quick", action="store_true", help="only what `make test` runs; writes nothing")
    every.add_argument("jobs", nargs="*", metavar="JOB", help="these alone; the page keeps what is known of others")
    every.set_defaults(verb=_matrix)

    fetch = verbs.add_parser("fetch", help="make images and kernels ahead of time")
    fetch.add_argument("names", nargs="*", choices=[[], *roots.RECIPES, *kernels.SUITES], metavar="NAME")
    fetch.set_defaults(verb=_fetch)
    return parser


def _run(options: argparse.Namespace) -> int:
    outcome = machine.run(Machine(options.root, options.kernel), options.job, *options.arguments, limit_s=options.limit)
    _tell(outcome)
    return outcome.status or (EXIT_FAILED if outcome.fault else 0)


def _shell(options: argparse.Namespace) -> int:
    print("Ctrl-A X ends the guest", flush=True)
    machine.shell(Machine(options.root, options.kernel))
    return 0


def _matrix(options: argparse.Namespace) -> int:
    return EXIT_FAILED if matrix.run(options.jobs, quick=options.quick) else 0


def _fetch(options: argparse.Namespace) -> int:
    for name in options.names or [*roots.RECIPES, *kernels.SUITES]:
        began = time.monotonic()
        place = roots.image(name) if name in roots.RECIPES else kernels.kernel(name).image
        print(f"{name}: {place} ({time.monotonic() - began:.1f} s)", flush=True)
    return 0


def _tell(outcome: Outcome) -> None:
    if outcome.end:
        print(f"its console ends with:\n{outcome.end}", file=sys.stderr)
    print(f"{outcome.fault or 'passed'} ({outcome.seconds:.0f} s)", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
