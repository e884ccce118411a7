# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults of the machine and of a connection: the facts, then the check, level, words and command that they lead to."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from clatnm.doctor.facts import Behind, Conf, DaemonState, StaticState, Subject
from clatnm.doctor.filters import Chain
from clatnm.kernel.machine import Neighbour, Way4
from clatnm.kernel.overhear import Overheard
from clatnm.kernel.ping import Outcome, Reach, Trial
from clatnm.model import (
    Mode,
    PlatHealth,
    PlatState,
    Retry,
    Settings,
    Ways,
)
from clatnm.proto.ndp import Preference, PrefixInfo, RouterAdvert
from clatnm.proto.pref64 import Pref64Option
from tests.unit.doctor.cases import (
    ANSWERED,
    MACHINE,
    POOL,
    REFUSED,
    SILENT,
    a_device,
    a_running_world,
    a_subject,
    without_global,
)
from tests.unit.policy.worlds import NOW, WELL_KNOWN, a_link, a_route4, a_world, an_uplink

CHAIN = Chain(family="inet", table="t", name="c", hook="output")
INPUT = Chain(family="ip", table="filter", name="INPUT", hook="input")
INPUT6 = Chain(family="ip6", table="filter", name="INPUT", hook="input")


def an_advert(
    *, lifetime_s: int = 1800, prefix: bool = True, managed: bool = False, pref64_s: int | None = None
) -> RouterAdvert:
    info = PrefixInfo(
        prefix=WELL_KNOWN.supernet(new_prefix=64), on_link=True, autonomous=True, valid_s=60, preferred_s=60
    )
    return RouterAdvert(
        router=IPv6Address("fe80::1"),
        lifetime_s=lifetime_s,
        preference=Preference.MEDIUM,
        hop_limit=64,
        managed=managed,
        other=False,
        mtu_bytes=None,
        link_address=None,
        prefixes=(info,) if prefix else (),
        rdnss=(),
        pref64=() if pref64_s is None else (Pref64Option(prefix=WELL_KNOWN, lifetime_s=pref64_s),),
    )


def said_by(*adverts: RouterAdvert, heard: bool = True) -> Overheard:
    return Overheard(adverts=adverts, heard=heard)


MACHINES: dict[str, tuple[dict[str, Any], str, str, str, str]] = {
    "config": (
        {"config_fault": "/etc/clatnm/clatnm.conf:2: nonsense", "config_hint": "sense"},
        *("config", "fail", "clatnm.conf:2", ""),
    ),
    "no-ipv6": ({"ipv6": False}, "ipv6-kernel", "fail", "without IPv6", ""),
    "bus": (
        {"bus_fault": "no bus", "daemon": DaemonState.UNKNOWN},
        *("bus", "fail", "no bus", "systemctl start dbus"),
    ),
    "bus-not-needed": (
        {"bus_fault": "no bus", "daemon": DaemonState.UNKNOWN, "plain_only": True},
        *("bus", "warn", "no bus", ""),
    ),
    "absent": ({"daemon": DaemonState.ABSENT}, "daemon", "fail", "does not run", "systemctl enable --now clatnm"),
    "nameless": (
        {"daemon": DaemonState.NAMELESS, "daemon_pid": 7},
        *("daemon", "fail", "process 7", "systemctl reload dbus && systemctl restart clatnm"),
    ),
    "mute": ({"daemon": DaemonState.MUTE, "daemon_words": "5 s"}, "daemon", "fail", "5 s", "systemctl restart clatnm"),
    "forbidden": ({"daemon": DaemonState.FORBIDDEN}, "daemon", "fail", "this user", "systemctl reload dbus"),
    "tun": ({"tun_fault": "/dev/net/tun: gone"}, "tun", "fail", "gone", "modprobe tun"),
    "rights": (
        {"capabilities": frozenset({"CAP_NET_RAW", "CAP_SETUID", "CAP_SETGID"})},
        *("capabilities", "fail", "without CAP_NET_ADMIN", "systemctl restart clatnm"),
    ),
    "no-bpf-rights": (
        {"backends": {"ebpf": "EPERM", "tun": ""}, "capabilities": MACHINE.capabilities - {"CAP_BPF"}},  # type: ignore[operator]
        *("backend", "warn", "EPERM", "systemctl restart clatnm"),
    ),
    "no-clang": (
        {"backends": {"ebpf": "built without clang", "tun": ""}},
        *("backend", "warn", "built without clang", ""),
    ),
    "chosen-backend": (
        {"backends": {"tun": "", "tayga": "no tayga"}, "backend": "tayga"},
        *("backend", "fail", "no tayga"),
        r"sed -i '/^\[clatnm\]/a backend = auto' /etc/clatnm/clatnm.conf && systemctl reload clatnm",
    ),
    "no-backend": ({"backends": {"tun": "closed"}}, "backend", "fail", "tun: closed", ""),
    "leftovers": ({"leftovers": ("the hook on up0",)}, "leftovers", "warn", "the hook on up0", "clatnm cleanup"),
    "static": (
        {"statics": (StaticState(name="edge", runs=False, why="no IPv6", change="IPv6"),)},
        *("static", "fail", "edge does not run: no IPv6", ""),
    ),
}

DEAD = replace(a_link(), default4=(a_route4(),), addresses4=frozenset({IPv4Address("192.168.2.7")}))
NATIVE = a_world(DEAD)
OFF = a_world(uplinks=[an_uplink(mode=Mode.NO)])
NO_PREFIX = a_world(prefixes={})
ADD = r"sed -i '/^\[clatnm\]/a {} = {}' /etc/clatnm/clatnm.conf && systemctl reload clatnm"
NAME = "'Net of wlan0'"
NM = "nmcli connection"
NO_IPV4 = "ipv4.method disabled ipv4.addresses '' ipv4.gateway '' ipv4.dns ''"


def a_vpn_world(*, ipv4: str = "", ipv6: str = "") -> Any:
    tunnel = a_link("tun0", index=5, ipv6=(), default6=(), default4=(a_route4(metric=50, gateway=None),), kind="tun")
    uplinks = [an_uplink()]
    base = a_running_world() if not ipv6 else a_world()
    links = {**base.links, "tun0": tunnel}
    return replace(base, uplinks=tuple(uplinks), links=links, ways=Ways(ipv4=ipv4, ipv6=ipv6))


FORWARD = Chain(family="ip", table="filter", name="FORWARD", hook="forward")
BOX = ("br0", IPv4Address("10.9.0.1"))

SUBJECTS: dict[str, tuple[Subject, str, str, str, str]] = {
    "no-interface": (a_subject(link=None), "connection", "fail", "no interface wlan0", ""),
    "unmanaged": (
        a_subject(unfollowed=("nobody manages it", "name it"), manager="", verdict=None, this=None),
        *("connection", "fail", "nobody manages it", ADD.format("interfaces", "wlan0")),
    ),
    "idle": (
        a_subject(unfollowed=("NetworkManager manages it, idle", "a connection on it")),
        *("connection", "fail", "idle", "nmcli device connect wlan0"),
    ),
    "switched-off": (
        a_subject(link=a_link(carrier=False), up=False),
        *("link", "fail", "switched off", f"ip link set wlan0 up && {NM} up {NAME}"),
    ),
    "no-carrier": (a_subject(link=a_link(carrier=False)), "link", "fail", "no carrier", ""),
    "ipv6-off": (
        a_subject(ipv6_off=True, manager="nobody"),
        *("address", "fail", "disable_ipv6", "sysctl -w net.ipv6.conf.wlan0.disable_ipv6=0"),
    ),
    "duplicate": (
        a_subject(link=without_global(a_link()), duplicates=(IPv6Address("2001:db8::7"),)),
        *("address", "fail", "2001:db8::7", ""),
    ),
    "duplicate-of-two": (a_subject(duplicates=(IPv6Address("2001:db8::7"),)), "address", "warn", "2001:db8::7", ""),
    "no-address": (
        a_subject(link=without_global(a_link()), adverts=said_by(an_advert())),
        *("address", "fail", "no global IPv6", f"{NM} modify {NAME} ipv6.method auto && {NM} up {NAME}"),
    ),
    "no-prefix-for-addresses": (
        a_subject(link=without_global(a_link()), adverts=said_by(an_advert(prefix=False))),
        *("address", "fail", "no router tells a prefix", ""),
    ),
    "no-dhcp6": (
        a_subject(link=without_global(a_link()), adverts=said_by(an_advert(prefix=False, managed=True))),
        *("address", "fail", "DHCPv6", ""),
    ),
    "no-route": (
        a_subject(link=a_link(default6=()), adverts=said_by(an_advert())),
        *("ipv6-route", "fail", "no IPv6 default route", f"{NM} up {NAME}"),
    ),
    "router-is-none": (
        a_subject(link=a_link(default6=()), adverts=said_by(an_advert(lifetime_s=0))),
        *("ipv6-route", "fail", "no router says that it is one", ""),
    ),
    "no-router": (
        a_subject(link=a_link(default6=()), adverts=said_by()),
        *("ipv6-route", "fail", "no router says anything", ""),
    ),
    "router-silent": (
        a_subject(router=SILENT, neighbour=Neighbour.FAILED),
        *("router", "fail", "neighbour discovery", ""),
    ),
    "off": (a_subject(OFF), "mode", "fail", "by ipv6.dns-options", f"clatnm set {NAME} auto"),
    "off-for-all": (
        a_subject(a_world(settings=Settings(mode=Mode.NO, written=frozenset({"mode"})))),
        *("mode", "fail", "by /etc/clatnm/clatnm.conf", "clatnm set --default auto"),
    ),
    "manager-does-not": (
        a_subject(a_world(uplinks=[an_uplink(manager_clat="192.0.0.5")]), ipv4=SILENT),
        *("manager", "fail", "from 192.0.0.5"),
        f"{NM} modify {NAME} ipv4.clat no +ipv6.dns-options clatnm:1 && {NM} up {NAME}",
    ),
    "native-dead": (
        a_subject(NATIVE, ipv4=SILENT),
        *("native", "fail", "does not work", f"{NM} modify {NAME} {NO_IPV4} && {NM} up {NAME}"),
    ),
    "native-dead-of-nobody": (
        a_subject(NATIVE, ipv4=SILENT, manager="nobody"),
        *("native", "fail", "does not work", "ip -4 route del default via 192.168.2.1 dev wlan0"),
    ),
    "never-default": (
        a_subject(a_world(uplinks=[replace(an_uplink(), never_default=True)])),
        *("never-default", "fail", "never-default", f"{NM} modify {NAME} ipv4.never-default no"),
    ),
    "vpn6": (
        a_subject(a_vpn_world(ipv6="tun0"), vpn_names={"tun0": "office"}),
        *("vpn", "fail", "carries no IPv4", "nmcli connection down office"),
    ),
    "vpn4-dead": (
        a_subject(a_vpn_world(ipv4="tun0"), ipv4=SILENT, metrics={"tun0": (50, "")}),
        *("vpn", "fail", "gets no answer there", "ip -4 route del default dev tun0 metric 50"),
    ),
    "may-fail": (
        a_subject(a_running_world(uplink=replace(an_uplink(), ipv4_required=True))),
        *("dhcp4", "warn", "may-fail no", f"{NM} modify {NAME} ipv4.may-fail yes"),
    ),
    "no-pref64": (
        a_subject(NO_PREFIX, adverts=said_by(an_advert(pref64_s=0))),
        *("pref64", "fail", "fe80::1 has withdrawn 64:ff9b::/96", ""),
    ),
    "unannounced": (
        a_subject(NO_PREFIX, unannounced=ANSWERED),
        *("pref64", "fail", "a NAT64 answers behind", ADD.format("fallback-prefix", "64:ff9b::/96")),
    ),
    "deaf": (
        a_subject(NO_PREFIX, adverts=said_by(an_advert(pref64_s=600), heard=False), chains=(CHAIN, INPUT, INPUT6)),
        *("pref64", "fail", "keeps Router Advertisements from programs"),
        "nft insert rule ip6 filter INPUT iifname wlan0 icmpv6 type nd-router-advert accept",
    ),
    "dns64-off": (
        a_subject(replace(NO_PREFIX, settings=Settings(dns64=False)), conf=Conf()),
        *("pref64", "fail", "`dns64 = no`", ""),
    ),
    "plat-unreachable": (
        a_subject(plat=Trial(outcome=Outcome.UNREACHABLE, detail="no route (from fe80::1)")),
        *("plat", "fail", "no route (from fe80::1)", ""),
    ),
    "plat-dead": (
        a_subject(
            replace(
                a_world(), plats={("wlan0", WELL_KNOWN): PlatHealth(state=PlatState.DEAD, since=NOW, detail="why")}
            ),
            plat=SILENT,
        ),
        *("plat", "fail", "does not answer: why", ""),
    ),
    "plat-silent": (
        a_subject(plat=SILENT, ipv4=SILENT, by_device=SILENT, went=3, came=0),
        *("plat", "fail", "neither over IPv6 nor over IPv4", ""),
    ),
    "plat-silent-for-a-user": (
        a_subject(plat=Trial(), ipv4=SILENT, by_device=SILENT, went=3, came=0),
        *("plat", "fail", "over IPv4; translated packets go out", ""),
    ),
    "ipv6-refused": (
        a_subject(plat=REFUSED, chains=(CHAIN,)),
        *("plat", "warn", "keeps IPv6 from wlan0", "nft insert rule inet t c oifname wlan0 accept"),
    ),
    "pool-full": (
        a_subject(
            a_world(
                a_link(),
                a_link("lo", index=1, ipv6=(), default6=(), ipv4=[str(a) for _, a in POOL]),
                uplinks=[an_uplink()],
            ),
            pool=POOL,
        ),
        *("clat-address", "fail", "in use by others, on lo", "ip -4 address flush dev lo to 192.0.0.0/29"),
    ),
    "cannot-share": (
        a_subject(a_world(a_link(ipv6=("2001:db8:a::5/128",)))),
        *("clat-address", "fail", "cannot share", ""),
    ),
    "stranger": (
        a_subject(a_world(), error="EBUSY", foreign_device="clat-wlan0"),
        *("translator", "fail", "somebody else has a device clat-wlan0", "ip link delete clat-wlan0"),
    ),
    "failed": (
        a_subject(a_world(retries={"wlan0": Retry(failures=2, error="it died", not_before=NOW + 5)})),
        *("translator", "fail", "it died", ""),
    ),
    "device-gone": (a_subject(device=None), "device", "fail", "is gone", "systemctl restart clatnm"),
    "address-taken": (
        a_subject(device=a_device(ipv4=(), route=False)),
        *("device", "fail", "took the address 192.0.0.4 from clat-wlan0"),
        "ip address add 192.0.0.4/32 dev clat-wlan0 && ip -4 route replace default dev clat-wlan0 proto 164 scope link"
        " src 192.0.0.4 metric 150 mtu 1472",
    ),
    "route-taken": (
        a_subject(device=a_device(route=False)),
        *("ipv4-route", "fail", "took the IPv4 default route"),
        "ip -4 route replace default dev clat-wlan0 proto 164 scope link src 192.0.0.4 metric 150 mtu 1472",
    ),
    "beaten": (
        a_subject(way=Way4(interface="eth9", source=None), ipv4=SILENT, metrics={"eth9": (10, "10.0.0.1")}),
        *("ipv4-route", "fail", "better metric 10", "ip -4 route del default via 10.0.0.1 dev eth9 metric 10"),
    ),
    "beaten-by-a-rule": (
        a_subject(way=Way4(interface="eth9", source=None), ipv4=SILENT),
        *("ipv4-route", "fail", "by a rule or a route of another table", ""),
    ),
    "no-way": (a_subject(way=None, ipv4=SILENT), "ipv4-route", "fail", "no route", "systemctl restart clatnm"),
    "refused": (
        a_subject(by_device=REFUSED, chains=(CHAIN, INPUT)),
        *("firewall", "fail", "does not let IPv4 out", "nft insert rule inet t c oifname clat-wlan0 accept"),
    ),
    "dropped": (
        a_subject(by_device=SILENT, went=3, came=3, chains=(CHAIN, INPUT)),
        *("firewall", "fail", "drops them", "nft insert rule ip filter INPUT iifname clat-wlan0 accept"),
    ),
    "lost": (
        a_subject(by_device=SILENT, plat=ANSWERED, went=0, came=0),
        *("firewall", "fail", "do not arrive in the translator", ""),
    ),
    "zone": (
        a_subject(zones=("public", "block")),
        *("zone", "warn", "is in block", "firewall-cmd --zone=public --change-interface=clat-wlan0"),
    ),
    "one-address": (
        a_subject(by_device=SILENT, ipv4=SILENT, went=3, came=0),
        *("ipv4", "fail", "the network lets no other through", ADD.format("clat-v6-addr", "shared")),
    ),
    "no-answer": (a_subject(by_device=SILENT, ipv4=SILENT), "ipv4", "fail", "no host answers over IPv4", ""),
    "narrow": (
        a_subject(reach=Reach(longest_bytes=1300)),
        *("mtu", "warn", "longer than 1300 bytes vanish", ADD.format("mtu", "1300")),
    ),
    "dropped-for-others": (
        a_subject(
            lans=(BOX,),
            behind=(Behind(device="docker0"), Behind(device="br0", drop_out=(FORWARD,), drop_back=(FORWARD,))),
        ),
        *("forward", "warn", "(ip filter FORWARD) drops what comes from br0: no IPv4 by clat-wlan0"),
        "nft insert rule ip filter FORWARD iifname br0 oifname clat-wlan0 accept && "
        "nft insert rule ip filter FORWARD iifname clat-wlan0 oifname br0 ct state established,related accept",
    ),
    "answers-for-others-dropped": (
        a_subject(lans=(BOX,), behind=(Behind(device="br0", drop_back=(FORWARD,)),)),
        *("forward", "warn", "drops the answers for br0"),
        "nft insert rule ip filter FORWARD iifname clat-wlan0 oifname br0 ct state established,related accept",
    ),
}
