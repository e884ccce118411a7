# SPDX-License-Identifier: GPL-2.0-or-later
"""A laptop, three access networks and an internet in network namespaces, with a real NetworkManager.

`python -m tests.lab shell` opens a shell in it; tests take the fixtures `lab` and `clean_lab`.
"""

from __future__ import annotations

from tests.lab.daemon import Daemon
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.namespace import Namespace
from tests.lab.poll import CommandError, EventuallyError, eventually
from tests.lab.process import Service
from tests.lab.router import Router
from tests.lab.session import LabError
from tests.lab.snapshot import HostState
from tests.lab.topology import INET_V4, INET_V6, Network

__all__ = [
    "INET_V4",
    "INET_V6",
    "CommandError",
    "Daemon",
    "EventuallyError",
    "Host",
    "HostState",
    "Lab",
    "LabError",
    "Namespace",
    "Network",
    "Router",
    "Service",
    "eventually",
]
