# SPDX-License-Identifier: GPL-2.0-or-later
"""What a translator's failures mean for the next try. A table, not a loop that sleeps."""

from __future__ import annotations

from dataclasses import replace

from clatnm.model import Retry

# The first restart is at once: one crash is an accident. After that the waits grow and stay at a minute.
DELAYS_S = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
STABLE_AFTER_S = 60.0
MAX_COLLISIONS = 3  # RFC 7217 section 6, IDGEN_RETRIES


def failed(previous: Retry | None, *, error: str, backend: str, ran_for_s: float | None, now: float) -> Retry:
    """The translator could not start (`ran_for_s` None) or died; a long run forgives what came before.

    A backend that could not start has had its chance: the next choice is made without it.
    """
    base = Retry(failures=0, error="", not_before=now) if previous is None else previous
    before = 0 if (ran_for_s or 0.0) >= STABLE_AFTER_S else base.failures
    delay_s = DELAYS_S[min(before, len(DELAYS_S) - 1)]
    refused = base.refused | {backend} if ran_for_s is None else base.refused
    return replace(base, failures=before + 1, error=error, not_before=now + delay_s, refused=refused)


def collided(previous: Retry | None, *, address: str, now: float) -> Retry:
    """Another host has our CLAT address (RFC 4862 5.4.5): take the next one at once (RFC 7217 section 6).

    After MAX_COLLISIONS somebody claims whatever we choose; then the next one is tried once a minute.
    """
    base = Retry(failures=0, error="", not_before=now) if previous is None else previous
    collisions = base.collisions + 1
    delay_s = 0.0 if collisions <= MAX_COLLISIONS else DELAYS_S[-1]
    error = f"{address} is in use by another host"
    return replace(base, error=error, not_before=now + delay_s, collisions=collisions)
