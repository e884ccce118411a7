# SPDX-License-Identifier: GPL-2.0-or-later
"""A laptop that is well, and the doctor: what `tests/e2e/doctor_faults.py` breaks and mends."""

from __future__ import annotations

import contextlib
import json
import signal
from typing import Any

from tests.e2e import clat, plain
from tests.lab.daemon import Daemon
from tests.lab.lab import Lab
from tests.lab.poll import eventually
from tests.lab.system import VENV_BIN

PREFIX, TRANSLATED = "64:ff9b::/96", "2001:db8:64::/96"
BASE = f"[clatnm]\nplat-check-targets = {clat.INET}\ndrain = 0\n"
CLATNM = str(VENV_BIN / "clatnm")


def chain(name: str, hook: str, *rules: str) -> str:
    """A base chain of a table, as nft(8) reads it."""
    lines = "".join(f"{rule}\n" for rule in rules)
    return f"chain {name} {{\ntype filter hook {hook} priority 0\n{lines}}}\n"


class Scene:
    """The host has joined A and has IPv4 by its CLAT; `plain`: without a network manager."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.host, self.a = lab, lab.host, lab.a
        self.plain: bool | None = None
        self.stack = contextlib.ExitStack()
        self._spoiled = False

    @property
    def daemon(self) -> Daemon:
        return self.host.daemons[-1]

    # The start of every row

    def ready(self, *, plain_link: bool) -> None:
        """As it is at the start of each row; anew if the last one has not come back to that."""
        if self._spoiled or self.plain is not plain_link:
            self.stack.close()
            self.lab.reset()
            self.a.nft("flush ruleset\n")
            self.a.nft(self._router_rules)
            self.a.ip("-6", "route", "replace", TRANSLATED, "dev", "nat64")
            self.a.run("ip", "addr", "del", "2001:db8:a::77/64", "dev", "lan", check=False)
            (self._join_plain if plain_link else self._join)()
            self.plain = plain_link
        self._spoiled = True

    def well(self) -> None:
        """The row has come back to the start."""
        self._spoiled = False

    def remember_router(self) -> None:
        """What A's router has for rules before anybody adds some."""
        self._router_rules = self.a.run("nft", "list", "ruleset").stdout

    def _join(self) -> None:
        self.host.path("/etc/clatnm/clatnm.conf").write_text(BASE)
        clat.join(self.lab)

    def _join_plain(self) -> None:
        self.host.nm_stop()
        plain.bring_up(self.host)
        self.host.path("/etc/clatnm/clatnm.conf").write_text(f"{BASE}interfaces = up0\n")
        self.host.daemon("-v")
        eventually(lambda: clat.wait_on(self.daemon), timeout_s=20, message="CLAT on the plain link")

    # What rows do

    def conf(self, text: str = "") -> None:
        """The configuration of the start with a line more, and read."""
        extra = "interfaces = up0\n" if self.plain and not text.startswith("#") else ""
        self.host.path("/etc/clatnm/clatnm.conf").write_text(f"{BASE}{extra}{text}\n")
        self.reload()

    def reload(self) -> None:
        self.daemon.signal(signal.SIGHUP)

    def restart(self, *prefix: str) -> None:
        """Another daemon in the place of this one, behind a command that takes rights away, if there is one."""
        self.daemon.signal(signal.SIGCONT)
        if self.daemon.stop() != 0:
            self.daemon.kill()
        self.stack.close()
        if prefix:
            limited = self.host.popen(*prefix, CLATNM, "daemon", "-v")
            self.stack.callback(limited.stop)
            eventually(lambda: self.host.clatnm("status"), message="the limited daemon answers")
        else:
            self.start()

    def start(self) -> None:
        daemon = self.host.daemon("-v")
        eventually(daemon.status, message="the daemon answers")

    def nft(self, hook: str, rule: str) -> None:
        """A rule on the host, in a chain of its own: `inet strict HOOKed`."""
        self.host.nft(f"table inet strict {{\n{chain(f'{hook}ed', hook, rule)}}}\n")

    def calm(self) -> None:
        """No rule on the host, nothing that a row has started."""
        self.host.nft("flush ruleset\n")
        self.stack.close()

    # The doctor

    def doctor(self, *argv: str) -> Any:
        """`clatnm doctor --json up0`."""
        result = self.host.clatnm("doctor", "--json", *(argv or ("up0",)), check=False, timeout_s=60)
        assert result.returncode in (0, 1), (result.returncode, result.stderr)
        assert result.stdout, result.stderr
        told = json.loads(result.stdout)
        assert result.returncode == int(told["level"] == "fail")
        return told

    def cause(self) -> Any:
        """What the doctor names first; None when all is well."""
        return self.doctor()["cause"]

    def follow(self, command: str) -> None:
        """Do what was printed. There is no systemd here: what it would do with clatnm is done to our daemon."""
        for part in command.split(" && "):
            match part.split():
                case ["systemctl", ("enable" | "start"), *_]:
                    self.start()
                case ["systemctl", "restart", "clatnm"]:
                    self.restart()
                case ["systemctl", "reload", "clatnm"]:
                    self.reload()
                case _:
                    self.host.run("sh", "-c", part)
