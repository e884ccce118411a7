# SPDX-License-Identifier: GPL-2.0-or-later
"""Modules imported anew for one test, and everything as it was afterwards."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType

_ABSENT = object()


@contextlib.contextmanager
def imported_anew(names: Sequence[str], *, without: str) -> Iterator[dict[str, ModuleType]]:
    """These modules, imported in this order as if the package `without` were not installed.

    A module is in two places, `sys.modules` and its package, and each of them counts for somebody: `import a.b` looks
    into the one, `from a import b` and whoever patches "a.b.c" into the other.
    """
    in_packages = {name: vars(_package(name)).get(_leaf(name), _ABSENT) for name in names}
    in_modules = {name: sys.modules.get(name, _ABSENT) for name in (*names, without)}
    try:
        for name in names:
            sys.modules.pop(name, None)
            vars(_package(name)).pop(_leaf(name), None)
        sys.modules[without] = None  # type: ignore[assignment]  # importing it raises ImportError
        yield {name: importlib.import_module(name) for name in names}
    finally:
        for name, module in in_modules.items():
            sys.modules.pop(name, None)
            if module is not _ABSENT:
                sys.modules[name] = module  # type: ignore[assignment]
        for name, module in in_packages.items():
            vars(_package(name)).pop(_leaf(name), None)
            if module is not _ABSENT:
                setattr(_package(name), _leaf(name), module)


def _package(name: str) -> ModuleType:
    return importlib.import_module(name.rpartition(".")[0])


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]
