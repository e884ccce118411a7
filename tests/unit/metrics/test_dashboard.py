# SPDX-License-Identifier: GPL-2.0-or-later
"""The dashboard for Grafana: it asks for what there is, and has the form that Grafana imports."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clatnm.metrics.families import FAMILIES

DASHBOARD = Path(__file__).resolve().parents[3] / "packaging/grafana/clatnm.json"
BOARD: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = BOARD["panels"]
VARIABLES = {variable["name"]: variable for variable in BOARD["templating"]["list"]}
BY_SAMPLE = {family.sample: family for family in FAMILIES}
COMMON = {"instance", "job", "interface", "uuid", "name"}
SELECTOR = re.compile(r"(clatnm_\w+)(?:\{([^}]*)\})?")


def queries() -> list[str]:
    found = [target["expr"] for panel in PANELS for target in panel["targets"]]
    return [*found, *(v["query"]["query"] for v in VARIABLES.values() if v["type"] == "query")]


def asked_for(query: str) -> Iterator[tuple[str, set[str]]]:
    """Each metric in a query, with the labels that choose among its samples."""
    for name, labels in SELECTOR.findall(query):
        yield name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", re.sub(r'"[^"]*"', '""', labels)))


@pytest.mark.parametrize("query", queries())
def test_query_is_about_metrics_and_labels_that_there_are(query: str) -> None:
    found = list(asked_for(query))
    assert found
    for name, labels in found:
        family = BY_SAMPLE[name]
        assert labels <= COMMON | set(family.labels)
        assert family.of_connection or "interface" not in labels
        assert (str(family.kind) == "counter") == (f"rate({name}" in query or f"increase({name}" in query)
    grouped = {label.strip() for group in re.findall(r"by \(([^)]*)\)", query) for label in group.split(",")}
    assert grouped <= COMMON.union(*(BY_SAMPLE[name].labels for name, _ in found))


def test_query_check_sees_what_is_wrong() -> None:
    assert list(asked_for('rate(clatnm_no_such{a="b=c",d=~"x"}[5m]) / clatnm_up')) == [
        ("clatnm_no_such", {"a", "d"}),
        ("clatnm_up", set()),
    ]


def test_nearly_everything_is_shown() -> None:
    """Not what explains other numbers, and not what one looks up on the machine itself."""
    shown = {name for query in queries() for name, _ in asked_for(query)}
    left_out = {"default_mode", "router_advertisements", "prefix_info", "mtu_bytes", "relay_mappings"}
    assert {f"clatnm_{name}" for name in left_out} | {
        "clatnm_router_advertisements_total",
        "clatnm_neighbour_messages_total",
    } >= BY_SAMPLE.keys() - shown


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_panel_has_what_grafana_wants(panel: dict[str, Any]) -> None:
    assert panel["type"] in {"stat", "table", "timeseries"}
    assert panel["description"].endswith(".")
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert set(panel["fieldConfig"]) == {"defaults", "overrides"}
    assert [target["refId"] for target in panel["targets"]] == list("ABC"[: len(panel["targets"])])
    for target in panel["targets"]:
        assert target["datasource"] == panel["datasource"]
        assert target["instant"] is not target["range"]
        assert target["format"] == ("table" if panel["type"] == "table" else "time_series")
        assert {name[1:] for name in re.findall(r"\$\w+", target["expr"])} <= VARIABLES.keys() | {"__rate_interval"}
        assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= COMMON.union(
            *(BY_SAMPLE[name].labels for name, _ in asked_for(target["expr"]))
        )


def test_board_has_what_grafana_wants() -> None:
    assert {"title", "uid", "schemaVersion", "time", "templating", "panels", "annotations"} <= BOARD.keys()
    assert "id" not in BOARD and "__inputs" not in BOARD  # Grafana numbers it itself, and asks nothing
    assert isinstance(BOARD["schemaVersion"], int) and BOARD["schemaVersion"] >= 36
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    assert VARIABLES["datasource"]["type"] == "datasource"
    assert {"instance", "interface"} <= VARIABLES.keys()


def test_panels_lie_beside_each_other() -> None:
    """Grafana has 24 columns."""
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken
        taken |= cells
