# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm import-clatd`"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clatnm.cli import EXIT_NOTHING_TO_DO, EXIT_OK
from clatnm.cli.reloading import reload_daemon
from clatnm.errors import BusError, ConfigError, HostError, NoDaemonError
from clatnm.printable import printable

if TYPE_CHECKING:
    from clatnm.clatd_conf import Fate
    from clatnm.clatd_rules import Place

_CLATD_CONF = "/etc/clatd.conf"
_STDIN = "-"
_THEN = "then: systemctl disable --now clatd; systemctl enable --now clatnm; clatnm status"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument(
        "file", metavar="FILE", nargs="?", default=_CLATD_CONF, help=f"clatd's, by default {_CLATD_CONF}; - for stdin"
    )
    parser.add_argument("--write", action="store_true", help="write what is otherwise only shown")
    parser.add_argument(
        "--connection", metavar="CONNECTION", help="whose is what only one can have: UUID, or name or interface"
    )
    parser.add_argument("--config", type=Path, metavar="DIR", help="where to write to, by default /etc/clatnm")


def run(arguments: argparse.Namespace) -> int:
    """Say what becomes of each line, and show or write what our files are to be."""
    from clatnm import clatd_conf, config

    lines = clatd_conf.parse(_read(arguments.file))
    uuid = None if arguments.connection is None else _uuid(arguments.connection)
    directory = (arguments.config or config.CONFIG_DIR).absolute()
    imported = clatd_conf.translate(
        lines,
        source="stdin" if arguments.file == _STDIN else printable(arguments.file),
        for_connection=uuid is not None,
        directory=str(directory),
        uplink=_uplink(),
    )
    files = _files(directory, uuid)
    changes = [change for path, text in imported.scripts.items() if (change := _program(Path(path), text))]
    changes += [change for place, path in files.items() if (change := _change(place, path, imported.keys[place]))]
    for fate in imported.fates:
        print(_told(fate, files))
    undoing = []
    for change in changes:
        if arguments.write:
            copy = _store(change)
            print(f"written: {change.path}{f', which was as {copy} is' if copy else ''}")
            undoing.append(_undoing(change.target, copy))
        else:
            print(f"\n{''.join(_diff(change))}", end="")
    if not changes:
        there = any(imported.keys.values())
        print("nothing is to be written: " + ("it is there already" if there else "clatnm's defaults will do"))
    elif arguments.write:
        print(f"to take it back: {'; '.join(undoing)}")
        reload_daemon()
    else:
        print("\nnothing has been written: --write does")
    print(_THEN)
    return EXIT_OK if changes else EXIT_NOTHING_TO_DO


def _read(name: str) -> str:
    """The text of clatd's file. HostError; ConfigError: it is no text."""
    if name == _STDIN and sys.stdin is None:
        raise ConfigError("standard input is closed", hint="clatnm import-clatd FILE")
    try:
        data = sys.stdin.buffer.read() if name == _STDIN else Path(name).read_bytes()
    except OSError as error:
        raise HostError(
            f"{name}: {error.strerror}", errno=error.errno or 0, hint="clatnm import-clatd FILE; - is stdin"
        ) from error
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError(f"{name}:{line}: not UTF-8 text", hint="save the file as UTF-8") from error


def _uuid(connection: str) -> str:
    """The UUID of a connection, by the daemon's knowledge unless it is one. ConfigError, BusError."""
    import json

    from clatnm import config
    from clatnm.cli import interruptible
    from clatnm.cli.answers import understood
    from clatnm.dbus import service

    if config.is_uuid(connection):
        return connection
    try:
        answer = interruptible.run(service.ask("Status"))
    except NoDaemonError as error:
        hint = "give its UUID: nmcli -g connection.uuid connection show NAME"
        raise BusError(f"without the daemon, nobody knows the connection {connection!r}", hint=hint) from error
    with understood():
        told = json.loads(answer)["connections"]
        found = {str(one["uuid"]) for one in told if connection in (one["name"], one["interface"])}
    if len(found) != 1:
        what = f"there is no active connection {connection!r}" if not found else f"several are called {connection!r}"
        raise ConfigError(what, hint="see: clatnm status")
    return found.pop()


def _uplink() -> str:
    """The interface with the best IPv6 default route, as clatd looks for it; "" where there is none."""
    from clatnm.kernel.netlink import Netlink

    with Netlink() as kernel:
        routes = [(route.metric, link.name) for link in kernel.links().values() for route in link.default6]
    return min(routes, default=(0, ""))[1]


def _files(directory: Path, uuid: str | None) -> Mapping[Place, Path]:
    from clatnm import config
    from clatnm.clatd_rules import Place

    files = {
        Place.COMMON: directory / config.CONFIG_NAME,
        Place.STATIC: directory / config.STATIC_NAME / "clatd.conf",
    }
    if uuid is not None:
        files[Place.CONNECTION] = directory / config.CONNECTIONS_NAME / f"{uuid}.conf"
    return files


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """A file of ours before and after; `before` is None where there is none. `target`: where `path` leads to."""

    path: Path
    target: Path
    before: str | None
    after: str
    mode: int = 0o644


def _program(path: Path, text: str) -> _Change | None:
    from clatnm import config_edit

    target = config_edit.target(path)
    before = config_edit.read(target)
    return None if text == before else _Change(path=path, target=target, before=before, after=text, mode=0o755)


def _change(place: Place, path: Path, keys: Mapping[str, str]) -> _Change | None:
    """None: nothing changes. ConfigError, HostError: see `config_edit`."""
    from clatnm import config_edit
    from clatnm.clatd_rules import Place
    from clatnm.translators.backends import BACKENDS

    if not keys:
        return None
    target = config_edit.target(path)
    before = config_edit.read(target)
    if place is Place.STATIC:
        after = _static(path, keys)
    else:
        after = config_edit.with_keys(before or "", keys, path=path, backends=tuple(BACKENDS))
    return None if after == before else _Change(path=path, target=target, before=before, after=after)


def _static(path: Path, keys: Mapping[str, str]) -> str:
    """The whole file: there is nothing in it but what is imported. ConfigError: it makes no sense together."""
    from clatnm import static_conf
    from clatnm.translators.backends import BACKENDS

    first = ("uplink", "prefix")
    ordered = [*first, *sorted(keys.keys() - set(first))]
    text = "[clatnm]\n" + "".join(f"{key} = {keys[key]}\n" for key in ordered)
    static_conf.parse(
        text, source=str(path), name=path.stem, backends=tuple(BACKENDS), backend="auto", read=lambda _: ""
    )
    return text


def _told(fate: Fate, files: Mapping[Place, Path]) -> str:
    line = fate.line
    setting = f"{line.key} = {line.value}" if line.key else line.value
    what = str(fate.becomes)
    if fate.keys:
        ours = ", ".join(f"{key} = {value}" for key, value in fate.keys.items())
        what += f" as {ours} in {files[fate.place]}"
    return printable(f"line {line.number}: {setting}: {what}{f': {fate.why}' if fate.why else ''}")


def _diff(change: _Change) -> Iterator[str]:
    import difflib

    before = (change.before or "").splitlines()
    after = change.after.splitlines()
    old = "/dev/null" if change.before is None else str(change.path)
    for line in difflib.unified_diff(before, after, old, str(change.path), lineterm=""):
        yield f"{printable(line)}\n"


def _store(change: _Change) -> Path | None:
    """Write a file; where the copy of what was there before is, None if there was none. HostError."""
    from clatnm import config_edit

    with config_edit.reported(change.path):
        copy = config_edit.keep_copy(change.target) if change.before is not None else None
        config_edit.store(change.target, change.after, mode=change.mode)
    return copy


def _undoing(path: Path, copy: Path | None) -> str:
    """The command for a shell that undoes what `_store` did."""
    import shlex

    return shlex.join(["rm", str(path)] if copy is None else ["mv", str(copy), str(path)])
