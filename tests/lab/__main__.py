# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m tests.lab shell`: a shell in the lab's host. `python -m tests.lab run -- CMD...`: one command there."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from tests.lab.control import ENVIRONMENT, controlled, tell
from tests.lab.lab import Lab
from tests.lab.namespace import PYTHON, write
from tests.lab.session import LabError
from tests.lab.system import REPOSITORY
from tests.lab.trees import RECIPES, tree

DESCRIPTION = """\
              inet  198.51.100.10  2001:db8:100::10   web :80, UDP echo :9999, DNS
               |
    +----------+-----------+--------------------+
    ra                     rb                   rc          each is fe80::1
    IPv6-only              dual stack           IPv6-only
    2001:db8:a::/64        2001:db8:b::/64      2001:db8:c::/64
    PREF64 64:ff9b::/96    192.168.2.0/24       PREF64 2001:db8:64:0:c::/96
    |A                     |B                   |C
    +--------- sw ---------+--------------------+
               |
    you are in host: up0 in A, up1 unplugged, profiles netA (up0, connected) and netC (up1)

  ping 64:ff9b::198.51.100.10       the NAT64 works            nmcli, clatnm   talk to the host's own bus
  clatnm daemon &                   the daemon under test      clatnm status
  curl http://198.51.100.10/        IPv4, once there is a CLAT
  curl http://v4only.test/          names: v4only dual v6only .test, ipv4only.arpa
  lab plug up0 b [silent]           roam, with or without a carrier flap; `none` pulls the cable
  lab ra a pref64=[] lifetime=0     change an advertisement    lab dhcp4 a on|off|108    lab dns a dns64|plain|off
  lab nat64 a off                   break the NAT64            lab nm|bus start|stop
  ip netns exec {p}ra tcpdump -ni lan            logs: {d}/log
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--root", default="/", help=f"tree to run NetworkManager from: a directory, or one of {', '.join(RECIPES)}"
    )
    verbs.add_parser("shell", parents=[common], help="open a shell in the host")
    run = verbs.add_parser("run", parents=[common], help="run one command in the host, exit with its status")
    run.add_argument("argv", nargs="+", metavar="CMD")
    told = verbs.add_parser("tell", help="what the command `lab` in the shell calls")
    told.add_argument("argv", nargs="*")
    options = parser.parse_args()
    if options.verb == "tell":
        return tell(options.argv)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    try:
        root = tree(options.root) if options.root in RECIPES else Path(options.root)
        with Lab(root=root) as lab:
            return inside(lab, options.argv if options.verb == "run" else None)
    except LabError as error:
        print(error, file=sys.stderr)
        return 1


def inside(lab: Lab, argv: list[str] | None) -> int:
    """Run a command, or else a shell, in the connected host; its exit status as a shell would give it."""
    lab.host.add_profile("netA", "up0")
    lab.host.add_profile("netC", "up1")
    lab.host.up("netA")
    if argv is None:
        print(DESCRIPTION.format(p=lab.prefix, d=lab.directory))
        argv = ["bash", "--rcfile", str(shell_settings(lab)), "-i"]
    with controlled(lab) as control:
        return call([*lab.host.enter(), "env", "--default-signal=INT", *argv],
                    {**os.environ, **lab.host.environment(), ENVIRONMENT: str(control)})  # fmt: skip


def shell_settings(lab: Lab) -> Path:
    tell_lab = shlex.join(["env", f"PYTHONPATH={REPOSITORY}", PYTHON, "-m", "tests.lab", "tell"])
    text = f"PS1='{lab.prefix}host \\w # '\nlab() {{ {tell_lab} \"$@\"; }}\nexport -f lab\n"
    return write(lab.directory / "bashrc", text)


def call(argv: list[str], environment: dict[str, str]) -> int:
    """Run a command on this terminal; Ctrl-C is for it, not for the lab around it."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    process = subprocess.Popen(argv, env=environment)
    try:
        status = process.wait()
    finally:
        process.kill()
        process.wait()
        signal.signal(signal.SIGINT, before)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())
