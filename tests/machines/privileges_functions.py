# SPDX-License-Identifier: GPL-2.0-or-later
"""What the service does for its users: each function raises AssertionError when it cannot.

In this order: whatever needs another one's work comes later. They find the service as `begin` has left it.
"""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from clatnm.worker import privileges
from tests.e2e.clat import connection, wait_on
from tests.lab.poll import eventually
from tests.machines.clat_service import SERVICE, processes, scopes
from tests.machines.inside import has_tcx, systemctl
from tests.machines.systemd_place import UPLINK, Place
from tests.machines.systemd_traffic import ipv4_works

CONFIGURATION = Path("/etc/clatnm/clatnm.conf")
SECRET = Path("/var/lib/clatnm/secret")
SOCKET = "/run/clatnm/metrics.sock"
SCRIPT, RAN = Path("/etc/clatnm/script-up"), Path("/var/lib/clatnm/ran")
_SETTINGS = f"[clatnm]\nmetrics = {SOCKET}\nscript-up = {SCRIPT}\n"
# A pipe, a time limit, and a file of its own: what scripts are made of. Its failure is no reason to end the translator.
_SCRIPT = f"""\
#!/bin/sh
timeout 0.1 sleep 2
[ $? != 124 ] || ip route show table all dev $clat_dev | cat >{RAN}
exit 0
"""
_SCRAPE = """
import socket, sys
with_whom = socket.socket(socket.AF_UNIX)
with_whom.connect(sys.argv[1])
with_whom.sendall(b"GET /metrics HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
sys.stdout.write(with_whom.makefile(encoding="utf-8").read())
"""
PATIENCE_S, SHORT_S = 30.0, 8.0
Function = Callable[[Place, float], None]


def starts(place: Place, patience_s: float) -> None:
    """From the beginning: a restart would take over the translator of a daemon that had more rights."""
    begin(_SETTINGS)


def begin(settings: str) -> None:
    """Start it anew with this configuration, and nothing known from before. AssertionError when it does not start."""
    subprocess.run(["systemctl", "stop", SERVICE], check=False, capture_output=True, timeout=60)
    for pid in _left_behind():
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not _left_behind(), message="no process is left")
    for path in (RAN, SECRET):
        path.unlink(missing_ok=True)
    SCRIPT.write_text(_SCRIPT)
    SCRIPT.chmod(0o755)
    CONFIGURATION.write_text(settings)
    subprocess.run(["systemctl", "reset-failed", SERVICE], check=False, capture_output=True)
    systemctl("start", SERVICE)


def answers(place: Place, patience_s: float) -> None:
    """At once: a service that has started is ready."""
    assert place.clat.status()["version"]


def translates(place: Place, patience_s: float) -> None:
    """By the word of the router; pings, datagrams, a download, an ICMP error."""
    told = wait_on(place.clat, UPLINK, timeout_s=patience_s)
    assert told["prefix"]["source"] == "ra", told
    ipv4_works()


def uses_hooks(place: Place, patience_s: float) -> None:
    """In the kernel, by eBPF."""
    backend = connection(place.clat, UPLINK)["translator"]["backend"]
    assert backend == ("ebpf" if has_tcx() else "ebpf-clsact"), backend


def runs_scripts(place: Place, patience_s: float) -> None:
    """The administrator's, which find the device and may write beside the daemon's secret."""
    eventually(lambda: RAN.exists() and "default" in RAN.read_text(), timeout_s=patience_s, message="script-up has run")


def translators_are_nobody_else(place: Place, patience_s: float) -> None:
    """They have the user and group that are theirs alone, no other group, no capability, and a filter of their own."""
    user = pwd.getpwnam(privileges.USER)
    (pid,) = place.clat.translators()
    worker, daemon = _status_of(pid), _status_of(place.clat.pid)
    assert worker["Uid"].split() == [str(user.pw_uid)] * 4, worker["Uid"]
    assert worker["Gid"].split() == [str(user.pw_gid)] * 4, worker["Gid"]
    assert worker["Groups"].strip() == "", worker["Groups"]
    assert {int(worker[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}, worker
    assert (worker["NoNewPrivs"], worker["Seccomp"]) == ("1", "2")
    assert int(worker["Seccomp_filters"]) == int(daemon["Seccomp_filters"]) + 1


def hands_out_metrics(place: Place, patience_s: float) -> None:
    """To a user without rights."""

    def scraped() -> bool:
        told = place.here.as_user("python3", "-c", _SCRAPE, SOCKET)
        return f'clatnm_connection_state{{interface="{UPLINK}"' in told.stdout

    eventually(scraped, timeout_s=patience_s, message="metrics")


def is_reloaded(place: Place, patience_s: float) -> None:
    """`systemctl reload`."""
    read = place.clat.log().count("configuration read again")
    systemctl("reload", SERVICE)
    eventually(
        lambda: place.clat.log().count("configuration read again") > read, timeout_s=patience_s, message="it is read"
    )


def keeps_its_address(place: Place, patience_s: float) -> None:
    """A start later, the CLAT has the same address: the secret behind it was kept."""
    before = connection(place.clat, UPLINK)["translator"]["clat_v6"]
    systemctl("stop", SERVICE)
    systemctl("start", SERVICE)
    after = wait_on(place.clat, UPLINK, timeout_s=patience_s)["translator"]["clat_v6"]
    assert after == before, f"{after} after {before}"
    assert SECRET.stat().st_mode & 0o777 == 0o600


def restart_keeps_translators(place: Place, patience_s: float) -> None:
    """The same process translates afterwards, for the next daemon."""
    before, daemon = place.clat.translators(), place.clat.pid
    systemctl("restart", SERVICE)
    told = wait_on(place.clat, UPLINK, timeout_s=patience_s)
    assert place.clat.pid != daemon
    assert place.clat.translators() == before, told
    ipv4_works()


def comes_back(place: Place, patience_s: float) -> None:
    """A daemon that was killed."""
    daemon = place.clat.pid
    os.kill(daemon, signal.SIGKILL)
    eventually(lambda: place.clat.pid not in (0, daemon), timeout_s=patience_s, message="another one is started")
    wait_on(place.clat, UPLINK, timeout_s=patience_s)
    ipv4_works()


def ends_a_translator_that_hangs(place: Place, patience_s: float) -> None:
    """A stop leaves nothing, whoever hangs."""
    (pid,) = place.clat.translators()
    os.kill(pid, signal.SIGSTOP)
    try:
        systemctl("stop", SERVICE)
        eventually(lambda: not Path(f"/proc/{pid}").exists(), timeout_s=patience_s, message="the translator has ended")
        assert f"clat-{UPLINK}" not in place.here.devices()
    finally:
        if Path(f"/proc/{pid}").exists():
            os.kill(pid, signal.SIGKILL)
            eventually(lambda: not Path(f"/proc/{pid}").exists(), message="it is gone")


def leaves_nothing_when_killed(place: Place, patience_s: float) -> None:
    """Daemon and translator, on hooks that do not go by themselves, and nobody comes after them."""
    begin("[clatnm]\nbackend = ebpf-clsact\n")
    wait_on(place.clat, UPLINK, timeout_s=patience_s)
    eventually(lambda: _hooks(place), timeout_s=patience_s, message="there are hooks to be left")
    for pid in (place.clat.pid, *place.clat.translators()):
        os.kill(pid, signal.SIGKILL)
    systemctl("stop", SERVICE)  # before the second is over after which it would be started again
    assert not _hooks(place), "hooks are left"


FUNCTIONS: Mapping[str, Function] = {
    "starts": starts,
    "answers": answers,
    "translates": translates,
    "uses-hooks": uses_hooks,
    "translators-are-nobody-else": translators_are_nobody_else,
    "hands-out-metrics": hands_out_metrics,
    "is-reloaded": is_reloaded,
    "keeps-its-address": keeps_its_address,
    "runs-scripts": runs_scripts,
    "restart-keeps-translators": restart_keeps_translators,
    "comes-back": comes_back,
    "ends-a-translator-that-hangs": ends_a_translator_that_hangs,
    "leaves-nothing-when-killed": leaves_nothing_when_killed,
}


def failing(place: Place, *, expected: str = "") -> tuple[str, str]:
    """The first function that fails, and how; "" when all work. Less time is given to the `expected` one."""
    for name, function in FUNCTIONS.items():
        try:
            function(place, SHORT_S if name == expected else PATIENCE_S)
        except (AssertionError, OSError, subprocess.SubprocessError) as error:
            return name, " ".join(str(error).split())
    return "", ""


def _left_behind() -> list[int]:
    """Processes of the service while it is stopped, in units of their own included."""
    return [pid for unit in (SERVICE, *scopes("clat*.scope")) for pid in processes(unit)]


def _status_of(pid: int) -> dict[str, str]:
    return dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())


def _hooks(place: Place) -> str:
    """What hangs on clsact of the uplink."""
    ways = ("ingress", "egress")
    return "".join(place.here.run("tc", "filter", "show", "dev", UPLINK, way, check=False).stdout for way in ways)
