# SPDX-License-Identifier: GPL-2.0-or-later
"""NAT64 prefixes from the configuration: one that overrules what the network tells, one for where it tells none."""

from __future__ import annotations

from clatnm.model import PrefixCandidate, PrefixSource, Settings


def candidates(settings: Settings) -> tuple[PrefixCandidate, ...]:
    """The prefixes that these settings of a connection give; they never expire."""
    given = ((settings.prefix, PrefixSource.STATIC), (settings.fallback_prefix, PrefixSource.FALLBACK))
    return tuple(PrefixCandidate(prefix=prefix, source=source) for prefix, source in given if prefix is not None)
