# SPDX-License-Identifier: GPL-2.0-or-later
"""Process 1 of `booted.Booted` until it becomes systemd: `booted_init.py PLACE TREE`, in namespaces of its own."""

from __future__ import annotations

import sys
from pathlib import Path

# Run with -I: the tests are not on its path.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.machines.container_init import become_systemd, layered, memory


def main(place: str, tree: str) -> None:
    memory(Path(place))
    root = layered(Path(tree), Path(place))
    # Not the first boot of this system, for which systemd would do more than for others.
    (root / "etc/machine-id").write_text(f"{1:032x}\n")
    become_systemd(root)


if __name__ == "__main__":
    main(*sys.argv[1:])
