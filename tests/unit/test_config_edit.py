# SPDX-License-Identifier: GPL-2.0-or-later
"""A mode written into a file of the administrator's: that line, and nothing else."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clatnm import config, config_edit
from clatnm.errors import ConfigError, HostError
from clatnm.model import Mode

BACKENDS = ("tun",)
REPOSITORY = Path(__file__).resolve().parents[2]
INSTALLED = (REPOSITORY / "packaging/clatnm.conf").read_text(encoding="utf-8")

# text before, mode, text after
EDITS: dict[str, tuple[str, Mode | None, str]] = {
    "no-file": ("", Mode.NO, "[clatnm]\nmode = no\n"),
    "replaced": ("[clatnm]\nmode = auto\n", Mode.NO, "[clatnm]\nmode = no\n"),
    "removed": ("[clatnm]\nmode = auto\ndrain = 7\n", None, "[clatnm]\ndrain = 7\n"),
    "spacing": ("[clatnm]\nMODE:auto\n", Mode.NO, "[clatnm]\nMODE:no\n"),
    "remark": ("[clatnm]\nmode = auto  # as ever\n", Mode.NO, "[clatnm]\nmode = no  # as ever\n"),
    "top": ("# mine\n[clatnm]\ndrain = 7\n", Mode.NO, "# mine\n[clatnm]\nmode = no\ndrain = 7\n"),
    "example": (
        "[clatnm]\n# why\n#mode = auto\n\ndrain=7",
        Mode.NO,
        "[clatnm]\n# why\n#mode = auto\nmode = no\n\ndrain=7\n",
    ),
    "no-section": ("# nothing yet", Mode.NO, "# nothing yet\n[clatnm]\nmode = no\n"),
    "other-lines": ("[clatnm]\r\ndrain = 7\r\n", Mode.NO, "[clatnm]\r\nmode = no\r\ndrain = 7\r\n"),
    "editor-mark": ("\ufeff[clatnm]\nmode=1\n", Mode.FORCE, "\ufeff[clatnm]\nmode=force\n"),
    "other-name": ("[clatnm]\nmode = off\n", Mode.AUTO, "[clatnm]\nmode = auto\n"),
}


@pytest.mark.parametrize(("before", "mode", "after"), EDITS.values(), ids=EDITS)
def test_mode_is_written_and_the_rest_stays(tmp_path: Path, before: str, mode: Mode | None, after: str) -> None:
    path = tmp_path / "clatnm.conf"
    if before:
        path.write_bytes(before.encode())
    assert config_edit.set_mode(path, mode, backends=BACKENDS)
    assert path.read_bytes().decode() == after
    assert not config_edit.set_mode(path, mode, backends=BACKENDS)
    assert os.listdir(tmp_path) == ["clatnm.conf"]


@pytest.mark.parametrize("mode", list(Mode))
def test_installed_file_gets_one_more_line(tmp_path: Path, mode: Mode) -> None:
    path = tmp_path / "clatnm.conf"
    path.write_text(INSTALLED)
    assert config_edit.set_mode(path, mode, backends=BACKENDS)
    assert path.read_text().replace(f"#mode = auto\nmode = {mode}\n", "#mode = auto\n") == INSTALLED
    assert config.load(tmp_path, backends=BACKENDS).mode is mode
    assert config_edit.set_mode(path, None, backends=BACKENDS)
    assert path.read_text() == INSTALLED


def test_file_and_directory_are_made(tmp_path: Path) -> None:
    path = tmp_path / "clatnm/connections.d/x.conf"
    assert config_edit.set_mode(path, Mode.NO, backends=BACKENDS)
    assert path.read_text() == "[clatnm]\nmode = no\n"
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("text", ["[clatnm]\nmode = no\n", "\n[clatnm]\n\nmode=1"])
def test_file_in_which_nothing_is_left_goes(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.conf"
    path.write_text(text)
    assert config_edit.set_mode(path, None, backends=BACKENDS)
    assert os.listdir(tmp_path) == []
    assert not config_edit.set_mode(path, None, backends=BACKENDS)


def test_rights_and_links_stay(tmp_path: Path) -> None:
    path, link = tmp_path / "real", tmp_path / "clatnm.conf"
    path.write_text("[clatnm]\n")
    path.chmod(0o640)
    link.symlink_to(path)
    assert config_edit.set_mode(link, Mode.NO, backends=BACKENDS)
    assert link.is_symlink()
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("[clatnm]\nmode = no\n", 0o640)


REFUSED = {
    "mistake": ("[clatnm]\nmoed = auto\n", r"clatnm\.conf:2: unknown key 'moed'"),
    "mode-on-the-next-line": ("[clatnm]\nmode =\n  auto\n", r"cannot be changed safely \(edit the file\)"),
    "mode-in-another-value": ("[clatnm]\nplat-check-targets = 1.1.1.1\n mode=\n", "clatnm.conf:2: "),
    "not-text": ("[clatnm]\n# caf\udce9\n", "not UTF-8 text"),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED)
def test_file_that_makes_no_sense_is_left_alone(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "clatnm.conf"
    before = text.encode(errors="surrogateescape")
    path.write_bytes(before)
    with pytest.raises(ConfigError, match=message):
        config_edit.set_mode(path, Mode.NO, backends=BACKENDS)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["clatnm.conf"]


def test_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.conf")
    with pytest.raises(ConfigError, match="not a regular file"):
        config_edit.set_mode(tmp_path / "x.conf", Mode.NO, backends=BACKENDS)


def test_file_that_cannot_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "clatnm.conf"
    path.write_text("[clatnm]\n")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(HostError, match=rf"^{re.escape(str(path))}: Permission denied \(only root may change it\)$"):
        config_edit.set_mode(path, Mode.NO, backends=BACKENDS)
    assert (path.read_text(), os.listdir(tmp_path)) == ("[clatnm]\n", ["clatnm.conf"])


lines = st.sampled_from(
    [
        "",
        "#",
        "# mode = no",
        "#mode=no",
        "[clatnm]",
        "mode = auto",
        "Mode: 0",
        " mode = no",
        "drain = 7",
        "  ",
        "  8",
        ";x",
    ]
)


@given(st.lists(lines, max_size=6).map("\n".join), st.sampled_from([None, *Mode]))
def test_any_text_either_changes_in_its_mode_alone_or_not_at_all(text: str, mode: Mode | None) -> None:
    try:
        before = config.parse(text, source="x", backends=BACKENDS)
    except ConfigError:
        return
    changed = config_edit.with_key(text, "mode", mode)
    kept = [line for line in text.split("\n") if not re.match(r"\s*mode\s*[=:]", line, re.IGNORECASE)]
    left = iter(changed.split("\n"))
    assert all(line in left for line in kept if line.strip())
    try:
        after = config.parse(changed, source="x", backends=BACKENDS)
    except ConfigError:
        return
    assert after.drain_s == before.drain_s


def test_link_to_itself_is_one_line(tmp_path: Path) -> None:
    link = tmp_path / "clatnm.conf"
    link.symlink_to(link.name)
    with pytest.raises(HostError) as caught:
        config_edit.set_mode(link, Mode.NO, backends=BACKENDS)
    assert str(caught.value) == f"{link}: Too many levels of symbolic links"
    assert link.is_symlink()
