# SPDX-License-Identifier: GPL-2.0-or-later
"""pyroute2's IPRoute and its errors, without all else that pyroute2 has.

Its `__init__` imports everything, databases and test frameworks too, which is a third of the time that a start of the
daemon takes. That runs only when somebody asks the package for a name it has not got yet.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

# In a sandbox without /proc/net it warns at each start that it does not know the clock of rates; we set none.
logging.getLogger("pyroute2").setLevel(logging.ERROR)

if TYPE_CHECKING:
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkDumpInterrupted, NetlinkError
else:

    def _bare(name: str) -> ModuleType:
        """The package as it is before its `__init__`: submodules are found in it. ImportError."""
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            raise ImportError(f"there is no {name}", name=name)
        package = importlib.util.module_from_spec(spec)

        def asked(attribute: str) -> Any:
            if importlib.util.find_spec(f"{name}.{attribute}"):
                return importlib.import_module(f"{name}.{attribute}")
            # Before its `__init__` runs, or whatever that asks for would come back here.
            package.__dict__.pop("__getattr__", None)
            spec.loader.exec_module(package)
            return getattr(package, attribute)

        package.__getattr__ = asked
        return package

    def _load() -> type:
        if "pyroute2" not in sys.modules:
            sys.modules["pyroute2"] = _bare("pyroute2")
            try:
                return importlib.import_module("pyroute2.iproute").IPRoute
            except Exception:  # a version that is built otherwise: as everybody does it, then
                for name in [name for name in sys.modules if name.partition(".")[0] == "pyroute2"]:
                    del sys.modules[name]
        return importlib.import_module("pyroute2").IPRoute

    IPRoute = _load()
    from pyroute2.netlink.exceptions import NetlinkDumpInterrupted, NetlinkError

__all__ = ["IPRoute", "NetlinkDumpInterrupted", "NetlinkError"]
