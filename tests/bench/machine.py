# SPDX-License-Identifier: GPL-2.0-or-later
"""On what a run was made: part of every figure's meaning."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

from clatnm import __version__


def facts() -> dict[str, str]:
    """Machine and versions, in words."""
    return {
        "CPU": f"{len(os.sched_getaffinity(0))} x {_cpu_model()}",
        "Linux": f"{platform.release()} ({_distribution()}), {_congestion_control()} as TCP congestion control",
        "Versions": ", ".join(
            (
                f"clatnm {__version__}",
                f"Python {platform.python_version()}",
                f"iperf3 {_iperf_version()}",
                f"TAYGA {_package_version('tayga')}",
            )
        ),
    }


def _cpu_model() -> str:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    found = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    flags = re.search(r"^flags\s*: (.*)$", text, re.MULTILINE)
    virtual = flags is not None and "hypervisor" in flags[1].split()
    return (found[1] if found else platform.machine()) + (", virtual machine" if virtual else "")


def _distribution() -> str:
    found = re.search(r'^PRETTY_NAME="?([^"\n]*)', Path("/etc/os-release").read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else "unknown distribution"


def _congestion_control() -> str:
    return Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text(encoding="ascii").strip()


def _iperf_version() -> str:
    told = _said("iperf3", "--version").split()
    return told[1] if len(told) > 1 else "unknown"


def _package_version(package: str) -> str:
    """As the package manager knows it: TAYGA itself does not tell."""
    if shutil.which("dpkg-query"):
        return _said("dpkg-query", "-W", "-f", "${Version}", package) or "unknown"
    return _said("rpm", "-q", "--qf", "%{VERSION}-%{RELEASE}", package) or "unknown"


def _said(*argv: str) -> str:
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=10).stdout.strip()
    except OSError:
        return ""
