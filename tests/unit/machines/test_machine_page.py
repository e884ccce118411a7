# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/tested-on.md out of results, and which guests there are to be."""

from __future__ import annotations

from dataclasses import replace

from tests.machines import kernels, machine, roots
from tests.machines.matrix import HERE, PLACES, QUICK, Key, Result, page

VERSIONS = {"kernel": "6.1.0-50-amd64", "systemd": "252.39-1", "python3": "3.11.2-1"}
PASSED = Result(date="2026-01-02", fault="", checks=9, skipped=["ebpf (no tcx)"], versions=VERSIONS)
FAILED = Result(date="2026-01-03", fault="ppp: a | b\nmore", checks=1, skipped=[], versions={})


def test_page_has_a_row_a_result_and_the_versions_of_each_root() -> None:
    text = page({Key("trixie", "here", "systemd"): PASSED, Key("bookworm", "6.1", "kernels+uplinks"): FAILED})
    assert "| trixie | 6.1.0-50-amd64 | systemd | 9 checks passed; not here: ebpf (no tcx) | 2026-01-02 |\n" in text
    assert "| bookworm | 6.1 | kernels, uplinks | **ppp: a / b more** | 2026-01-03 |\n" in text
    assert "| in the root | trixie |\n|---|---|\n| systemd | 252.39-1 |\n" in text


def test_page_tells_of_a_second_try() -> None:
    text = page({Key("trixie", "here", "systemd"): replace(PASSED, first_fault="tun: late")})
    assert "| 9 checks passed; not here: ebpf (no tcx); at the second try, the first: tun: late |" in text


def test_page_forgets_what_is_no_longer_asked_for() -> None:
    assert "kernels" not in page({Key("bookworm", "7.99", "kernels"): PASSED}).partition("|---")[2]


def test_matrix_names_what_there_is() -> None:
    for job, places in PLACES.items():
        assert set(machine.parts(job)) <= set(machine.jobs())
        for place in places:
            assert place.root in roots.RECIPES
            assert place.kernel in {*kernels.SUITES, HERE}
    assert set(machine.FIRST) <= set(PLACES)


def test_quick_part_is_a_part() -> None:
    whole = {(place, part) for job, places in PLACES.items() for place in places for part in machine.parts(job)}
    assert {(place, job) for job, places in QUICK.items() for place in places} < whole


def test_every_kernel_is_in_the_matrix() -> None:
    assert {place.kernel for places in PLACES.values() for place in places} - {HERE} == set(kernels.SUITES)
