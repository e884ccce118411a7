# SPDX-License-Identifier: GPL-2.0-or-later
"""One screen that shows the main job: `python -m tests.lab.demo`, or `make demo`.

Status 0 only if everything shown truly happened.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from tests.e2e import clat
from tests.lab.daemon import Daemon
from tests.lab.lab import Lab
from tests.lab.poll import CommandError, EventuallyError, eventually
from tests.lab.requirements import LAB_TOOLS, missing

PICTURE = """\
   laptop (NetworkManager, clatnm)            router A                      the Internet
   up0: IPv6 only  ───────────────  RA: PREF64 64:ff9b::/96, NAT64  ───────  198.51.100.10 has only IPv4
   no IPv4 address
"""

_BOLD, _GREEN, _RED, _DIM, _END = (
    ("\033[1m", "\033[32m", "\033[31m", "\033[2m", "\033[0m") if sys.stdout.isatty() else ("",) * 5
)


def main() -> int:
    """Run the demo; the exit status."""
    reason = missing(LAB_TOOLS)
    if reason:
        print(f"error: the demo {reason}", file=sys.stderr)
        return 1
    print(f"{_BOLD}clatnm: IPv4 on an IPv6-only network, by itself{_END}\n\n{PICTURE}")
    began = time.monotonic()
    try:
        with Lab() as lab:
            _show(lab)
    except (AssertionError, CommandError) as error:
        text = str(error) if not isinstance(error, EventuallyError) else str(error).splitlines()[0]
        print(f"{_RED}✗ {text}{_END}", file=sys.stderr)
        return 1
    print(f"\n{_GREEN}All of it happened, in {time.monotonic() - began:.0f} s; nothing is left of it.{_END}")
    return 0


def _show(lab: Lab) -> None:
    host = lab.host
    daemon = host.daemon()
    eventually(daemon.status, message="the daemon answers")
    host.add_profile("Cafe", "up0", ipv4_method="auto")

    _step("NetworkManager joins the network")
    host.up("Cafe")
    clat.wait_on(daemon)
    _show_adverts(lab)
    _show_log(daemon, "up0: CLAT up")

    _step("clatnm status")
    _quote(host.clatnm("status").stdout)

    _step("IPv4 literals work on a machine whose network has no IPv4")
    assert not [line for line in host.ip("-4", "-o", "addr", "show", "up0").splitlines() if line], "up0 has IPv4"
    _command(lab, "ping", "-c", "1", clat.INET, pick=lambda line: "bytes from" in line)
    _command(lab, "curl", "-sS", f"http://{clat.INET}/")
    clat.download(host, 8 * clat.MIB)
    _done(f"8 MiB downloaded from http://{clat.INET}/, content checked")

    _step("roam to a dual-stack network: clatnm steps aside")
    host.plug("up0", "b")
    clat.wait_off(daemon, "native-ipv4", timeout_s=30)
    clat.wait_no_device(host)
    _show_log(daemon, "ret=native-ipv4")
    _command(lab, "ping", "-c", "1", clat.INET, pick=lambda line: "bytes from" in line)

    _step("stop the daemon")
    assert daemon.stop() == 0, "the daemon did not end in order"
    assert not [name for name in clat.devices(host) if name.startswith("clat-")], "a device is left"
    _done("no device, no route, no process is left")


def _step(title: str) -> None:
    print(f"\n{_BOLD}▸ {title}{_END}")


def _done(text: str) -> None:
    print(f"  {_GREEN}✓{_END} {text}")


def _quote(text: str) -> None:
    for line in text.rstrip().splitlines():
        print(f"  {line}")


def _show_adverts(lab: Lab) -> None:
    sent = [line.partition(" ")[2] for line in lab.a.ra_log().splitlines() if " sent to " in line]
    assert sent, "no Router Advertisement was sent"
    print(f"  {_DIM}router A:{_END} RA {sent[-1]}"[:150])


def _show_log(daemon: Daemon, needle: str) -> None:
    line = eventually(
        lambda: next((line for line in daemon.log().splitlines() if needle in line), ""),
        message=f"'{needle}' in the log",
    )
    print(f"  {_DIM}clatnm:{_END} {line}")


def _command(lab: Lab, *argv: str, pick: Callable[[str], bool] = bool) -> None:
    """Run a command on the host, show it and the line of its output that matters."""
    result = lab.host.run(*argv)
    line = next((line for line in result.stdout.splitlines() if pick(line)), "")
    assert line, f"{' '.join(argv)} printed nothing"
    _done(f"{' '.join(argv)}   {_DIM}→{_END} {line}")


if __name__ == "__main__":
    sys.exit(main())
