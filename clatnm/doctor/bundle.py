# SPDX-License-Identifier: GPL-2.0-or-later
"""A file for whoever is to help: all that is known about a machine, without hosts and names."""

from __future__ import annotations

import errno
import io
import json
import os
import platform
import re
import socket
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from clatnm import __version__, trace
from clatnm.doctor import report
from clatnm.doctor.facts import Facts
from clatnm.doctor.findings import Finding
from clatnm.doctor.redact import Redactor
from clatnm.errors import HostError

_COMMANDS: Mapping[str, tuple[str, ...]] = {
    "journal.txt": ("journalctl", "--no-pager", "--no-hostname", "--unit=clatnm", "--lines=500", "--output=short-iso"),
    "networkmanager.txt": ("NetworkManager", "--version"),
    "systemd.txt": ("systemctl", "--version"),
    "rules4.txt": ("ip", "-4", "rule"),
    "routes4.txt": ("ip", "-4", "route", "show", "table", "all"),
    "routes6.txt": ("ip", "-6", "route", "show", "table", "all"),
    "addresses.txt": ("ip", "-d", "address"),
}
_COMMAND_S, _MAX_BYTES = 10.0, 1 << 20
_COMMENT = re.compile(r"(?:^[ \t]*|[ \t]+)[#;].*", re.MULTILINE)
_LIBRARIES = ("dbus-next", "dbus-fast", "pyroute2", "dnspython", "Jinja2")
_FILE_MODE = 0o600  # what it holds has been looked through by nobody


def write(path: Path, found: Sequence[Finding], facts: Facts, *, config_dir: Path, with_names: bool) -> list[str]:
    """Write the archive in one step; the names of what is in it. HostError: it cannot be written."""
    if path.exists() and not path.is_file():  # a device would be gone afterwards, and a file in its place
        raise HostError(f"{path}: not a regular file", errno=errno.EINVAL, hint="a new file, as clatnm.tar.gz")
    parts = _parts(found, facts, config_dir)
    redactor = _redactor(facts, with_names=with_names)
    told = {name: redactor.text(text) for name, text in parts.items()}
    data = _archive(told)
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent or Path(), prefix=".clatnm", delete=False) as file:
            temporary = Path(file.name)
            try:
                file.write(data)
                file.flush()
                temporary.chmod(_FILE_MODE)
                temporary.replace(path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
    except OSError as error:
        code = error.errno or 0
        raise HostError(f"{path}: {os.strerror(code)}", errno=code, hint="a directory that you may write to") from error
    return sorted(told)


def _redactor(facts: Facts, *, with_names: bool) -> Redactor:
    world = facts.world
    uplinks = world.uplinks if world is not None else ()
    names = {uplink.name for uplink in uplinks if uplink.name != uplink.interface}
    names |= {s.name for s in facts.subjects if s.name != s.interface}
    prefixes = [c.prefix for candidates in (world.prefixes.values() if world else ()) for c in candidates]
    host = socket.gethostname()
    hosts = (host, host.partition(".")[0])
    return Redactor(names=() if with_names else names, hosts=() if with_names else hosts, prefixes=prefixes)


def _parts(found: Sequence[Finding], facts: Facts, config_dir: Path) -> dict[str, str]:
    """File name → text, as it is."""
    parts = {
        "findings.json": json.dumps(report.as_json(found, facts), indent=2, ensure_ascii=False) + "\n",
        "findings.txt": report.as_text(found, facts) + "\n",
        "status.json": _pretty(facts.status),
        "world.json": trace.line(facts.world, facts.at) + "\n" if facts.world is not None else "",
        "versions.txt": _versions(),
        **{name: _output(argv) for name, argv in _COMMANDS.items()},
        **_configuration(config_dir),
    }
    return {name: text for name, text in parts.items() if text}


def _pretty(text: str) -> str:
    return json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n" if text else ""


def _versions() -> str:
    lines = [
        f"clatnm {__version__}",
        f"Python {sys.version.split()[0]}",
        f"Linux {platform.release()} {platform.machine()}",
    ]
    for library in _LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            lines.append(f"{library} {metadata.version(library)}")
    with suppress(OSError):
        text = Path("/etc/os-release").read_text(encoding="utf-8", errors="replace")
        lines += [line for line in text.splitlines() if line.startswith("PRETTY_NAME=")]
    return "\n".join(lines) + "\n"


def _output(argv: Sequence[str]) -> str:
    """What a program of this machine says; "" where there is none."""
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            list(argv), capture_output=True, timeout=_COMMAND_S, check=False, env=environment, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout[-_MAX_BYTES:].decode("utf-8", "replace")


def _configuration(directory: Path) -> dict[str, str]:
    files = [directory / "clatnm.conf", *directory.glob("connections.d/*.conf"), *directory.glob("static.d/*.conf")]
    told = {}
    for number, path in enumerate(files):
        with suppress(OSError):
            # Of a connection the file's name is the connection's UUID.
            name = f"etc/{path.parent.name}-{number}.conf" if number else "etc/clatnm.conf"
            told[name] = _without_comments(path.read_bytes()[:_MAX_BYTES].decode("utf-8", "replace"))
    return told


def _without_comments(text: str) -> str:
    """A configuration file as it works; people write all kinds of things beside that. Its lines keep their numbers."""
    return _COMMENT.sub("", text)


def _archive(parts: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in parts.items():
            data = text.encode("utf-8", "replace")
            member = tarfile.TarInfo(f"clatnm-doctor/{name}")
            member.size, member.mode = len(data), 0o644
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()
