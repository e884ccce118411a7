# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything about the package is in pyproject.toml; only compiling the fast path takes code."""

from __future__ import annotations

import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

sys.path.insert(0, str(Path(__file__).parent))


class BuildWithPrograms(build_py):
    """build_py, after the eBPF programs were compiled where that is possible."""

    def run(self) -> None:
        from clatnm.bpf.build import BuildError, build

        try:
            build()
        except BuildError as error:
            self.warn(f"{error}")
        super().run()


setup(cmdclass={"build_py": BuildWithPrograms})
