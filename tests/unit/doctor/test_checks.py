# SPDX-License-Identifier: GPL-2.0-or-later
"""One fault after another: which check names it, how bad it is, and what is to be done."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clatnm.doctor import report
from clatnm.doctor.facts import Behind, Conf, DaemonState, Machine, Subject
from clatnm.doctor.findings import TITLES, Level, root_cause
from clatnm.kernel.machine import Neighbour, Way4
from clatnm.kernel.ping import Reach, Trial
from clatnm.model import (
    AroundVpn,
    Dhcp4,
    Dhcp4State,
    Mode,
    PrefixSource,
    Retry,
    Settings,
    SourceReport,
)
from tests.unit.doctor.cases import (
    ANSWERED,
    MACHINE,
    SILENT,
    a_running_world,
    a_subject,
    the_facts,
)
from tests.unit.doctor.tables import BOX, MACHINES, NATIVE, NO_PREFIX, SUBJECTS, a_vpn_world
from tests.unit.policy.worlds import NOW, a_link, a_route4, a_world, an_uplink


def first(*subjects: Subject, machine: Machine = MACHINE) -> tuple[str, str, str, str, str]:
    """Check, level, cause, remedy and command of what is named first."""
    found = root_cause(report.findings(the_facts(*subjects, machine=machine)))
    assert found is not None, "nothing is named"
    said = found.said
    return found.check, str(said.level), said.cause, said.remedy, said.command


def test_connection_that_is_well_has_no_cause() -> None:
    found = report.findings(the_facts(a_subject()))
    assert root_cause(found) is None
    assert [finding.check for finding in found] == list(TITLES)
    assert {finding.level for finding in found} == {Level.OK}


@pytest.mark.parametrize("name", MACHINES)
def test_fault_of_the_machine_is_named(name: str) -> None:
    changes, check, level, cause, command = MACHINES[name]
    found = first(a_subject(), machine=replace(MACHINE, **changes))
    assert (found[0], found[1], found[4]) == (check, level, command)
    assert cause in found[2]
    assert found[3]


@pytest.mark.parametrize("name", SUBJECTS)
def test_fault_of_a_connection_is_named(name: str) -> None:
    subject, check, level, cause, command = SUBJECTS[name]
    found = first(subject)
    assert (found[0], found[1], found[4]) == (check, level, command)
    assert cause in found[2]
    assert found[3]


def test_every_check_that_can_fail_is_made_to() -> None:
    named = {row[1] for row in MACHINES.values()} | {row[1] for row in SUBJECTS.values()}
    assert named | {"other"} == TITLES.keys()


@pytest.mark.parametrize(
    ("subject", "check"),
    [
        (a_subject(NATIVE), "native"),
        (a_subject(replace(NATIVE, settings=Settings(mode=Mode.NO))), "mode"),
        (a_subject(a_world(uplinks=[an_uplink(manager_clat="192.0.0.5")])), "manager"),
        (a_subject(a_world(uplinks=[an_uplink(is_vpn=True)])), "connection"),
    ],
    ids=["native", "off-beside-native", "manager", "vpn"],
)
def test_ipv4_by_others_is_well_and_no_more_is_asked(subject: Subject, check: str) -> None:
    found = report.findings(the_facts(subject))
    assert root_cause(found) is None
    own = [finding for finding in found if finding.interface]
    at = [finding.check for finding in own].index(check)
    assert {finding.level for finding in own[: at + 1]} == {Level.OK}
    assert {finding.level for finding in own[at + 1 :]} == {Level.SKIPPED}


@pytest.mark.parametrize("works", [True, False])
def test_other_translator_is_a_warning_if_it_works(works: bool) -> None:
    other = a_link("clat", index=7, ipv6=(), default6=(), ipv4=("192.0.0.1",), default4=(a_route4(gateway=None),))
    world = a_world(a_link(), other, uplinks=[an_uplink()])
    found = first(a_subject(world, ipv4=ANSWERED if works else SILENT))
    assert found[:2] == ("other", "warn" if works else "fail")
    assert "192.0.0.1 on clat" in found[2]


def test_what_depends_on_a_failure_is_skipped_and_the_rest_is_not() -> None:
    machine = replace(MACHINE, daemon=DaemonState.ABSENT, capabilities=None)
    found = {finding.check: finding for finding in report.findings(the_facts(a_subject(), machine=machine))}
    assert found["daemon"].level is Level.FAIL
    assert (found["tun"].level, found["pref64"].level, found["plat"].level) == (Level.OK,) * 3
    assert found["translator"].said.cause == "not asked, because of daemon"
    assert found["mtu"].said.cause == "not asked, because of daemon"


@pytest.mark.parametrize(
    ("behind", "level", "cause"),
    [
        ((), "ok", "nobody is known to be behind this host"),
        ((Behind(device="br0"),), "ok", "nothing is known to drop what comes from br0"),
        (None, "skipped", "root sees whether a firewall drops what comes from br0"),
    ],
)
def test_others_behind_this_host_are_no_fault(behind: tuple[Behind, ...] | None, level: str, cause: str) -> None:
    found = report.findings(the_facts(a_subject(lans=(BOX,), behind=behind)))
    assert root_cause(found) is None
    assert (found[-1].check, str(found[-1].level), found[-1].said.cause) == ("forward", level, cause)


def test_what_others_send_by_another_way_is_not_dropped_before_the_clat() -> None:
    kept = SUBJECTS["dropped-for-others"][0]
    found = report.findings(the_facts(replace(kept, way=Way4(interface="eth9", source=None))))
    assert root_cause(found) is None
    assert found[-1].said.cause == "theirs goes by eth9, too"


def test_ordinary_user_hears_what_root_would_add() -> None:
    machine = replace(MACHINE, as_root=False, leftovers=None)
    facts = the_facts(a_subject(plat=Trial(), router=Trial(), neighbour=Neighbour.UNSURE), machine=machine)
    found = report.findings(facts)
    assert root_cause(found) is None
    assert [line.partition(":")[0] for line in report.root_adds(facts)] == ["router", "plat", "firewall"]
    assert "Root would also see:" in report.as_text(found, facts)


def test_without_daemon_and_root_the_link_is_still_looked_at() -> None:
    machine = Machine(as_root=False, daemon=DaemonState.ABSENT)
    s = Subject(interface="wlan0", name="wlan0", link=a_link(carrier=False))
    found = {finding.check: finding.level for finding in report.findings(the_facts(s, machine=machine))}
    assert (found["daemon"], found["link"], found["pref64"]) == (Level.FAIL, Level.FAIL, Level.SKIPPED)
    s = replace(s, link=a_link())
    found = {finding.check: finding.level for finding in report.findings(the_facts(s, machine=machine))}
    known = [check for check in list(TITLES)[list(TITLES).index("connection") :] if found[check] is Level.OK]
    assert known == ["connection", "link", "address", "ipv6-route", "router"], "nothing is said to be well unseen"


@pytest.mark.parametrize("state", [None, *Dhcp4State])
def test_dhcp4_is_told_and_is_no_fault(state: Dhcp4State | None) -> None:
    dhcp4 = {} if state is None else {"wlan0": Dhcp4(state=state, since=NOW)}
    found = report.findings(the_facts(a_subject(replace(a_running_world(), dhcp4=dhcp4))))
    assert root_cause(found) is None


def test_sources_are_quoted_where_nobody_tells_a_prefix() -> None:
    told = SourceReport(source=PrefixSource.DNS64, settled=True, detail="2001:db8::53 says NXDOMAIN", since=NOW)
    found = first(a_subject(replace(NO_PREFIX, reports={"wlan0": (told,)})))
    assert "dns64: 2001:db8::53 says NXDOMAIN" in found[2]


def test_longer_packets_than_routers_allow_are_no_fault() -> None:
    found = report.findings(the_facts(a_subject(reach=Reach(longest_bytes=1300, told=True))))
    assert root_cause(found) is None


def test_addresses_that_other_hosts_have_are_counted_and_no_fault() -> None:
    refused = {"wlan0": Retry(failures=0, error="", not_before=0.0, collisions=2)}
    found = report.findings(the_facts(a_subject(replace(a_running_world(), retries=refused))))
    assert root_cause(found) is None
    (said,) = (finding.said.cause for finding in found if finding.check == "clat-address")
    assert said.endswith("duplicate address detection refused 2, which other hosts have")


def test_bypass_is_not_in_the_way() -> None:
    world = replace(a_vpn_world(ipv6="tun0"), settings=Settings(vpn=AroundVpn.BYPASS))
    found = {finding.check: finding.level for finding in report.findings(the_facts(a_subject(world)))}
    assert found["vpn"] is Level.OK


def test_name_that_looks_like_an_option_is_replaced_by_the_uuid() -> None:
    odd = replace(an_uplink(mode=Mode.NO), name="-rf")
    found = first(a_subject(a_world(uplinks=[odd])))
    assert found[4] == f"clatnm set {odd.uuid} auto"


def test_key_that_is_set_already_is_changed_in_place() -> None:
    conf = Conf(has_section=True, written=frozenset({"mtu"}))
    edit = (
        "sed -i 's|^[[:space:]]*mtu[[:space:]]*[=:].*|mtu = 1300|' /etc/clatnm/clatnm.conf && systemctl reload clatnm"
    )
    assert conf.edit("mtu", "1300") == edit
    assert Conf().edit("mtu", "1300") == ""
