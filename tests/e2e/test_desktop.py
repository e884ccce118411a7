# SPDX-License-Identifier: GPL-2.0-or-later
"""The desktop of an ordinary user: a real notification service, the real daemon, a real network."""

from __future__ import annotations

import json

import pytest

from tests.e2e import clat
from tests.e2e.desktop import Desktop
from tests.lab.daemon import Daemon
from tests.lab.lab import Lab
from tests.lab.poll import eventually

WORKS = "IPv4 works here through NAT64"
NO_NAT64 = "This network has no IPv4 and no NAT64"
NAME = "org.clatnm1.Notify"
IN_C = "2001:db8:64:0:c::/96"


def to_c(lab: Lab, daemon: Daemon) -> None:
    """Move the host into network C, which has another prefix."""
    lab.host.plug("up0", "c")

    def there() -> bool:
        told = clat.connection(daemon)
        return bool(told["state"] == "on" and told["translator"]["prefix"] == IN_C)

    eventually(there, timeout_s=30, message="a CLAT in C")


@pytest.mark.parametrize("library", ["dbus_next", "dbus_fast"])
def test_each_state_of_a_network_is_shown_once_in_one_place(quick_lab: Lab, library: str) -> None:
    quick_lab.a.ra(pref64=[])
    quick_lab.a.dns("plain")
    desktop = Desktop(quick_lab.host)
    notify = desktop.clatnm("notify", "-v", library=library)
    joined = clat.join(quick_lab, wait=False)
    clat.wait_off(joined.daemon, "no-pref64")
    eventually(lambda: desktop.displayed() == 1, timeout_s=30, message="a notification is shown")
    assert f"up0 “netA”: told: {NO_NAT64}" in notify.log()
    quick_lab.a.ra(pref64=[["64:ff9b::/96", 600]])
    clat.wait_on(joined.daemon)
    eventually(lambda: f"told: {WORKS}" in notify.log(), timeout_s=20, message="the next state is told")
    assert desktop.displayed() == 1
    assert notify.stop() == 0
    again = desktop.clatnm("notify", "-v", library=library)
    eventually(lambda: desktop.has(NAME), message="it runs again")
    assert desktop.run("notify").returncode == 3
    joined.daemon.kill()
    to_c(quick_lab, joined.host.daemon())
    eventually(lambda: "told: " in again.log(), timeout_s=20, message="another network is told of")
    assert again.log().count("told: ") == 1
    (shown,) = desktop.close_all()
    assert (shown.program, shown.title) == ("clatnm", WORKS)
    assert shown.body == "“netA” has IPv6 only. clatnm translates (2001:db8:64:0:c::/96) for programs that need IPv4."


@pytest.mark.parametrize("markup", [True, False], ids=["markup", "plain"])
def test_name_of_a_network_is_shown_as_it_is(quick_lab: Lab, markup: bool) -> None:
    """To a service that reads markup it is said in markup, to another one as it is."""
    desktop = Desktop(quick_lab.host, markup=markup)
    desktop.clatnm("notify")
    host, name = quick_lab.host, "<b>Café</b> & more"
    daemon = host.daemon()
    eventually(daemon.status, message="the daemon answers")
    host.add_profile(name, "up0", ipv4_method="disabled")
    host.up(name)
    clat.wait_on(daemon)
    eventually(lambda: desktop.displayed() == 1, timeout_s=20, message="a notification is shown")
    (shown,) = desktop.close_all()
    said = "&lt;b&gt;Café&lt;/b&gt; &amp; more" if markup else name
    assert shown.body.startswith(f"“{said}” has IPv6 only.")


def test_notification_service_may_come_and_go(quick_lab: Lab) -> None:
    """What is told afterwards is what is new; numbers of the old service mean nothing to the next one."""
    desktop = Desktop(quick_lab.host)
    notify = desktop.clatnm("notify", "-v")
    joined = clat.join(quick_lab)
    eventually(lambda: desktop.displayed() == 1, timeout_s=20, message="a notification is shown")
    desktop.service.stop()
    desktop.show()
    to_c(quick_lab, joined.daemon)
    eventually(lambda: desktop.displayed() == 1, timeout_s=20, message="the other network is told of")
    assert notify.log().count("told: ") == 2
    assert [shown.title for shown in desktop.close_all()] == [WORKS]


def test_indicator_shows_the_state_and_each_change(quick_lab: Lab) -> None:
    desktop = Desktop(quick_lab.host)
    assert desktop.run("indicator").stdout == "no clatnm\n"
    follow = desktop.clatnm("indicator", "--follow", "--format", "{state} {name}")
    joined = clat.join(quick_lab)
    eventually(lambda: follow.log().endswith("nat64 netA\n"), timeout_s=20, message="NAT64 is shown")
    waybar = json.loads(desktop.run("indicator", "--waybar").stdout)
    assert (waybar["text"], waybar["class"]) == ("NAT64", "nat64")
    assert waybar["tooltip"] == "up0 “netA”: IPv4 through NAT64 64:ff9b::/96"
    joined.host.clatnm("set", "netA", "no")
    eventually(lambda: follow.log().endswith("off netA\n"), timeout_s=20, message="off is shown")
    joined.daemon.stop()
    eventually(lambda: follow.log().endswith("stopped \n"), timeout_s=20, message="stopped is shown")
