# SPDX-License-Identifier: GPL-2.0-or-later
"""A directory that changes is told."""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from clatnm.errors import HostError
from clatnm.kernel.inotify import DirectoryWatch


@pytest.fixture
def watch() -> Iterator[DirectoryWatch]:
    made = DirectoryWatch()
    yield made
    made.close()


def told(watch: DirectoryWatch) -> bool:
    """The kernel has said it by the time the change has been made."""
    readable = bool(select.select([watch.fileno()], [], [], 0)[0])
    assert watch.drain() is readable
    return readable


def test_files_that_come_change_and_go_are_told(watch: DirectoryWatch, tmp_path: Path) -> None:
    watch.add([tmp_path])
    assert not told(watch)
    file = tmp_path / "a"
    file.write_text("1")
    assert told(watch)
    file.write_text("2")
    assert told(watch)
    file.replace(tmp_path / "b")
    assert told(watch)
    (tmp_path / "link").symlink_to("b")
    assert told(watch)
    (tmp_path / "b").unlink()
    assert told(watch)
    assert not told(watch)


def test_reading_is_not_told(watch: DirectoryWatch, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    watch.add([tmp_path])
    (tmp_path / "a").read_text()
    assert not told(watch)


def test_directory_that_comes_back_is_watched_when_added_again(watch: DirectoryWatch, tmp_path: Path) -> None:
    directory = tmp_path / "d"
    watch.add([directory, tmp_path])
    directory.mkdir()
    assert told(watch)
    watch.add([directory, tmp_path])
    (directory / "a").touch()
    assert told(watch)
    (directory / "a").unlink()
    directory.rmdir()
    directory.mkdir()
    watch.add([directory])
    assert told(watch)
    (directory / "a").touch()
    assert told(watch)


def test_what_is_no_directory_is_left_out(watch: DirectoryWatch, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    watch.add([file, tmp_path / "absent", file / "below"])
    file.write_text("changed")
    assert not told(watch)


def test_directory_added_twice_is_told_once(watch: DirectoryWatch, tmp_path: Path) -> None:
    watch.add([tmp_path, tmp_path])
    watch.add([tmp_path])
    (tmp_path / "d").mkdir()
    event_bytes = 32  # one struct inotify_event and one padded name
    assert len(os.read(watch.fileno(), 4096)) == event_bytes


def test_other_errors_are_raised(tmp_path: Path) -> None:
    watch = DirectoryWatch()
    watch.close()
    with pytest.raises(HostError) as caught:
        watch.add([tmp_path])
    assert caught.value.errno == errno.EBADF
