# SPDX-License-Identifier: GPL-2.0-or-later
"""Both ends of a VPN that encrypts nothing: packets of a TUN device in UDP datagrams.

    vpn_ends.py server DEVICE ADDRESS PORT          whoever sends to it last is its client
    vpn_ends.py client DEVICE ADDRESS PORT [MARK]
    vpn_ends.py plugin                              as a VPN plugin of NetworkManager, which tells the rest

The outer socket of a client is not connected, as OpenVPN's is not: each datagram goes where the routes lead it then.
"""

# The library reads D-Bus signatures from annotations, so they stay what they are.
import asyncio
import fcntl
import os
import selectors
import socket
import struct
import subprocess
import sys
from ipaddress import IPv4Address, IPv6Address

from dbus_next import BusType, Variant
from dbus_next.aio import MessageBus
from dbus_next.service import PropertyAccess, ServiceInterface, dbus_property, method, signal

PLUGIN = "org.freedesktop.NetworkManager.VPN.Plugin"
PATH = "/org/freedesktop/NetworkManager/VPN/Plugin"
SERVICE = "org.freedesktop.NetworkManager.lab"
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x1, 0x1000
_MARK = 36  # SO_MARK
# NMVpnServiceState
_STARTING, _STARTED, _STOPPED = 3, 4, 6


def open_tun(name: str) -> int:
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    subprocess.run(["ip", "link", "set", name, "mtu", "1280", "up"], check=True)
    return tun


def outer_socket(address: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.socket(family, socket.SOCK_DGRAM)


def carry(tun: int, outer: socket.socket, peer: "tuple[str, int] | None") -> None:
    """For ever, both ways; a server learns its peer."""
    learns = peer is None
    with selectors.DefaultSelector() as selector:
        selector.register(tun, selectors.EVENT_READ)
        selector.register(outer, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                try:
                    if key.fileobj is outer:
                        data, sender = outer.recvfrom(65535)
                        if learns and sender[:2] != peer:
                            peer = sender[:2]
                            print(f"peer {peer[0]}", flush=True)
                        os.write(tun, data)
                    elif peer is not None:
                        outer.sendto(os.read(tun, 65535), peer)
                except OSError as error:
                    print(f"lost one: {error.strerror}", flush=True)


def serve(device: str, address: str, port: int) -> None:
    outer = outer_socket(address)
    outer.bind((address, port))
    tun = open_tun(device)
    print("ready", flush=True)
    carry(tun, outer, None)


def connect(device: str, address: str, port: int, mark: int = 0) -> None:
    outer = outer_socket(address)
    if mark:
        outer.setsockopt(socket.SOL_SOCKET, _MARK, mark)
    tun = open_tun(device)
    print("ready", flush=True)
    carry(tun, outer, (address, port))


class Plugin(ServiceInterface):  # type: ignore[misc]
    """What NetworkManager expects of a VPN plugin (its nm-vpn-dbus-interface.h). `vpn.data` has what `_told` reads."""

    def __init__(self) -> None:
        super().__init__(PLUGIN)
        self._state = _STOPPED
        self._client: asyncio.subprocess.Process | None = None

    @method()  # type: ignore[untyped-decorator]
    def NeedSecrets(self, connection: "a{sa{sv}}") -> "s":  # type: ignore  # noqa
        return ""

    @method()  # type: ignore[untyped-decorator]
    async def Connect(self, connection: "a{sa{sv}}"):  # type: ignore  # noqa
        await self._connect(connection)

    @method()  # type: ignore[untyped-decorator]
    async def ConnectInteractive(self, connection: "a{sa{sv}}", details: "a{sv}"):  # type: ignore  # noqa
        await self._connect(connection)

    async def _connect(self, connection: "dict[str, dict[str, Variant]]") -> None:
        data = dict(connection["vpn"]["data"].value)
        await self._start(data)
        asyncio.get_running_loop().call_soon(self._tell, data)

    async def _start(self, data: dict[str, str]) -> None:
        argv = (sys.executable, __file__, "client", data["device"], data["gateway"], data["port"])
        self._client = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
        assert self._client.stdout
        await self._client.stdout.readline()

    def _tell(self, data: dict[str, str]) -> None:
        self._become(_STARTING)
        has4, has6 = "ip4" in data, "ip6" in data
        gateway = (
            Variant("ay", IPv6Address(data["gateway"]).packed)
            if ":" in data["gateway"]
            else Variant("u", _number(data["gateway"]))
        )
        self.Config(
            {
                "tundev": Variant("s", data["device"]),
                "gateway": gateway,
                "has-ip4": Variant("b", has4),
                "has-ip6": Variant("b", has6),
            }
        )
        if has4:
            self.Ip4Config({"address": Variant("u", _number(data["ip4"])), "prefix": Variant("u", 24)})
        if has6:
            self.Ip6Config({"address": Variant("ay", IPv6Address(data["ip6"]).packed), "prefix": Variant("u", 64)})
        self._become(_STARTED)

    @method()
    def Disconnect(self):  # type: ignore  # noqa
        self.stop()

    def stop(self) -> None:
        if self._client is not None:
            self._client.kill()
            self._client = None
        self._become(_STOPPED)

    def _become(self, state: int) -> None:
        self._state = state
        self.StateChanged(state)
        self.emit_properties_changed({"State": state})

    @dbus_property(access=PropertyAccess.READ)  # type: ignore[untyped-decorator]
    def State(self) -> "u":  # type: ignore  # noqa
        return self._state

    @signal()  # type: ignore[untyped-decorator]
    def StateChanged(self, state) -> "u":  # type: ignore  # noqa
        return state

    @signal()  # type: ignore[untyped-decorator]
    def Config(self, config) -> "a{sv}":  # type: ignore  # noqa
        return config

    @signal()  # type: ignore[untyped-decorator]
    def Ip4Config(self, config) -> "a{sv}":  # type: ignore  # noqa
        return config

    @signal()  # type: ignore[untyped-decorator]
    def Ip6Config(self, config) -> "a{sv}":  # type: ignore  # noqa
        return config


def _number(text: str) -> int:
    """NetworkManager's form of an IPv4 address: its octets, read as a number of this machine."""
    return int.from_bytes(IPv4Address(text).packed, sys.byteorder)


async def plug_in() -> None:
    bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
    bus.export(PATH, Plugin())
    await bus.request_name(SERVICE)
    print("ready", flush=True)
    await bus.wait_for_disconnect()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["server", device, address, port]:
            serve(device, address, int(port))
        case ["client", device, address, port]:
            connect(device, address, int(port))
        case ["client", device, address, port, mark]:
            connect(device, address, int(port), int(mark))
        case ["plugin"]:
            asyncio.run(plug_in())
