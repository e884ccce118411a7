# SPDX-License-Identifier: GPL-2.0-or-later
"""The e2e tests with each version of NetworkManager, and the table that tells how it went (docs/networkmanager.md).

`python -m tests.e2e.nm_matrix [RUN...]`; without names all of RUNS. What is not run keeps what the last run found.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab.fixtures import PROPERTY
from tests.lab.system import REPOSITORY
from tests.machines.needs import CACHE

PAGE = REPOSITORY / "docs/networkmanager.md"
MARK = "<!-- From here on `make test-nm-matrix` has written this. -->\n"
REPORTS = CACHE.parent / "nm-matrix"
_NATIVE = "tests/e2e/native"
# Not about a network manager, or, in the last two, the same as here in small.
_OUTSIDE = (
    *("tests/e2e/datapath", "tests/e2e/test_by_hand.py", "tests/e2e/test_cleanup.py", "tests/e2e/test_lab_life.py"),
    *("tests/e2e/test_networkd_links.py", "tests/e2e/test_dns64_resolvers.py", "tests/e2e/test_tayga.py"),
    *(f"{_NATIVE}/test_newer_networkmanager.py", f"{_NATIVE}/test_toggle_versions.py"),
)
RUNS: Mapping[str, Sequence[str]] = {
    "machine": ("tests/e2e", f"--ignore={_NATIVE}"),
    "trixie": ("tests/e2e", f"--ignore={_NATIVE}", "--lab-root=trixie"),
    "forky": ("tests/e2e", f"--ignore={_NATIVE}", "--lab-root=forky"),
    "native": (_NATIVE,),
}
"""Arguments for pytest. Tests in `native` choose their NetworkManagers themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One test with one version of NetworkManager; `root` is where that came from, as in RUNS."""

    module: str
    name: str
    root: str
    version: str | None
    outcome: str
    why: str


def cases(run: str, report: str) -> Iterator[Case]:
    """What a report in JUnit's format tells. The version is known only of tests that got as far as to have a lab."""
    for item in ET.fromstring(report).iter("testcase"):
        name = item.get("name", "")
        root = next((root for root in RUNS if f"[{root}" in name or f"-{root}" in name), run)
        faults = [(kind, found) for kind in ("failure", "error", "skipped") if (found := item.find(kind)) is not None]
        kind, fault = faults[0] if faults else ("passed", None)
        told = item.find(f"properties/property[@name='{PROPERTY}']")
        yield Case(
            module=item.get("classname", ""),
            name=name,
            root=root,
            version=None if told is None else told.get("value"),
            outcome="failed" if kind in ("failure", "error") else kind,
            why="" if fault is None else fault.get("message", ""),
        )


def table(found: Iterable[Case]) -> str:
    """A row for each module, a column for each version, and below it what did not run or failed."""
    found = list(found)
    versions = {case.root: case.version for case in found if case.version and case.root != "native"}
    known = {
        (case.module, case.name, version): case
        for case in found
        if (version := case.version or versions.get(case.root)) is not None
    }
    columns = sorted({version for *_, version in known}, key=_number)
    rows = [_row("scenario", *columns), "|---" * (len(columns) + 1) + "|\n"]
    for module in sorted({module for module, *_ in known}):
        cells = ([case for key, case in known.items() if (key[0], key[2]) == (module, column)] for column in columns)
        rows.append(_row(scenario(module), *(cell(tests) for tests in cells)))
    return "".join(rows) + _notes(known)


def cell(tests: Sequence[Case]) -> str:
    """How one module's tests went with one version."""
    counts = {word: sum(test.outcome == word for test in tests) for word in ("passed", "failed", "skipped")}
    if counts["failed"]:
        return f"**{counts['failed']} of {len(tests)} failed**"
    words = [f"{counts['passed']} passed"] if counts["passed"] else []
    words += [f"{counts['skipped']} not here"] if counts["skipped"] else []
    return ", ".join(words)


def scenario(module: str) -> str:
    """What a module says it is about, linked to it."""
    path = module.replace(".", "/") + ".py"
    said = ast.get_docstring(ast.parse((REPOSITORY / path).read_text(encoding="utf-8"))) or module
    return f"[{said.splitlines()[0].rstrip('.').replace('[', '(').replace(']', ')')}](../{path})"


def _notes(known: Mapping[tuple[str, str, str], Case]) -> str:
    told: dict[tuple[str, str], list[str]] = {}
    for (module, name, version), case in sorted(known.items()):
        if case.outcome == "failed":
            told.setdefault(("Failed", f"`{module.rpartition('.')[2]}::{name}`"), []).append(version)
        elif case.outcome == "skipped":
            told.setdefault(("Not here", case.why), []).append(version)
    lines = [
        f"- {word}: {' '.join(what.split())} ({', '.join(sorted(set(versions), key=_number))})\n"
        for (word, what), versions in sorted(told.items())
    ]
    return "\n" + "".join(lines) if lines else ""


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in version.split("."))


def _row(*cells: str) -> str:
    return "".join(f"| {' '.join(cell.split()).replace('|', '/')} " for cell in cells) + "|\n"


def page(before: str, reports: Mapping[str, str]) -> str:
    """The page with a new table; what somebody has written above it stays."""
    head, mark, _ = before.partition(MARK)
    if not mark:
        raise ValueError(f"{PAGE.name} has no line {MARK.rstrip()}")
    return head + mark + "\n" + table(case for run, report in reports.items() for case in cases(run, report))


def _pytest(run: str) -> bool:
    """Run the tests, and keep the report if there is one. True when all went well."""
    fresh = REPORTS / f".{run}.new"
    ignored = [f"--ignore={path}" for path in _OUTSIDE]
    status = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "lab", f"--junitxml={fresh}", *ignored, *RUNS[run]],
        cwd=REPOSITORY,
        check=False,
    ).returncode
    if status not in (0, 1):  # interrupted, or no tests at all
        raise SystemExit(f"error: {run}: pytest ended with status {status}")
    fresh.replace(_report(run))
    return status == 0


def _report(run: str) -> Path:
    return REPORTS / f"{run}.xml"


def main(names: Sequence[str]) -> int:
    """Run what was asked for and write the page; the exit status."""
    unknown = set(names) - RUNS.keys()
    if unknown:
        print(f"error: no such run: {', '.join(sorted(unknown))} (there are {', '.join(RUNS)})", file=sys.stderr)
        return 2
    REPORTS.mkdir(parents=True, exist_ok=True)
    failed = False
    for run in names or RUNS:
        print(f"== {run}", flush=True)
        failed = not _pytest(run) or failed
        reports = {run: _report(run).read_text(encoding="utf-8") for run in RUNS if _report(run).exists()}
        PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), reports), encoding="utf-8")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
