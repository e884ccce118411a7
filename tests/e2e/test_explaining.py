# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm explain`, `clatnm plan`, and traces that replay as they were."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e import clat
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.poll import eventually
from tests.lab.system import VENV_BIN

FIRST = "64:ff9b::/96"
TRANSLATED = "2001:db8:64::/96"  # what the router of A makes of it
TRACE = "/run/clatnm/trace"
ON = "yes"


def explain(host: Host, connection: str = "netA") -> dict[str, Any]:
    """What `explain --json` says of the only connection of this name."""
    (told,) = json.loads(host.clatnm("explain", "--json", connection).stdout)
    return dict(told)


def answers(told: dict[str, Any]) -> dict[str, str]:
    """Reason → what was answered to its question."""
    return {row["reason"]: row["answer"] for row in told["questions"]}


def fact(told: dict[str, Any], what: str) -> str:
    """The value of one piece of evidence."""
    (value,) = (str(row["value"]) for row in told["evidence"] if row["what"] == what)
    return value


def assert_explained(host: Host, reason: str) -> dict[str, Any]:
    """The reason is told as such, its question is the only no, and the text says it first."""
    told = explain(host)
    assert (told["state"], told["reason"]) == ("off", reason)
    replies = answers(told)
    assert replies[reason] == "no"
    assert list(replies.values()).count("no") == 1
    assert told["explanation"] in told["decisions"][-1]["text"]
    first, *rest = host.clatnm("explain", "netA").stdout.splitlines()
    assert first == f"up0 “netA” has no CLAT: {told['explanation']}"
    assert "What would change it:" in rest
    return told


def test_connection_is_explained_by_name_uuid_and_interface(clean_lab: Lab) -> None:
    joined = clat.join(clean_lab)
    uuid = str(clat.connection(joined.daemon)["uuid"])
    texts = {joined.host.clatnm("explain", which).stdout.partition("\n")[0] for which in ("netA", uuid, "up0")}
    assert texts == {"up0 “netA” has CLAT: the connection is IPv6-only, so it has CLAT"}
    told = explain(joined.host, uuid)
    assert (told["state"], told["reason"], set(answers(told).values())) == ("on", None, {ON})
    assert fact(told, "prefix").startswith(f"{FIRST}, chosen, from fe80::1, ")
    assert fact(told, "source ra") == f"fe80::1 announces {FIRST}"
    assert all("CLAT up" in decision["text"] for decision in told["decisions"][-1:])


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["text", "json"])
def test_unknown_connection_is_one_line_and_status_2(clean_lab: Lab, options: tuple[str, ...]) -> None:
    joined = clat.join(clean_lab)
    result = joined.host.clatnm("explain", *options, "nowhere", check=False)
    expected = "error: there is no active connection 'nowhere' (see: clatnm status)\n"
    assert (result.returncode, result.stdout, result.stderr) == (2, "", expected)


def test_anybody_may_ask(clean_lab: Lab) -> None:
    joined = clat.join(clean_lab)
    # The tests may be somewhere where only root can read, as in /root.
    reading = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *reading, "--")
    result = joined.host.run(*nobody, str(VENV_BIN / "clatnm"), "explain", "up0")
    assert result.stdout.startswith("up0 “netA” has CLAT: ")


def test_network_that_tells_no_prefix_is_explained(clean_lab: Lab) -> None:
    clean_lab.a.ra(pref64=[])
    clean_lab.a.dns("plain")
    joined = clat.join(clean_lab, wait=False)
    clat.wait_off(joined.daemon, "no-pref64")
    eventually(lambda: "asking" not in clat.connection(joined.daemon)["evidence"], message="all have answered")
    told = assert_explained(joined.host, "no-pref64")
    assert fact(told, "source ra") == "fe80::1 announces none"
    assert fact(told, "source dns64").endswith(" says NODATA")
    assert answers(told)["plat-unreachable"] == "not asked"


def test_native_ipv4_is_explained(clean_lab: Lab) -> None:
    clean_lab.host.plug("up0", "b")
    joined = clat.join(clean_lab, ipv4="auto", wait=False)
    clat.wait_off(joined.daemon, "native-ipv4")
    told = assert_explained(joined.host, "native-ipv4")
    assert fact(told, "ipv4").startswith("native")


def test_switching_it_off_and_on_is_explained_and_remembered(clean_lab: Lab) -> None:
    joined = clat.join(clean_lab)
    joined.host.clatnm("set", "netA", "no")
    clat.wait_off(joined.daemon, "opted-out")
    told = assert_explained(joined.host, "opted-out")
    assert told["change"] == "Switch it on: clatnm set netA auto"
    joined.host.clatnm("set", "netA", "auto")
    clat.wait_on(joined.daemon)
    decisions = [decision["text"] for decision in explain(joined.host)["decisions"]]
    assert [text.partition(",")[0] for text in decisions] == ["up0: CLAT up", "up0: no CLAT", "up0: CLAT up"]
    assert [text for text in joined.daemon.log().splitlines() if text.startswith(("up0: CLAT", "up0: no"))] == decisions


@pytest.fixture
def no_way(clean_lab: Lab) -> Iterator[Lab]:
    """The router of A says that there is no way to its NAT64."""
    clean_lab.a.ip("-6", "route", "del", TRANSLATED)
    clean_lab.a.ip("-6", "route", "add", "unreachable", TRANSLATED)
    yield clean_lab
    clean_lab.a.ip("-6", "route", "del", TRANSLATED)
    clean_lab.a.ip("-6", "route", "add", TRANSLATED, "dev", "nat64")


def test_nat64_that_is_not_there_is_explained(no_way: Lab) -> None:
    no_way.host.path("/etc/clatnm/clatnm.conf").write_text(f"[clatnm]\nplat-check-targets = {clat.INET}\n")
    joined = clat.join(no_way, wait=False)
    clat.wait_off(joined.daemon, "plat-unreachable", timeout_s=20)
    told = assert_explained(joined.host, "plat-unreachable")
    assert fact(told, f"plat {FIRST}").startswith("dead")


# clatnm plan


@pytest.fixture
def connected(clean_lab: Lab) -> Lab:
    """The host is in A, without clatnm."""
    clean_lab.host.dad(False)
    clean_lab.host.add_profile("netA", "up0")
    clean_lab.host.up("netA")
    eventually(clean_lab.host.has_ipv6, message="IPv6 in A")
    return clean_lab


def test_plan_without_a_daemon_tells_the_steps_and_takes_none(connected: Lab) -> None:
    host = connected.host
    before = host.snapshot()
    text = host.clatnm("plan").stdout
    assert "start clat-up0 (" in text
    (scene,) = map(json.loads, host.clatnm("plan", "--json").stdout.splitlines())
    ((step,), (told,)) = scene["steps"], scene["connections"]
    assert (step["step"], step["device"], step["prefix"]) == ("start", "clat-up0", FIRST)
    assert (told["interface"], told["reason"]) == ("up0", None)
    assert not before.diff(host.snapshot())
    assert clat.translators(host) == []
    daemon = host.daemon()
    assert clat.wait_on(daemon)["translator"]["clat_v6"] == step["clat_v6"], "as it was planned"


def test_plan_of_a_settled_daemon_is_empty(connected: Lab) -> None:
    daemon = connected.host.daemon()
    clat.wait_on(daemon)
    result = connected.host.clatnm("plan", check=False)
    assert (result.returncode, result.stderr) == (3, "")
    assert "nothing to do" in result.stdout


def recorded(lab: Lab) -> tuple[list[str], str]:
    """What a daemon has done, as its log says, and the trace that it wrote meanwhile."""
    host = lab.host
    lab.a.dns("plain")
    daemon = host.daemon("-v", "--record", TRACE)
    clat.wait_on(daemon)
    host.clatnm("set", "netA", "no")
    clat.wait_off(daemon, "opted-out")
    host.clatnm("set", "netA", "auto")
    clat.wait_on(daemon)
    lab.a.ra(pref64=[[FIRST, 0]])
    clat.wait_off(daemon, "no-pref64")
    assert daemon.stop() == 0
    words = {"up0: CLAT up": "start", "up0: no CLAT": "stop"}
    heads = (line.partition(",")[0] for line in daemon.log().splitlines())
    return [words[head] for head in heads if head in words], host.path(TRACE).read_text()


def test_replayed_trace_starts_and_stops_as_the_daemon_did(connected: Lab) -> None:
    host = connected.host
    done, text = recorded(connected)
    assert done == ["start", "stop", "start", "stop"]
    before = host.snapshot()
    scenes = [json.loads(line) for line in host.clatnm("plan", "--json", "--replay", TRACE).stdout.splitlines()]
    steps = [step for scene in scenes for step in scene["steps"]]
    assert [step["step"] for step in steps if step["step"] != "update"] == done
    assert {(step["device"], step["prefix"]) for step in steps} == {("clat-up0", FIRST)}
    assert scenes[-1]["connections"][0]["reason"] == "no-pref64"
    piped = host.clatnm("plan", "--json", "--replay", "-", stdin=text)
    assert [json.loads(line) for line in piped.stdout.splitlines()] == scenes
    assert not before.diff(host.snapshot())
    assert host.path(TRACE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param("hello\n", id="no-json"),
        pytest.param("[]\n", id="no-object"),
        pytest.param('{"at": 1, "world": {"links": {"up0": {"index": "one"}}}}\n', id="no-world"),
        pytest.param("\0\0\0", id="zeros"),
        pytest.param("[" * 100_000, id="deep"),
    ],
)
def test_garbage_for_a_trace_is_one_line_and_status_2(clean_lab: Lab, garbage: str) -> None:
    result = clean_lab.host.clatnm("plan", "--replay", "-", check=False, stdin=garbage)
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: -: line 1 is not of a trace: ")


@pytest.mark.parametrize("name", ["/nowhere", "/", "/bin/sh"])
def test_file_that_is_no_trace_is_one_line_and_status_2(clean_lab: Lab, name: str) -> None:
    result = clean_lab.host.clatnm("plan", "--replay", name, check=False)
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: {name}: ")
