# SPDX-License-Identifier: GPL-2.0-or-later
"""The tests on links of systemd-networkd with each of its versions, and their table (docs/networkd.md).

`python -m tests.e2e.networkd_matrix [RUN...]`; without names all of its runs.
"""

from __future__ import annotations

import sys

from tests.e2e.matrix import Matrix
from tests.lab.networkd import PROPERTY
from tests.lab.system import REPOSITORY

# Its own tests, then those that leave it to the lab who manages the links.
_SHARED = ("dns64_network", "leaving", "plat_check", "right_moment", "router_changes", "shared_address")
# Those of them that ask NetworkManager, or about what it leaves on a link without a connection.
_NETWORKMANAGERS = (
    "leaving.py::test_connection_down_ends_it",
    "router_changes.py::test_resolver_of_the_routers_advertisement_is_the_links",
    "router_changes.py::test_resolver_of_dhcp6_is_the_links",
    "router_changes.py::test_resolvers_of_both_families_are_the_links",
)
_TESTS = (
    *("tests/e2e/networkd", *(f"tests/e2e/test_{name}.py" for name in _SHARED)),
    *(f"--deselect=tests/e2e/test_{test}" for test in _NETWORKMANAGERS),
    "--lab-manager=networkd",
)
MATRIX = Matrix(
    name="networkd-matrix",
    page=REPOSITORY / "docs/networkd.md",
    target="test-networkd-matrix",
    prop=PROPERTY,
    runs={
        "machine": _TESTS,
        "trixie": (*_TESTS, "--lab-root=trixie"),
        "forky": (*_TESTS, "--lab-root=forky"),
    },
)

if __name__ == "__main__":
    sys.exit(MATRIX.main(sys.argv[1:]))
