# SPDX-License-Identifier: GPL-2.0-or-later
"""The .network files and their drop-ins, in the places and the order in which networkd reads them."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from clatnm.model import Mode
from clatnm.uplinks.networkd_files import NetworkFiles

NAME = "20-up0.network"


class Places:
    """/etc, /run and /usr/lib of a test, in this order of priority."""

    def __init__(self, root: Path) -> None:
        self.etc, self.run, self.lib = (root / name / "network" for name in ("etc", "run", "lib"))
        self.files = NetworkFiles((self.etc, self.run, self.lib))
        self.file = self.run / NAME
        self.write(self.file, "[Match]\nName=up0\n")

    def write(self, path: Path, text: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def dropin(self, directory: Path, name: str, mode: str) -> Path:
        return self.write(directory / f"{NAME}.d" / name, f"[X-Clatnm]\nMode={mode}\n")

    def mode(self) -> Mode | None:
        return self.files.settings(str(self.file)).mode


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


def test_mode_in_the_file_itself_is_read(places: Places) -> None:
    assert places.mode() is None
    places.write(places.file, "[X-Clatnm]\nMode=no\n")
    assert places.mode() is Mode.NO


def test_drop_ins_of_all_places_are_read_in_the_order_of_their_names(places: Places) -> None:
    places.dropin(places.etc, "10-a.conf", "no")
    assert places.mode() is Mode.NO
    places.dropin(places.lib, "90-z.conf", "force")
    assert places.mode() is Mode.FORCE


def test_drop_in_of_a_more_important_place_hides_its_namesakes(places: Places) -> None:
    places.dropin(places.lib, "50-x.conf", "no")
    assert places.mode() is Mode.NO
    places.dropin(places.run, "50-x.conf", "auto")
    assert places.mode() is Mode.AUTO
    places.dropin(places.etc, "50-x.conf", "force")
    assert places.mode() is Mode.FORCE


def test_drop_in_hidden_by_a_link_to_dev_null_is_not_read(places: Places) -> None:
    places.dropin(places.lib, "50-x.conf", "no")
    (places.etc / f"{NAME}.d").mkdir(parents=True)
    (places.etc / f"{NAME}.d" / "50-x.conf").symlink_to("/dev/null")
    assert places.mode() is None


def test_files_that_are_no_drop_ins_are_not_read(places: Places) -> None:
    places.dropin(places.etc, "50-x.conf~", "no")
    places.dropin(places.etc, "README", "no")
    os.mkfifo(places.etc / f"{NAME}.d" / "60-pipe.conf")
    (places.etc / f"{NAME}.d" / "70-directory.conf").mkdir()
    assert places.mode() is None


def test_drop_in_that_goes_counts_no_more(places: Places) -> None:
    path = places.dropin(places.etc, "50-x.conf", "no")
    assert places.mode() is Mode.NO
    path.unlink()
    assert places.mode() is None


def test_file_that_is_absent_for_a_moment_stays_as_it_was(places: Places) -> None:
    places.write(places.file, "[X-Clatnm]\nMode=no\n")
    assert places.mode() is Mode.NO
    places.file.unlink()
    assert places.mode() is Mode.NO
    places.write(places.file, "[X-Clatnm]\nMode=auto\n")
    assert places.mode() is Mode.AUTO


def test_unchanged_file_is_read_once(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    places.dropin(places.etc, "50-x.conf", "no")
    assert places.mode() is Mode.NO

    def no_reading(path: Path, mode: str) -> None:
        raise AssertionError(f"{path} is read again")

    monkeypatch.setattr(Path, "open", no_reading)
    assert places.mode() is Mode.NO


def test_bad_value_is_warned_of_once(places: Places, caplog: pytest.LogCaptureFixture) -> None:
    path = places.dropin(places.etc, "50-x.conf", "perhaps")
    with caplog.at_level(logging.WARNING):
        assert places.mode() is None
        os.utime(path, ns=(1, 1))
        assert places.mode() is None
    (record,) = caplog.records
    assert str(path) in record.message
    assert "perhaps" in record.message


def test_link_without_a_file_has_no_settings(places: Places) -> None:
    assert places.files.settings("").mode is None
    assert places.files.settings("/nowhere/x.network").mode is None


def test_forgotten_file_is_read_anew(places: Places) -> None:
    places.write(places.file, "[X-Clatnm]\nMode=no\n")
    assert places.mode() is Mode.NO
    places.file.unlink()
    places.files.keep([])
    assert places.mode() is None


def test_places_to_watch_are_those_of_the_drop_ins_whether_there_or_not(places: Places) -> None:
    found = places.files.places([str(places.file)])
    assert {places.etc, places.run, places.lib} <= found
    assert {directory / f"{NAME}.d" for directory in (places.etc, places.run, places.lib)} <= found
    assert places.etc.parent in found  # where `network` may appear
    assert places.run.parent not in found


def test_unreadable_file_says_nothing(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied")

    places.write(places.file, "[X-Clatnm]\nMode=no\n")
    monkeypatch.setattr(Path, "open", denied)
    assert places.mode() is None
