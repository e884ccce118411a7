# SPDX-License-Identifier: GPL-2.0-or-later
"""What a translator's failures mean for the next try. A table, not a loop that sleeps."""

from __future__ import annotations

from clatnm.model import Retry

# The first restart is at once: one crash is an accident. After that the waits grow and stay at a minute.
DELAYS_S = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
STABLE_AFTER_S = 60.0


def failed(previous: Retry | None, *, error: str, ran_for_s: float, now: float) -> Retry:
    """The translator could not start or died after `ran_for_s` seconds; a long run forgives what came before."""
    before = 0 if previous is None or ran_for_s >= STABLE_AFTER_S else previous.failures
    delay = DELAYS_S[min(before, len(DELAYS_S) - 1)]
    collisions = previous.collisions if previous else 0
    return Retry(failures=before + 1, error=error, not_before=now + delay, collisions=collisions)


def collided(previous: Retry | None, *, address: str, now: float) -> Retry:
    """Another host has our CLAT address (RFC 4862 5.4.5): take the next one at once (RFC 7217 section 6)."""
    return Retry(
        failures=previous.failures if previous else 0,
        error=f"{address} is in use by another host",
        not_before=now,
        collisions=(previous.collisions if previous else 0) + 1,
    )
