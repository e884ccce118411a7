# SPDX-License-Identifier: GPL-2.0-or-later
"""What clatnm.service grants, for comparison with what others say of the same daemon."""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
UNIT = REPOSITORY / "packaging/systemd/clatnm.service"


def settings(name: str) -> list[str]:
    """The words of all lines of that name, in their order."""
    lines = (line.partition("=") for line in UNIT.read_text(encoding="utf-8").splitlines())
    return [word for key, _, value in lines if key == name for word in value.split()]


def capabilities() -> set[str]:
    """As `net_admin`."""
    return {word.removeprefix("CAP_").lower() for word in settings("CapabilityBoundingSet")}


def families() -> set[str]:
    """As `inet6`."""
    return {word.removeprefix("AF_").lower() for word in settings("RestrictAddressFamilies")}


def temporary() -> set[str]:
    """Directories that are its own although others have one of that name."""
    return {"/tmp", "/var/tmp"} if settings("PrivateTmp") == ["yes"] else set()


def writable() -> set[str]:
    """The directories that systemd makes for it."""
    state = {f"/var/lib/{name}" for name in settings("StateDirectory")}
    return state | {f"/run/{name}" for name in settings("RuntimeDirectory")}
