# SPDX-License-Identifier: GPL-2.0-or-later
"""Metrics, as the parsers of Prometheus' own library read them."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_classic

from clatnm import __version__
from clatnm.metrics import families
from clatnm.metrics.families import FAMILIES, absent, as_text
from tests.unit.metrics.a_daemon import UUIDS
from tests.unit.odd import json_values, mutated

REPOSITORY = Path(__file__).resolve().parents[3]
BY_NAME = {family.name: family for family in FAMILIES}
WLAN = {"interface": "wlan0", "uuid": UUIDS[0]}
RELAY = {"interface": "eth0", "uuid": "static.d/web"}


def parsed(page: str) -> dict[str, Metric]:
    return {family.name: family for family in read_openmetrics(page)}


def value(page: str, name: str, **labels: str) -> float | None:
    """The value of the sample that has exactly these labels."""
    found = [
        s.value for family in read_openmetrics(page) for s in family.samples if (s.name, s.labels) == (name, labels)
    ]
    assert len(found) <= 1
    return float(found[0]) if found else None


def test_page_is_openmetrics_with_type_unit_and_help_of_everything(status: dict[str, Any]) -> None:
    page = as_text(status)
    assert page.endswith("\n# EOF\n")
    found = parsed(page)
    assert found.keys() <= BY_NAME.keys()
    for name, family in found.items():
        ours = BY_NAME[name]
        assert (family.type, family.unit, family.documentation) == (str(ours.kind), ours.unit, ours.help)
        for sample in family.samples:
            own = set(ours.labels) | ({"interface", "uuid"} if ours.of_connection else set())
            assert (sample.name, set(sample.labels)) == (ours.sample, own)


def test_every_family_is_told_by_a_daemon_with_work(status: dict[str, Any]) -> None:
    assert parsed(as_text(status)).keys() == BY_NAME.keys()


def test_only_counters_and_gauges_are_used() -> None:
    """node_exporter's parser ends at any other type ("unknown metric type")."""
    assert {str(family.kind) for family in FAMILIES} == {"counter", "gauge"}


def test_older_format_keeps_the_types(status: dict[str, Any]) -> None:
    page = as_text(status, classic=True)
    assert "# EOF" not in page and "# UNIT" not in page
    found = {family.name: family for family in read_classic(page)}
    # This parser, too, takes `_total` off the names of counters.
    assert {name: family.type for name, family in found.items()} == {n: str(f.kind) for n, f in BY_NAME.items()}
    samples = {(s.name, tuple(s.labels.items()), s.value) for family in found.values() for s in family.samples}
    newer = {(s.name, tuple(s.labels.items()), s.value) for f in read_openmetrics(as_text(status)) for s in f.samples}
    assert samples == newer


def test_numbers_are_those_of_the_status(status: dict[str, Any]) -> None:
    page = as_text(status)
    (wlan,) = (item for item in status["connections"] if item["interface"] == "wlan0")
    counters = wlan["translator"]["counters"]
    assert value(page, "clatnm_up") == 1
    assert value(page, "clatnm_build_info", version=__version__) == 1
    assert value(page, "clatnm_default_mode", mode="auto") == 1
    assert value(page, "clatnm_default_mode", mode="no") == 0
    for direction in families.DIRECTIONS:
        flow = counters[direction]
        for protocol, row in flow["protocols"].items():
            labels = {**WLAN, "direction": direction, "protocol": protocol}
            assert value(page, "clatnm_packets_total", **labels) == row["packets"] > 0
            assert value(page, "clatnm_bytes_total", **labels) == row["bytes"] > 0
        for path in ("fast", "slow"):
            assert value(page, "clatnm_path_packets_total", **WLAN, direction=direction, path=path) == flow[path] > 0
        drops = value(page, "clatnm_dropped_packets_total", **WLAN, direction=direction, reason="ttl-expired")
        assert drops == 2
        assert value(page, "clatnm_icmp_errors_sent_total", **WLAN, direction=direction) == 1
        assert value(page, "clatnm_held_fragments_total", **WLAN, direction=direction) == 2
    assert value(page, "clatnm_reassembly_timeouts_total", **WLAN) == 3
    assert value(page, "clatnm_neighbour_messages_total", **WLAN, way="received") == 5
    assert value(page, "clatnm_translator_starts_total", **WLAN) == 1
    assert value(page, "clatnm_translator_failures_total", **WLAN) == 0
    assert value(page, "clatnm_prefix_lifetime_seconds", **WLAN) == wlan["prefix"]["lifetime_s"] > 0
    assert value(page, "clatnm_mtu_bytes", **WLAN, family="ipv4") == wlan["translator"]["ipv4_mtu_bytes"]
    assert value(page, "clatnm_relay_mappings", **RELAY) == 1
    assert value(page, "clatnm_relay_mappings", **WLAN) is None


def test_states_and_reasons_are_told_of_each_connection(status: dict[str, Any]) -> None:
    page = as_text(status)
    for state in families.STATES:
        assert value(page, "clatnm_connection_state", **WLAN, state=state) == (state == "on")
    reasons = {
        sample.labels["interface"]: sample.labels["reason"]
        for sample in parsed(page)["clatnm_connection_reason"].samples
    }
    assert reasons == {"eth0": "native-ipv4", "eth1": "no-ipv6", "wwan0": "opted-out"}
    assert value(page, "clatnm_connections", kind="connection", state="on") == 1
    assert value(page, "clatnm_connections", kind="connection", state="off") == 3
    assert value(page, "clatnm_connections", kind="static", state="on") == 1


def test_names_of_networks_are_told_only_if_asked_for(status: dict[str, Any]) -> None:
    status["connections"][0]["name"] = 'Café "Zur\\Post"\n\x1b[2J\x85\udc80'
    assert "Caf" not in as_text(status) and "Net of" not in as_text(status)
    (sample,) = (s for s in parsed(as_text(status, names=True))["clatnm_connection_info"].samples if "Caf" in str(s))
    assert sample.labels["name"].startswith('Café "Zur\\Post"')
    assert sample.labels["name"].isprintable()


def test_no_daemon_is_a_page_too() -> None:
    assert value(absent(), "clatnm_up") == 0
    assert [family.name for family in read_openmetrics(absent())] == ["clatnm_up"]
    assert [(s.name, s.value) for f in read_classic(absent(classic=True)) for s in f.samples] == [("clatnm_up", 0)]


@pytest.mark.parametrize(
    ("key", "odd"),
    [
        pytest.param("failures", 10**400, id="large"),
        pytest.param("failures", float("nan"), id="nan"),
        pytest.param("failures", True, id="flag"),
        pytest.param("failures", "3", id="text"),
        pytest.param("totals", {"starts": -1, "failures": None}, id="negative-counter"),
        pytest.param("prefix", [], id="list"),
        pytest.param("translator", 5, id="number"),
        pytest.param("state", "dreaming", id="unknown-state"),
        pytest.param("state", {"a": 1}, id="no-state"),
    ],
)
def test_what_another_version_tells_otherwise_is_left_out(status: dict[str, Any], key: str, odd: Any) -> None:
    before = set(parsed(as_text(status)))
    for item in status["connections"]:
        item[key] = copy.deepcopy(odd)
    after = parsed(as_text(status))
    assert after.keys() <= before
    assert {"clatnm_up", "clatnm_connection_info"} <= after.keys()
    if key == "state":
        assert value(as_text(status), "clatnm_connection_state", **WLAN, state=str(odd)) == 1


def test_two_connections_that_cannot_be_told_apart_are_one(status: dict[str, Any]) -> None:
    status["connections"].append(copy.deepcopy(status["connections"][0]))
    parsed(as_text(status))  # samples that are there twice are a mistake


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.data())
def test_page_of_an_odd_status_still_is_one(status: dict[str, Any], data: st.DataObject) -> None:
    odd = data.draw(mutated(status))
    try:
        page = as_text(odd, names=data.draw(st.booleans()))
    except ValueError:
        return
    page.encode()
    list(read_openmetrics(page))
    list(read_classic(page))


@settings(deadline=None)
@given(json_values())
def test_what_is_no_status_is_refused(odd: Any) -> None:
    try:
        list(read_openmetrics(as_text(odd)))
    except ValueError as error:
        assert str(error) == "no connections are told"


# The document


def test_document_lists_exactly_the_metrics_there_are() -> None:
    text = (REPOSITORY / "docs/metrics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(clatnm_\w+)` \| (\w+) \| (.*?) ?\| (.*) \|$", text, re.MULTILINE)
    assert rows == [
        (family.sample, str(family.kind), ", ".join(f"`{label}`" for label in family.labels), family.help[:-1])
        for family in FAMILIES
    ]
