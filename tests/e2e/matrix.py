# SPDX-License-Identifier: GPL-2.0-or-later
"""The e2e tests with several versions of a network manager, and the table of a document that tells how it went."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab.system import REPOSITORY
from tests.machines.needs import CACHE


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One test with one version; `root` is where that came from, as in `Matrix.runs`."""

    module: str
    name: str
    root: str
    version: str | None
    outcome: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Which tests, with what, and where the table goes."""

    name: str
    """Of the directory where the reports are kept."""
    page: Path
    target: str
    """The make target that runs it."""
    prop: str
    """What a test calls the version in its report."""
    runs: Mapping[str, Sequence[str]]
    """Arguments for pytest: where the tests are, then options."""
    ignored: Sequence[str] = ()
    mixed: str = ""
    """The run whose tests choose their versions themselves."""

    @property
    def mark(self) -> str:
        """The line of the page behind which the table begins."""
        return f"<!-- From here on `make {self.target}` has written this. -->\n"

    def cases(self, run: str, report: str) -> Iterator[Case]:
        """What a report in JUnit's format tells. The version is known only where a test got as far as to have a lab."""
        for item in ET.fromstring(report).iter("testcase"):
            name = item.get("name", "")
            root = next((root for root in self.runs if f"[{root}" in name or f"-{root}" in name), run)
            faults = [
                (kind, found) for kind in ("failure", "error", "skipped") if (found := item.find(kind)) is not None
            ]
            kind, fault = faults[0] if faults else ("passed", None)
            told = item.find(f"properties/property[@name='{self.prop}']")
            yield Case(
                module=item.get("classname", ""),
                name=name,
                root=root,
                version=None if told is None else told.get("value"),
                outcome="failed" if kind in ("failure", "error") else kind,
                why="" if fault is None else fault.get("message", ""),
            )

    def table(self, found: Iterable[Case]) -> str:
        """A row for each module, a column for each version, and below it what did not run or failed."""
        found = list(found)
        versions = {case.root: case.version for case in found if case.version and case.root != self.mixed}
        known = {
            (case.module, case.name, version): case
            for case in found
            if (version := case.version or versions.get(case.root)) is not None
        }
        columns = sorted({version for *_, version in known}, key=_number)
        rows = [_row("scenario", *columns), "|---" * (len(columns) + 1) + "|\n"]
        for module in sorted({module for module, *_ in known}):
            cells = (
                [case for key, case in known.items() if (key[0], key[2]) == (module, column)] for column in columns
            )
            rows.append(_row(scenario(module), *(cell(tests) for tests in cells)))
        return "".join(rows) + _notes(known)

    def rewritten(self, before: str, reports: Mapping[str, str]) -> str:
        """The page with a new table; what somebody has written above it stays."""
        head, mark, _ = before.partition(self.mark)
        if not mark:
            raise ValueError(f"{self.page.name} has no line {self.mark.rstrip()}")
        found = (case for run, report in reports.items() for case in self.cases(run, report))
        return head + mark + "\n" + self.table(found)

    def _pytest(self, run: str, files: Sequence[str]) -> bool:
        """Run the tests, or those in `files` again, and keep the report if there is one. True when all went well."""
        fresh = self._reports / f".{run}.new"
        ignored = [f"--ignore={path}" for path in self.ignored]
        together: tuple[str, ...] = ()
        if importlib.util.find_spec("xdist"):
            cpus = len(os.sched_getaffinity(0))
            together = ("-n", str(min(cpus, 4)), "--dist=loadfile", "--no-loadscope-reorder")
        options = ("-q", "-m", "lab", *together, f"--junitxml={fresh}", *ignored)
        everywhere, *chosen = self.runs[run]
        command = [sys.executable, "-m", "pytest", *options, *(files or [everywhere]), *chosen]
        status = subprocess.run(command, cwd=REPOSITORY, check=False).returncode
        if status not in (0, 1):  # interrupted, or no tests at all
            raise SystemExit(f"error: {run}: pytest ended with status {status}")
        if files and self._report(run).exists():
            before, after = (path.read_text(encoding="utf-8") for path in (self._report(run), fresh))
            fresh.write_text(merged(before, after), encoding="utf-8")
        fresh.replace(self._report(run))
        return status == 0

    @property
    def _reports(self) -> Path:
        return CACHE.parent / self.name

    def _report(self, run: str) -> Path:
        return self._reports / f"{run}.xml"

    def main(self, words: Sequence[str]) -> int:
        """Run what was asked for and write the page; the exit status.

        Words with a slash are files: their tests alone are run again, all else keeps what the last run found.
        """
        names, files = ([word for word in words if ("/" in word) is path] for path in (False, True))
        unknown = set(names) - self.runs.keys()
        if unknown:
            known = ", ".join(self.runs)
            print(f"error: no such run: {', '.join(sorted(unknown))} (there are {known})", file=sys.stderr)
            return 2
        self._reports.mkdir(parents=True, exist_ok=True)
        failed = False
        for run in names or self.runs:
            print(f"== {run}", flush=True)
            failed = not self._pytest(run, files) or failed
            kept = [each for each in self.runs if self._report(each).exists()]
            reports = {each: self._report(each).read_text(encoding="utf-8") for each in kept}
            self.page.write_text(self.rewritten(self.page.read_text(encoding="utf-8"), reports), encoding="utf-8")
        return int(failed)


def merged(before: str, after: str) -> str:
    """A report in JUnit's format in which the modules of `after` have what that says of them."""
    whole, part = ET.fromstring(before), ET.fromstring(after)
    fresh = list(part.iter("testcase"))
    modules = {item.get("classname") for item in fresh}
    suite = next(iter(whole.iter("testsuite")))
    for item in [item for item in suite.iter("testcase") if item.get("classname") in modules]:
        suite.remove(item)
    suite.extend(fresh)
    return ET.tostring(whole, encoding="unicode")


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
