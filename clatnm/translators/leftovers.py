# SPDX-License-Identifier: GPL-2.0-or-later
"""What can outlive a killed translator, found by its mark and removed. Needs no memory of what was done."""

from __future__ import annotations

from clatnm.kernel import clsact
from clatnm.kernel.netlink import Netlink


def cleanup(kernel: Netlink) -> list[str]:
    """Remove it; the names of the devices it was on. A running translator's is left alone. HostError.

    Only hooks on clsact can be left: device, address, routes and tcx hooks die with the process that held them.
    """
    return clsact.clean(kernel)
