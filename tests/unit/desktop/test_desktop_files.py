# SPDX-License-Identifier: GPL-2.0-or-later
"""The user's service and the autostart file."""

from __future__ import annotations

import configparser
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from clatnm.cli import EXIT_NOTHING_TO_DO
from clatnm.cli.main import parser
from tests.unit.programs import PATH, need

REPOSITORY = Path(__file__).resolve().parents[3]
UNIT = REPOSITORY / "packaging/systemd/user/clatnm-notify.service"
AUTOSTART = REPOSITORY / "packaging/desktop/clatnm-notify.desktop"


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that exists on every machine."""
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/usr/bin/clatnm notify", "/bin/sh"))
    return copy


def test_user_service_is_understood_by_systemd(unit: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [need("systemd-analyze", "systemd"), "--user", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": PATH, "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)},
    )
    assert [line for line in done.stderr.splitlines() if UNIT.name in line] == []


def test_user_service_is_confined(unit: Path) -> None:
    program = need("systemd-analyze", "systemd")
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    if int(re.match(r"\d+", version)[0]) < 250:  # type: ignore[index]
        pytest.skip(f"systemd {version} cannot judge a unit offline")
    # Of what a user's service cannot have in any case (capabilities, a network of its own), nothing counts here.
    done = subprocess.run(
        [program, "security", "--offline=true", "--threshold=60", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "directive",
    ["PrivateDevices", "ProtectKernelModules", "ProtectKernelLogs", "ProtectClock", "CapabilityBoundingSet"],
)
def test_user_service_takes_no_capability_away(directive: str) -> None:
    """A user's manager may not do that, and would not start the service (218/CAPABILITIES)."""
    assert not re.search(rf"^{directive}=", UNIT.read_text(), re.MULTILINE)


def test_user_service_forgives_a_second_one() -> None:
    assert f"SuccessExitStatus={EXIT_NOTHING_TO_DO}\n" in UNIT.read_text()


def test_autostart_file_runs_what_there_is() -> None:
    entry = configparser.ConfigParser(interpolation=None)
    entry.read(AUTOSTART)
    program, *argv = shlex.split(entry["Desktop Entry"]["Exec"])
    assert (program, entry["Desktop Entry"]["Type"]) == ("clatnm", "Application")
    assert parser().parse_args(argv).verb == "notify"
    assert all(line.isascii() for line in AUTOSTART.read_text().splitlines())


@pytest.mark.parametrize("prefix", ["/usr", "/usr/local"])
def test_installed_user_service_starts_the_installed_program_and_is_off(tmp_path: Path, prefix: str) -> None:
    subprocess.run(
        [str(REPOSITORY / "tools/install.sh"), "files"],
        env={"PATH": PATH, "DESTDIR": str(tmp_path), "PREFIX": prefix},
        check=True,
        timeout=60,
    )
    (installed,) = tmp_path.rglob(UNIT.name)
    assert f"ExecStart={prefix}/bin/clatnm notify\n" in installed.read_text()
    place = "/usr/lib" if prefix == "/usr" else "/etc"
    assert f"/{installed.relative_to(tmp_path)}" == f"{place}/systemd/user/{UNIT.name}"
    assert not list(tmp_path.rglob("*.wants"))
    assert not list(tmp_path.rglob("autostart"))
