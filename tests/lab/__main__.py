# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m tests.lab shell`: a shell in the lab's host. `python -m tests.lab run -- CMD...`: one command there."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.lab.lab import Lab
from tests.lab.namespace import write
from tests.lab.session import LabError

DESCRIPTION = """\
                       inet  198.51.100.10  2001:db8:100::10   web :80, UDP echo :9999, DNS
                        |
      +-----------------+-----------------+
     ra                rb                rc
  IPv6-only         dual stack         IPv6-only            all fe80::1
  2001:db8:a::/64   2001:db8:b::/64    2001:db8:c::/64
  64:ff9b::/96      192.168.2.0/24     2001:db8:64:0:c::/96
      |A                |B                |C
      +-------------- sw: p0 p1 ----------+
                         |  |
  you are in:  host     up0 up1       up0 is in A, up1 unplugged; profiles netA (up0) and netC (up1)

  nmcli connection up netA; ip -6 addr          join A
  ping 64:ff9b::198.51.100.10                   the NAT64 works
  clatnm daemon &  clatnm status                the daemon under test
  curl http://198.51.100.10/                    IPv4, if there is a CLAT
  curl http://v4only.test/                      names: v4only dual v6only .test, ipv4only.arpa
  ip -n {p}sw link set p0 master brB            roam silently;  p0 down, master, p0 up: with a carrier flap
  edit {d}/ra-a.json; pkill -HUP -f ra-a.json   change an advertisement and send it
  ip netns exec {p}ra tcpdump -ni lan           watch a router
  less {d}/log/nm.log                           logs
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    parents = argparse.ArgumentParser(add_help=False)
    parents.add_argument("--root", type=Path, default=Path("/"), help="tree to run NetworkManager from")
    verbs.add_parser("shell", parents=[parents], help="open a shell in the host")
    run = verbs.add_parser("run", parents=[parents], help="run one command in the host")
    run.add_argument("argv", nargs="+", metavar="CMD")
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    try:
        with Lab(root=options.root) as lab:
            lab.host.add_profile("netA", "up0")
            lab.host.add_profile("netC", "up1")
            if options.verb == "run":
                lab.host.up("netA")
                return call(lab, options.argv)
            print(DESCRIPTION.format(p=lab.prefix, d=lab.directory))
            return call(lab, ["bash", "--rcfile", str(shell_settings(lab)), "-i"])
    except LabError as error:
        print(error, file=sys.stderr)
        return 1


def shell_settings(lab: Lab) -> Path:
    return write(lab.directory / "bashrc", f"PS1='{lab.prefix}host \\w # '\n")


def call(lab: Lab, argv: list[str]) -> int:
    """Run a command on this terminal; Ctrl-C is for it, not for the lab around it."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with subprocess.Popen(
            [*lab.host.enter(), "env", "--default-signal=INT", *argv],
            env={**os.environ, **lab.host.environment()},
        ) as process:
            status = process.wait()
    finally:
        signal.signal(signal.SIGINT, before)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())
