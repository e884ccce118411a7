# SPDX-License-Identifier: GPL-2.0-or-later
"""For verbs that read what the daemon answers: it may be of another version, and then one line says so."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from clatnm.errors import BusError

# What reading a JSON value of another form than expected can raise.
_MISREAD = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)


@contextlib.contextmanager
def understood() -> Iterator[None]:
    """Around what reads an answer, and around nothing else: BusError where it has another form than this version's."""
    try:
        yield
    except _MISREAD as error:
        what = "the daemon's answer is not understood"
        raise BusError(what, hint="is it of another version? systemctl restart clatnm") from error
