# SPDX-License-Identifier: GPL-2.0-or-later
"""A router of the lab: adverts, NAT64 with DNS64 or plain DNS, DHCP; every part can be changed by a test."""

from __future__ import annotations

import copy
import json
import signal
from ipaddress import IPv6Network
from pathlib import Path
from typing import Any, Literal

from tests.lab.namespace import PYTHON, Namespace, write
from tests.lab.poll import eventually
from tests.lab.process import Service, netns_inode
from tests.lab.session import NETNS_DIR, Session
from tests.lab.topology import INET_V4, ROUTER_LINK_LOCAL, Network

RA_SENDER = str(Path(__file__).with_name("ra_sender.py"))
DNSMASQ = ("dnsmasq", "-k", "-C", "/dev/null", "--no-resolv", "--no-hosts", "--pid-file=", "--log-facility=-")
MASQUERADE = """\
table ip nat {
  chain post { type nat hook postrouting priority 100; oifname "wan" masquerade; }
}
"""
PREFIX_MAP = """\
table ip6 nat {{
  chain pre {{
    type nat hook prerouting priority -100;
    dnat ip6 prefix to ip6 daddr map {{ {announced} : {translated} }}
  }}
}}
"""
NAT64_BROKEN = """\
table inet broken {
  chain swallow { type filter hook forward priority 0; oifname "nat64" drop; }
}
"""
RA_KEYS = frozenset(
    {"lifetime", "interval", "hop_limit", "managed", "other", "preference", "mtu", "prefixes", "pflags", "rdnss"}
    | {"pref64", "raw", "silent", "ignore_rs", "unicast", "no_link_address"}
)

Dhcp4Mode = Literal["on", "off", "108"]
Dhcp6Mode = Literal["on", "off", "stateless"]
DnsMode = Literal["dns64", "plain", "off"]


class Router(Namespace):
    """`ra`, `dhcp4`, `dhcp6`, `dns` and `nat64` change it; `reset` brings the start state back."""

    def __init__(self, network: Network, session: Session) -> None:
        super().__init__(f"r{network.letter}", session)
        self.network = network
        self._parts: dict[str, Service] = {}
        self._modes: dict[str, str] = {}
        self._ra_path = session.directory / f"ra-{network.letter}.json"
        self._ra_config: dict[str, Any] = {}
        self._nat64_works = True

    def start(self) -> None:
        """Begin to route; returns before everything answers: see `wait_ready`."""
        self.nft(MASQUERADE)
        self._start_nat64()
        self._start_dns(self._default_dns)
        self._start_dhcp4(self._default_dhcp4)
        self._ra_config = self.default_ra()
        write(self._ra_path, json.dumps(self._ra_config))
        self._part("ra", PYTHON, "-IS", RA_SENDER, "--interface", "lan", "--config", str(self._ra_path))

    def wait_ready(self) -> None:
        eventually(lambda: "ready" in self.ra_log(), message=f"{self.netns}: advertisements")
        self._await("dns", 53)
        self._await("dhcp4", 67)

    def reset(self) -> None:
        """Back to the start state; free when nothing was changed."""
        self.stop_services()
        self.nat64(True)
        if self._modes["dns"] != self._default_dns:
            self.dns(self._default_dns)
        if self._modes["dhcp4"] != self._default_dhcp4:
            self.dhcp4(self._default_dhcp4)
        if self._modes.get("dhcp6", "off") != "off":
            self.dhcp6("off")
        if self._ra_config != self.default_ra():
            self._write_ra(self.default_ra())

    # Advertisements

    def default_ra(self) -> dict[str, Any]:
        network = self.network
        return {
            "lifetime": 1800,
            "interval": 10,
            "prefixes": [[str(network.lan), 3600, 1800]],
            "rdnss": [[str(network.router)], 600],
            "pref64": [[str(network.pref64), 600]] if network.pref64 else [],
        }

    def ra(self, **changes: object) -> None:
        """Change what is advertised and send it at once; keys are those of ra_sender. Without changes: just send."""
        unknown = changes.keys() - RA_KEYS
        if unknown:
            raise TypeError(f"not a key of a router advertisement: {', '.join(sorted(unknown))}")
        self._write_ra({**self._ra_config, **changes})

    def ra_silent(self, silent: bool = True) -> None:
        """Stop to advertise and to answer solicitations (or begin again)."""
        self.ra(silent=silent)

    def forge_ra(self, *options: str, **keys: object) -> None:
        """Send one advertisement no honest router sends: `forge_ra("--hop-limit", "64", pref64=[...])`."""
        assignments = [item for key, value in keys.items() for item in ("--set", f"{key}={json.dumps(value)}")]
        base = ("--interface", "lan", "--config", str(self._ra_path), "--once")
        self.run(PYTHON, "-IS", RA_SENDER, *base, *assignments, *options)

    def ra_log(self, *, lines: int = 0) -> str:
        """Each advertisement sent and each solicitation seen, with CLOCK_MONOTONIC seconds."""
        return self.log(self._part_name("ra"), lines=lines)

    # Services

    def dhcp4(self, mode: Dhcp4Mode) -> None:
        """DHCPv4 on the LAN; "108": also tells clients to prefer IPv6 only (RFC 8925), if they ask."""
        self._stop_part("dhcp4")
        self._start_dhcp4(mode)
        self._await("dhcp4", 67)

    def _start_dhcp4(self, mode: Dhcp4Mode) -> None:
        self._modes["dhcp4"] = mode
        if mode == "off":
            return
        lan, extra = self.network.lan_v4, ["--dhcp-option=108,1800i"] if mode == "108" else []
        self._dhcp("dhcp4", f"{lan[100]},{lan[200]},10m", f"--dhcp-option=option:dns-server,{lan[1]}", *extra)

    def dhcp6(self, mode: Dhcp6Mode) -> None:
        """DHCPv6 on the LAN; the advert must say so too: `ra(managed=True, pflags=0x80)` for no SLAAC."""
        self._stop_part("dhcp6")
        self._modes["dhcp6"] = mode
        if mode == "off":
            return
        lan = self.network.lan
        span = f"{lan.network_address},stateless" if mode == "stateless" else f"{lan[0x1000]},{lan[0x1FFF]},64,10m"
        self._dhcp("dhcp6", span, f"--dhcp-option=option6:dns-server,[{self.network.router}]")
        self._await("dhcp6", 547)

    def dns(self, mode: DnsMode) -> None:
        """The resolver on the LAN: "dns64" synthesizes with the network's prefix, "plain" does not."""
        self._stop_part("dns")
        self._start_dns(mode)
        self._await("dns", 53)

    def _start_dns(self, mode: DnsMode) -> None:
        self._modes["dns"] = mode
        if mode == "plain":
            listen = ("--interface=lan", "--bind-interfaces", "--no-dhcp-interface=lan")
            self._part("dns", *DNSMASQ, *listen, f"--server={INET_V4}")
        elif mode == "dns64":
            conf = write(self.session.directory / f"unbound-{self.network.letter}.conf", self._unbound_conf())
            self._part("dns", "unbound", "-c", str(conf), "-d")

    def nat64(self, working: bool) -> None:
        """Break the NAT64 (packets to it vanish, nothing says so) or mend it."""
        if working == self._nat64_works:
            return
        self.nft("delete table inet broken\n" if working else NAT64_BROKEN)
        self._nat64_works = working

    @property
    def _default_dns(self) -> DnsMode:
        return "dns64" if self.network.pref64 else "plain"

    @property
    def _default_dhcp4(self) -> Dhcp4Mode:
        return "off" if self.network.pref64 else "on"

    def _start_nat64(self) -> None:
        prefix = self.network.translated
        if not prefix:
            return
        state = self.session.directory / f"tayga-{self.network.letter}"
        state.mkdir()
        conf = write(self.session.directory / f"tayga-{self.network.letter}.conf", self._tayga_conf(prefix, state))
        self.run("tayga", "-c", str(conf), "--mktun")
        self.ip(
            "-batch", "-", stdin=f"link set nat64 up\nroute add 172.30.0.0/16 dev nat64\nroute add {prefix} dev nat64\n"
        )
        if self.network.pref64 != prefix:
            self.nft(PREFIX_MAP.format(announced=self.network.pref64, translated=prefix))
        self._part("tayga", "tayga", "-c", str(conf), "-d")

    def _tayga_conf(self, prefix: IPv6Network, state: Path) -> str:
        return f"""\
tun-device nat64
ipv4-addr 172.30.255.1
ipv6-addr 2001:db8:{self.network.letter}:ffff::1
prefix {prefix}
dynamic-pool 172.30.0.0/16
data-dir {state}
"""

    def _unbound_conf(self) -> str:
        return f"""\
server:
  directory: "{self.session.directory}"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  num-threads: 1
  interface: {self.network.router}
  interface: {ROUTER_LINK_LOCAL}%lan
  access-control: ::/0 allow
  module-config: "dns64 iterator"
  dns64-prefix: {self.network.pref64}
  local-zone: "test." nodefault
  local-zone: "ipv4only.arpa." nodefault
  cache-max-ttl: 5
remote-control:
  control-enable: no
forward-zone:
  name: "."
  forward-addr: {INET_V4}
"""

    def _dhcp(self, part: str, span: str, *options: str) -> None:
        leases = self.session.directory / f"{part}-{self.network.letter}.leases"
        leases.unlink(missing_ok=True)
        base = ("--port=0", "--interface=lan", "--bind-interfaces", "--dhcp-authoritative", "--no-ping", "--log-dhcp")
        self._part(part, *DNSMASQ, *base, f"--dhcp-leasefile={leases}", f"--dhcp-range={span}", *options)

    def _write_ra(self, config: dict[str, Any]) -> None:
        self._ra_config = copy.deepcopy(config)
        write(self._ra_path, json.dumps(config))
        self._parts["ra"].signal(signal.SIGHUP)

    def _part_name(self, part: str) -> str:
        return f"{part}-{self.network.letter}"

    def _part(self, part: str, *argv: str) -> None:
        self._parts[part] = self._spawn(self._part_name(part), [*self.enter(), *argv])

    def _stop_part(self, part: str) -> None:
        service = self._parts.pop(part, None)
        if service:
            service.kill()

    def _await(self, part: str, port: int) -> None:
        """Wait until that part, if it runs, has entered this namespace and a UDP socket waits on `port` there."""
        if part not in self._parts:
            return
        pid = self._parts[part].pid

        def listens() -> bool:
            if netns_inode(f"/proc/{pid}/ns/net") != netns_inode(NETNS_DIR / self.netns):
                return False
            tables = [Path(f"/proc/{pid}/net/{name}").read_text() for name in ("udp", "udp6")]
            return any(f":{port:04X} " in table for table in tables)

        eventually(listens, message=f"{self.netns}: {part} listens")
