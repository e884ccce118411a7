# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything clatnm raises on purpose. Expected absence is a value, not one of these."""

from __future__ import annotations


class ClatnmError(Exception):
    """Base: one line for the user, `what` and an optional `hint` on what to do."""

    def __init__(self, what: str, *, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what} ({self.hint})" if self.hint else self.what


class ParseError(ClatnmError):
    """Malformed network input; the only exception that leaves `proto`."""


class ConfigError(ClatnmError):
    """A configuration file or argument that makes no sense."""


class BusError(ClatnmError):
    """D-Bus, or a service on it, did not answer or refused; `name` is the D-Bus error name."""

    def __init__(self, what: str, *, hint: str = "", name: str = "") -> None:
        super().__init__(what, hint=hint)
        self.name = name


class NoDaemonError(BusError):
    """Nobody has our name on the bus."""


class AlreadyRunningError(ClatnmError):
    """Another daemon serves this machine; two would translate twice."""


class HostError(ClatnmError):
    """The kernel refused; `errno` says why."""

    def __init__(self, what: str, *, errno: int, hint: str = "") -> None:
        super().__init__(what, hint=hint)
        self.errno = errno


class GaveWayError(ClatnmError):
    """Somebody else began to translate while a translator of ours was about to."""


class TranslatorError(ClatnmError):
    """A translator could not start or died; `status` is its exit status (negative: signal)."""

    def __init__(self, what: str, *, status: int | None = None, stderr: str = "", hint: str = "") -> None:
        super().__init__(what, hint=hint)
        self.status = status
        self.stderr = stderr
