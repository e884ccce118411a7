# SPDX-License-Identifier: GPL-2.0-or-later
"""What hangs on a device's tcx hooks, as the kernel tells it."""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct

from clatnm.kernel import bpf
from tests.e2e.datapath.rig import Place

_PROG_QUERY, _TCX_INGRESS, _TCX_EGRESS, _MOST = 16, 46, 47, 64


def hooks(place: Place, device: str) -> list[int]:
    """Ids of the programs on a device's tcx hooks."""
    found: list[int] = []
    with place.inside():
        ifindex = socket.if_nametoindex(device)
        for kind in (_TCX_INGRESS, _TCX_EGRESS):
            ids = (ctypes.c_uint32 * _MOST)()
            with contextlib.suppress(OSError):
                bpf.call(_PROG_QUERY, struct.pack("=IIIIQI", ifindex, kind, 0, 0, ctypes.addressof(ids), _MOST))
            found += [number for number in ids if number]
    return found
