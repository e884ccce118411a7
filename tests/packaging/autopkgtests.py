# SPDX-License-Identifier: GPL-2.0-or-later
"""`debian/tests` as Debian runs them, by its own autopkgtest, in a booted Debian 12: `make test-packages`."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

import pytest

from tests.lab import trees
from tests.lab.requirements import missing
from tests.machines import container
from tests.packaging import debs
from tests.packaging.booted import Booted
from tests.packaging.debian_tree import DebianTree

RELEASE = "bookworm"
# A machine of its own is what the test `demo` asks for. This one is, as far as it looks.
OPTIONS = ("--ignore-restrictions=isolation-machine", "--no-built-binaries", "--output-dir=/tmp/results")


def depended_on() -> set[str]:
    """What the tests need beside the package."""
    control = (debs.DEBIAN / "tests/control").read_text()
    listed = re.findall(r"^Depends:(.*\n(?: .*\n)*)", control, re.MULTILINE)
    return {name for lines in listed for name in re.findall(r"[a-z0-9.+-]+", lines)} - {"clatnm"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DebianTree]:
    """With all that is needed, for there is no network afterwards."""
    reason = missing({}) or container.why_not() or trees.why_not(RELEASE)
    if reason:
        pytest.skip(reason)
    tree = DebianTree(RELEASE, tmp_path_factory.mktemp("trees") / RELEASE)
    try:
        reason = tree.refresh()
        if reason:
            pytest.skip(reason)
        given = tree.give(*sorted(debs.built(tmp_path_factory).glob("*.deb")))
        tree.apt("install", "--no-install-recommends", "autopkgtest", "dpkg-dev", *sorted(depended_on()), *given)
        yield tree
    finally:
        tree.remove()


def test_all_of_them_pass(tree: DebianTree) -> None:
    source = tree.path("/srv/clatnm")
    for name in ("tests", "packaging", "nm-dispatcher", "networkd"):
        shutil.copytree(debs.REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(debs.DEBIAN, source / "debian")
    with Booted(tree.root) as system:
        done = system.run("autopkgtest", *OPTIONS, "/srv/clatnm", "--", "null", check=False)
        told = done.stdout + done.stderr
        assert done.returncode == 0, told
        summary = dict(re.findall(r"^(\S+)\s+(PASS|FAIL|SKIP)\b", told, re.MULTILINE))
        assert summary == {path.name: "PASS" for path in (debs.DEBIAN / "tests").iterdir() if path.name != "control"}
