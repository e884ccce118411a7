# SPDX-License-Identifier: GPL-2.0-or-later
"""The mode in a file of `/etc/clatnm/`, changed in place: every other line, comments too, stays as it is."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from clatnm import config
from clatnm.errors import ConfigError, HostError
from clatnm.model import Mode, Settings

_HEADER = re.compile(r"\s*\[clatnm\]")
_ANY_HEADER = re.compile(r"\s*\[")
_MODE = re.compile(r"(\s*mode\s*[=:]\s*)(\S+)", re.IGNORECASE)
_EXAMPLE = re.compile(r"[#;]\s*mode\s*=", re.IGNORECASE)
_MARK = "\ufeff"  # some editors put it before the text


def set_mode(path: Path, mode: Mode | None, *, backends: tuple[str, ...]) -> bool:
    """Write `mode` into the file, which is made if there is none; None takes the mode out of it. False: it says so
    already.

    The file is replaced in one step, by one with the same owner and rights. ConfigError: it makes no sense as it is.
    HostError: it cannot be read or written.
    """
    try:
        path = path.resolve()
        if path.exists() and not path.is_file():  # a pipe would never end
            raise ConfigError(f"{path}: not a regular file")
        text = path.read_bytes().decode() if path.exists() else ""
        before = _parsed(text, path, backends)
        if (before.mode if "mode" in before.written else None) is mode:
            return False
        changed = with_mode(text, mode)
        if not _is_safe(changed, before, mode, path, backends):
            raise ConfigError(f"{path}: the mode in it cannot be changed safely", hint="edit the file")
        _store(path, changed)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text", hint="save the file as UTF-8") from error
    except OSError as error:
        hint = "only root may change it" if isinstance(error, PermissionError) else ""
        raise HostError(f"{path}: {error.strerror}", errno=error.errno or 0, hint=hint) from error
    return True


def with_mode(text: str, mode: Mode | None) -> str:
    """The text with its mode set: in the line that sets it, else behind the comment that shows it, else at the top of
    the section; None removes that line."""
    lines = text.splitlines(keepends=True)
    end = "\r\n" if "\r\n" in text else "\n"
    if lines and not lines[-1].endswith(("\n", "\r")):
        lines[-1] += end
    begin = next((n for n, line in enumerate(lines) if _HEADER.match(line.removeprefix(_MARK))), None)
    if begin is None:
        return "".join(lines) if mode is None else "".join([*lines, f"[clatnm]{end}", f"mode = {mode}{end}"])
    after = (n for n in range(begin + 1, len(lines)) if _ANY_HEADER.match(lines[n]))
    section = range(begin + 1, next(after, len(lines)))
    at = _first(lines, section, _MODE)
    if at is not None:
        lines[at : at + 1] = [] if mode is None else [_MODE.sub(rf"\g<1>{mode}", lines[at], count=1)]
    elif mode is not None:
        shown = _first(lines, section, _EXAMPLE)
        lines.insert((begin if shown is None else shown) + 1, f"mode = {mode}{end}")
    return "".join(lines)


def _first(lines: Sequence[str], where: range, pattern: re.Pattern[str]) -> int | None:
    return next((n for n in where if pattern.match(lines[n])), None)


def _parsed(text: str, path: Path, backends: tuple[str, ...]) -> Settings:
    plain = text.removeprefix(_MARK).replace("\r\n", "\n")
    return config.parse(plain, source=str(path), backends=backends)


def _is_safe(text: str, before: Settings, mode: Mode | None, path: Path, backends: tuple[str, ...]) -> bool:
    """The format has corners, as values on several lines: a text in which anything else changes is not written."""
    written = before.written - {"mode"} if mode is None else before.written | {"mode"}
    try:
        after = _parsed(text, path, backends)
    except ConfigError:
        return False
    return after == replace(before, mode=mode or Settings().mode, written=written)


def _store(path: Path, text: str) -> None:
    """Replace the file by one with this text; one in which nothing is left is removed."""
    if text.removeprefix(_MARK).split() in ([], ["[clatnm]"]):
        path.unlink()
        return
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    # Not named .conf, so that nobody reads it.
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    try:
        with fresh.open("xb") as file:
            if path.exists():
                like = path.stat()
                os.fchown(file.fileno(), like.st_uid, like.st_gid)
                os.fchmod(file.fileno(), like.st_mode & 0o7777)
            else:
                os.fchmod(file.fileno(), 0o644)
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(path)
    finally:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
