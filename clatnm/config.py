# SPDX-License-Identifier: GPL-2.0-or-later
"""`/etc/clatnm/clatnm.conf`: read, checked, and turned into `Settings`."""

from __future__ import annotations

import configparser
import os
import re
import secrets
import stat
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
        raise ConfigError(f"mode {text!r} is unknown", hint="one of: auto, force, no") from None


def load(directory: Path, *, backends: tuple[str, ...]) -> Settings:
    """The settings in `directory`; the defaults where there is no file.

    ConfigError names file and line of the first mistake; nothing of a faulty file is used.
    """
    path = directory / CONFIG_NAME
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would never end
            raise ConfigError(f"{path}: not a regular file")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Settings()
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}:{line}: not UTF-8 text", hint="save the file as UTF-8") from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="the file must be readable, or absent") from error
    return parse(text, source=str(path), backends=backends)


def parse(text: str, *, source: str, backends: tuple[str, ...]) -> Settings:
    """Parse the configuration file's text; `source` is its name for messages."""
    parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=("#", ";"), default_section="")
    try:
        parser.read_string(text, source=source)
    except configparser.Error as error:
        raise _syntax_fault(error, source) from error
    for section in parser.sections():
        if section != _SECTION:
            header = rf"\[{re.escape(section)}\]"
            raise _fault(text, source, header, f"unknown section [{section}]", "the only one is [clatnm]")
    mode, backend = Mode.AUTO, "auto"
    for key, value in parser[_SECTION].items() if parser.has_section(_SECTION) else ():
        if key == "mode":
            try:
                mode = parse_mode(value)
            except ConfigError as error:
                raise _key_fault(text, source, key, error.what, error.hint) from None
        elif key == "backend":
            if value not in ("auto", *backends):
                known = ", ".join(("auto", *backends))
                raise _key_fault(text, source, key, f"unknown backend {value!r}", f"one of: {known}")
            backend = value
        else:
            raise _key_fault(text, source, key, f"unknown key {key!r}", "known keys: backend, mode")
    return Settings(mode=mode, backend=backend)


def _syntax_fault(error: configparser.Error, source: str) -> ConfigError:
    number, what = 1, " ".join(str(error).split())
    match error:
        case configparser.DuplicateOptionError():
            number, what = error.lineno or 1, f"'{error.option}' is set twice"
        case configparser.DuplicateSectionError():
            number, what = error.lineno or 1, f"[{error.section}] appears twice"
        case configparser.MissingSectionHeaderError():
            number, what = error.lineno, "this line belongs to no section"
        case configparser.ParsingError():
            number, what = error.errors[0][0], "this line is not understood"
    return ConfigError(f"{source}:{number}: {what}", hint="the form is: [clatnm], then key = value")


def _key_fault(text: str, source: str, key: str, what: str, hint: str) -> ConfigError:
    """A ConfigError that names the line where `key` is set."""
    return _fault(text, source, rf"{re.escape(key)}\s*[=:]", what, hint)


def _fault(text: str, source: str, pattern: str, what: str, hint: str) -> ConfigError:
    """A ConfigError that names the line which begins with `pattern`."""
    begins = re.compile(rf"\s*{pattern}", re.IGNORECASE)
    numbers = (n for n, line in enumerate(text.split("\n"), 1) if begins.match(line))
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
        fresh.unlink(missing_ok=True)
        try:
            fresh.touch(mode=0o600)
            fresh.write_bytes(secret)
            fresh.rename(path)
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as error:
        raise HostError(
            f"{path}: {error.strerror}", errno=error.errno or 0, hint="addresses change at each start"
        ) from error
    return secret
