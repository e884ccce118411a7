# SPDX-License-Identifier: GPL-2.0-or-later
"""A VPN from the lab's host to its internet: by NetworkManager with a plugin of ours, or by hand as WireGuard has it.

    host  tun0 10.8.0.2, 2001:db8:8::2  ══ UDP ══  198.51.100.20, 2001:db8:100::20  tunS 10.8.0.1, 2001:db8:8::1  inet

The lab's web server says to whom it talks: 10.8.0.2 and 2001:db8:8::2 come by the VPN, 198.51.100.1 by A's NAT64.
"""

from __future__ import annotations

import signal
from pathlib import Path

from tests.e2e import clat
from tests.lab.lab import Lab
from tests.lab.namespace import PYTHON
from tests.lab.poll import eventually

ENDS = str(Path(__file__).with_name("vpn_ends.py"))
FAR4, FAR6, PORT = "198.51.100.20", "2001:db8:100::20", "1194"
OWN4, OWN6 = "10.8.0.2", "2001:db8:8::2"
BY_NAT64 = "198.51.100.1"
SITE4, SITE6 = "198.51.100.10", "2001:db8:100::10"
DEVICE = "tun0"
_SERVICE = "org.freedesktop.NetworkManager.lab"
_NAME_FILE = f"""\
[VPN Connection]
name=lab
service={_SERVICE}
program=/bin/false
"""


class Vpn:
    """The far end serves as soon as this is there; the near one comes with `up` or `by_hand`."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.host, self.inet = lab, lab.host, lab.inet
        self.uuid = ""
        for address in (f"{FAR4}/24", f"{FAR6}/64"):
            self.inet.ip("addr", "replace", address, "dev", "ix", "nodad")

    def serve(self, far: str) -> None:
        """Be the far end, at one of its addresses."""
        self._server = self.inet.popen(PYTHON, ENDS, "server", "tunS", far, PORT)
        eventually(lambda: "ready" in self._server.log(), message="the VPN's far end")
        self.inet.ip("-batch", "-", stdin="addr add 10.8.0.1/24 dev tunS\naddr add 2001:db8:8::1/64 dev tunS nodad\n")

    def add(self, *, ipv4: bool = True, ipv6: bool = True, far: str = FAR4, split: bool = False) -> None:
        """NetworkManager's profile `office`, and the plugin that it is for."""
        self.serve(far)
        place = self.host.system_path("/usr/lib/NetworkManager/VPN")
        place.mkdir(parents=True, exist_ok=True)
        (place / "nm-lab-service.name").write_text(_NAME_FILE)
        plugin = self.host.popen(PYTHON, ENDS, "plugin")
        eventually(lambda: "ready" in plugin.log(), message="the VPN plugin")
        data = [f"device={DEVICE}", f"gateway={far}", f"port={PORT}"]
        data += [f"ip4={OWN4}"] * ipv4 + [f"ip6={OWN6}"] * ipv6
        never = "yes" if split else "no"
        # NetworkManager reads the plugin's file when it hears of it.
        eventually(lambda: self._add(data, never), message="NetworkManager knows the plugin")
        self.uuid = self.host.nmcli("-g", "connection.uuid", "connection", "show", "office").stdout.strip()

    def _add(self, data: list[str], never: str) -> bool:
        base = ("connection", "add", "type", "vpn", "con-name", "office", "ifname", "*", "vpn-type", _SERVICE)
        rest = ("ipv4.never-default", never, "ipv6.never-default", never, "autoconnect", "no")
        return not self.host.nmcli(*base, *rest, "vpn.data", ",".join(data), check=False).returncode

    def up(self) -> None:
        self.host.up("office")

    def down(self) -> None:
        self.host.down("office")

    def by_hand(self, *, far: str = FAR4, mark: int) -> None:
        """A client of ours whose own packets have a mark; addresses, routes and rules are the caller's business."""
        self.serve(far)
        client = self.host.popen(PYTHON, ENDS, "client", DEVICE, far, PORT, str(mark))
        eventually(lambda: "ready" in client.log(), message="the VPN's near end")

    @property
    def peers(self) -> list[str]:
        """Whom the far end has heard, by their outer addresses, in order."""
        return [line.split()[1] for line in self._server.log().splitlines() if line.startswith("peer ")]


def seen_as(lab: Lab, site: str) -> str:
    """The address by which the web server sees a program of the host; "" when it is not reached."""
    url = f"http://[{site}]/" if ":" in site else f"http://{site}/"
    return lab.host.run("curl", "-sgm1", url, check=False).stdout.removeprefix("hello ").strip()


def wait_seen_as(lab: Lab, site: str, address: str) -> None:
    def check() -> bool:
        seen = seen_as(lab, site)
        assert seen == address, (site, seen)
        return True

    eventually(check, message=f"{site} sees {address or 'nobody'}")


def let_around(joined: clat.Joined, *, uuid: str) -> None:
    """`vpn = bypass` for one connection, and have it read."""
    path = joined.host.path(f"/etc/clatnm/connections.d/{uuid}.conf")
    path.parent.mkdir(exist_ok=True)
    path.write_text("[clatnm]\nvpn = bypass\n")
    joined.daemon.signal(signal.SIGHUP)


def ipv4_routes(lab: Lab) -> str:
    """Where the kernel would send something for the site."""
    return lab.host.run("ip", "-4", "route", "get", SITE4, check=False).stdout
