# SPDX-License-Identifier: GPL-2.0-or-later
"""What the supervisor and the translator process say to each other: one JSON object a message.

The socket is AF_UNIX SOCK_SEQPACKET, so a message is whole or absent. Both ends import this file.

    supervisor -> worker   start {config} with the descriptors TUN, uplink socket, others merely to be held,
                                 then, if `relayed`, the socket to the other program
                           update {config} · counters · stop
                           The last descriptor of a config with `table` true is a file with its mappings, which are
                           too many for a message; one with `table` false keeps those that the worker has.
                           keep {patience_s, uid, uplink} with a listening socket, its door, and others merely to be
                                 held: from now on it outlives the supervisor by so long, and obeys whoever of that user
                                 comes by the door meanwhile. Each takes the place of the one before.
                                 With `uplink` not 0, a link's index, there is a netlink socket after the door, by which
                                 it learns that a manager begins to translate that link; alone, it ends then.
    worker -> supervisor   ready · counters {...} · conflict {address} · error {what, hint}, then exit status 1
    worker -> successor    here {version} with the door, that netlink socket, the uplink socket, and all that it holds,
                                 first what came with `start`: the successor is the supervisor now
                           busy: there is a supervisor
"""

from __future__ import annotations

import array
import fcntl
import json
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Any

from clatnm.errors import ConfigError, ParseError
from clatnm.proto.eam import EamTable
from clatnm.proto.nat64 import parse_prefix

# What a worker and a successor that did not start it have to agree on: these messages, the order of the descriptors,
# and where the hooks' counters are. With another number it is ended, and another one started.
VERSION = 1
MESSAGE_BYTES = 65536  # the largest message either end reads
DESCRIPTORS = 16  # the most that may come with a message
IPV6_MIN_MTU = 1280  # RFC 8200 5
DUMMY_ICMP_SOURCE = IPv4Address("192.0.0.8")  # RFC 7600 4.8: source of ICMP errors from routers without an IPv4 address
# A program that translates beside us has this for its own, of the prefix that leads nowhere (RFC 6666): we replace it.
PROGRAM_V6 = IPv6Address("100::c1a7")

_MAX_MTU = 65536
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
_MAC_BYTES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """Everything a translator needs to know; a live change is a complete new one.

    `link_address` is the uplink's own MAC, None for a link without Ethernet header and neighbour discovery.
    `gateway` is the next hop, None when every destination is a neighbour itself (or there are no neighbours).
    `hooked`: hooks in the kernel translate what is simple, and bring what else comes from the network to the TUN. From
    the start on: they also take what is to be sent from there. By an update: whoever has begun to send goes on.
    `expecting`: such hooks are about to come.
    `relayed`: another program translates, behind a socket of its own.
    `mappings`: the addresses of translated traffic; None for a CLAT, which has its one pair.
    """

    clat_v4: IPv4Address
    clat_v6: IPv6Address
    prefix: IPv6Network
    ipv6_mtu_bytes: int
    uplink: str
    link_address: bytes | None = None
    gateway: IPv6Address | None = None
    well_known_strict: bool = True
    icmp_source: IPv4Address = DUMMY_ICMP_SOURCE
    hooked: bool = False
    expecting: bool = False
    relayed: bool = False
    mappings: EamTable | None = None

    def __post_init__(self) -> None:
        if not self.uplink:
            raise ConfigError("uplink has no name")
        if not IPV6_MIN_MTU <= self.ipv6_mtu_bytes <= _MAX_MTU:
            raise ConfigError(f"ipv6_mtu_bytes {self.ipv6_mtu_bytes} is not within {IPV6_MIN_MTU}..{_MAX_MTU}")
        if not _is_unicast(self.clat_v6) or self.clat_v6.is_link_local or self.clat_v6 in self.prefix:
            raise ConfigError(f"clat_v6 {self.clat_v6} cannot be the address of translated traffic")
        for name, v4 in (("clat_v4", self.clat_v4), ("icmp_source", self.icmp_source)):
            if v4.is_multicast or v4.is_unspecified or v4.is_loopback or int(v4) == 0xFFFFFFFF:
                raise ConfigError(f"{name} {v4} is not a unicast address")
        if self.gateway is not None and (not _is_unicast(self.gateway) or self.gateway == self.clat_v6):
            raise ConfigError(f"gateway {self.gateway} cannot be a next hop")
        if self.link_address is not None and not _is_station(self.link_address):
            raise ConfigError(f"link_address {self.link_address.hex()} is not the MAC address of a station")

    def to_json(self) -> dict[str, Any]:
        """The config as JSON values; `from_json` is its inverse, but for the mappings, which go by themselves."""
        return {
            "clat_v4": str(self.clat_v4),
            "clat_v6": str(self.clat_v6),
            "prefix": str(self.prefix),
            "ipv6_mtu_bytes": self.ipv6_mtu_bytes,
            "uplink": self.uplink,
            "link_address": None if self.link_address is None else self.link_address.hex(),
            "gateway": None if self.gateway is None else str(self.gateway),
            "well_known_strict": self.well_known_strict,
            "icmp_source": str(self.icmp_source),
            "hooked": self.hooked,
            "expecting": self.expecting,
            "relayed": self.relayed,
            "mapped": self.mappings is not None,
        }

    @classmethod
    def from_json(cls, value: object, *, mappings: EamTable | None = None) -> WorkerConfig:
        """The config in a decoded JSON object; ConfigError names the key that is missing, unknown or wrong.

        `mappings`: those that it is to have if it says that it has some.
        """
        if not isinstance(value, dict):
            raise ConfigError("config is not a JSON object")
        fields = _Fields(value)
        link_address, gateway = fields.text_or_none("link_address"), fields.text_or_none("gateway")
        mapped = fields.flag("mapped", default=False)
        if mapped and mappings is None:
            raise ConfigError("config: its mappings did not come")
        try:
            config = cls(
                clat_v4=IPv4Address(fields.text("clat_v4")),
                clat_v6=_unscoped(fields.text("clat_v6")),
                prefix=parse_prefix(fields.text("prefix")),
                ipv6_mtu_bytes=fields.number("ipv6_mtu_bytes"),
                uplink=fields.text("uplink"),
                link_address=None if link_address is None else bytes.fromhex(link_address),
                gateway=None if gateway is None else _unscoped(gateway),
                well_known_strict=fields.flag("well_known_strict", default=True),
                icmp_source=IPv4Address(fields.text("icmp_source", default=str(DUMMY_ICMP_SOURCE))),
                hooked=fields.flag("hooked", default=False),
                expecting=fields.flag("expecting", default=False),
                relayed=fields.flag("relayed", default=False),
                mappings=mappings if mapped else None,
            )
        except (ValueError, ParseError) as error:
            raise ConfigError(f"config: {error}") from None
        fields.refuse_unread()
        return config


def encode(op: str, **fields: Any) -> bytes:
    """One message, ready for `send`; `fields` are JSON values."""
    return json.dumps({"op": op, **fields}, separators=(",", ":")).encode()


def decode(data: bytes) -> tuple[str, dict[str, Any]]:
    """The operation and its fields; ConfigError when the message is not an object with a text `op`."""
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):
        raise ConfigError("control message is not JSON") from None
    op = message.pop("op", None) if isinstance(message, dict) else None
    if not isinstance(op, str):
        raise ConfigError("control message is not an object with an `op`")
    return op, message


def send_start(control: socket.socket, config: WorkerConfig, descriptors: Sequence[int]) -> None:
    """Hand over `descriptors`, in the order given above, with the first config. OSError may leave."""
    _send(control, "start", config, descriptors, table=config.mappings)


def send_update(control: socket.socket, config: WorkerConfig, *, known: EamTable | None = None) -> None:
    """Replace the whole config of a running worker, which has the mappings `known`. OSError may leave."""
    _send(control, "update", config, (), table=None if config.mappings == known else config.mappings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """How a worker is to outlive us; see above. `alarm`: the netlink socket for `uplink`, None for 0."""

    door: socket.socket
    alarm: socket.socket | None
    uplink: int
    patience_s: float
    uid: int


def send_keep(control: socket.socket, told: Keep, held: Sequence[int]) -> None:
    """Have it outlive us, and hold these. OSError may leave."""
    sockets = [told.door, *([] if told.alarm is None else [told.alarm])]
    message = encode("keep", patience_s=told.patience_s, uid=told.uid, uplink=told.uplink)
    socket.send_fds(control, [message], [*(sock.fileno() for sock in sockets), *held])


def _send(
    control: socket.socket, op: str, config: WorkerConfig, descriptors: Sequence[int], *, table: EamTable | None
) -> None:
    message = encode(op, config=config.to_json(), table=table is not None)
    file = None if table is None else _sealed(table.to_bytes())
    try:
        rights = [*descriptors, *([] if file is None else [file])]
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", rights).tobytes())] if rights else []
        control.sendmsg([message], ancillary)
    finally:
        if file is not None:
            os.close(file)


def _sealed(data: bytes) -> int:
    """A file in memory that nobody can change any more. OSError."""
    file = os.memfd_create("mappings", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with os.fdopen(file, "wb", closefd=False) as stream:
            stream.write(data)
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(file)
        raise
    return file


def receive(control: socket.socket) -> tuple[bytes, list[int], bool]:
    """A message, the descriptors that came with it, and whether these are all. No data: nobody is there any more."""
    data, descriptors, flags, _ = socket.recv_fds(control, MESSAGE_BYTES, DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
    return data, descriptors, not flags & socket.MSG_CTRUNC


def read_config(fields: Mapping[str, Any], descriptors: list[int], *, known: EamTable | None = None) -> WorkerConfig:
    """The config of a `start` or `update`; takes the file with its mappings from `descriptors`. ConfigError.

    `known`: the mappings that the worker has already.
    """
    mappings = known
    if fields.get("table") is True:
        if not descriptors:
            raise ConfigError("config: its mappings did not come")
        with os.fdopen(descriptors.pop(), "rb") as stream:
            stream.seek(0)  # the place is shared with whoever wrote it
            data = stream.read()
        try:
            mappings = EamTable.from_bytes(data)
        except ParseError as error:
            raise ConfigError(f"config: {error}") from None
    return WorkerConfig.from_json(fields.get("config"), mappings=mappings)


class _Fields:
    """Typed reading of a decoded JSON object that remembers which keys nobody read."""

    def __init__(self, value: Mapping[str, Any]) -> None:
        self._value = value
        self._unread = set(value)

    def text(self, key: str, *, default: str | None = None) -> str:
        return str(self._read(key, str, "a text", default))

    def text_or_none(self, key: str) -> str | None:
        self._unread.discard(key)
        return None if self._value.get(key) is None else self.text(key)

    def number(self, key: str) -> int:
        return int(self._read(key, int, "a whole number", None))

    def flag(self, key: str, *, default: bool) -> bool:
        return bool(self._read(key, bool, "true or false", default))

    def refuse_unread(self) -> None:
        if self._unread:
            raise ConfigError(f"config: unknown {', '.join(sorted(map(repr, self._unread)))}")

    def _read(self, key: str, kind: type, kind_name: str, default: Any) -> Any:
        self._unread.discard(key)
        value = self._value.get(key, default)
        # type(), because True is an int to isinstance()
        if type(value) is not kind:
            raise ConfigError(f"config: {key} is not {kind_name}")
        return value


def _unscoped(text: str) -> IPv6Address:
    """ValueError for `fe80::1%eth0` too: the uplink is the scope here, and equality must mean the same address."""
    if "%" in text:
        raise ValueError(f"{text!r} carries a scope")
    return IPv6Address(text)


def _is_unicast(address: IPv6Address) -> bool:
    return not (address.is_multicast or address.is_unspecified or address.is_loopback)


def _is_station(mac: bytes) -> bool:
    """Six bytes, not all zero, group bit clear (IEEE 802)."""
    return len(mac) == _MAC_BYTES and any(mac) and not mac[0] & 1
