# SPDX-License-Identifier: GPL-2.0-or-later
"""A real polkit decides about Poke and Reload of a user who is not root."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from clatnm.dbus import names
from tests.e2e import clat
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.poll import eventually

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAM = "/usr/lib/polkit-1/polkitd"
POLICY = "/usr/share/polkit-1/actions/org.clatnm1.policy"
RULES = "/etc/polkit-1/rules.d/10-lab.rules"
RULE = """\
polkit.addRule(function(action, subject) {
    if (action.id == "org.clatnm1.reload" && subject.user == "nobody")
        return polkit.Result.YES;
});
"""
DENIED = "Call failed: Access denied\n"
POKE, RELOAD = ("Poke", "s", "why"), ("Reload",)


@pytest.fixture
def polkit(clean_lab: Lab) -> Iterator[Host]:
    """The host with polkit, our actions, and a rule that lets nobody reload."""
    host = clean_lab.host
    if not host.system_path(PROGRAM).exists():
        pytest.skip("needs polkitd (package polkitd)")
    policy, rules = host.system_path(POLICY), host.system_path(RULES)
    policy.write_text((REPOSITORY / "packaging/polkit/org.clatnm1.policy").read_text())
    rules.write_text(RULE)
    service = host._spawn("polkitd", host._in_root(PROGRAM, "--no-debug"))
    try:
        eventually(
            lambda: host.run("pkaction", "--action-id", "org.clatnm1.reload"), message="polkit knows our actions"
        )
        yield host
    finally:
        service.stop()
        policy.unlink()
        rules.unlink()


def call_as_nobody(host: Host, *call: str) -> subprocess.CompletedProcess[str]:
    user = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--")
    where = (names.BUS_NAME, names.OBJECT_PATH, names.MANAGER_INTERFACE)
    return host.run(*user, "busctl", "call", *where, *call, check=False)


def test_user_may_do_what_polkit_lets_him_and_no_more(polkit: Host, clean_lab: Lab) -> None:
    daemon = clat.join(clean_lab).daemon
    told = call_as_nobody(polkit, *RELOAD)
    assert (told.returncode, told.stdout) == (0, 's ""\n'), told.stderr
    eventually(lambda: "configuration read again" in daemon.log(), message="it was read")
    told = call_as_nobody(polkit, *POKE)
    assert (told.returncode, told.stderr) == (1, DENIED)
    assert "poked: why" not in daemon.log()


def test_actions_take_an_administrators_password_by_default(polkit: Host) -> None:
    for action in ("org.clatnm1.poke", "org.clatnm1.reload"):
        said = polkit.run("pkaction", "--verbose", "--action-id", action).stdout
        assert "message:           Authentication is required to have clatnm" in said
        assert "implicit any:      auth_admin\n" in said
        assert "implicit active:   auth_admin_keep\n" in said


def test_without_polkit_only_root_may(clean_lab: Lab) -> None:
    daemon = clat.join(clean_lab).daemon
    for call in (POKE, RELOAD):
        told = call_as_nobody(clean_lab.host, *call)
        assert (told.returncode, told.stderr) == (1, DENIED)
    assert "poked: why" not in daemon.log()
    where = (names.BUS_NAME, names.OBJECT_PATH, names.MANAGER_INTERFACE)
    clean_lab.host.run("busctl", "call", *where, *POKE)
    eventually(lambda: "poked: why" in daemon.log(), message="root may")
