# SPDX-License-Identifier: GPL-2.0-or-later
"""Translators as units of their own, and how exposed they are."""

from __future__ import annotations

import sys

from tests.machines import systemd_exposure as exposure
from tests.machines import systemd_scopes as scopes
from tests.machines.systemd_checks import Checks, run

CHECKS: Checks = {
    "each-has-a-unit": scopes.each_has_a_unit,
    "translators-are-less-exposed": exposure.translators_are_less_exposed,
    "restart-finds-nothing-left-over": scopes.restart_finds_nothing_left_over,
    "killed-daemon-leaves-nothing-over": scopes.killed_daemon_leaves_nothing_over,
    "stop-ends-all-units": scopes.stop_ends_all_units,
    "older-one-is-moved": scopes.older_one_is_moved,
    "without-units-it-is-as-it-was": scopes.without_units_it_is_as_it_was,
    "name-that-is-taken": scopes.name_that_is_taken,
    "stopped-by-hand-is-followed": scopes.stopped_by_hand_is_followed,
    "daemon-is-stopped-first": scopes.daemon_is_stopped_first,
    "tayga-is-with-its-translator": scopes.tayga_is_with_its_translator,
    "caretaker-has-one": scopes.caretaker_has_one,
}

if __name__ == "__main__":
    sys.exit(run(CHECKS))
