# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs on the clsact queueing discipline, for kernels without tcx (before Linux 6.6).

Such a filter belongs to the device, not to a descriptor: on our own TUN it goes with it, on the uplink somebody has to
take it away. So it carries our name, by which `clean` finds it without any memory.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any

from clatnm.kernel.netlink import Netlink, reported
from clatnm.kernel.rtnl import NetlinkError

NAME = "clatnm"

_INGRESS, _EGRESS = 0xFFFFFFF2, 0xFFFFFFF3  # TC_H_CLSACT with TC_H_MIN_INGRESS and TC_H_MIN_EGRESS
_PRIORITY, _ETH_P_ALL = 0xC1A7, 3


def attach(kernel: Netlink, ifindex: int, program: int, *, egress: bool, owner: int) -> bool:
    """Run `program` (a descriptor) on a device, in the place of the same translator's that may be there already.

    `owner` is the ifindex of the translator's TUN and the filter's handle: while that exists, the filter is in use.

    True when the device had no clsact before, which is then ours to remove. HostError.
    """
    added = False
    with reported("cannot hook the device"):
        try:
            kernel.raw.tc("add", "clsact", ifindex)
            added = True
        except NetlinkError as error:
            if error.code != errno.EEXIST:
                raise
        where = {"parent": _EGRESS if egress else _INGRESS, "prio": _PRIORITY, "protocol": _ETH_P_ALL}
        kernel.raw.tc(
            "replace-filter", "bpf", ifindex, owner, fd=program, name=NAME, direct_action=True, classid=owner, **where
        )
    return added


def detach(kernel: Netlink, ifindex: int, *, owner: int, remove_clsact: bool) -> None:
    """Take one filter off a device's ingress, and clsact too when it was ours and nobody else uses it. HostError."""
    with reported("cannot unhook the device", gone_is_fine=True):
        kernel.raw.tc("del-filter", "bpf", ifindex, owner, parent=_INGRESS, prio=_PRIORITY, protocol=_ETH_P_ALL)
        if remove_clsact and not any(_filters(kernel, ifindex)):
            kernel.raw.tc("del", "clsact", ifindex)


def clean(kernel: Netlink) -> list[str]:
    """Take our filters off all devices where their translator's TUN is gone; the names of the devices. HostError."""
    found = left(kernel)
    for index, gone in found.values():
        for owner in gone:
            detach(kernel, index, owner=owner, remove_clsact=True)
    return list(found)


def left(kernel: Netlink) -> dict[str, tuple[int, set[int]]]:
    """Devices with filters of ours whose translator's TUN is gone: each one's index, and the owners. HostError."""
    with reported("cannot read the hooks"):
        links = {int(message["index"]): str(message.get_attr("IFLA_IFNAME")) for message in kernel.raw.get_links()}
        found = {
            index: {owner for owner in map(_owner, _filters(kernel, index)) if owner is not None} for index in links
        }
    return {links[index]: (index, owners - links.keys()) for index, owners in found.items() if owners - links.keys()}


def _filters(kernel: Netlink, ifindex: int) -> Iterator[Any]:
    for parent in (_INGRESS, _EGRESS):
        try:
            yield from kernel.raw.get_filters(index=ifindex, parent=parent)
        except NetlinkError:  # no clsact there
            continue


def _owner(message: Any) -> int | None:
    """The `owner` of a filter of ours; None for anybody else's."""
    options = message.get_attr("TCA_OPTIONS")
    if options is None or message.get_attr("TCA_KIND") != "bpf" or message["info"] >> 16 != _PRIORITY:
        return None
    return options.get_attr("TCA_BPF_CLASSID") if options.get_attr("TCA_BPF_NAME") == NAME else None
