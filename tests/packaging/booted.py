# SPDX-License-Identifier: GPL-2.0-or-later
"""A Debian tree with its own systemd as process 1, in namespaces of this machine: what packages do to services.

As `tests.machines.box`, which boots the images of guests; here it is any directory. Nothing that is written stays.
"""

from __future__ import annotations

from pathlib import Path

from tests.machines.container import Container
from tests.packaging.debian_system import DebianSystem

_INIT = Path(__file__).with_name("booted_init.py")


class Booted(DebianSystem):
    """Context manager: the tree has booted, with a network of its own that has only `lo`."""

    def __init__(self, tree: Path) -> None:
        self._container = Container("booted", _INIT, str(tree))

    def __enter__(self) -> Booted:
        self._container.__enter__()
        return self

    def __exit__(self, *failure: object) -> None:
        self._container.__exit__(*failure)

    def enter(self) -> list[str]:
        return self._container.enter()

    @property
    def root(self) -> Path:
        return self._container.root

    @property
    def init(self) -> int:
        """Its process 1, by the number it has here."""
        return self._container.init
