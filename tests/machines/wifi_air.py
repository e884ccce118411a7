# SPDX-License-Identifier: GPL-2.0-or-later
"""Wi-Fi inside a guest: the networks of tests/lab behind real access points, and a laptop, which is the guest itself.

Radios are those of mac80211_hwsim, all in reach of each other. An access point is a bridge port of its network's
switch, as most are; so two of them can lead to one network or to two.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.lab import poll, topology
from tests.lab.lab import serve_inet
from tests.lab.namespace import Namespace
from tests.lab.poll import eventually
from tests.lab.process import Service
from tests.lab.router import Router
from tests.lab.session import Session
from tests.machines.clat_service import ClatService
from tests.machines.here import ThisGuest, journal

PASSPHRASE = "correct horse"
WPA2, WPA3 = "WPA-PSK", "SAE"
_HANDSHAKE_S, _JOIN_S = 15.0, 120.0
JOINED, IDLE = 100, 30
"""Of NMDeviceState: activated, disconnected."""
_CHANNEL_MHZ = {1: 2412, 6: 2437, 11: 2462}
_CHANNELS = tuple(_CHANNEL_MHZ)
_SCAN_S = 60.0


class Laptop(ThisGuest):
    """The guest itself: its NetworkManager, its clatnm as it is installed."""

    def nmcli(self, *argv: str) -> str:
        """`nmcli ARGV`; CommandError when it fails."""
        return self.run("nmcli", *argv, timeout_s=120.0).stdout.strip()

    def state(self, station: str) -> int:
        """NMDeviceState."""
        return int(self.nmcli("-g", "GENERAL.STATE", "device", "show", station).partition(" ")[0])

    def idle(self, station: str) -> None:
        """Wait until it is in no network, and could be."""
        eventually(lambda: self.state(station) == IDLE, message=f"{station} is idle")

    def devices(self) -> dict[str, int]:
        """Name → interface index."""
        return {link["ifname"]: link["ifindex"] for link in self.ip_json("link")}

    def bssid(self, station: str) -> str:
        """Of the access point that the kernel is associated with; "" with none."""
        found = re.search(r"Connected to (\S+)", self.run("iw", "dev", station, "link").stdout)
        return found[1] if found else ""

    def sees(self, station: str, point: AccessPoint) -> None:
        """Wait until the supplicant knows of that access point, from a scan of this moment."""

        def scanned() -> bool:
            self.run("wpa_cli", "-i", station, "scan", f"freq={_CHANNEL_MHZ[point.channel]}")
            return "freq=" in self.run("wpa_cli", "-i", station, "bss", point.bssid).stdout

        eventually(scanned, timeout_s=_SCAN_S, message=f"{station} sees {point.bssid}")

    def join(self, station: str, point: AccessPoint) -> None:
        """As a user does it, with the password at the first time; returns when NetworkManager says it is done."""

        def listed() -> bool:
            seen = self.nmcli("-g", "SSID", "device", "wifi", "list", "ifname", station, "--rescan", "yes")
            return point.ssid in seen.splitlines()

        eventually(listed, timeout_s=_SCAN_S, message=f"{station} finds {point.ssid}")
        connect = ("device", "wifi", "connect", point.ssid, "password", PASSPHRASE, "ifname", station)

        def connected() -> bool:
            # A guest that is late for the handshake is told that its password is wrong.
            self.nmcli("-w", "90", *connect)
            return True

        eventually(connected, timeout_s=_JOIN_S, message=f"{station} joins {point.ssid}")

    def roam(self, station: str, point: AccessPoint) -> None:
        """Tell the supplicant to go to another access point of the same network name; returns when it has."""

        def let_in() -> bool:
            told = self.run("wpa_cli", "-i", station, "roam", point.bssid).stdout.strip()
            assert told == "OK", told
            return bool(eventually(lambda: point.admits(self, station), timeout_s=_HANDSHAKE_S, message="let in"))

        eventually(let_in, message=f"{station} is at {point.bssid}")


class AccessPoint:
    """One radio with hostapd on it, a port of a network's bridge. Off until `start`."""

    def __init__(
        self, air: Air, radio: int, *, ssid: str, network: str, key_management: str = WPA2, channel: int | None = None
    ) -> None:
        self._air, self._interface = air, f"wlan{radio}"
        self.ssid, self.network, self.key_management = ssid, network, key_management
        self.channel = _CHANNELS[radio % len(_CHANNELS)] if channel is None else channel
        self.bssid = str(air.switch.ip_json("link", "show", self._interface)[0]["address"])
        self._service: Service | None = None

    def start(self) -> None:
        """Returns when it beacons."""
        assert self._service is None
        conf = self._air.session.directory / f"{self._interface}.conf"
        conf.write_text(self._configuration())
        self._service = self._air.switch.popen("hostapd", str(conf), name=f"hostapd-{self._interface}")
        log = self._service.log
        eventually(lambda: "AP-ENABLED" in log().rpartition("AP-DISABLED")[2], message=f"{self.bssid} beacons")

    def admits(self, laptop: Laptop, station: str) -> bool:
        """Whether the station has shown that it knows the password, in the access point's eyes."""
        address = laptop.ip_json("link", "show", station)[0]["address"]
        told = self._air.switch.run("iw", "dev", self._interface, "station", "get", address, check=False).stdout
        return re.search(r"authorized:\s*yes", told) is not None

    def stop(self) -> None:
        """In order: whoever is associated is told so."""
        assert self._service is not None
        self._service.stop()
        self._service = None

    def vanish(self) -> None:
        """Out of reach, from one moment to the next, without a word."""
        assert self._service is not None
        self._service.kill()
        self._air.switch.ip("link", "set", self._interface, "down")
        self._service = None

    def _configuration(self) -> str:
        # A guest is late for the handshake at times, and is sent away; protected, it would not believe that.
        protected = {WPA2: 0, WPA3: 2}[self.key_management]
        return f"""\
interface={self._interface}
bridge={self._air.router(self.network).network.bridge}
driver=nl80211
ssid={self.ssid}
hw_mode=g
channel={self.channel}
wpa=2
wpa_key_mgmt={self.key_management}
ieee80211w={protected}
rsn_pairwise=CCMP
wpa_passphrase={PASSPHRASE}
"""


class Air:
    """Context manager: three networks, `stations` radios of the laptop's (wlan0...), the others for access points."""

    laptop: Laptop
    switch: Namespace
    inet: Namespace

    def __init__(self, *, radios: int, stations: int = 1, networks: Sequence[str] = ("a", "b", "c")) -> None:
        self._radios, self._stations = radios, stations
        self._networks = [network for network in topology.NETWORKS if network.letter in networks]
        self._routers: dict[str, Router] = {}

    def __enter__(self) -> Air:
        self.session = Session.open()
        poll.diagnoses.append(self.report)
        try:
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        poll.diagnoses.remove(self.report)
        self.session.close()

    def router(self, letter: str) -> Router:
        return self._routers[letter]

    def report(self) -> str:
        """What to read after a failure."""
        commands = (["ip", "-br", "addr"], ["ip", "-6", "route"], ["ip", "route"], ["iw", "dev", "wlan0", "link"])
        units = (("clatnm", 40), ("NetworkManager", 30), ("wpa_supplicant", 30))
        parts = [(unit, journal(unit, lines=lines)) for unit, lines in units]
        parts += [(path.stem, _tail(path, 15)) for path in sorted((self.session.directory / "log").glob("hostapd-*"))]
        parts += [(" ".join(argv), self.laptop.run(*argv, check=False).stdout) for argv in commands]
        return "\n".join(f"--- {title}\n{text.rstrip()}" for title, text in parts)

    def _build(self) -> None:
        self.laptop = Laptop(self.session)
        self.switch, self.inet = Namespace("sw", self.session), Namespace("inet", self.session)
        self._tune_radios()
        topology.connect_switch(self.switch)
        topology.connect_inet(self.inet)
        for network in self._networks:
            self._routers[network.letter] = router = Router(network, self.session)
            topology.connect_router(router, network, self.switch, self.inet)
            router.start()
        serve_inet(self.inet)
        for router in self._routers.values():
            router.wait_ready()
        eventually(lambda: "ready" in self.inet.log("inet"), message="the internet serves")
        for name in (f"wlan{number}" for number in range(self._stations)):
            self.laptop.idle(name)

    def _tune_radios(self) -> None:
        self.laptop.run("modprobe", "mac80211_hwsim", f"radios={self._radios}")
        for number in range(self._stations, self._radios):
            phy = Path(f"/sys/class/net/wlan{number}/phy80211/name").read_text().strip()
            self.laptop.run("iw", "phy", phy, "set", "netns", "name", self.switch.netns)


@contextlib.contextmanager
def on_the_air(
    *, radios: int, stations: int = 1, networks: Sequence[str] = ("a", "b", "c")
) -> Iterator[tuple[Air, ClatService]]:
    """The air, and the service running."""
    with Air(radios=radios, stations=stations, networks=networks) as air:
        daemon = ClatService()
        daemon.configure("ExecStart=\nExecStart=/usr/bin/clatnm daemon -v")
        daemon.start()
        eventually(daemon.status, message="the daemon answers")
        yield air, daemon


def _tail(path: Path, lines: int) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
