# SPDX-License-Identifier: GPL-2.0-or-later
"""`/etc/clatnm/clatnm.conf`: read, checked, and turned into `Settings`."""

from __future__ import annotations

import configparser
import os
import secrets
from pathlib import Path

from clatnm.errors import ConfigError, HostError
from clatnm.model import Mode, Settings

CONFIG_DIR = Path("/etc/clatnm")
STATE_DIR = Path("/var/lib/clatnm")
CONFIG_NAME = "clatnm.conf"

_SECTION = "clatnm"
_SECRET_BYTES = 32
_MODES = {
    **dict.fromkeys(("no", "off", "false", "0"), Mode.NO),
    **dict.fromkeys(("auto", "yes", "on", "true", "1"), Mode.AUTO),
    **dict.fromkeys(("force", "2"), Mode.FORCE),
}


def parse_mode(text: str) -> Mode:
    """`no`, `auto` or `force`, also as NetworkManager's numbers 0, 1, 2. ConfigError for anything else."""
    try:
        return _MODES[text.strip().lower()]
    except KeyError:
        raise ConfigError(f"mode '{text}' is unknown", hint="one of: auto, force, no") from None


def load(directory: Path, *, backends: tuple[str, ...]) -> Settings:
    """The settings in `directory`; the defaults where there is no file.

    ConfigError names file and line of the first mistake; nothing of a faulty file is used.
    """
    path = directory / CONFIG_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Settings()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    return parse(text, source=str(path), backends=backends)


def parse(text: str, *, source: str, backends: tuple[str, ...]) -> Settings:
    """Parse the configuration file's text; `source` is its name for messages."""
    parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=("#", ";"))
    try:
        parser.read_string(text, source=source)
    except configparser.Error as error:
        raise ConfigError(" ".join(str(error).split()), hint="the form is: [clatnm], then key = value") from error
    for section in parser.sections():
        if section != _SECTION:
            raise _fault(text, source, f"[{section}]", f"unknown section [{section}]", "the only one is [clatnm]")
    mode, backend = Mode.AUTO, "auto"
    for key, value in parser[_SECTION].items() if parser.has_section(_SECTION) else ():
        if key == "mode":
            try:
                mode = parse_mode(value)
            except ConfigError as error:
                raise _fault(text, source, key, error.what, error.hint) from None
        elif key == "backend":
            if value not in ("auto", *backends):
                raise _fault(
                    text, source, key, f"unknown backend '{value}'", f"one of: {', '.join(('auto', *backends))}"
                )
            backend = value
        else:
            raise _fault(text, source, key, f"unknown key '{key}'", "known keys: backend, mode")
    return Settings(mode=mode, backend=backend)


def _fault(text: str, source: str, start: str, what: str, hint: str) -> ConfigError:
    """A ConfigError that names the line beginning with `start`."""
    numbers = (n for n, line in enumerate(text.splitlines(), 1) if line.strip().lower().startswith(start.lower()))
    return ConfigError(f"{source}:{next(numbers, 1)}: {what}", hint=hint)


def fresh_secret() -> bytes:
    """A new secret for `load_secret`'s purpose."""
    return secrets.token_bytes(_SECRET_BYTES)


def load_secret(directory: Path) -> bytes:
    """The secret behind our stable addresses (RFC 7217 section 5), made on first use.

    HostError when it cannot be kept.
    """
    path = directory / "secret"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        secret = path.read_bytes() if path.exists() else b""
        if len(secret) >= _SECRET_BYTES:
            return secret
        secret = fresh_secret()
        # Written aside and renamed, so that a crash leaves either no secret or a whole one.
        fresh = directory / f"secret.{os.getpid()}"
        fresh.touch(mode=0o600)
        fresh.write_bytes(secret)
        fresh.rename(path)
    except OSError as error:
        raise HostError(
            f"{path}: {error.strerror}", errno=error.errno or 0, hint="addresses change at each start"
        ) from error
    return secret
