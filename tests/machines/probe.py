# SPDX-License-Identifier: GPL-2.0-or-later
"""Backend → why it does not work here, or nothing: as the daemon finds out, in JSON on standard output.

`relay` and `many` are no backends: they tell of an Edge Relay's programs, and of several CLATs' at once that share the
host's address, which take the most memory. No daemon tries these before it needs them.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network

from clatnm.errors import HostError
from clatnm.kernel.host import Host
from clatnm.model import Relay
from clatnm.proto.eam import EamTable
from clatnm.translators import ebpf
from clatnm.translators.backends import available
from clatnm.translators.hooks import ClsactHooks

_HOST = (IPv4Network("192.0.2.1/32"), IPv6Network("2001:db8:1::1/128"))
_MANY = 4
_PREFIX = (IPv4Network("198.51.100.0/24"), IPv6Network("2001:db8:2::/120"))


def relay_fault(host: Host) -> str:
    """Why programs that look up hosts and prefixes do not load; "" if they do."""
    relay = Relay(mappings=EamTable((_HOST, _PREFIX)))
    try:
        for link_address in (None, bytes(6)):
            plan = replace(ebpf._EXAMPLE, relay=relay, link_address=link_address)
            ClsactHooks(host)._load(plan, keep=None).close()
    except HostError as error:
        return str(error)
    return ""


def many_fault(host: Host) -> str:
    """Why the programs of so many do not load side by side; "" if they do."""
    plan = replace(ebpf._EXAMPLE, shared=True, link_address=bytes(6))
    with contextlib.ExitStack() as loaded:
        try:
            for _ in range(_MANY):
                loaded.callback(ClsactHooks(host)._load(plan, keep=None).close)
        except HostError as error:
            return str(error)
    return ""


if __name__ == "__main__":
    this = Host()
    found = {name: backend.probe() for name, backend in available(this).items()}
    print(json.dumps({**found, "relay": relay_fault(this), "many": many_fault(this)}))
