# SPDX-License-Identifier: GPL-2.0-or-later
"""pyroute2 is loaded in part, and nobody who wants all of it notices. In processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.lab.system import REPOSITORY


def said(code: str, *paths: Path) -> tuple[str, str]:
    """Output and errors of a process that succeeds."""
    environment = {**os.environ, "PYTHONPATH": ":".join(map(str, (*paths, REPOSITORY)))}
    result = subprocess.run(
        [sys.executable, "-c", code], check=False, text=True, capture_output=True, env=environment, timeout=60
    )
    assert result.returncode == 0, result.stderr
    return result.stdout, result.stderr


def python(code: str, *paths: Path) -> str:
    """What it prints."""
    return said(code, *paths)[0]


def test_only_what_is_needed_is_imported() -> None:
    loaded = python("import sys, clatnm.kernel.netlink; print(*sys.modules)").split()
    assert "pyroute2.iproute" in loaded
    assert not {"pyroute2.ndb", "pyroute2.ipdb", "pyroute2.wiset"} & set(loaded)


def test_others_get_the_whole_package() -> None:
    code = "from clatnm.kernel.rtnl import IPRoute; import pyroute2; from pyroute2 import NDB, IPRoute as theirs;"
    assert python(f"{code} print(theirs is IPRoute, pyroute2.NDB is NDB, hasattr(pyroute2, 'nonsense'))") == (
        "True True False\n"
    )


def test_package_that_is_loaded_already_is_taken() -> None:
    assert python("import pyroute2; from clatnm.kernel.rtnl import IPRoute; print(IPRoute is pyroute2.IPRoute)") == (
        "True\n"
    )


def test_another_arrangement_of_the_package_is_loaded_whole(tmp_path: Path) -> None:
    """One whose module needs what `__init__` does."""
    package = tmp_path / "pyroute2"
    (package / "netlink").mkdir(parents=True)
    (package / "__init__.py").write_text("READY = True\nfrom pyroute2.iproute import IPRoute\n")
    (package / "iproute.py").write_text(
        "import sys\nclass IPRoute: pass\nassert 'READY' in vars(sys.modules['pyroute2'])\n"
    )
    (package / "netlink/__init__.py").write_text("")
    (package / "netlink/exceptions.py").write_text(
        "class NetlinkError(Exception): pass\nNetlinkDumpInterrupted = NetlinkError\n"
    )
    code = "from clatnm.kernel.rtnl import IPRoute, NetlinkError; import pyroute2; print(IPRoute is pyroute2.IPRoute)"
    assert python(code, tmp_path) == "True\n"


def test_its_warnings_are_kept_from_the_log() -> None:
    """A sandbox has no /proc/net/psched, of which it would tell at each start."""
    code = (
        "import logging, clatnm.kernel.rtnl; logging.getLogger('pyroute2.netlink.rtnl.tcmsg.common').warning('limited')"
    )
    assert said(code) == ("", "")
