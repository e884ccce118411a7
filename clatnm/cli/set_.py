# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm set`"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from clatnm.cli import EXIT_NOTHING_TO_DO, EXIT_OK
from clatnm.errors import BusError, ConfigError, HostError
from clatnm.model import Mode

_FORGET = "default"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument(
        "connection", metavar="CONNECTION", nargs="?", help="its name, its UUID, or its network interface"
    )
    parser.add_argument("mode", metavar="MODE", nargs="?", help="auto, force, no, or default: follow the default again")
    parser.add_argument(
        "--default", metavar="MODE", dest="default_mode", help="auto, force or no, for connections without a mode"
    )


def wish(arguments: argparse.Namespace) -> tuple[str | None, Mode | None]:
    """The connection (None: all that have no mode) and its mode (None: not one of its own). ConfigError."""
    from clatnm.config import parse_mode

    words = [word for word in (arguments.connection, arguments.mode) if word is not None]
    if arguments.default_mode is not None:
        if words:
            raise ConfigError("--default is not about one connection", hint="clatnm set --default MODE")
        return None, parse_mode(arguments.default_mode)
    try:
        connection, mode = words
    except ValueError:
        raise ConfigError("which connection, and which mode?", hint="see: clatnm set --help") from None
    if mode.strip().lower() == _FORGET:
        return connection, None
    try:
        return connection, parse_mode(mode)
    except ConfigError as error:
        raise ConfigError(error.what, hint=f"one of: auto, force, no, {_FORGET}") from None


def run(arguments: argparse.Namespace) -> int:
    """Write the mode where it belongs, as the calling user: NetworkManager decides who may change its connections, and
    root those that it does not have."""
    connection, mode = wish(arguments)
    changed = _set_default(mode) if connection is None else _set(connection, mode)
    return EXIT_OK if changed else EXIT_NOTHING_TO_DO


def _set_default(mode: Mode | None) -> bool:
    from clatnm import config

    changed = _write(config.CONFIG_DIR / config.CONFIG_NAME, mode)
    print(f"default CLAT mode {'is now' if changed else 'is already'} {mode}")
    return changed


def _set(connection: str, mode: Mode | None) -> bool:
    from clatnm import config
    from clatnm.cli import interruptible
    from clatnm.printable import printable
    from clatnm.uplinks import nm_profiles

    key = ""
    try:
        outcome = interruptible.run(nm_profiles.set_mode(connection, mode))
    except (BusError, ConfigError):
        known, networkmanagers = _known_to_the_daemon(connection)
        if not known:
            raise
        if networkmanagers:
            outcome = interruptible.run(nm_profiles.set_mode(known, mode))
        else:
            key = known
            outcome = nm_profiles.Outcome(uuid=key, place="", changed=False, kept=False)
    own_file = config.CONFIG_DIR / config.CONNECTIONS_NAME / f"{outcome.uuid}.conf"
    changed, place = outcome.changed, outcome.place
    if mode is None:
        changed |= own_file.exists() and _write(own_file, None)
    elif not outcome.kept:
        write = _write if key else _write_instead
        changed, place = write(own_file, mode), str(own_file)
    name = printable(connection)
    if mode is None:
        print(f"{name}: no CLAT mode of its own {'any more' if changed else 'is set'}")
    else:
        print(f"{name}: CLAT mode {'is now' if changed else 'is already'} {mode} ({place})")
    for interface in outcome.translating:
        how = f"until it is activated again, or: nmcli device reapply {printable(interface)}"
        print(f"NetworkManager's own CLAT stays on {printable(interface)} {how}", file=sys.stderr)
    if outcome.kept and mode is not None:
        _warn_of(own_file, mode)
    return changed


def _known_to_the_daemon(connection: str) -> tuple[str, bool]:
    """What tells apart the active connection that is meant ("": none is, or several are), and whether it is
    NetworkManager's, which knows no interfaces; otherwise a file in connections.d is called like that."""
    import json

    from clatnm.cli import interruptible
    from clatnm.cli.answers import understood
    from clatnm.dbus import service

    try:
        answer = interruptible.run(service.ask("Status"))
        with understood():
            everything = json.loads(answer)
            told = everything["connections"]
            static = any(connection in (item["name"], item["uuid"]) for item in everything.get("static", ()))
            meant = [item for item in told if connection in (item["interface"], item["name"], item["uuid"])]
            found = [(str(item["uuid"]), str(item["name"]), item["manager"] == "NetworkManager") for item in meant]
    except BusError:
        return "", False
    if static and not meant:
        hint = "it runs while its file is in static.d: see clatnm-static.conf(5)"
        raise ConfigError(f"'{connection}' is a static translator, which has no mode", hint=hint)
    if len(found) != 1:
        return "", False
    key, name, networkmanagers = found[0]
    refused = networkmanagers and connection in (key, name)
    return ("", False) if refused or "/" in key else (key, networkmanagers)  # the key becomes the name of a file


def _write_instead(own_file: Path, mode: Mode) -> bool:
    """The profile store loses user data, as netplan's does: a file of ours has the mode then."""
    try:
        changed = _write(own_file, mode)
    except HostError as error:
        raise BusError(
            "NetworkManager accepted the change, but its profile store did not keep it",
            hint=f"as root, clatnm keeps it in {own_file}; {error.what}",
        ) from error
    print(f"NetworkManager's profile store did not keep the mode, so {own_file} has it", file=sys.stderr)
    return changed


def _write(path: Path, mode: Mode | None) -> bool:
    """Write the mode into a file, and have the daemon read it."""
    from clatnm import config_edit
    from clatnm.cli.reloading import reload_daemon
    from clatnm.translators.backends import BACKENDS

    if not config_edit.set_mode(path, mode, backends=tuple(BACKENDS)):
        return False
    reload_daemon()
    return True


def _warn_of(own_file: Path, mode: Mode) -> None:
    """A file that says another mode goes before the connection's."""
    from clatnm import config
    from clatnm.translators.backends import BACKENDS

    try:
        settings = config.load(config.CONFIG_DIR, backends=tuple(BACKENDS)).connections.get(own_file.stem)
    except ConfigError:  # the daemon has complained, and uses what it read before
        return
    if settings is not None and "mode" in settings.written and settings.mode is not mode:
        print(f"but it has no effect: {own_file} says mode = {settings.mode}, and that goes before it", file=sys.stderr)
