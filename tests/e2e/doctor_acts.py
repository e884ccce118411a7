# SPDX-License-Identifier: GPL-2.0-or-later
"""What a fault is, and how those of the table are made and mended."""

from __future__ import annotations

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


NO_IPV4 = "ipv4.method disabled ipv4.addresses '' ipv4.gateway '' ipv4.dns ''"
CONF = "/etc/clatnm/clatnm.conf"
MODE_LINE = "s|^[[:space:]]*mode[[:space:]]*[=:].*|mode = auto|"
ROUTE = "ip -4 route replace default dev clat-up0 proto 164 scope link src 192.0.0.4 metric 150 mtu 1472"
ANNOUNCE = "the network has to announce its NAT64"


def add(key: str, value: str) -> str:
    return rf"sed -i '/^\[clatnm\]/a {key} = {value}' {CONF} && systemctl reload clatnm"


def uuid(s: Scene) -> str:
    return s.host.nmcli("-g", "connection.uuid", "connection", "show", "netA").stdout.strip()


def static(s: Scene) -> None:
    place = s.host.path("/etc/clatnm/static.d")
    place.mkdir(exist_ok=True)
    (place / "edge.conf").write_text("[clatnm]\nuplink = up0\n")


def tun(s: Scene) -> None:
    s.host.run("mount", "-t", "tmpfs", "none", "/dev/net")
    s.stack.callback(s.host.run, "umount", "/dev/net")


def foreign_device(s: Scene) -> None:
    s.host.down("netA")
    clat.wait_no_device(s.host)
    s.host.ip("tuntap", "add", "dev", "clat-up0", "mode", "tun")
    s.host.up("netA")


def option_no(s: Scene) -> None:
    s.host.clatnm("set", "netA", "default", check=False)
    s.host.nmcli("connection", "modify", "netA", "+ipv6.dns-options", "clatnm:0")


def file_no(s: Scene) -> None:
    place = s.host.path("/etc/clatnm/connections.d")
    place.mkdir(exist_ok=True)
    (place / f"{uuid(s)}.conf").write_text("[clatnm]\nmode = no\n")
    s.reload()


def no_file(s: Scene) -> None:
    s.host.path(f"/etc/clatnm/connections.d/{uuid(s)}.conf").unlink()
    s.reload()


def global_no(s: Scene) -> None:
    s.host.clatnm("set", "netA", "default", check=False)
    s.conf("mode = no")


def pool(s: Scene) -> None:
    lines = "".join(f"addr add 192.0.0.{n}/32 dev lo\n" for n in range(8))
    s.host.ip("-batch", "-", stdin=lines)


def better_route(s: Scene) -> None:
    s.host.ip("link", "add", "v9", "type", "veth", "peer", "name", "v9p")
    s.stack.callback(s.host.ip, "link", "del", "v9")
    for name in ("v9", "v9p"):
        eventually(
            partial(s.host.nmcli, "device", "set", name, "managed", "no"), message="NetworkManager lets it alone"
        )
    s.host.ip("-batch", "-", stdin="link set v9 up\nlink set v9p up\nroute add default dev v9 metric 10\n")


# As container engines have it; and what another firewall beside them may do.
BOX = """
table ip box {
  chain post { type nat hook postrouting priority srcnat; ip saddr 172.17.0.0/16 oifname != "box0" masquerade; }
}
table inet strict {
  chain forwarded { type filter hook forward priority filter; policy drop; }
}
"""


def box(s: Scene) -> None:
    """Somebody behind the host: the lab's switch, as a container."""
    s.host.ip("link", "add", "box0", "type", "veth", "peer", "name", "eth0", "netns", s.lab.switch.netns)
    s.stack.callback(s.host.ip, "link", "del", "box0")
    eventually(partial(s.host.nmcli, "device", "set", "box0", "managed", "no"), message="NetworkManager lets it alone")
    s.host.ip("-batch", "-", stdin="addr add 172.17.0.1/16 dev box0\nlink set box0 up\n")
    s.lab.switch.ip("-batch", "-", stdin="addr add 172.17.0.2/16 dev eth0\nlink set eth0 up\n")
    s.lab.switch.ip("route", "add", "default", "via", "172.17.0.1")
    s.host.sysctl(ipv4__ip_forward=1)
    s.stack.callback(s.host.sysctl, ipv4__ip_forward=0)
    s.host.nft(BOX)
    assert s.lab.switch.run("ping", "-c", "1", "-W", "1", clat.INET, check=False).returncode != 0


def no_box(s: Scene) -> None:
    eventually(lambda: s.lab.switch.run("ping", "-c", "1", "-W", "1", clat.INET), message="the container has IPv4")
    s.calm()


TUN = """
import fcntl, os, signal, struct
tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH22x", b"tun9", 0x1001))  # TUNSETIFF, IFF_TUN | IFF_NO_PI
print("open", flush=True)
signal.pause()
"""


def dead_tunnel(s: Scene) -> None:
    owner = s.host.popen(sys.executable, "-c", TUN)
    s.stack.callback(owner.kill)
    eventually(lambda: "open" in owner.log(), message="the tunnel is there")
    s.host.ip("-batch", "-", stdin="link set tun9 up\naddr add 10.9.0.2/32 dev tun9\n")
    s.host.ip("route", "add", "default", "dev", "tun9", "metric", "50")


def vpn6(s: Scene) -> None:
    office = vpn.Vpn(s.lab)
    for address in (f"{vpn.FAR4}/24", f"{vpn.FAR6}/64"):
        s.stack.callback(s.lab.inet.ip, "addr", "del", address, "dev", "ix")
    s.stack.callback(s.lab.inet.stop_services)
    s.stack.callback(s.host.stop_services)
    s.stack.callback(s.host.nmcli, "connection", "delete", "office")
    office.add(ipv4=False, far=vpn.FAR6)
    office.up()


def clatd(s: Scene) -> None:
    s.stack.enter_context(clatd_like.clatd(s.host))


def withdraw(s: Scene) -> None:
    s.a.dns("plain")
    s.a.ra(pref64=[[PREFIX, 0]])
    clat.wait_off(s.daemon, "no-pref64", timeout_s=25)


def mute_resolver(s: Scene) -> None:
    s.a.dns("off")
    s.a.ra(pref64=[[PREFIX, 0]])
    s.restart()  # what it said before holds for some time
    clat.wait_off(s.daemon, "no-pref64", timeout_s=20)


def nobody_announces(s: Scene) -> None:
    s.a.nat64(False)
    withdraw(s)


def announce(s: Scene) -> None:
    s.a.nat64(True)
    s.a.dns("dns64")
    s.a.ra(silent=False, pref64=[[PREFIX, 600]])


def expire(s: Scene) -> None:
    s.a.dns("plain")
    s.a.ra(pref64=[[PREFIX, 8]])
    eventually(
        lambda: clat.connection(s.daemon)["prefix"]["lifetime_s"] <= 8, message="its last advertisement is heard"
    )
    s.a.ra_silent()
    clat.wait_off(s.daemon, "no-pref64", timeout_s=30)


def without_dns64(s: Scene) -> None:
    s.conf("dns64 = no")
    s.restart()  # what a resolver said before holds for some time
    s.a.ra(pref64=[[PREFIX, 0]])
    clat.wait_off(s.daemon, "no-pref64", timeout_s=20)


def announce_and_forget(s: Scene) -> None:
    announce(s)
    s.conf()


def no_way(s: Scene) -> None:
    s.a.ip("-6", "route", "del", TRANSLATED)
    s.a.ip("-6", "route", "add", "unreachable", TRANSLATED)


def way(s: Scene) -> None:
    s.a.ip("-6", "route", "del", TRANSLATED)
    s.a.ip("-6", "route", "add", TRANSLATED, "dev", "nat64")


def router_rule(s: Scene, *chains: str) -> None:
    s.a.nft(f"table inet fault {{\n{''.join(chains)}}}\n")


def no_router_rule(s: Scene) -> None:
    s.a.nft("table inet fault {}\ndelete table inet fault\n")


def mute_router(s: Scene) -> None:
    s.a.ra(no_link_address=True)
    kinds = "nd-neighbor-solicit, nd-neighbor-advert"
    deaf, dumb = f"icmpv6 type {{ {kinds}, echo-request }} drop", f"icmpv6 type {{ {kinds} }} drop"
    router_rule(s, chain("i", "input", deaf), chain("o", "output", dumb))
    s.host.ip("-6", "neigh", "flush", "dev", "up0")


def unmute_router(s: Scene) -> None:
    no_router_rule(s)
    s.a.ra(no_link_address=False)


def narrow(s: Scene) -> None:
    router_rule(s, chain("f", "forward", "meta length > 1320 drop"))


def one_address(s: Scene) -> None:
    own = next(str(address.ip) for address in s.host.addresses("up0") if address.version == 6)
    router_rule(s, chain("f", "forward", f"ip6 saddr 2001:db8:a::/64 ip6 saddr != {own} drop"))


def wide(s: Scene) -> None:
    no_router_rule(s)
    s.conf()


def no_ipv6(s: Scene) -> None:
    s.host.modify("netA", {"ipv6.method": "link-local"})
    s.host.up("netA")


def deaf(s: Scene) -> None:
    s.a.dns("plain")
    s.nft("input", "icmpv6 type nd-router-advert drop")
    s.restart()
    clat.wait_off(s.daemon, "no-pref64", timeout_s=25)


def hear(s: Scene) -> None:
    s.a.dns("dns64")
    s.calm()


def dead_ipv4(s: Scene) -> None:
    router_rule(s, chain("f", "forward", 'iifname "lan" meta nfproto ipv4 drop'))
    own = {"ipv4.method": "manual", "ipv4.addresses": "192.168.1.77/24", "ipv4.gateway": "192.168.1.1"}
    s.host.modify("netA", own)
    s.host.up("netA")


def required(s: Scene) -> None:
    s.host.modify("netA", {"ipv4.method": "auto", "ipv4.may-fail": "no"})
    s.host.up("netA", wait_s=0)
    clat.wait_on(s.daemon)


def not_required(s: Scene) -> None:
    s.host.modify("netA", {"ipv4.method": "disabled"})
    s.host.up("netA")


def stop(s: Scene) -> None:
    assert s.daemon.stop() == 0


def policy(s: Scene, *, allowed: bool) -> None:
    """Whether anybody may be org.clatnm1."""
    place = s.host.system_path("/etc/dbus-1/lab.conf")
    rule = '<policy context="mandatory"><deny own="org.clatnm1"/></policy></busconfig>'
    text = place.read_text().replace(rule, "</busconfig>")
    place.write_text(text if allowed else text.replace("</busconfig>", rule))
    s.host._bus_reread()


def nameless(s: Scene) -> None:
    stop(s)
    policy(s, allowed=False)
    daemon = s.host.daemon("-v")
    eventually(lambda: "cannot take the bus name" in daemon.log() or "org.clatnm1" in daemon.log(), message="refused")


def named(s: Scene) -> None:
    policy(s, allowed=True)
    s.restart()


def limited(rights: str) -> Act:
    def act(s: Scene) -> None:
        s.restart("setpriv", "--bounding-set", rights)

    return act


def zone(s: Scene) -> None:
    firewalld = s.stack.enter_context(Firewalld(s.host))
    eventually(lambda: firewalld.zone("up0") == "public", timeout_s=20, message="the uplink is in its zone")
    eventually(lambda: firewalld.zone("clat-up0") == "public", timeout_s=20, message="and so is the device")
    firewalld.cmd("--zone=block", "--change-interface=clat-up0")


def no_bus(s: Scene) -> None:
    s.host.bus_stop()


def bus(s: Scene) -> None:
    s.host.nm_stop()  # it never comes back to a bus by itself
    s.host.bus_start()
    s.host.nm_start()
    s.host.up("netA")


def duplicate(s: Scene) -> None:
    s.host.sysctl(ipv6__conf__up0__autoconf=0, ipv6__conf__up0__accept_dad=1)
    s.host.ip("addr", "flush", "dev", "up0", "scope", "global")
    s.a.ip("addr", "add", "2001:db8:a::77/64", "dev", "lan", "nodad")
    s.host.ip("addr", "add", "2001:db8:a::77/64", "dev", "up0")
    eventually(lambda: "dadfailed" in s.host.ip("-6", "addr", "show", "dev", "up0"), message="the duplicate is found")


def unique(s: Scene) -> None:
    s.a.ip("addr", "del", "2001:db8:a::77/64", "dev", "lan")
    s.host.ip("addr", "del", "2001:db8:a::77/64", "dev", "up0")
    s.host.sysctl(ipv6__conf__up0__autoconf=1, ipv6__conf__up0__accept_dad=0)
    s.a.ra()
