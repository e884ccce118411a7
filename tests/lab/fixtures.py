# SPDX-License-Identifier: GPL-2.0-or-later
"""pytest's way into the lab.

lab         session: one lab for all tests, up in well under a second; not reset between tests
clean_lab   function: the same lab in its start state (NetworkManager without profiles, up0 in A, up1 unplugged)
quick_lab   function: the same without duplicate address detection: a profile is up in 0.2 s, not 3 s
own_lab     module: a lab of the module's own, for tests that break what `reset` cannot mend
needs_root  function: skips, with the reason, where namespaces cannot be made

A module that defines a fixture `lab` of its own, by `running_lab("forky")`, has `clean_lab` and `quick_lab` follow it.
For all others, `--lab-root forky` says whose NetworkManager it is. Results have the version as the property
"networkmanager", in what `--junitxml` writes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.lab import networkd, trees
from tests.lab.lab import Lab
from tests.lab.networkd import Networkd
from tests.lab.poll import EventuallyError
from tests.lab.requirements import LAB_TOOLS, NAMESPACE_TOOLS, missing

EVERY_VERSION = (pytest.param(None, id="machine"), pytest.param("trixie"), pytest.param("forky"))
"""Parameters for a fixture `lab`: this machine's NetworkManager, 1.52 and 1.58 or later."""
PROPERTY = "networkmanager"

_running: dict[Lab, str] = {}
"""Each with the version of its NetworkManager."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--lab-root",
        choices=sorted(trees.RECIPES),
        help="whose NetworkManager runs in the lab, where a test does not choose (default: the machine's)",
    )
    parser.addoption(
        "--lab-manager",
        choices=("NetworkManager", "networkd"),
        default="NetworkManager",
        help="who manages the host's links, for tests that leave it to `clat.join`",
    )


@pytest.fixture(scope="session")
def lab(pytestconfig: pytest.Config) -> Iterator[Lab]:
    yield from running_lab(pytestconfig.getoption("--lab-root"))


@pytest.fixture(scope="module")
def own_lab(pytestconfig: pytest.Config) -> Iterator[Lab]:
    yield from running_lab(pytestconfig.getoption("--lab-root"))


@pytest.fixture
def clean_lab(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Lab]:
    lab.reset()
    with contextlib.ExitStack() as stack:
        if request.config.getoption("--lab-manager") == "networkd":
            stack.enter_context(managed_by_networkd(lab, request.node))
        yield lab
        for daemon in lab.host.daemons:
            daemon.kill()


@contextlib.contextmanager
def managed_by_networkd(lab: Lab, test: pytest.Item) -> Iterator[Networkd]:
    """networkd in NetworkManager's place, with no link managed yet; it is `lab.host.networkd` meanwhile."""
    if lab.host.networkd is not None:
        yield lab.host.networkd
        return
    missing = Networkd.missing(lab.host)
    if missing:
        pytest.skip(missing)
    with Networkd(lab.host) as running:
        test.user_properties.append((networkd.PROPERTY, str(running.version)))
        lab.host.networkd = running
        try:
            yield running
        finally:
            lab.host.networkd = None


@pytest.fixture
def quick_lab(clean_lab: Lab) -> Lab:
    clean_lab.host.dad(False)
    return clean_lab


@pytest.fixture
def needs_root() -> None:
    _skip_without(NAMESPACE_TOOLS)


def running_lab(tree: str | None = None) -> Iterator[Lab]:
    """For a fixture: a lab, with this machine's NetworkManager or the one of a tree (`trees.RECIPES`)."""
    _skip_without(LAB_TOOLS)
    reason = trees.why_not(tree) if tree else None
    if reason:
        pytest.skip(reason)
    with Lab(root=trees.tree(tree) if tree else Path("/")) as lab:
        _running[lab] = lab.host.nmcli("-g", "VERSION", "general").stdout.strip()
        yield lab
        del _running[lab]


def _skip_without(tools: Mapping[str, str]) -> None:
    reason = missing(tools)
    if reason:
        pytest.skip(reason)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever takes the lab is marked so, and `-m "not lab"` leaves it out."""
    for item in items:
        names = set(getattr(item, "fixturenames", ()))
        if names & {"lab", "clean_lab", "quick_lab", "own_lab"}:
            item.add_marker(pytest.mark.lab)
            item.add_marker(pytest.mark.root)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("root"):
        _skip_without(NAMESPACE_TOOLS)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, None]:
    """A failed lab test shows what the daemons and the kernel have to say."""
    if call.when == "call":
        used = (value for value in getattr(item, "funcargs", {}).values() if isinstance(value, Lab))
        item.user_properties.extend((PROPERTY, _running[lab]) for lab in set(used) & _running.keys())
    outcome = yield
    report: pytest.TestReport = outcome.get_result()
    # `eventually` has put the same into its message.
    told = call.excinfo is not None and call.excinfo.errisinstance(EventuallyError)
    if report.failed and not told and item.get_closest_marker("lab"):
        for lab in _running:
            report.sections.extend(lab.report().items())
