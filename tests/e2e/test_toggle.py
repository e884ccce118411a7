# SPDX-License-Identifier: GPL-2.0-or-later
"""The mode of a connection, toggled by nmcli alone and by `clatnm set`: kept, obeyed at once, and disturbing nobody."""

from __future__ import annotations

import pytest

from tests.e2e import clat, flows, toggle
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.poll import eventually
from tests.lab.system import VENV_BIN

NUMBERS = {"no": 0, "auto": 1, "force": 2}
SECRET = "correct horse battery staple"


def resolv_conf(host: Host) -> str:
    return host.system_path("/etc/resolv.conf").read_text()


def switched(joined: clat.Joined, number: int) -> None:
    """Say it with nmcli, and wait until it is so."""
    toggle.token(joined.host, number)
    if number:
        clat.wait_on(joined.daemon)
        clat.ping(joined.host)
    else:
        clat.wait_off(joined.daemon, "opted-out")
        clat.wait_no_device(joined.host)


# nmcli alone


def test_option_is_kept_in_the_profile_and_told_to_nobody(quick_lab: Lab) -> None:
    joined = clat.join(quick_lab)
    host = joined.host
    eventually(lambda: "nameserver" in resolv_conf(host), message="NetworkManager writes resolv.conf")
    before = resolv_conf(host)
    toggle.token(host, 1)
    assert "dns-options=clatnm:1;" in toggle.keyfile(host)
    assert host.nmcli("-g", toggle.OPTIONS, "connection", "show", "netA").stdout.strip() == r"clatnm\:1"
    host.up("netA")  # what it tells others is as of now
    clat.wait_on(joined.daemon)
    eventually(lambda: resolv_conf(host) == before, message="resolv.conf is as before")
    assert "clatnm" not in toggle.told_to_everybody(host)
    assert joined.daemon.status()["connections"][0]["mode"] == "auto"
    host.nmcli("connection", "modify", "netA", f"-{toggle.OPTIONS}", "clatnm:1")
    assert toggle.places(host) == []


def test_option_is_not_told_to_systemd_resolved(quick_lab: Lab) -> None:
    host = quick_lab.host
    host.nm_stop()
    service = toggle.resolved(host)
    host.nm_start(extra_config="[main]\ndns=systemd-resolved\n")
    joined = clat.join(quick_lab)
    eventually(lambda: "SetLinkDNS" in service.log(), message="NetworkManager tells the resolver about the link")
    host.down("netA")
    toggle.token(host, 1)
    heard = len(service.log())
    host.up("netA")
    clat.wait_on(joined.daemon)
    eventually(lambda: "SetLinkDNS" in service.log()[heard:], message="NetworkManager tells it again")
    assert "clatnm" not in service.log() + resolv_conf(host)


def test_option_of_nmcli_switches_at_once(quick_lab: Lab) -> None:
    joined = clat.join(quick_lab)
    for number in (0, 1, 0, 2, 1, 0):
        switched(joined, number)
        mode = next(mode for mode, its in NUMBERS.items() if its == number)
        assert toggle.facts(joined.host) == [("mode", mode, "ipv6.dns-options")]
    joined.host.nmcli("connection", "modify", "netA", f"-{toggle.OPTIONS}", "clatnm:0")
    clat.wait_on(joined.daemon)
    assert toggle.facts(joined.host) == [("mode", "auto", "default")]


def test_option_of_nmcli_goes_before_the_default_and_behind_the_file(quick_lab: Lab) -> None:
    host = quick_lab.host
    host.path("/etc/clatnm/clatnm.conf").write_text("[clatnm]\nmode = no\n")
    joined = clat.join(quick_lab, wait=False)
    clat.wait_off(joined.daemon, "opted-out")
    switched(joined, 1)
    uuid = clat.connection(joined.daemon)["uuid"]
    own_file = f"/etc/clatnm/connections.d/{uuid}.conf"
    host.path("/etc/clatnm/connections.d").mkdir()
    host.path(own_file).write_text("[clatnm]\nmode = no\n")
    host.run("kill", "-HUP", str(joined.daemon.pid))
    clat.wait_off(joined.daemon, "opted-out")
    assert toggle.facts(host) == [
        ("mode", "no", own_file),
        ("mode, overruled", "auto", "ipv6.dns-options"),
        ("mode, overruled", "no", "/etc/clatnm/clatnm.conf"),
    ]


def test_option_that_makes_no_sense_is_ignored_aloud_and_once(quick_lab: Lab) -> None:
    joined = clat.join(quick_lab)
    toggle.token(joined.host, 7)
    ignored = ("mode, ignored", "clatnm:7: clatnm:0 is no, clatnm:1 auto, clatnm:2 force", "ipv6.dns-options")
    eventually(lambda: ignored in toggle.facts(joined.host), message="it is explained")
    joined.host.modify("netA", {"connection.zone": ""})  # the profile is read again
    joined.host.down("netA")
    joined.host.up("netA")
    clat.wait_on(joined.daemon)
    assert toggle.facts(joined.host) == [("mode", "auto", "default"), ignored]
    complaint = "connection 'netA': 'clatnm:7' in ipv6.dns-options is ignored"
    assert joined.daemon.log().count(complaint) == 1


# clatnm set


@pytest.mark.parametrize("mode", list(NUMBERS))
def test_set_writes_one_place_and_clears_the_others(quick_lab: Lab, mode: str) -> None:
    host = quick_lab.host
    host.add_profile("netA", "up0", {"ipv4.method": "auto", "ipv6.dns-options": "clatnm:0,ndots:2"})
    host.set_user_data("netA", {"clatnm.mode": "0", "other.key": "kept"})
    before = [line for line in toggle.keyfile(host) if "clatnm" not in line and "dns-options" not in line]
    host.clatnm("set", "netA", mode)
    ours = f"clat={NUMBERS[mode]}" if toggle.native(host) else f"clatnm.mode={mode}"
    assert toggle.places(host) == [ours]
    kept = toggle.keyfile(host)
    assert {"dns-options=ndots:2;", "other.key=kept"} <= set(kept)
    assert [line for line in kept if line != ours and "dns-options" not in line] == before
    again = host.clatnm("set", "netA", mode, check=False)
    assert (again.returncode, "is already" in again.stdout) == (3, True)


def test_set_default_leaves_nothing_of_ours(quick_lab: Lab) -> None:
    joined = clat.join(quick_lab)
    host = joined.host
    host.clatnm("set", "netA", "no")
    clat.wait_off(joined.daemon, "opted-out")
    host.clatnm("set", "netA", "default")
    clat.wait_on(joined.daemon)
    assert toggle.places(host) == []
    assert toggle.facts(host) == [("mode", "auto", "default")]
    assert host.clatnm("set", "netA", "default", check=False).returncode == 3


def test_set_keeps_secrets(quick_lab: Lab) -> None:
    host = quick_lab.host
    eap = {"802-1x.eap": "peap", "802-1x.identity": "me", "802-1x.phase2-auth": "mschapv2"}
    host.add_profile("netA", "up0", {**eap, "802-1x.password": SECRET})
    for mode in ("no", "force", "default", "auto", "default"):
        host.clatnm("set", "netA", mode)
        # With `default`, all secrets go unless the setting `user` stays.
        assert f"password={SECRET}" in toggle.keyfile(host)
    shown = host.nmcli("-s", "-g", "802-1x.password", "connection", "show", "netA").stdout
    assert shown.strip() == SECRET


def test_set_for_all_is_obeyed_at_once(quick_lab: Lab) -> None:
    joined = clat.join(quick_lab)
    host, conf = joined.host, joined.host.path("/etc/clatnm/clatnm.conf")
    conf.write_text("# mine\n[clatnm]\n#mode = auto\ndrain = 60  # a minute\n")
    assert host.clatnm("set", "--default", "no").stdout == "default CLAT mode is now no\n"
    clat.wait_off(joined.daemon, "opted-out")
    assert conf.read_text() == "# mine\n[clatnm]\n#mode = auto\nmode = no\ndrain = 60  # a minute\n"
    toggle.token(host, 1)
    clat.wait_on(joined.daemon)
    assert host.clatnm("set", "--default", "auto").stdout == "default CLAT mode is now auto\n"
    assert joined.daemon.log().count("configuration read again") == 2


# Who may


def test_user_whom_networkmanager_refuses_changes_nothing(quick_lab: Lab) -> None:
    host = quick_lab.host
    host.nm_stop()
    host.nm_start(extra_config="[main]\nauth-polkit=root-only\n")
    joined = clat.join(quick_lab)
    before = toggle.keyfile(host)
    # The tests may be somewhere where only root can read, as in /root.
    reading = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *reading, "--")
    nmcli = host.run(*nobody, "nmcli", "connection", "modify", "netA", "+ipv6.dns-options", "clatnm:0", check=False)
    assert nmcli.returncode != 0 and "nsufficient privileges" in nmcli.stderr, nmcli
    for words in (("netA", "no"), ("--default", "no")):
        ours = host.run(*nobody, str(VENV_BIN / "clatnm"), "set", *words, check=False)
        assert (ours.returncode, ours.stdout, ours.stderr.count("\n")) == (1, "", 1), ours
        assert ours.stderr.startswith("error: ")
    assert toggle.keyfile(host) == before
    assert not host.path("/etc/clatnm/clatnm.conf").exists()
    clat.wait_on(joined.daemon)
    host.clatnm("set", "netA", "no")  # root may
    clat.wait_off(joined.daemon, "opted-out")


# Whom it disturbs


def test_toggling_disturbs_no_download_over_native_ipv4(quick_lab: Lab) -> None:
    quick_lab.a.dhcp4("on")
    joined = clat.join(quick_lab, ipv4="auto", wait=False)
    host = joined.host
    clat.wait_off(joined.daemon, "native-ipv4")
    with flows.download(host, clat.INET) as flow:
        assert flow.source.startswith("192.168.1.")
        for number in (2, 0, 2, 1):
            toggle.token(host, number)
            if number == NUMBERS["force"]:
                clat.wait_on(joined.daemon)
            else:
                clat.wait_off(joined.daemon, "opted-out" if number == 0 else "native-ipv4")
            flow.further()
            assert flows.source_of_new(host, clat.INET).startswith("192.168.1.")
        for mode in ("no", "force", "default"):
            host.clatnm("set", "netA", mode)
            flow.further()
        flow.end()


def test_toggling_disturbs_no_download_of_another_connection(quick_lab: Lab) -> None:
    joined = clat.join(quick_lab)
    host = joined.host
    host.plug("up1", "c")
    with flows.download(host, clat.INET) as flow:
        assert flow.source.startswith("192.0.0.")
        host.add_profile("netC", "up1")
        host.up("netC")
        clat.wait_on(joined.daemon, "up1")
        pid = next(pid for pid in clat.translators(host))
        for number in (0, 1, 0, 2):
            toggle.token(host, number, "netC")
            if number:
                clat.wait_on(joined.daemon, "up1")
            else:
                clat.wait_off(joined.daemon, "opted-out", "up1")
            flow.further()
        for mode in ("no", "auto", "default"):
            host.clatnm("set", "netC", mode)
            flow.further()
        assert pid in clat.translators(host)
        flow.end()


def test_interface_stands_for_the_connection_on_it(quick_lab: Lab) -> None:
    joined = clat.join(quick_lab)
    host = joined.host
    assert "up0: CLAT mode is now no" in host.clatnm("set", "up0", "no").stdout
    clat.wait_off(joined.daemon, "opted-out")
    assert len(toggle.places(host)) == 1
    host.clatnm("set", "up0", "default")
    clat.wait_on(joined.daemon)
    assert toggle.places(host) == []
