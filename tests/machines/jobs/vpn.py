# SPDX-License-Identifier: GPL-2.0-or-later
"""WireGuard by NetworkManager over a translated connection: its routes, rules and marks as they really are.

guest  wg0 10.8.0.2, 2001:db8:8::2  ══  198.51.100.20, 2001:db8:100::20  wgS 10.8.0.1, 2001:db8:8::1  inet
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.e2e.clat import connection, wait_off, wait_on
from tests.lab.namespace import Namespace
from tests.lab.poll import eventually
from tests.machines.clat_service import SERVICE
from tests.machines.inside import Report, be_patient, systemctl
from tests.machines.systemd_place import UPLINK, Place

FAR4, FAR6, PORT = "198.51.100.20", "2001:db8:100::20", "51820"
OWN4, OWN6 = "10.8.0.2", "2001:db8:8::2"
SITE4, SITE6, BY_NAT64 = "198.51.100.10", "2001:db8:100::10", "198.51.100.1"
VPN = "wg0"
CLATNM = Path("/etc/clatnm/clatnm.conf")
PROFILE = """\
[Interface]
PrivateKey = {private}
Address = {own}
[Peer]
PublicKey = {public}
Endpoint = {far}
AllowedIPs = {everything}
PersistentKeepalive = 1
"""


class Office:
    """The far end, and NetworkManager's connections to it."""

    def __init__(self, place: Place) -> None:
        self.place, self.here, self.inet = place, place.here, place.inet
        for address in (f"{FAR4}/24", f"{FAR6}/64"):
            self.inet.ip("addr", "add", address, "dev", "ix", "nodad")
        self.inet.ip("link", "add", "wgS", "type", "wireguard")
        self.private, self._public = self._keys("near")
        far, self.public = self._keys("far")
        self.inet.run("wg", "set", "wgS", "private-key", str(far), "listen-port", PORT)
        self.inet.run("wg", "set", "wgS", "peer", self._public, "allowed-ips", f"{OWN4}/32,{OWN6}/128")
        self.inet.ip("-batch", "-", stdin="addr add 10.8.0.1/24 dev wgS\naddr add 2001:db8:8::1/64 dev wgS nodad\n")
        self.inet.ip("link", "set", "wgS", "up")

    def _keys(self, whose: str) -> tuple[Path, str]:
        path = self.place.session.directory / f"{whose}.key"
        path.write_text(self.here.run("wg", "genkey").stdout)
        path.chmod(0o600)
        return path, self.here.run("wg", "pubkey", stdin=path.read_text()).stdout.strip()

    def connect(self, *, own: str, far: str, everything: str) -> None:
        """As people do it: a file from the office, imported. That connects at once."""
        path = self.place.session.directory / f"{VPN}.conf"
        private = self.private.read_text().strip()
        path.write_text(PROFILE.format(private=private, public=self.public, own=own, far=far, everything=everything))
        self.here.run("nmcli", "connection", "import", "type", "wireguard", "file", str(path))
        eventually(lambda: VPN in self.here.devices(), message="the VPN's device")

    def disconnect(self) -> None:
        self.here.run("nmcli", "connection", "delete", VPN, check=False)
        eventually(lambda: VPN not in self.here.devices(), message="the VPN's device is gone")

    def endpoint(self) -> str:
        """Where the far end hears the near one."""
        return self.inet.run("wg", "show", "wgS", "endpoints").stdout.split()[-1]


def seen_as(here: Namespace, site: str) -> str:
    """The address by which the web server sees a program of the guest; "" when it is not reached."""
    url = f"http://[{site}]/" if ":" in site else f"http://{site}/"
    return here.run("curl", "-sgm3", url, check=False).stdout.removeprefix("hello ").strip()


def wait_seen_as(here: Namespace, site: str, address: str) -> None:
    def check() -> bool:
        seen = seen_as(here, site)
        assert seen == address, (site, seen)
        return True

    eventually(check, message=f"{site} sees {address}")


def takes_everything_by_an_ipv4_far_end(office: Office) -> None:
    office.connect(own=f"{OWN4}/24, {OWN6}/64", far=f"{FAR4}:{PORT}", everything="0.0.0.0/0, ::/0")
    wait_seen_as(office.here, SITE4, OWN4)
    wait_seen_as(office.here, SITE6, OWN6)
    assert office.endpoint().startswith(f"{BY_NAT64}:"), office.endpoint()
    wait_named(office)

    def is_listed() -> bool:
        """NetworkManager may say of it later than the kernel does."""
        listed = connection(office.place.clat, VPN)
        return (listed["name"], listed["reason"]) == (VPN, "not-an-uplink")

    eventually(is_listed, message="it is listed, and as no uplink")


def wait_named(office: Office) -> None:
    """The VPN is told as evidence, beside a CLAT that is on."""

    def named() -> bool:
        return bool(wait_on(office.place.clat, UPLINK)["evidence"].get("vpn") == VPN)

    eventually(named, message="the VPN is noticed")


def takes_ipv6_alone(office: Office) -> None:
    office.connect(own=f"{OWN6}/64", far=f"[{FAR6}]:{PORT}", everything="::/0")
    wait_seen_as(office.here, SITE6, OWN6)
    wait_off(office.place.clat, "vpn-without-ipv4", UPLINK, timeout_s=60.0)  # it lingers for ten
    assert seen_as(office.here, SITE4) == ""
    assert not office.here.ip_json("-4", "route", "show", "default")


def may_be_gone_around(office: Office) -> None:
    CLATNM.write_text("[clatnm]\nvpn = bypass\n")
    systemctl("reload", SERVICE)
    try:
        office.connect(own=f"{OWN6}/64", far=f"[{FAR6}]:{PORT}", everything="::/0")
        wait_seen_as(office.here, SITE6, OWN6)
        wait_seen_as(office.here, SITE4, BY_NAT64)
    finally:
        CLATNM.write_text("")
        systemctl("reload", SERVICE)


def takes_ipv4_alone(office: Office) -> None:
    office.connect(own=f"{OWN4}/24", far=f"{FAR4}:{PORT}", everything="0.0.0.0/0")
    wait_seen_as(office.here, SITE4, OWN4)
    assert seen_as(office.here, SITE6) not in ("", OWN6)
    wait_named(office)


def takes_little(office: Office) -> None:
    office.connect(own=f"{OWN4}/24", far=f"{FAR4}:{PORT}", everything="10.8.0.0/24")
    eventually(lambda: office.here.run("ping", "-c", "1", "-W", "1", "10.8.0.1"), message="the office answers")
    assert seen_as(office.here, SITE4) == BY_NAT64
    assert "vpn" not in wait_on(office.place.clat, UPLINK)["evidence"]


CHECKS = (
    takes_everything_by_an_ipv4_far_end,
    takes_ipv6_alone,
    may_be_gone_around,
    takes_ipv4_alone,
    takes_little,
)


def main() -> int:
    be_patient()
    report = Report()
    with Place() as place:
        place.clat.start()
        office = Office(place)
        for check in CHECKS:
            name = check.__name__.replace("_", "-")
            if sys.argv[1:] and name not in sys.argv[1:]:
                continue
            with report.check(name):
                wait_on(place.clat, UPLINK, timeout_s=90.0)
                wait_seen_as(place.here, SITE4, BY_NAT64)
                try:
                    check(office)
                finally:
                    office.disconnect()
    return report.status


if __name__ == "__main__":
    sys.exit(main())
