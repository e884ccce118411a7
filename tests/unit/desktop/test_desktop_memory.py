# SPDX-License-Identifier: GPL-2.0-or-later
"""What was told is remembered in this session, and nothing of what a file may hold does harm."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clatnm.desktop.memory import Key, Memory, MemoryFile, Shown, as_json, from_json, usual_place
from clatnm.desktop.state import Kind

KEY = Key(uuid="u1", prefix="64:ff9b::/96", kind=Kind.NAT64)
SHOWN = Shown(key=KEY, number=7, server=":1.5")
MEMORY = Memory(bus="b1").with_shown(SHOWN)


def test_what_was_shown_was_told() -> None:
    assert MEMORY.told == (KEY,)
    assert MEMORY.shown == {"u1": SHOWN}
    gone = MEMORY.without("u1")
    assert (gone.told, gone.shown) == ((KEY,), {})


def test_next_notification_of_a_connection_takes_the_place_of_its_last() -> None:
    other = Shown(key=Key(uuid="u1", prefix="", kind=Kind.NONE), number=7, server=":1.5")
    assert MEMORY.with_shown(other).shown == {"u1": other}
    assert MEMORY.with_shown(other).told == (KEY, other.key)


def test_memory_is_not_endless() -> None:
    memory = Memory(bus="b1")
    for number in range(600):
        key = Key(uuid=str(number), prefix="", kind=Kind.NONE)
        memory = memory.with_shown(Shown(key=key, number=number, server="")).without(key.uuid)
    assert len(memory.told) == 500
    assert memory.told[-1].uuid == "599"


def test_memory_survives_in_its_file(tmp_path: Path) -> None:
    file = MemoryFile(tmp_path / "clatnm-notify" / "told.json")
    assert file.read(bus="b1") == Memory(bus="b1")
    file.write(MEMORY)
    assert file.read(bus="b1") == MEMORY
    assert (tmp_path / "clatnm-notify").stat().st_mode & 0o777 == 0o700
    assert [path.name for path in (tmp_path / "clatnm-notify").iterdir()] == ["told.json"]


def test_another_bus_is_another_session(tmp_path: Path) -> None:
    file = MemoryFile(tmp_path / "d" / "told.json")
    file.write(MEMORY)
    assert file.read(bus="b2") == Memory(bus="b2")


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_file_may_hold_anything(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("m") / "told.json"
    path.write_bytes(content)
    assert MemoryFile(path).read(bus="b1") == Memory(bus="b1")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=6)
)


@given(values, values)
def test_lists_may_hold_anything(told: object, shown: object) -> None:
    assert from_json(json.dumps({"bus": "b1", "told": told, "shown": shown}), bus="b1").bus == "b1"


@pytest.mark.parametrize("number", [-1, 1 << 32, 1.5, "7", None])
def test_number_that_no_notification_has_is_no_memory(number: object) -> None:
    kept = json.loads(as_json(MEMORY))
    kept["shown"][0][3] = number
    assert from_json(json.dumps(kept), bus="b1") == Memory(bus="b1")


def test_place_that_cannot_be_written_is_complained_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    file = MemoryFile(tmp_path / "file" / "told.json")
    with caplog.at_level(logging.WARNING, logger="clatnm"):
        file.write(MEMORY)
        file.write(MEMORY)
    assert [record.getMessage() for record in caplog.records] == [
        f"what was told is not kept: {tmp_path}/file/told.json: File exists"
    ]
    assert file.read(bus="b1") == Memory(bus="b1")


def test_without_a_place_nothing_is_kept() -> None:
    file = MemoryFile(None)
    file.write(MEMORY)
    assert file.read(bus="b1") == Memory(bus="b1")


@pytest.mark.parametrize(("directory", "place"), [("/run/user/7", Path("/run/user/7")), ("", None), ("x", None)])
def test_place_is_the_users_for_this_session(
    monkeypatch: pytest.MonkeyPatch, directory: str, place: Path | None
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", directory)
    assert usual_place() == (place and place / "clatnm-notify/told.json")
