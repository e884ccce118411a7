# SPDX-License-Identifier: GPL-2.0-or-later
"""What is kept of other releases' packages does not grow for ever."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.lab.trees import UNUSED_S
from tests.packaging.debian_tree import prune


def used(cache: Path, name: str, *, ago_s: float) -> Path:
    """A release that something was installed in so long ago."""
    place = cache / name
    (place / "archives/partial").mkdir(parents=True)
    (place / "archives/some_1_all.deb").touch()
    stamp = place / "used"
    stamp.touch()
    os.utime(stamp, (time.time() - ago_s,) * 2)
    return place


def test_release_that_nothing_was_installed_in_for_a_month_goes(tmp_path: Path) -> None:
    old = used(tmp_path, "bookworm", ago_s=UNUSED_S + 1)
    new = used(tmp_path, "trixie", ago_s=UNUSED_S - 3600)
    prune(tmp_path)
    assert not old.exists()
    assert (new / "archives/some_1_all.deb").exists()
