# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults, what `clatnm doctor` has to name first, and what it has to say about it. The table of docs/troubleshooting.md
is made of the same rows."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tests.e2e import clat, clatd_like, vpn
from tests.e2e.doctor_scene import PREFIX, TRANSLATED, Scene, chain
from tests.lab.firewalld import Firewalld
from tests.lab.poll import eventually

Act = Callable[[Scene], object]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One row. With `heal`, a person (or the network) has to do what is printed; without, it is a command."""

    name: str
    check: str
    fault: str
    """For the documents."""
    says: str
    """In the cause that is printed."""
    inject: Act
    command: str = ""
    """Printed, and does it."""
    remedy: str = ""
    """In the words that are printed, where there is no such command."""
    heal: Act | None = None
    tidy: Act | None = None
    """Back to the start of the next row, after the cure."""
    level: str = "fail"
    plain: bool = False
    """Without a network manager."""


_NO_IPV4 = "ipv4.method disabled ipv4.addresses '' ipv4.gateway '' ipv4.dns ''"
_CONF = "/etc/clatnm/clatnm.conf"
_MODE_LINE = "s|^[[:space:]]*mode[[:space:]]*[=:].*|mode = auto|"
_ROUTE = "ip -4 route replace default dev clat-up0 proto 164 scope link src 192.0.0.4 metric 150 mtu 1472"
_ANNOUNCE = "the network has to announce its NAT64"


def _add(key: str, value: str) -> str:
    return rf"sed -i '/^\[clatnm\]/a {key} = {value}' {_CONF} && systemctl reload clatnm"


def _uuid(s: Scene) -> str:
    return s.host.nmcli("-g", "connection.uuid", "connection", "show", "netA").stdout.strip()


def _static(s: Scene) -> None:
    place = s.host.path("/etc/clatnm/static.d")
    place.mkdir(exist_ok=True)
    (place / "edge.conf").write_text("[clatnm]\nuplink = up0\n")


def _tun(s: Scene) -> None:
    s.host.run("mount", "-t", "tmpfs", "none", "/dev/net")
    s.stack.callback(s.host.run, "umount", "/dev/net")


def _foreign_device(s: Scene) -> None:
    s.host.down("netA")
    clat.wait_no_device(s.host)
    s.host.ip("tuntap", "add", "dev", "clat-up0", "mode", "tun")
    s.host.up("netA")


def _option_no(s: Scene) -> None:
    s.host.clatnm("set", "netA", "default", check=False)
    s.host.nmcli("connection", "modify", "netA", "+ipv6.dns-options", "clatnm:0")


def _file_no(s: Scene) -> None:
    place = s.host.path("/etc/clatnm/connections.d")
    place.mkdir(exist_ok=True)
    (place / f"{_uuid(s)}.conf").write_text("[clatnm]\nmode = no\n")
    s.reload()


def _no_file(s: Scene) -> None:
    s.host.path(f"/etc/clatnm/connections.d/{_uuid(s)}.conf").unlink()
    s.reload()


def _global_no(s: Scene) -> None:
    s.host.clatnm("set", "netA", "default", check=False)
    s.conf("mode = no")


def _pool(s: Scene) -> None:
    lines = "".join(f"addr add 192.0.0.{n}/32 dev lo\n" for n in range(8))
    s.host.ip("-batch", "-", stdin=lines)


def _better_route(s: Scene) -> None:
    s.host.ip("link", "add", "v9", "type", "veth", "peer", "name", "v9p")
    s.stack.callback(s.host.ip, "link", "del", "v9")
    for name in ("v9", "v9p"):
        eventually(
            partial(s.host.nmcli, "device", "set", name, "managed", "no"), message="NetworkManager lets it alone"
        )
    s.host.ip("-batch", "-", stdin="link set v9 up\nlink set v9p up\nroute add default dev v9 metric 10\n")


_TUN = """
import fcntl, os, signal, struct
tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH22x", b"tun9", 0x1001))  # TUNSETIFF, IFF_TUN | IFF_NO_PI
print("open", flush=True)
signal.pause()
"""


def _dead_tunnel(s: Scene) -> None:
    owner = s.host.popen(sys.executable, "-c", _TUN)
    s.stack.callback(owner.kill)
    eventually(lambda: "open" in owner.log(), message="the tunnel is there")
    s.host.ip("-batch", "-", stdin="link set tun9 up\naddr add 10.9.0.2/32 dev tun9\n")
    s.host.ip("route", "add", "default", "dev", "tun9", "metric", "50")


def _vpn6(s: Scene) -> None:
    office = vpn.Vpn(s.lab)
    for address in (f"{vpn.FAR4}/24", f"{vpn.FAR6}/64"):
        s.stack.callback(s.lab.inet.ip, "addr", "del", address, "dev", "ix")
    s.stack.callback(s.lab.inet.stop_services)
    s.stack.callback(s.host.stop_services)
    s.stack.callback(s.host.nmcli, "connection", "delete", "office")
    office.add(ipv4=False, far=vpn.FAR6)
    office.up()


def _clatd(s: Scene) -> None:
    s.stack.enter_context(clatd_like.clatd(s.host))


def _withdraw(s: Scene) -> None:
    s.a.dns("plain")
    s.a.ra(pref64=[[PREFIX, 0]])
    clat.wait_off(s.daemon, "no-pref64", timeout_s=25)


def _mute_resolver(s: Scene) -> None:
    s.a.dns("off")
    s.a.ra(pref64=[[PREFIX, 0]])
    s.restart()  # what it said before holds for some time
    clat.wait_off(s.daemon, "no-pref64", timeout_s=20)


def _nobody_announces(s: Scene) -> None:
    s.a.nat64(False)
    _withdraw(s)


def _announce(s: Scene) -> None:
    s.a.nat64(True)
    s.a.dns("dns64")
    s.a.ra(silent=False, pref64=[[PREFIX, 600]])


def _expire(s: Scene) -> None:
    s.a.dns("plain")
    s.a.ra(pref64=[[PREFIX, 8]])
    eventually(
        lambda: clat.connection(s.daemon)["prefix"]["lifetime_s"] <= 8, message="its last advertisement is heard"
    )
    s.a.ra_silent()
    clat.wait_off(s.daemon, "no-pref64", timeout_s=30)


def _without_dns64(s: Scene) -> None:
    s.conf("dns64 = no")
    s.restart()  # what a resolver said before holds for some time
    s.a.ra(pref64=[[PREFIX, 0]])
    clat.wait_off(s.daemon, "no-pref64", timeout_s=20)


def _announce_and_forget(s: Scene) -> None:
    _announce(s)
    s.conf()


def _no_way(s: Scene) -> None:
    s.a.ip("-6", "route", "del", TRANSLATED)
    s.a.ip("-6", "route", "add", "unreachable", TRANSLATED)


def _way(s: Scene) -> None:
    s.a.ip("-6", "route", "del", TRANSLATED)
    s.a.ip("-6", "route", "add", TRANSLATED, "dev", "nat64")


def _router_rule(s: Scene, *chains: str) -> None:
    s.a.nft(f"table inet fault {{\n{''.join(chains)}}}\n")


def _no_router_rule(s: Scene) -> None:
    s.a.nft("table inet fault {}\ndelete table inet fault\n")


def _mute_router(s: Scene) -> None:
    s.a.ra(no_link_address=True)
    kinds = "nd-neighbor-solicit, nd-neighbor-advert"
    deaf, dumb = f"icmpv6 type {{ {kinds}, echo-request }} drop", f"icmpv6 type {{ {kinds} }} drop"
    _router_rule(s, chain("i", "input", deaf), chain("o", "output", dumb))
    s.host.ip("-6", "neigh", "flush", "dev", "up0")


def _unmute_router(s: Scene) -> None:
    _no_router_rule(s)
    s.a.ra(no_link_address=False)


def _narrow(s: Scene) -> None:
    _router_rule(s, chain("f", "forward", "meta length > 1320 drop"))


def _one_address(s: Scene) -> None:
    own = next(str(address.ip) for address in s.host.addresses("up0") if address.version == 6)
    _router_rule(s, chain("f", "forward", f"ip6 saddr 2001:db8:a::/64 ip6 saddr != {own} drop"))


def _wide(s: Scene) -> None:
    _no_router_rule(s)
    s.conf()


def _no_ipv6(s: Scene) -> None:
    s.host.modify("netA", {"ipv6.method": "link-local"})
    s.host.up("netA")


def _deaf(s: Scene) -> None:
    s.a.dns("plain")
    s.nft("input", "icmpv6 type nd-router-advert drop")
    s.restart()
    clat.wait_off(s.daemon, "no-pref64", timeout_s=25)


def _hear(s: Scene) -> None:
    s.a.dns("dns64")
    s.calm()


def _dead_ipv4(s: Scene) -> None:
    _router_rule(s, chain("f", "forward", 'iifname "lan" meta nfproto ipv4 drop'))
    own = {"ipv4.method": "manual", "ipv4.addresses": "192.168.1.77/24", "ipv4.gateway": "192.168.1.1"}
    s.host.modify("netA", own)
    s.host.up("netA")


def _required(s: Scene) -> None:
    s.host.modify("netA", {"ipv4.method": "auto", "ipv4.may-fail": "no"})
    s.host.up("netA", wait_s=0)
    clat.wait_on(s.daemon)


def _not_required(s: Scene) -> None:
    s.host.modify("netA", {"ipv4.method": "disabled"})
    s.host.up("netA")


def _stop(s: Scene) -> None:
    assert s.daemon.stop() == 0


def _policy(s: Scene, *, allowed: bool) -> None:
    """Whether anybody may be org.clatnm1."""
    place = s.host.system_path("/etc/dbus-1/lab.conf")
    rule = '<policy context="mandatory"><deny own="org.clatnm1"/></policy></busconfig>'
    text = place.read_text().replace(rule, "</busconfig>")
    place.write_text(text if allowed else text.replace("</busconfig>", rule))
    s.host._bus_reread()


def _nameless(s: Scene) -> None:
    _stop(s)
    _policy(s, allowed=False)
    daemon = s.host.daemon("-v")
    eventually(lambda: "cannot take the bus name" in daemon.log() or "org.clatnm1" in daemon.log(), message="refused")


def _named(s: Scene) -> None:
    _policy(s, allowed=True)
    s.restart()


def _limited(rights: str) -> Act:
    def act(s: Scene) -> None:
        s.restart("setpriv", "--bounding-set", rights)

    return act


def _zone(s: Scene) -> None:
    firewalld = s.stack.enter_context(Firewalld(s.host))
    eventually(lambda: firewalld.zone("up0") == "public", timeout_s=20, message="the uplink is in its zone")
    eventually(lambda: firewalld.zone("clat-up0") == "public", timeout_s=20, message="and so is the device")
    firewalld.cmd("--zone=block", "--change-interface=clat-up0")


def _no_bus(s: Scene) -> None:
    s.host.bus_stop()


def _bus(s: Scene) -> None:
    s.host.nm_stop()  # it never comes back to a bus by itself
    s.host.bus_start()
    s.host.nm_start()
    s.host.up("netA")


def _duplicate(s: Scene) -> None:
    s.host.sysctl(ipv6__conf__up0__autoconf=0, ipv6__conf__up0__accept_dad=1)
    s.host.ip("addr", "flush", "dev", "up0", "scope", "global")
    s.a.ip("addr", "add", "2001:db8:a::77/64", "dev", "lan", "nodad")
    s.host.ip("addr", "add", "2001:db8:a::77/64", "dev", "up0")
    eventually(lambda: "dadfailed" in s.host.ip("-6", "addr", "show", "dev", "up0"), message="the duplicate is found")


def _unique(s: Scene) -> None:
    s.a.ip("addr", "del", "2001:db8:a::77/64", "dev", "lan")
    s.host.ip("addr", "del", "2001:db8:a::77/64", "dev", "up0")
    s.host.sysctl(ipv6__conf__up0__autoconf=1, ipv6__conf__up0__accept_dad=0)
    s.a.ra()


FAULTS = (
    Fault(
        name="config-wrong",
        check="config",
        fault="a mistake in clatnm.conf",
        says="clatnm.conf:4: ",
        inject=lambda s: s.conf("mode = perhaps"),
        remedy="mend that line",
        heal=lambda s: s.conf(),
    ),
    Fault(
        name="static-wrong",
        check="config",
        fault="a mistake in a file of static.d",
        says="static.d/edge.conf:",
        inject=_static,
        remedy="mend that line",
        heal=lambda s: s.host.path("/etc/clatnm/static.d/edge.conf").unlink(),
    ),
    Fault(
        name="no-tun",
        check="tun",
        fault="/dev/net/tun is missing",
        says="/dev/net/tun: No such file or directory",
        inject=_tun,
        remedy="load the kernel's module `tun`, or give it to the container",
        heal=lambda s: s.stack.close(),
    ),
    Fault(
        name="leftover-rule",
        check="leftovers",
        level="warn",
        fault="a killed translator left a routing rule",
        says="a killed translator left the rule for 192.0.0.3",
        inject=lambda s: s.host.ip(
            *("rule", "add", "from", "192.0.0.3", "lookup", "3248948199", "priority", "5000", "protocol", "164")
        ),
        command="clatnm cleanup",
    ),
    Fault(
        name="foreign-device",
        check="translator",
        fault="somebody else has a device of our name",
        says="somebody else has a device clat-up0",
        inject=_foreign_device,
        command="ip link delete clat-up0",
    ),
    Fault(
        name="mode-set",
        check="mode",
        fault="switched off by `clatnm set`",
        says="CLAT is switched off, by ",
        inject=lambda s: s.host.clatnm("set", "netA", "no"),
        command="clatnm set netA auto",
    ),
    Fault(
        name="mode-option",
        check="mode",
        fault="switched off by a DNS option of the profile",
        says="CLAT is switched off, by ipv6.dns-options",
        inject=_option_no,
        command="clatnm set netA auto",
    ),
    Fault(
        name="mode-file",
        check="mode",
        fault="switched off in a file of connections.d",
        says="CLAT is switched off, by /etc/clatnm/connections.d/",
        inject=_file_no,
        command=f"sed -i '{_MODE_LINE}' /etc/clatnm/connections.d/UUID.conf && systemctl reload clatnm",
        tidy=_no_file,
    ),
    Fault(
        name="mode-global",
        check="mode",
        fault="switched off for all connections",
        says=f"CLAT is switched off, by {_CONF}",
        inject=_global_no,
        command="clatnm set --default auto",
        tidy=lambda s: s.conf(),
    ),
    Fault(
        name="manager-address",
        check="manager",
        fault="the uplink has an address of 192.0.0.0/29, as if NetworkManager translated, and nobody does",
        says="up0 has 192.0.0.5, as if its network manager translated",
        inject=lambda s: s.host.ip("addr", "add", "192.0.0.5/32", "dev", "up0"),
        command="ip -4 address flush dev up0 to 192.0.0.0/29",
    ),
    Fault(
        name="clatd",
        check="other",
        level="warn",
        fault="clatd runs, too",
        says="another translator is at work on this machine, with 192.0.0.1 on clat",
        inject=_clatd,
        remedy="stop it; of clatd, `clatnm import-clatd` first shows",
        heal=lambda s: s.stack.close(),
    ),
    Fault(
        name="native-dead",
        check="native",
        fault="the connection has native IPv4, and it leads nowhere",
        says="up0 has native IPv4, and it does not work",
        inject=_dead_ipv4,
        command=f"nmcli connection modify netA {_NO_IPV4} && nmcli connection up netA",
        tidy=_no_router_rule,
    ),
    Fault(
        name="never-default",
        check="never-default",
        fault="the profile keeps IPv4's default route off the connection",
        says="never-default",
        inject=lambda s: s.host.modify("netA", {"ipv4.never-default": "yes"}),
        command="nmcli connection modify netA ipv4.never-default no",
    ),
    Fault(
        name="vpn-without-ipv4",
        check="vpn",
        fault="a VPN takes IPv6 and carries no IPv4",
        says="a VPN on tun0 has all of IPv6 and carries no IPv4",
        inject=_vpn6,
        command="nmcli connection down office",
        tidy=lambda s: s.stack.close(),
    ),
    Fault(
        name="vpn-dead",
        check="vpn",
        fault="a tunnel has IPv4's default route, and its far end is gone",
        says="IPv4 goes into a VPN or tunnel, tun9, and gets no answer there",
        inject=_dead_tunnel,
        command="ip -4 route del default dev tun9 metric 50",
        tidy=lambda s: s.stack.close(),
    ),
    Fault(
        name="may-fail",
        check="dhcp4",
        level="warn",
        fault="the profile insists on IPv4 from the network",
        says="ipv4.may-fail no",
        inject=_required,
        command="nmcli connection modify netA ipv4.may-fail yes",
        tidy=_not_required,
    ),
    Fault(
        name="not-announced",
        check="pref64",
        fault="the network has a NAT64 and does not announce it",
        says="a NAT64 answers behind 64:ff9b::/96",
        inject=_withdraw,
        command=_add("fallback-prefix", PREFIX),
        tidy=_announce_and_forget,
    ),
    Fault(
        name="no-pref64",
        check="pref64",
        fault="no PREF64, no DNS64, no NAT64",
        says="fe80::1 has withdrawn 64:ff9b::/96",
        inject=_nobody_announces,
        remedy=_ANNOUNCE,
        heal=_announce,
    ),
    Fault(
        name="pref64-over",
        check="pref64",
        fault="the router has fallen silent, and the lifetime of its PREF64 is over",
        says="ra: fe80::1 announces none",
        inject=_expire,
        remedy="`fallback-prefix = 64:ff9b::/96`",
        heal=_announce,
    ),
    Fault(
        name="dns64-off",
        check="pref64",
        fault="no PREF64, and the configuration forbids to ask for DNS64",
        says="`dns64 = no` forbids to ask the resolvers",
        inject=_without_dns64,
        command=f"sed -i 's|^[[:space:]]*dns64[[:space:]]*[=:].*|dns64 = yes|' {_CONF} && systemctl reload clatnm",
        tidy=_announce_and_forget,
    ),
    Fault(
        name="resolver-silent",
        check="pref64",
        fault="no PREF64, and the network's resolver does not answer",
        says="dns64: ",
        inject=_mute_resolver,
        remedy="`fallback-prefix = 64:ff9b::/96`",
        heal=_announce,
    ),
    Fault(
        name="adverts-dropped",
        check="pref64",
        fault="a firewall of the host drops Router Advertisements",
        says="a firewall of this host keeps Router Advertisements from programs",
        inject=_deaf,
        command="nft insert rule inet strict inputed iifname up0 icmpv6 type nd-router-advert accept",
        tidy=_hear,
    ),
    Fault(
        name="plat-silent",
        check="plat",
        fault="the NAT64 swallows everything",
        says="translated packets go out, and none comes back",
        inject=lambda s: s.a.nat64(False),
        remedy="tell whoever runs the network",
        heal=lambda s: s.a.nat64(True),
    ),
    Fault(
        name="plat-unreachable",
        check="plat",
        fault="routers know no way to the NAT64",
        says="routers know no way to the NAT64 behind 64:ff9b::/96",
        inject=_no_way,
        remedy="tell whoever runs the network",
        heal=_way,
    ),
    Fault(
        name="ipv6-out-dropped",
        check="plat",
        level="warn",
        fault="a firewall of the host drops IPv6 of programs",
        says="a firewall of this host keeps IPv6 from up0",
        inject=lambda s: s.nft("output", "icmpv6 type echo-request drop"),
        command="nft insert rule inet strict outputed oifname up0 accept",
        tidy=lambda s: s.calm(),
    ),
    Fault(
        name="one-address",
        check="ipv4",
        fault="the network lets only the host's own address through",
        says="the NAT64 answers this host's own address, but not ",
        inject=_one_address,
        command=_add("clat-v6-addr", "shared"),
        tidy=_wide,
    ),
    Fault(
        name="pool-full",
        check="clat-address",
        fault="all of 192.0.0.0/29 is in use by others",
        says="all of 192.0.0.0/29 is in use by others, on lo",
        inject=_pool,
        command="ip -4 address flush dev lo to 192.0.0.0/29",
    ),
    Fault(
        name="address-taken",
        check="device",
        fault="somebody took the address from our device",
        says="somebody took the address 192.0.0.4 from clat-up0",
        inject=lambda s: s.host.ip("addr", "flush", "dev", "clat-up0"),
        command=f"ip address add 192.0.0.4/32 dev clat-up0 && {_ROUTE}",
    ),
    Fault(
        name="route-taken",
        check="ipv4-route",
        fault="somebody took the default route from our device",
        says="somebody took the IPv4 default route from clat-up0",
        inject=lambda s: s.host.ip("-4", "route", "del", "default", "dev", "clat-up0"),
        command=_ROUTE,
    ),
    Fault(
        name="route-beaten",
        check="ipv4-route",
        fault="another default route has a better metric, and leads nowhere",
        says="but by v9 with the better metric 10, and gets no answer there",
        inject=_better_route,
        command="ip -4 route del default dev v9 metric 10",
        tidy=lambda s: s.stack.close(),
    ),
    Fault(
        name="out-dropped",
        check="firewall",
        fault="a firewall of the host lets nothing out by our device",
        says="a firewall of this host does not let IPv4 out by clat-up0",
        inject=lambda s: s.nft("output", "oifname clat-up0 drop"),
        command="nft insert rule inet strict outputed oifname clat-up0 accept",
        tidy=lambda s: s.calm(),
    ),
    Fault(
        name="in-dropped",
        check="firewall",
        fault="a firewall of the host drops the answers",
        says="answers come in by clat-up0, and a firewall of this host drops them",
        inject=lambda s: s.nft("input", "iifname clat-up0 drop"),
        command="nft insert rule inet strict inputed iifname clat-up0 accept",
        tidy=lambda s: s.calm(),
    ),
    Fault(
        name="zone",
        check="zone",
        level="warn",
        fault="our device is in another firewalld zone than its uplink",
        says="clat-up0 is in block, and its uplink up0 in public (firewalld)",
        inject=_zone,
        command="firewall-cmd --zone=public --change-interface=clat-up0",
        tidy=lambda s: s.stack.close(),
    ),
    Fault(
        name="narrow",
        check="mtu",
        level="warn",
        fault="long packets vanish on their way, and nobody tells",
        says="packets longer than 1300 bytes vanish on their way",
        inject=_narrow,
        command=_add("mtu", "1300"),
        tidy=_wide,
    ),
    Fault(
        name="router-silent",
        check="router",
        fault="the router does not answer neighbour discovery",
        says="the router of up0 does not answer neighbour discovery",
        inject=_mute_router,
        remedy="is the router on",
        heal=_unmute_router,
    ),
    Fault(
        name="no-address",
        check="address",
        fault="the profile has no IPv6 but link-local",
        says="up0 has no global IPv6 address",
        inject=_no_ipv6,
        command="nmcli connection modify netA ipv6.method auto && nmcli connection up netA",
    ),
    Fault(
        name="no-default-route",
        check="ipv6-route",
        fault="the router says that it is none",
        says="no router says that it is one",
        inject=lambda s: s.a.ra(lifetime=0),
        remedy="the network's router has to advertise itself, with a lifetime",
        heal=lambda s: s.a.ra(lifetime=1800),
    ),
    Fault(
        name="daemon-off",
        check="daemon",
        fault="the daemon does not run",
        says="the clatnm daemon does not run",
        inject=_stop,
        command="systemctl enable --now clatnm",
    ),
    Fault(
        name="daemon-stuck",
        check="daemon",
        fault="the daemon is stuck",
        says="the daemon has its name on the bus, but does not answer",
        inject=lambda s: os.kill(s.daemon.pid, signal.SIGSTOP),
        command="systemctl restart clatnm",
    ),
    Fault(
        name="no-name",
        check="daemon",
        fault="the bus does not let the daemon have its name",
        says="but the bus denies it its name, org.clatnm1",
        inject=_nameless,
        remedy="put org.clatnm1.conf into /usr/share/dbus-1/system.d",
        heal=_named,
    ),
    Fault(
        name="no-net-admin",
        check="capabilities",
        fault="the daemon runs without CAP_NET_ADMIN",
        says="the daemon runs without CAP_NET_ADMIN",
        inject=_limited("-net_admin"),
        command="systemctl restart clatnm",
    ),
    Fault(
        name="no-bpf",
        check="backend",
        level="warn",
        fault="the daemon may not use eBPF",
        says="no eBPF, so the process alone translates",
        inject=_limited("-bpf,-sys_admin"),
        command="systemctl restart clatnm",
    ),
    Fault(
        name="no-bus",
        check="bus",
        fault="the system bus does not run",
        says="cannot connect to the system bus",
        inject=_no_bus,
        remedy="start the system bus, then NetworkManager",
        heal=_bus,
    ),
    Fault(
        name="unmanaged",
        check="connection",
        fault="nobody manages the interface, and `interfaces` does not name it",
        says="up0 is no connection: nobody manages it",
        inject=lambda s: s.conf("# nobody"),
        command=_add("interfaces", "up0"),
        plain=True,
        tidy=lambda s: s.conf(),
    ),
    Fault(
        name="switched-off",
        check="link",
        fault="the interface is switched off",
        says="up0 is switched off",
        inject=lambda s: s.host.ip("link", "set", "up0", "down"),
        command="ip link set up0 up",
        plain=True,
    ),
    Fault(
        name="no-carrier",
        check="link",
        fault="the cable is out",
        says="up0 has no carrier",
        inject=lambda s: s.host.carrier("up0", False),
        remedy="plug the cable in",
        heal=lambda s: s.host.carrier("up0", True),
        plain=True,
    ),
    Fault(
        name="ipv6-off",
        check="address",
        fault="IPv6 is switched off on the interface",
        says="IPv6 is switched off on up0 (disable_ipv6)",
        inject=lambda s: s.host.sysctl(ipv6__conf__up0__disable_ipv6=1),
        command="sysctl -w net.ipv6.conf.up0.disable_ipv6=0",
        plain=True,
    ),
    Fault(
        name="duplicate",
        check="address",
        fault="another host has the same IPv6 address",
        says="is another host's, too (duplicate address detection)",
        inject=_duplicate,
        remedy="give one of the two hosts another address",
        heal=_unique,
        plain=True,
    ),
)


def table() -> str:
    """The rows as docs/troubleshooting.md has them."""
    lines = ["| what is wrong | `clatnm doctor` names | and says |", "|---|---|---|"]
    for row in FAULTS:
        what = row.remedy if row.heal else f"`{row.command}`"
        level = "" if row.level == "fail" else " (warning)"
        lines.append(f"| {row.fault} | `{row.check}`{level} | {what.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"
