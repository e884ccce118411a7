# SPDX-License-Identifier: GPL-2.0-or-later
"""The e2e tests with each version of NetworkManager, and the table that tells how it went (docs/networkmanager.md).

`python -m tests.e2e.nm_matrix [RUN...]`; without names all of its runs. What is not run keeps what the last run found.
"""

from __future__ import annotations

import sys

from tests.e2e.matrix import Matrix
from tests.lab.fixtures import PROPERTY
from tests.lab.system import REPOSITORY

_NATIVE = "tests/e2e/native"
# Not about a network manager, or, in the last two, the same as here in small.
_OUTSIDE = (
    *("tests/e2e/datapath", "tests/e2e/test_by_hand.py", "tests/e2e/test_cleanup.py", "tests/e2e/test_lab_life.py"),
    *("tests/e2e/networkd", "tests/e2e/test_dns64_resolvers.py", "tests/e2e/test_tayga.py"),
    *(f"{_NATIVE}/test_newer_networkmanager.py", f"{_NATIVE}/test_toggle_versions.py"),
)
MATRIX = Matrix(
    name="nm-matrix",
    page=REPOSITORY / "docs/networkmanager.md",
    target="test-nm-matrix",
    prop=PROPERTY,
    runs={
        "machine": ("tests/e2e", f"--ignore={_NATIVE}"),
        "trixie": ("tests/e2e", f"--ignore={_NATIVE}", "--lab-root=trixie"),
        "forky": ("tests/e2e", f"--ignore={_NATIVE}", "--lab-root=forky"),
        "native": (_NATIVE,),
    },
    ignored=_OUTSIDE,
    mixed="native",
)
"""Tests in `native` choose their NetworkManagers themselves."""

if __name__ == "__main__":
    sys.exit(MATRIX.main(sys.argv[1:]))
