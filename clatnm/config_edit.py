# SPDX-License-Identifier: GPL-2.0-or-later
"""Keys in a file of `/etc/clatnm/`, changed in place: every other line, comments too, stays as it is."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from clatnm import config
from clatnm.errors import ConfigError, HostError
from clatnm.model import Mode, Settings

_HEADER = re.compile(r"\s*\[clatnm\]")
_ANY_HEADER = re.compile(r"\s*\[")
_MARK = "\ufeff"  # some editors put it before the text


def set_mode(path: Path, mode: Mode | None, *, backends: tuple[str, ...]) -> bool:
    """Write `mode` into the file, which is made if there is none; None takes the mode out of it. False: it says so
    already.

    The file is replaced in one step, by one with the same owner and rights. ConfigError: it makes no sense as it is.
    HostError: it cannot be read or written.
    """
    path = target(path)
    text = read(path) or ""
    before = _parsed(text, path, backends)
    if (before.mode if "mode" in before.written else None) is mode:
        return False
    changed = with_key(text, "mode", mode)
    if not _is_safe(changed, before, mode, path, backends):
        raise ConfigError(f"{path}: the mode in it cannot be changed safely", hint="edit the file")
    with reported(path):
        store(path, changed)
    return True


def target(path: Path) -> Path:
    """The file that is meant, where `path` is a link to it: the link stays. HostError: it leads nowhere."""
    with contextlib.suppress(RuntimeError):  # links in a circle, up to Python 3.12
        found = path.resolve()
        if not found.is_symlink():
            return found
    raise HostError(f"{path}: {os.strerror(errno.ELOOP)}", errno=errno.ELOOP)


def read(path: Path) -> str | None:
    """The text of a file, None if there is none. ConfigError, HostError as with `set_mode`."""
    with reported(path):
        if path.exists() and not path.is_file():  # a pipe would never end
            raise ConfigError(f"{path}: not a regular file")
        return path.read_bytes().decode() if path.exists() else None


@contextlib.contextmanager
def reported(path: Path) -> Iterator[None]:
    """What goes wrong with a file, as ConfigError or HostError."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text", hint="save the file as UTF-8") from error
    except OSError as error:
        hint = "only root may change it" if isinstance(error, PermissionError) else ""
        raise HostError(f"{path}: {error.strerror}", errno=error.errno or 0, hint=hint) from error


def keep_copy(path: Path) -> Path:
    """A copy of the file beside it, under a name that nobody has, and that nobody reads as configuration. OSError."""
    names = (f"{path.name}.before{number or ''}" for number in itertools.count())
    copy = next(path.with_name(name) for name in names if not path.with_name(name).exists())
    shutil.copy2(path, copy)
    return copy


def with_keys(text: str, keys: Mapping[str, str], *, path: Path, backends: tuple[str, ...]) -> str:
    """The text of the file `path`, empty if there is none, with these keys set.

    ConfigError: it makes no sense as it is, or a value does not.
    """
    before = _parsed(text, path, backends)
    lines = "".join(f"{key} = {value}\n" for key, value in keys.items())
    new = config.parse(f"[clatnm]\n{lines}", source=str(path), backends=backends)
    fields = {name: getattr(new, name) for name in new.written}
    changed = text
    for key, value in reversed(list(keys.items())):  # new ones go to the top, one before the other
        changed = with_key(changed, key, value)
    if _parsed(changed, path, backends) != replace(before, written=before.written | new.written, **fields):
        raise ConfigError(f"{path}: it cannot be changed safely", hint="edit the file")
    return changed


def with_key(text: str, key: str, value: str | None) -> str:
    """The text with one key set: in the line that sets it, else behind the comment that shows it, else at the top of
    the section; None removes that line."""
    sets = re.compile(rf"(\s*{re.escape(key)}\s*[=:]\s*)(.*?)(\s+[#;].*)?$", re.IGNORECASE)
    shows = re.compile(rf"[#;]\s*{re.escape(key)}\s*=", re.IGNORECASE)
    lines = text.splitlines(keepends=True)
    end = "\r\n" if "\r\n" in text else "\n"
    if lines and not lines[-1].endswith(("\n", "\r")):
        lines[-1] += end
    begin = next((n for n, line in enumerate(lines) if _HEADER.match(line.removeprefix(_MARK))), None)
    if begin is None:
        return "".join(lines) if value is None else "".join([*lines, f"[clatnm]{end}", f"{key} = {value}{end}"])
    after = (n for n in range(begin + 1, len(lines)) if _ANY_HEADER.match(lines[n]))
    section = range(begin + 1, next(after, len(lines)))
    at = _first(lines, section, sets)
    if at is not None:
        lines[at : at + 1] = [] if value is None else [_replaced(lines[at], sets, value)]
    elif value is not None:
        shown = _first(lines, section, shows)
        lines.insert((begin if shown is None else shown) + 1, f"{key} = {value}{end}")
    return "".join(lines)


def _replaced(line: str, sets: re.Pattern[str], value: str) -> str:
    """The line with another value; a comment behind it stays."""
    kept = line.rstrip("\r\n")
    found = sets.match(kept)
    assert found is not None
    return f"{found[1]}{value}{found[3] or ''}{line[len(kept) :]}"


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


def store(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Replace the file by one with this text and the same owner and rights, or make it with the rights `mode`; one in
    which nothing is left is removed. OSError."""
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
                os.fchmod(file.fileno(), mode)
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(path)
    finally:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
