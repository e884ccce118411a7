# SPDX-License-Identifier: GPL-2.0-or-later
"""clatnm's Debian package again, as other versions of itself: what they would change is changed in the package."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path

from clatnm import __version__
from tests.packaging import debs

LIBRARY = "usr/lib/python3/dist-packages/clatnm"
CONF = "/etc/clatnm/clatnm.conf"
MARK = "clatnm=next"
"""On the command line of translators of a version in which `programs` is changed."""
# eBPF for "go on with the next instruction", whatever the byte order.
_NOTHING = bytes([0x05, *bytes(7)])

Change = Callable[[Path], None]
"""Changes files in an unpacked package."""


def variant(deb: Path, made: Path, upstream: str, *changes: Change) -> Path:
    """The package as version `upstream`-1, in a file `made`."""
    inside = made.with_suffix(".inside")
    debs.run("dpkg-deb", "-R", str(deb), str(inside))
    _replace(inside / "DEBIAN/control", f"Version: {debs.field(deb, 'Version')}\n", f"Version: {upstream}-1\n")
    _replace(inside / LIBRARY / "__init__.py", f'"{__version__}"', f'"{upstream}"')
    for change in changes:
        change(inside)
    (inside / "DEBIAN/md5sums").unlink()  # it may leave them out, but not be wrong
    debs.run("dpkg-deb", "--root-owner-group", "-Zgzip", "-b", str(inside), str(made))
    return made


def configuration(inside: Path) -> None:
    """The configuration that comes along has a line more."""
    with (inside / CONF.lstrip("/")).open("a") as file:
        file.write("# newer\n")


def programs(inside: Path) -> None:
    """Translators are started in another way, and the eBPF programs are others that do the same."""
    marked(inside / LIBRARY)
    table = inside / LIBRARY / "bpf/clat.json"
    told = json.loads(table.read_text())
    for order in told.values():
        for program in order["programs"].values():
            program["code"] = base64.b64encode(_NOTHING + base64.b64decode(program["code"])).decode()
            program["relocations"] = [[at + 1, *rest] for at, *rest in program["relocations"]]
    table.write_text(json.dumps(told))


def marked(library: Path) -> None:
    """Translators are started in another way."""
    _replace(library / "worker/launch.py", '"-I", "-m"', f'"-I", "-X", "{MARK}", "-m"')


def language(inside: Path) -> None:
    """Daemon and translator speak to each other in another way, so that none of before can be adopted."""
    file = inside / LIBRARY / "worker/wire.py"
    (version,) = re.findall(r"^VERSION = (\d+)$", file.read_text(), re.MULTILINE)
    _replace(file, f"\nVERSION = {version}\n", f"\nVERSION = {int(version) + 1}\n")


def _replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1, f"{file.name} has not one {old!r}"
    file.write_text(text.replace(old, new))
