# SPDX-License-Identifier: GPL-2.0-or-later
"""What the daemon tells has the form that docs/schemas says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clatnm import explain
from clatnm.daemon import Daemon
from clatnm.model import Mode, PrefixSource, Reason, RunState, SourceReport
from tests.schemas import SCHEMAS, faults, schema
from tests.unit.metrics.a_daemon import SETTINGS, a_busy_world, asked
from tests.unit.policy.worlds import NOW

NAMES = ("status", "explain")
INTERFACES = ("wlan0", "eth0", "eth1", "wwan0", "static.d/web")


def answers(monkeypatch: pytest.MonkeyPatch, directory: Path, **facts: Any) -> list[Any]:
    """Status, then what explains each connection, an interface that is none, and one that is not there."""
    world = replace(a_busy_world(), **facts)
    questions = [lambda d, name=name: d.explain(name) for name in (*INTERFACES, "lo0", "nowhere")]
    return asked(monkeypatch, directory, Daemon.status, *questions, world=world)


def test_status_has_the_written_form(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told, *_ = answers(monkeypatch, tmp_path)
    assert {item["state"] for item in told["connections"]} == {"on", "off"}
    assert [item["state"] for item in told["static"]] == ["on"]
    assert faults("status", told) == []


def test_status_without_anything_has_the_written_form(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nothing = replace(SETTINGS, statics=())
    (told,) = asked(
        monkeypatch, tmp_path, Daemon.status, world=replace(a_busy_world(), uplinks=(), links={}), settings=nothing
    )
    assert told["connections"] == told["static"] == []
    assert faults("status", told) == []


def test_explanations_have_the_written_form(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    report = SourceReport(source=PrefixSource.RA, settled=True, detail="fe80::1 announces none", since=NOW - 4)
    links = a_busy_world().links
    extra = {**links, "lo0": replace(links["eth1"], name="lo0", index=9)}
    _, *told = answers(monkeypatch, tmp_path, reports={"wlan0": (report,)}, links=extra)
    assert [len(each) for each in told] == [1, 1, 1, 1, 1, 1, 0]
    assert [faults("explain", each) for each in told] == [[]] * len(told)
    assert told[-2][0]["questions"] == []
    assert told[0][0]["decisions"] and told[4][0]["static"] is True
    for each in told[:-1]:
        assert explain.as_text(each[0])


# The schemas themselves


def described(told: Any) -> Iterator[tuple[str, Any]]:
    """Each property in a schema."""
    if isinstance(told, dict):
        yield from (told.get("properties") or {}).items()
        for item in told.values():
            yield from described(item)
    elif isinstance(told, list):
        for item in told:
            yield from described(item)


@pytest.mark.parametrize("name", NAMES)
def test_schema_is_one_and_says_of_everything_what_it_is(name: str) -> None:
    told = schema(name)
    assert told["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    properties = list(described(told))
    assert len(properties) > 10
    assert [key for key, item in properties if not item.keys() & {"description", "$ref", "pattern", "items"}] == []


@pytest.mark.parametrize("name", NAMES)
def test_schema_has_the_words_of_the_program(name: str) -> None:
    enums = {key: item["enum"] for key, item in described(schema(name)) if "enum" in item}
    assert enums["state"] == ["off", *map(str, RunState), "draining"]
    assert set(enums["reason"]) - {None} == {str(reason) for reason in Reason}
    if name == "status":
        assert enums["mode"] == [*map(str, Mode), None]
        assert enums["source"] == [str(source) for source in PrefixSource]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        pytest.param({"news": 1}, "$: Additional properties", id="unknown-key"),
        pytest.param({"default_mode": "maybe"}, "$.default_mode: ", id="unknown-word"),
        pytest.param({"connections": [{}]}, "$.connections[0]: 'interface' is a required", id="missing-key"),
        pytest.param({"router_advertisements": {"heard": -1, "dropped": 0}}, "heard: -1 is less", id="negative"),
    ],
)
def test_what_has_another_form_is_found(change: dict[str, Any], fault: str) -> None:
    sound = {
        "version": "1",
        "default_mode": "auto",
        "connections": [],
        "static": [],
        "router_advertisements": {"heard": 0, "dropped": 0},
    }
    assert faults("status", sound) == []
    assert any(fault in line for line in faults("status", {**sound, **change}))


def test_every_schema_is_in_the_documents() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in SCHEMAS.parent.glob("*.md"))
    assert [path.name for path in SCHEMAS.glob("*.json") if path.name not in text] == []
