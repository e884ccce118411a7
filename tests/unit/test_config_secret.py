# SPDX-License-Identifier: GPL-2.0-or-later
"""The secret behind our stable addresses (RFC 7217 section 5), which nobody else is to read."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from clatnm import config
from clatnm.errors import HostError


def test_secret_is_made_once_and_for_us_alone(tmp_path: Path) -> None:
    directory = tmp_path / "lib" / "clatnm"
    secret = config.load_secret(directory)
    assert len(secret) == 32
    assert stat.S_IMODE((directory / "secret").stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert config.load_secret(directory) == secret
    assert [entry.name for entry in directory.iterdir()] == ["secret"]


def test_secrets_differ(tmp_path: Path) -> None:
    (tmp_path / "file").touch()  # where none can be kept
    secrets = {config.some_secret(tmp_path / name) for name in ("one", "two", "file")}
    assert len(secrets) == 3
    assert all(len(secret) == 32 for secret in secrets)


def test_secret_that_cannot_be_kept_is_one_for_this_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    assert len(config.some_secret(tmp_path / "file")) == 32
    assert "addresses change at each start" in caplog.text


def test_longer_secret_of_the_administrator_is_kept(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x" * 100)
    assert config.load_secret(tmp_path) == b"x" * 100


@pytest.mark.parametrize("content", [b"", b"x" * 31])
def test_secret_too_short_is_replaced(tmp_path: Path, content: bytes) -> None:
    for name in ("secret", f"secret.{os.getpid()}"):  # the latter left by a crash
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o644)
    secret = config.load_secret(tmp_path)
    assert len(secret) == 32
    assert config.load_secret(tmp_path) == secret
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


def test_secret_is_never_readable_for_others_even_while_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[int] = []
    write = Path.write_bytes

    def spy(path: Path, data: bytes) -> int:
        modes.append(stat.S_IMODE(path.stat().st_mode))
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", spy)
    before = os.umask(0)
    try:
        config.load_secret(tmp_path)
    finally:
        os.umask(before)
    assert modes == [0o600]


def test_directory_that_cannot_be_written_costs_the_stability_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(HostError, match="addresses change at each start") as caught:
        config.load_secret(tmp_path / "file" / "clatnm")
    assert caught.value.errno == errno.ENOTDIR
    assert str(tmp_path) in caught.value.what


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EACCES])
def test_secret_that_cannot_be_written_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(HostError) as caught:
        config.load_secret(tmp_path)
    assert caught.value.errno == number
    assert list(tmp_path.iterdir()) == []
