# SPDX-License-Identifier: GPL-2.0-or-later
"""The cache of Debian trees: complete or not there, made once, made anew for another recipe."""

from __future__ import annotations

import os
import re
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lab import trees
from tests.lab.trees import Recipe, TreeError, cached

RECIPE = Recipe(suite="forky")


class Builder:
    """Stands in for mmdebstrap."""

    def __init__(self) -> None:
        self.built: list[Path] = []

    def __call__(self, recipe: Recipe, target: Path) -> None:
        (target / "etc").mkdir()
        (target / "etc/hostname").write_text(recipe.suite)
        (target / "usr/share/doc/dbus").mkdir(parents=True)
        self.built.append(target)


def broken(recipe: Recipe, target: Path) -> None:
    (target / "half").mkdir()
    raise TreeError("the mirror is away")


def test_tree_is_built_once_and_found_again(tmp_path: Path) -> None:
    builder = Builder()
    first = cached(RECIPE, tmp_path / "cache", builder)
    assert (first / "etc/hostname").read_text() == "forky"
    assert cached(RECIPE, tmp_path / "cache", builder) == first
    assert len(builder.built) == 1
    assert builder.built[0] != first


def test_tree_is_without_what_the_recipe_drops_and_open_to_all_users(tmp_path: Path) -> None:
    place = cached(RECIPE, tmp_path, Builder())
    assert not (place / "usr/share/doc").exists()
    assert (place / "usr/share").is_dir()
    assert place.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    "changed",
    [{"packages": (*RECIPE.packages, "systemd-resolved")}, {"dropped": ()}, {"suite": "trixie"}],
    ids=["packages", "dropped", "suite"],
)
def test_changed_recipe_builds_anew_and_leaves_the_other_alone(tmp_path: Path, changed: dict[str, object]) -> None:
    builder = Builder()
    first = cached(RECIPE, tmp_path, builder)
    second = cached(replace(RECIPE, **changed), tmp_path, builder)  # type: ignore[arg-type]
    assert second != first
    assert first.is_dir()
    assert len(builder.built) == 2


def test_failed_build_leaves_nothing_and_says_why(tmp_path: Path) -> None:
    with pytest.raises(TreeError, match="the mirror is away"):
        cached(RECIPE, tmp_path, broken)
    assert [place.name for place in tmp_path.iterdir()] == [".forky.lock"]
    assert cached(RECIPE, tmp_path, Builder()).is_dir()


def test_leftover_of_a_killed_builder_is_removed_and_another_suites_is_not(tmp_path: Path) -> None:
    own, other = tmp_path / ".forky.build-x", tmp_path / ".trixie.build-x"
    for place in (own, other):
        (place / "etc").mkdir(parents=True)
    cached(RECIPE, tmp_path, Builder())
    assert not own.exists()
    assert other.exists()


def test_tree_unused_for_long_is_removed_when_another_is_made(tmp_path: Path) -> None:
    builder = Builder()
    old, used = (cached(replace(RECIPE, packages=(name,)), tmp_path, builder) for name in ("old", "used"))
    for place in (old, used):
        os.utime(place, (1, 1))
    cached(replace(RECIPE, packages=("used",)), tmp_path, builder)
    cached(RECIPE, tmp_path, builder)
    assert not old.exists()
    assert used.exists()


def test_two_builders_do_not_collide(tmp_path: Path) -> None:
    builder, entered, go_on = Builder(), threading.Event(), threading.Event()
    places: list[Path] = []

    def slow(recipe: Recipe, target: Path) -> None:
        entered.set()
        assert go_on.wait(10)
        builder(recipe, target)

    first = threading.Thread(target=lambda: places.append(cached(RECIPE, tmp_path, slow)))
    second = threading.Thread(target=lambda: places.append(cached(RECIPE, tmp_path, builder)))
    first.start()
    assert entered.wait(10)
    second.start()
    second.join(0.1)
    assert second.is_alive()
    go_on.set()
    first.join(10)
    second.join(10)
    assert len(builder.built) == 1
    assert len(places) == 2
    assert places[0] == places[1]


def test_unwritable_cache_is_a_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TreeError, match=r"no forky tree in .*file/cache: Not a directory"):
        cached(RECIPE, tmp_path / "file/cache", Builder())


def test_why_not_tells_the_reason_and_does_not_try_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tries: list[Path] = []

    def counted(recipe: Recipe, target: Path) -> None:
        tries.append(target)
        broken(recipe, target)

    monkeypatch.setattr(trees, "CACHE", tmp_path)
    monkeypatch.setattr(trees, "mmdebstrap", counted)
    monkeypatch.setattr(trees, "_failures", {})
    assert trees.why_not("forky") == "the mirror is away"
    assert trees.why_not("forky") == "the mirror is away"
    assert len(tries) == 1
    monkeypatch.setattr(trees, "mmdebstrap", Builder())
    assert trees.why_not("trixie") is None


def test_tree_has_an_identity_of_its_own_and_none_of_our_settings(tmp_path: Path) -> None:
    (tmp_path / "etc/apt/apt.conf.d").mkdir(parents=True)
    (tmp_path / "etc/apt/apt.conf.d/99mmdebstrap").write_text('Acquire::http::Proxy "http://proxy.example";')
    identity = tmp_path / "etc/machine-id"
    identity.touch(mode=0o444)
    trees._furnish(tmp_path)
    assert re.fullmatch("[0-9a-f]{32}\n", identity.read_text())
    assert not list((tmp_path / "etc/apt/apt.conf.d").iterdir())


def test_unknown_tree_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert trees.main(["sid"]) == 2
    assert "no such tree: sid" in capsys.readouterr().err
