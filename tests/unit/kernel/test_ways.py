# SPDX-License-Identifier: GPL-2.0-or-later
"""By which device packets leave, without our own routes: as each kind of VPN has it, and as the kernel itself says."""

from __future__ import annotations

import subprocess

import pytest

from clatnm.kernel.netlink import Netlink
from clatnm.model import Ways
from tests.unit.kernel.namespace import in_new_netns, ip, sysctl

pytestmark = pytest.mark.root

UPLINK = (
    "link add up0 type veth peer name p0",
    "link add vpn0 type veth peer name v0",
    *(f"link set {name} up" for name in ("p0", "up0", "v0", "vpn0")),
    "addr add 192.168.2.7/24 dev up0",
    "addr add 2001:db8:a::5/64 dev up0 nodad",
    "addr add 10.8.0.2/24 dev vpn0",
    "addr add 2001:db8:8::2/64 dev vpn0 nodad",
    "-4 route add default via 192.168.2.1 dev up0 metric 100",
    "-6 route add default via 2001:db8:a::1 dev up0 metric 100",
)
WIREGUARD = tuple(
    line
    for family in ("-4", "-6")
    for line in (
        f"{family} route add default dev vpn0 table 51820",
        f"{family} rule add not fwmark 51820 lookup 51820 priority 30001",
        f"{family} rule add lookup main suppress_prefixlength 0 priority 30000",
    )
)
NEITHER, BOTH = Ways(ipv4="up0", ipv6="up0"), Ways(ipv4="vpn0", ipv6="vpn0")

CASES: dict[str, tuple[tuple[str, ...], Ways]] = {
    "none": ((), NEITHER),
    "better-metric": (
        ("-4 route add default dev vpn0 metric 50", "-6 route add default dev vpn0 metric 50"),
        BOTH,
    ),
    "worse-metric": (
        ("-4 route add default dev vpn0 metric 700", "-6 route add default dev vpn0 metric 700"),
        NEITHER,
    ),
    "openvpn-def1": (
        (
            *(f"-4 route add {half}/1 via 10.8.0.1 dev vpn0" for half in ("0.0.0.0", "128.0.0.0")),
            *(f"-6 route add {part} dev vpn0" for part in ("::/3", "2000::/4", "3000::/4", "fc00::/7")),
        ),
        BOTH,
    ),
    "openvpn-def1-of-ipv4": (
        tuple(f"-4 route add {half}/1 via 10.8.0.1 dev vpn0" for half in ("0.0.0.0", "128.0.0.0")),
        Ways(ipv4="vpn0", ipv6="up0"),
    ),
    "ipv6-only": (("-6 route add default dev vpn0 metric 50",), Ways(ipv4="up0", ipv6="vpn0")),
    "split": (("-4 route add 10.0.0.0/8 dev vpn0", "-6 route add 2001:db8::/32 dev vpn0"), NEITHER),
    "wireguard": (WIREGUARD, BOTH),
    "everything-but-private-networks": (
        tuple(
            f"-4 route add {net} dev vpn0"
            for net in ("0.0.0.0/5", "8.0.0.0/7", "11.0.0.0/8", "12.0.0.0/6", "16.0.0.0/4", "32.0.0.0/3", "64.0.0.0/2",
                        "128.0.0.0/2", "192.0.0.0/3")
        ),
        Ways(ipv4="vpn0", ipv6="up0"),
    ),
    "tailscale-exit-node": (
        (
            "-4 rule add fwmark 0x80000/0xff0000 lookup main priority 5210",
            "-4 rule add fwmark 0x80000/0xff0000 unreachable priority 5250",
            "-4 rule add lookup 52 priority 5270",
            "-4 route add default dev vpn0 table 52",
        ),
        Ways(ipv4="vpn0", ipv6="up0"),
    ),
    "for-marked-packets-alone": (
        ("-4 rule add fwmark 7 lookup 52 priority 100", "-4 route add default dev vpn0 table 52"),
        NEITHER,
    ),
    "for-another-users-packets-alone": (
        ("-4 rule add uidrange 0-0 lookup 52 priority 100", "-4 route add default dev vpn0 table 52"),
        NEITHER,
    ),
    "for-all-users": (
        ("-4 rule add uidrange 0-4294967294 lookup 52 priority 100", "-4 route add default dev vpn0 table 52"),
        Ways(ipv4="vpn0", ipv6="up0"),
    ),
    "for-forwarded-packets-alone": (
        ("-4 rule add iif p0 lookup 52 priority 100", "-4 route add default dev vpn0 table 52"),
        NEITHER,
    ),
    "for-one-address-alone": (
        ("-4 rule add from 10.8.0.2 lookup 52 priority 100", "-4 route add default dev vpn0 table 52"),
        NEITHER,
    ),
    "for-local-packets": (
        ("-4 rule add iif lo lookup 52 priority 100", "-4 route add default dev vpn0 table 52"),
        Ways(ipv4="vpn0", ipv6="up0"),
    ),
    "goto": (
        (
            "-4 rule add goto 200 priority 100",
            "-4 rule add lookup 52 priority 150",
            "-4 rule add lookup main priority 200",
            "-4 route add default dev vpn0 table 52",
        ),
        NEITHER,
    ),
    "kill-switch": (("-4 route add unreachable default metric 10",), Ways(ipv4="", ipv6="up0")),
    "kill-switch-by-rule": (("-6 rule add prohibit priority 100",), Ways(ipv4="up0", ipv6="")),
    "throw-goes-on": (
        ("-4 rule add lookup 52 priority 100", "-4 route add throw default table 52"),
        NEITHER,
    ),
    "link-down": (("link set v0 down", "-4 route add default dev vpn0 metric 50"), NEITHER),
    "one-route-to-somewhere": (("-4 route add 23.17.4.1 dev vpn0",), NEITHER),
    "several-hops": (
        ("-4 route add default metric 50 nexthop dev vpn0 nexthop via 192.168.2.1 dev up0",),
        Ways(ipv4="vpn0", ipv6="up0"),
    ),
}  # fmt: skip


def ways() -> Ways:
    with Netlink() as kernel:
        return kernel.ways(kernel.links())


def asked(family: str, destination: str) -> str:
    """What the kernel itself answers."""
    done = subprocess.run(
        ["ip", family, "route", "get", destination, "uid", "1000"], capture_output=True, text=True, check=False
    )
    words = done.stdout.split()
    return words[words.index("dev") + 1] if "dev" in words else ""


@pytest.mark.parametrize(("commands", "expected"), CASES.values(), ids=CASES)
def test_ways_are_those_of_the_kernel(commands: tuple[str, ...], expected: Ways) -> None:
    def work() -> tuple[Ways, Ways]:
        sysctl("ipv4/conf/default/ignore_routes_with_linkdown", 1)
        ip(*UPLINK)
        ip(*commands)
        return ways(), Ways(ipv4=asked("-4", "80.81.82.83"), ipv6=asked("-6", "2a00:1450::1"))

    ours, kernels = in_new_netns(work)
    assert ours == expected
    if "hop" not in str(commands):  # then it may choose
        assert ours == kernels


def test_routes_of_our_own_do_not_count() -> None:
    def work() -> Ways:
        ip(
            *UPLINK,
            "-4 route add default dev vpn0 metric 1 proto 164",
            "-6 route add default dev vpn0 metric 1 proto 164",
        )
        return ways()

    assert in_new_netns(work) == NEITHER


def test_nothing_leads_anywhere() -> None:
    assert in_new_netns(ways) == Ways()
