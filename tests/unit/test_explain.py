# SPDX-License-Identifier: GPL-2.0-or-later
"""Why a connection has CLAT or not, in words that a desktop user understands."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clatnm import explain
from clatnm.journal import Decision
from clatnm.model import (
    Dhcp4,
    Dhcp4State,
    Mode,
    PlatHealth,
    PlatState,
    PrefixCandidate,
    PrefixSource,
    Reason,
    Retry,
    Settings,
    SourceReport,
    ToldMode,
    World,
)
from clatnm.policy.plan import decide
from clatnm.policy.verdict import RULES
from tests.unit.policy.test_verdict import REFUSALS
from tests.unit.policy.worlds import (
    NOW,
    OWN_PREFIX,
    UUID,
    WELL_KNOWN,
    a_candidate,
    a_link,
    a_route4,
    a_told_mode,
    a_world,
    an_uplink,
    run_all,
    the_plan,
)

DOCS = Path(__file__).resolve().parents[2] / "docs"

DECISIONS = (Decision(at=0.0, text="wlan0: CLAT up"),)


def told(world: World, *, decisions: tuple[Decision, ...] = ()) -> dict[str, Any]:
    """The explanation of the only connection; it must be JSON, and have a text."""
    (verdict,) = decide(world, NOW)
    found = explain.explanation(verdict, world, world.running, decisions, NOW)
    assert json.loads(json.dumps(found)) == found
    text = explain.as_text(found)
    assert found["explanation"] in text
    return found


def facts(found: dict[str, Any]) -> dict[str, tuple[str, str, int | None]]:
    return {fact["what"]: (fact["value"], fact["source"], fact["age_s"]) for fact in found["evidence"]}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusal_is_explained_by_the_question_that_refused(name: str) -> None:
    world, reason = REFUSALS[name]
    found = told(world)
    answers = {row["reason"]: row["answer"] for row in found["questions"]}
    position = list(answers).index(str(reason))
    expected = ["yes"] * position + ["no"] + ["not asked"] * (len(answers) - position - 1)
    assert list(answers.values()) == expected
    assert found["reason"] == str(reason)
    assert found["state"] == "off"


def test_running_connection_has_all_answers() -> None:
    found = told(replace(a_world(), running=run_all(the_plan(a_world()))))
    assert {row["answer"] for row in found["questions"]} == {"yes"}
    assert (found["state"], found["reason"]) == ("on", None)
    assert "clatnm set 'Net of wlan0' no" in found["change"]
    assert "has CLAT" in explain.as_text(found)


def test_every_reason_has_a_question_and_a_remedy() -> None:
    assert set(explain.WORDS) == set(Reason)
    for words in explain.WORDS.values():
        assert words.question.endswith("?")
        assert words.remedy


def test_questions_are_asked_in_the_order_of_the_rules() -> None:
    order = [row["reason"] for row in told(a_world())["questions"]]
    assert order[: len(RULES)] == [str(reason) for reason, _ in RULES]
    assert set(order) == set(map(str, Reason))


@pytest.mark.parametrize(
    ("page", "section"), [("how-it-decides", "## The question"), ("decisions", "## The questions")]
)
def test_documents_ask_in_the_same_order(page: str, section: str) -> None:
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8").partition(f"{section}\n")[2].partition("\n## ")[0]
    order = [row["reason"] for row in told(a_world())["questions"]]
    named = dict.fromkeys(re.findall(r"`([a-z0-9-]+)`", text))
    assert [word for word in named if word in set(map(str, Reason))] == order


NETWORKD = replace(an_uplink(), manager="systemd-networkd")
OWN_FILE = f"/etc/clatnm/connections.d/{UUID}.conf"


@pytest.mark.parametrize(
    ("world", "how"),
    [
        pytest.param(
            a_world(uplinks=[replace(NETWORKD, told_modes=(a_told_mode(Mode.NO),))]),
            "Switch it on: `Mode=auto` in a section [X-Clatnm] of its .network file",
            id="networkd-off",
        ),
        pytest.param(
            a_world(uplinks=[NETWORKD]), "`Mode=no` in a section [X-Clatnm] of its .network file", id="networkd-on"
        ),
        pytest.param(
            a_world(uplinks=[replace(NETWORKD, manager="nobody", uuid=NETWORKD.interface)]),
            f"`mode = no` in /etc/clatnm/connections.d/{NETWORKD.interface}.conf",
            id="plain-interface",
        ),
        pytest.param(
            a_world(settings=Settings(connections={UUID: Settings(mode=Mode.NO, written=frozenset({"mode"}))})),
            f"Switch it on: `mode = auto` in {OWN_FILE}",
            id="own-file",
        ),
        pytest.param(
            a_world(a_link(ipv4=("192.168.2.7",), default4=(a_route4(),)), uplinks=[NETWORKD]),
            "To have both: `Mode=force` in a section [X-Clatnm] of its .network file",
            id="networkd-native",
        ),
    ],
)
def test_mode_is_switched_where_it_is_kept(world: World, how: str) -> None:
    found = told(world)
    assert found["change"].endswith(how)
    assert "clatnm set" not in found["change"]


def test_ipv4_switched_off_is_known_from_the_manager() -> None:
    found = told(a_world(uplinks=[replace(an_uplink(), ipv4_disabled=True)]))
    assert facts(found)["ipv4"] == ("switched off in the profile", "NetworkManager", None)


def test_nat64_that_has_not_answered_is_said_to_be_unknown() -> None:
    health = PlatHealth(state=PlatState.UNKNOWN, since=NOW - 1)
    found = told(replace(a_world(), plats={("wlan0", WELL_KNOWN): health}))
    assert facts(found)[f"plat {WELL_KNOWN}"] == ("not known yet", "probe", 1)


def test_values_stand_in_one_column() -> None:
    alive = PlatHealth(state=PlatState.ALIVE, since=NOW)
    lines = explain.as_text(told(replace(a_world(), plats={("wlan0", WELL_KNOWN): alive}))).splitlines()
    known = lines[lines.index("What is known:") + 1 : lines.index("What would change it:") - 1]
    values = ("auto", "none", "yes", str(WELL_KNOWN), "alive")
    columns = {line.rindex(value) for line, value in zip(known, values, strict=True)}
    assert columns == {len(f"  plat {WELL_KNOWN}  ")}


def test_remedy_names_the_connection() -> None:
    found = told(a_world(uplinks=[an_uplink(mode=Mode.NO)]))
    assert found["change"] == "Switch it on: clatnm set 'Net of wlan0' auto"


def test_evidence_has_source_and_age() -> None:
    world = replace(
        a_world(prefixes={"wlan0": (replace(a_candidate(), heard_at=NOW - 7, fading=True), a_candidate(OWN_PREFIX))}),
        reports={
            "wlan0": (SourceReport(source=PrefixSource.DNS64, settled=True, detail="says NXDOMAIN", since=NOW - 40),)
        },
        plats={("wlan0", OWN_PREFIX): PlatHealth(state=PlatState.ALIVE, since=NOW - 2, detail="1.1.1.1 answered")},
        dhcp4={"wlan0": Dhcp4(state=Dhcp4State.REFUSED, since=NOW - 9, until=NOW + 291)},
        retries={"wlan0": Retry(failures=1, error="no device", not_before=NOW + 3)},
    )
    found = told(world)
    assert facts(found) == {
        "mode": ("auto", "default", None),
        "ipv4": ("the network does without (DHCPv4 option 108)", "overheard", None),
        "dhcp4": ("the network wants hosts without IPv4 (option 108)", "overheard", 9),
        "ipv6": ("yes", "kernel", None),
        "prefix": (f"{OWN_PREFIX}, chosen, from fe80::1, 1800 s left", "ra", None),
        "source dns64": ("says NXDOMAIN", "dns64", 40),
        f"plat {OWN_PREFIX}": ("alive, 1.1.1.1 answered", "probe", 2),
        "failure": ("no device; next try in 3 s", "translator", None),
    }
    (first, _) = [fact for fact in found["evidence"] if fact["what"] == "prefix"]
    assert first["value"] == f"{WELL_KNOWN}, about to be replaced, from fe80::1, 1800 s left"
    assert first["age_s"] == 7


@pytest.mark.parametrize(
    ("world", "source"),
    [
        pytest.param(a_world(), "default", id="nobody"),
        pytest.param(
            a_world(settings=Settings(mode=Mode.FORCE, written=frozenset({"mode"}))),
            "/etc/clatnm/clatnm.conf",
            id="global",
        ),
        pytest.param(a_world(uplinks=[an_uplink(mode=Mode.FORCE)]), "ipv6.dns-options", id="profile"),
        pytest.param(
            a_world(
                uplinks=[an_uplink(mode=Mode.NO)],
                settings=Settings(connections={UUID: Settings(mode=Mode.FORCE, written=frozenset({"mode"}))}),
            ),
            f"/etc/clatnm/connections.d/{UUID}.conf",
            id="own-file",
        ),
    ],
)
def test_mode_says_where_it_comes_from(world: World, source: str) -> None:
    mode, where, _ = facts(told(world))["mode"]
    assert where == source
    assert mode == ("auto" if source == "default" else "force")


def test_mode_has_all_that_is_said_about_it() -> None:
    modes = (
        ToldMode(source="user data clatnm.mode", text="maybe", mode=None, fault="one of: auto, force, no"),
        a_told_mode(Mode.NO),
        a_told_mode(Mode.AUTO, "ipv4.clat"),
    )
    settings = Settings(mode=Mode.FORCE, written=frozenset({"mode"}))
    rows = told(a_world(uplinks=[replace(an_uplink(), told_modes=modes)], settings=settings))["evidence"]
    assert [(row["what"], row["value"], row["source"]) for row in rows if row["what"].startswith("mode")] == [
        ("mode", "no", "ipv6.dns-options"),
        ("mode, ignored", "maybe: one of: auto, force, no", "user data clatnm.mode"),
        ("mode, overruled", "auto", "ipv4.clat"),
        ("mode, overruled", "force", "/etc/clatnm/clatnm.conf"),
    ]


def test_prefix_that_is_not_used_says_why() -> None:
    fallback = PrefixCandidate(prefix=WELL_KNOWN, source=PrefixSource.FALLBACK)
    waiting = (SourceReport(source=PrefixSource.RA, settled=False, detail="asked once", since=NOW),)
    found = told(replace(a_world(prefixes={"wlan0": (fallback,)}), reports={"wlan0": waiting}))
    assert facts(found)["prefix"][0] == f"{WELL_KNOWN}, not yet used"
    static = PrefixCandidate(prefix=OWN_PREFIX, source=PrefixSource.STATIC)
    found = told(a_world(prefixes={"wlan0": (a_candidate(), static)}))
    values = [fact["value"] for fact in found["evidence"] if fact["what"] == "prefix"]
    assert values[0].startswith(f"{WELL_KNOWN}, not used, one is set by hand")
    assert values[1] == f"{OWN_PREFIX}, chosen"


def test_text_has_decisions_and_no_control_characters() -> None:
    world = a_world(a_link("wlan0"), uplinks=[replace(an_uplink(), name="Caf\x1b[2Jé\n")], prefixes={})
    text = explain.as_text(told(world, decisions=DECISIONS))
    assert "\x1b" not in text
    assert "Caf\N{REPLACEMENT CHARACTER}[2Jé" in text
    assert text.endswith(" wlan0: CLAT up")
    assert explain.as_text(told(world)).endswith("none yet")


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("Home", "Home"),
        ("Net of wlan0", "'Net of wlan0'"),
        ("x'; reboot; '", "'x'\"'\"'; reboot; '\"'\"''"),
        ("$(reboot)", "'$(reboot)'"),
        ("-h", UUID),
        ("two\nlines", UUID),
        ("", UUID),
    ],
)
def test_command_that_people_copy_does_only_what_it_says(name: str, argument: str) -> None:
    found = told(a_world(uplinks=[replace(an_uplink(mode=Mode.NO), name=name)]))
    assert found["change"] == f"Switch it on: clatnm set {argument} auto"
    assert shlex.split(found["change"])[-2] in (name, UUID)


def test_forced_clat_is_explained_as_such() -> None:
    native = a_link(ipv4=("192.168.2.7",), default4=(a_route4(),))
    found = told(a_world(native, uplinks=[an_uplink(mode=Mode.FORCE)]))
    assert found["explanation"] == "it is forced to have CLAT"
    skipped = {row["reason"] for row in found["questions"] if row["answer"] == "not asked"}
    assert skipped == {"native-ipv4", "never-default", "plat-unreachable"}
    assert "ative IPv4" not in found["change"]


def test_check_that_is_switched_off_is_not_asked() -> None:
    found = told(a_world(settings=Settings(plat_check=False)))
    assert [row["reason"] for row in found["questions"] if row["answer"] == "not asked"] == ["plat-unreachable"]


@pytest.mark.parametrize(
    ("interface", "manager", "why", "change"),
    [
        pytest.param("eth0", "", "nobody manages it, neither", "`interfaces = eth0` in /etc/clatnm/", id="nobody"),
        pytest.param("eth0", "NetworkManager", "no connection is active on it", "nmcli device connect eth0", id="idle"),
        pytest.param("eth0", "systemd-networkd", "systemd-networkd manages it", "is a part of", id="port-of-a-bridge"),
        pytest.param("lo", "", "this machine alone", "Nothing.", id="loopback"),
        pytest.param("clat-eth0", "", "made by clatnm", "clatnm status", id="our-own"),
        pytest.param("a b", "", "nobody", "interfaces = 'a b'", id="odd-name"),
    ],
)
def test_interface_without_a_connection_is_explained(interface: str, manager: str, why: str, change: str) -> None:
    found = explain.unfollowed(interface, manager)
    assert found.keys() == told(a_world()).keys()
    assert why in found["explanation"]
    assert change in found["change"]
    text = explain.as_text(found).splitlines()
    assert text[0].startswith(f"{interface} has no CLAT: ")
    assert text[-1].strip() == found["change"]


def test_device_of_ours_with_another_name_is_no_idle_one() -> None:
    assert "made by clatnm" in explain.unfollowed("clat", "NetworkManager", own=True)["explanation"]
