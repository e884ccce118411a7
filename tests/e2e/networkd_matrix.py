# SPDX-License-Identifier: GPL-2.0-or-later
"""The tests on links of systemd-networkd with each of its versions, and their table (docs/networkd.md).

`python -m tests.e2e.networkd_matrix [RUN...]`; without names all of its runs.
"""

from __future__ import annotations

import sys

from tests.e2e.matrix import Matrix
from tests.lab.networkd import PROPERTY
from tests.lab.system import REPOSITORY

_TESTS = "tests/e2e/networkd"
MATRIX = Matrix(
    name="networkd-matrix",
    page=REPOSITORY / "docs/networkd.md",
    target="test-networkd-matrix",
    prop=PROPERTY,
    runs={
        "machine": (_TESTS,),
        "trixie": (_TESTS, "--lab-root=trixie"),
        "forky": (_TESTS, "--lab-root=forky"),
    },
)

if __name__ == "__main__":
    sys.exit(MATRIX.main(sys.argv[1:]))
