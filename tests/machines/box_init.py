# SPDX-License-Identifier: GPL-2.0-or-later
"""What is process 1 of a box until it becomes systemd: `box_init.py PLACE IMAGE PAYLOAD SOURCES...`.

The image is the lower half of the root, and memory the upper one: nothing that is written stays.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# Run with -I: the tests are not on its path.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.machines.container_init import become_systemd, compile_there, from_image


def main(place: str, image: str, payload: str, *sources: str) -> None:
    """`sources`: what is compiled there, before anybody needs it."""
    root = from_image(image, Path(place), payload)
    # As a package's installation does. The service could not write what is compiled, and would compile at each start.
    subprocess.run(["chroot", str(root), "systemd-sysusers"], check=True)
    compile_there(root, *sources)
    become_systemd(root)


if __name__ == "__main__":
    main(*sys.argv[1:])
