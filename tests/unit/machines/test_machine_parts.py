# SPDX-License-Identifier: GPL-2.0-or-later
"""Archives, package lists, units and commands: the parts of a guest that need none."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.lab import poll
from tests.lab.system import REPOSITORY
from tests.machines import kernels, machine, needs
from tests.machines.initramfs import File, cpio
from tests.machines.inside import Report, SkippedError, derived
from tests.machines.needs import MachineError

FILES = [File("bin", 0o40755), File("bin/init", 0o100755, b"#!/bin/sh\n"), File("odd", 0o100600, bytes(range(7)))]


@pytest.mark.skipif(not shutil.which("busybox"), reason="needs busybox (package busybox-static)")
def test_archive_is_unpacked_as_it_was_packed(tmp_path: Path) -> None:
    subprocess.run(["busybox", "cpio", "-i"], input=cpio(FILES), cwd=tmp_path, check=True, capture_output=True)
    for name, mode, data in FILES:
        assert (tmp_path / name).stat().st_mode == mode
        assert (tmp_path / name).is_dir() or (tmp_path / name).read_bytes() == data


def test_archive_is_aligned_and_ends() -> None:
    made = cpio(FILES)
    assert len(made) % 4 == 0
    assert made.count(b"070701") == len(FILES) + 1
    assert b"TRAILER!!!" in made


APT = """\
linux-image-amd64
  Depends: linux-image-7.2.12+deb14-amd64
linux-image-7.2.12+deb14-amd64
  Depends: linux-binary-7.2.12+deb14-amd64
linux-binary-7.2.12+deb14-amd64
linux-modules-7.2.12+deb14-amd64
linux-base-7.2.12+deb14-amd64
linux-base
linux-image-7.2.12+deb14-amd64-unsigned
kmod
"""


def test_parts_of_a_kernel_are_what_has_a_version() -> None:
    kinds = ("base", "binary", "image", "modules")
    assert kernels.parts(APT) == [f"linux-{kind}-7.2.12+deb14-amd64" for kind in kinds]


@pytest.mark.parametrize("where", ["boot/vmlinuz-6.1.0", "lib/modules/6.1.0/vmlinuz"])
def test_kernel_is_found_where_either_packaging_has_it(tmp_path: Path, where: str) -> None:
    (tmp_path / "lib/modules/6.1.0").mkdir(parents=True)
    (tmp_path / where).parent.mkdir(exist_ok=True)
    (tmp_path / where).touch()
    found = kernels.found(tmp_path)
    assert (found.release, found.image) == ("6.1.0", tmp_path / where)


def test_tree_without_a_kernel_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="does not have one kernel"):
        kernels.found(tmp_path)


def test_derived_unit_has_the_sandbox_of_the_service() -> None:
    unit = (REPOSITORY / "packaging/systemd/clatnm.service").read_text()
    made = derived(unit, {"Type": "exec", "ExecStart": "/bin/true", "ExecReload": None})
    assert "ExecStart=/bin/true\n" in made
    assert "ExecReload" not in made
    changed = {line for line in unit.splitlines() if line not in made.splitlines()}
    assert {line.partition("=")[0] for line in changed} == {"Type", "ExecStart", "ExecReload"}


def test_missing_tool_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("shutil.which", lambda tool, path: None if tool == needs.QEMU else f"/usr/bin/{tool}")
    assert needs.missing() == "needs qemu-system-x86_64 (package qemu-system-x86)"


def test_other_architecture_has_no_guests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert needs.missing() == "guests are x86_64, this machine is aarch64"


@pytest.mark.parametrize(
    ("job", "begins"), [("hello", ["bash", "tests/machines/jobs/hello.sh"]), ("kernels", ["python3", "-m"])]
)
def test_job_is_run_by_its_kind(job: str, begins: list[str]) -> None:
    assert machine.command(job)[:2] == begins


def test_unknown_job_is_an_error() -> None:
    with pytest.raises(MachineError, match="no job nonsense"):
        machine.command("nonsense")


def test_report_says_a_line_a_check_and_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poll, "diagnoses", [])
    report = Report()
    with report.check("good"):
        pass
    with report.check("other"):
        raise SkippedError("not here")
    assert report.status == 0
    with report.check("bad"):
        raise AssertionError("one\ntwo")
    with report.check("last"):
        pass
    assert report.status == 1
    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if line not in ("one", "two")] == [
        "ok good",
        "skip other: not here",
        "not ok bad: one two",
        "ok last",
    ]


def test_report_asks_whoever_knows_more_about_a_failure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poll, "diagnoses", [lambda: "the log"])
    with Report().check("bad"):
        raise AssertionError("why")
    assert capsys.readouterr().out.splitlines() == ["why", "the log", "not ok bad: why"]
