# SPDX-License-Identifier: GPL-2.0-or-later
"""Logging: plain lines to standard error; entries with fields where that is systemd's journal.

What users are told of has a MESSAGE_ID, which never changes, whatever becomes of the words. With it, `journalctl -x`
finds the explanation in the catalog (packaging/systemd/clatnm.catalog).
"""

from __future__ import annotations

import logging
import os
import socket
import struct
import sys
from collections.abc import Mapping
from typing import Any, Final

from clatnm.compat import StrEnum

# sd-daemon(3): a line may begin with its priority when standard error is the journal.
_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}
_JOURNAL: Final = "/run/systemd/journal/socket"
_KEY: Final = "journal"
_IDENTIFIER: Final = "clatnm"


class Message(StrEnum):
    """MESSAGE_IDs, sd_id128 in hexadecimal. A new kind of message takes `systemd-id128 new`; an old one keeps its."""

    CLAT_UP = "4c3aa6c14f2c4db3963412bf02752eba"
    CLAT_ABSENT = "249978b1fd0d43ea96451b720b1a1437"
    CLAT_GONE = "e9c6db1534b44929bc1ca154c2fc29d8"
    TRANSLATOR_FAILED = "72a6a5841f3d4394b23f5e3486c979ab"
    TRANSLATOR_STUCK = "ead72f4971764acc864e6ab299f70a96"
    ADDRESS_TAKEN = "f8967591e33d4058b996a475439ed73c"
    UPLINK_MISSING = "eea854fd3aad40a982b101e64753c88d"
    CONFIG_READ = "daedcfacfb054bc296891ea9de862094"
    CONFIG_REFUSED = "1ff650487c6e4156a7c418747985a272"
    BUS_LOST = "7cf61b1a730f46fa9417cda3d595eba4"
    NAME_REFUSED = "477c8da0fbd44282a96f108cd616a95a"
    MODE_IGNORED = "9c6c7158f86147ba9bc4db042a9246af"
    SETTING_IGNORED = "ef24a00dcf234ffc9f42bf8a26f9a66b"
    MANAGER_CHANGED = "0ff54f5aa7d2461992792e11be216df1"
    MANAGER_NOT_UNDERSTOOD = "48f21c6c3afa43debd323d3aa97ce5ba"
    SECRET_NOT_KEPT = "e5971ae9dedd4fc398c1064e9773038b"  # noqa: S105  # no secret, but about one
    SCRIPT_FAILED = "b1317ef28e7a416a922f0fce8f2749cf"
    LEFTOVER_REMOVED = "5a22c25e83ab493ca46d838acb9c5d4f"
    ZONE_JOINED = "9ac5561b2905459586516d1a8e95384b"
    ZONE_UNKNOWN = "811570360c8c442788a008a89b7856f4"
    NOT_FORWARDING = "6433abaa4e324f1cb94335a27ff8b31c"
    VPN_UNPROTECTED = "beeb2ec7a1164668937bf5e330d2ce7f"
    RECORDING_ENDED = "e35663bd4e6141f8adc5af343e6499bc"
    METRICS_SERVED = "abd23929877a48d7b84c71c28487f042"
    METRICS_UNAVAILABLE = "05575e6aab6a46f4a6da931660db3a80"


def about(message: Message, **fields: object) -> dict[str, Any]:
    """`extra` for a call of a logger: the MESSAGE_ID, and fields `CLATNM_…` for those that are something.

    `connection` is a UUID, `uplink` an interface; `reason`, `prefix` and others are as in `clatnm status --json`.
    """
    told = {f"CLATNM_{name.upper()}": str(value) for name, value in fields.items() if value not in (None, "")}
    return {_KEY: {"MESSAGE_ID": str(message), **told}}


def encoded(fields: Mapping[str, str]) -> bytes:
    """An entry in the journal's native protocol: `KEY=text`, or with a length where the text has several lines."""
    parts = []
    for key, value in fields.items():
        data = value.encode("utf-8", "replace")
        if b"\n" in data:
            parts.append(key.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n")
        else:
            parts.append(key.encode() + b"=" + data + b"\n")
    return b"".join(parts)


class _Formatter(logging.Formatter):
    """What comes from elsewhere controls no terminal: of what cannot be printed only the ends of lines stay."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


class _PriorityFormatter(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{_PRIORITY.get(record.levelno, 6)}>"
        return "\n".join(prefix + line for line in super().format(record).splitlines())


class JournalHandler(logging.Handler):
    """To the journal's own socket. What that does not take goes where the lines have always gone, without fields."""

    def __init__(self, fallback: logging.Handler, *, path: str) -> None:
        super().__init__()
        self._fallback = fallback
        self._path = path
        # A journal that is too busy must not hold us up more than standard error would.
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)

    def emit(self, record: logging.LogRecord) -> None:
        """Send one entry."""
        try:
            fields = {
                "MESSAGE": self.format(record),
                "PRIORITY": str(_PRIORITY.get(record.levelno, 6)),
                "SYSLOG_IDENTIFIER": _IDENTIFIER,
                **getattr(record, _KEY, {}),
            }
            self._socket.sendto(encoded(fields), self._path)
        except OSError:
            self._fallback.handle(record)
        except Exception:  # as every handler of the library
            self.handleError(record)

    def close(self) -> None:
        """Give the descriptor back."""
        self._socket.close()
        super().close()


def setup(*, verbose: int = 0) -> None:
    """Log to standard error: warnings and INFO by default, evidence (DEBUG) when `verbose` >= 1."""
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(message)s"))
    if _is_journal():
        handler.setFormatter(_PriorityFormatter("%(message)s"))
        handler = JournalHandler(handler, path=_JOURNAL)
        handler.setFormatter(_Formatter("%(message)s"))
    root = logging.getLogger("clatnm")
    for old in root.handlers:
        if isinstance(old, JournalHandler):
            old.close()
    root.handlers[:] = [handler]
    root.propagate = False
    root.setLevel(logging.DEBUG if verbose else logging.INFO)


def _is_journal() -> bool:
    """True when standard error is the stream systemd named in JOURNAL_STREAM (device:inode)."""
    wanted = os.environ.get("JOURNAL_STREAM", "")
    try:
        stat = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):  # AttributeError: there is none
        return False
    return wanted == f"{stat.st_dev}:{stat.st_ino}"
