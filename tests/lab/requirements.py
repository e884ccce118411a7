# SPDX-License-Identifier: GPL-2.0-or-later
"""What the lab needs of the machine, and one sentence about what is missing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping

from tests.lab.namespace import SYSTEM_PATH

# Program: the Debian package that has it.
NAMESPACE_TOOLS = {"ip": "iproute2", "nsenter": "util-linux", "sysctl": "procps"}
LAB_TOOLS = {
    **NAMESPACE_TOOLS,
    "NetworkManager": "network-manager",
    "nmcli": "network-manager",
    "dbus-daemon": "dbus-daemon",
    "nft": "nftables",
    "tayga": "tayga",
    "unbound": "unbound",
    "dnsmasq": "dnsmasq-base",
    "curl": "curl",
    "ping": "iputils-ping",
}


def missing(tools: Mapping[str, str]) -> str | None:
    """Why tests that need root and these tools cannot run here; None when they can."""
    if os.geteuid() != 0:
        return "needs root (network namespaces)"
    if not os.path.exists("/dev/net/tun"):
        return "needs /dev/net/tun"
    absent = [tool for tool in tools if not shutil.which(tool, path=SYSTEM_PATH)]
    if not absent:
        return None
    return "needs " + ", ".join(f"{tool} (package {tools[tool]})" for tool in absent)
