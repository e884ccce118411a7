# SPDX-License-Identifier: GPL-2.0-or-later
"""Byte code of what a guest gets, by its root's own Python but on this machine: a guest takes ten times as long for it.

Also the script that does it, in a mount namespace of its own: `byte_code.py PLACE IMAGE ARCHIVE SOURCES...`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

# Run with -I: the tests are not on its path.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.machines.container_init import compile_there, from_image
from tests.machines.needs import MachineError


def compiled(image: Path, archive: bytes, *sources: str) -> bytes:
    """The archive, and in it what compiling these directories of it adds; as it was where there are no loop devices.

    MachineError when it cannot be done though there are.
    """
    if not Path("/dev/loop-control").exists():
        return archive
    with (
        tempfile.TemporaryDirectory(prefix="clatnm-compiled-") as place,
        tempfile.NamedTemporaryFile(prefix="clatnm-compiled-", suffix=".tar") as file,
    ):
        file.write(archive)
        file.flush()
        alone = ("unshare", "--mount", "--propagation", "private", sys.executable, "-I", __file__)
        argv = [*alone, place, str(image), file.name, *sources]
        done = subprocess.run(argv, check=False, text=True, capture_output=True, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise MachineError(f"no byte code for {image}: {done.stderr.strip()[-500:]}")
        return Path(file.name).read_bytes()


def main(place: str, image: str, archive: str, *sources: str) -> None:
    root = from_image(image, Path(place), archive)
    compile_there(root, *sources)
    made = [f"{found.relative_to(root)}" for source in sources for found in (root / source[1:]).rglob("__pycache__")]
    subprocess.run(["tar", "--append", "-f", archive, "-C", str(root), *made], check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
