# SPDX-License-Identifier: GPL-2.0-or-later
"""Logging: plain lines to standard error, with journal priorities under systemd."""

from __future__ import annotations

import logging
import os
import sys

# sd-daemon(3): a line may begin with its priority when standard error is the journal.
_PRIORITY = {logging.DEBUG: "<7>", logging.INFO: "<6>", logging.WARNING: "<4>", logging.ERROR: "<3>"}


class _JournalFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        prefix = _PRIORITY.get(record.levelno, "<6>")
        return "\n".join(prefix + line for line in super().format(record).splitlines())


def setup(*, verbose: int = 0) -> None:
    """Log to standard error: warnings and INFO by default, evidence (DEBUG) when `verbose` >= 1."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JournalFormatter("%(message)s") if _is_journal() else logging.Formatter("%(message)s"))
    root = logging.getLogger("clatnm")
    root.handlers[:] = [handler]
    root.propagate = False
    root.setLevel(logging.DEBUG if verbose else logging.INFO)


def _is_journal() -> bool:
    """True when standard error is the stream systemd named in JOURNAL_STREAM (device:inode)."""
    wanted = os.environ.get("JOURNAL_STREAM", "")
    try:
        stat = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return wanted == f"{stat.st_dev}:{stat.st_ino}"
