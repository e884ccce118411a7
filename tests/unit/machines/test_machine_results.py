# SPDX-License-Identifier: GPL-2.0-or-later
"""What a job says and what is made of it; and that nothing passes that did not say so."""

from __future__ import annotations

import pytest

from tests.machines.results import NO_RESULT, TIMED_OUT, Check, Fate, Outcome, checks, versions

OUTPUT = """\
up after 15 s
ok one
seed 4: not ok
not ok two: status 1: no answer
skip three: no tcx before Linux 6.6
 ok indented
ok: nothing
"""


def test_lines_of_results_are_told_from_words() -> None:
    assert checks(OUTPUT) == [
        Check(Fate.OK, "one"),
        Check(Fate.NOT_OK, "two", "status 1: no answer"),
        Check(Fate.SKIP, "three", "no tcx before Linux 6.6"),
    ]


def test_versions_are_pairs_and_complaints_are_none() -> None:
    told = "kernel 6.1.0-50-amd64\ndpkg-query: no packages found matching ppp\nsystemd 257.13-1~deb13u1\nradvd \n"
    assert versions(told) == {"kernel": "6.1.0-50-amd64", "systemd": "257.13-1~deb13u1"}


@pytest.mark.parametrize(
    ("status", "said", "fault"),
    [
        pytest.param(0, "ok one\n", "", id="passed"),
        pytest.param(0, "ok one\nskip two: why\n", "", id="passed-with-a-skip"),
        pytest.param(0, "", "nothing was checked", id="silent"),
        pytest.param(0, "skip one: why\n", "nothing was checked", id="all-skipped"),
        pytest.param(0, "ok one\nnot ok two: bad\n", "two: bad", id="status-denies-a-failure"),
        pytest.param(1, "not ok a: bad\nnot ok b: bad\n", "a: bad (and 1 more)", id="failures"),
        pytest.param(7, "ok one\n", "exit status 7", id="status-alone"),
        pytest.param(TIMED_OUT, "ok one\n", "killed after 60 s", id="killed"),
        pytest.param(NO_RESULT, "ok one\n", "the guest ended without a result", id="panic"),
    ],
)
def test_fault_of_an_outcome(status: int, said: str, fault: str) -> None:
    assert Outcome(status=status, checks=checks(said), seconds=60.2).fault == fault
