# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm translate`"""

from __future__ import annotations

import argparse
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

from clatnm.cli import EXIT_OK
from clatnm.errors import ConfigError, ParseError
from clatnm.model import AddressKind, Choices, Relay

_MAX_DEVICE_BYTES = 15
_BACKENDS = ("auto", "ebpf", "ebpf-clsact", "tun", "tayga")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("--uplink", required=True, metavar="IF", help="the interface that leads to the NAT64")
    parser.add_argument(
        "--plat-prefix",
        required=True,
        type=_prefix,
        metavar="P/LEN",
        help="the network's NAT64 prefix, as 64:ff9b::/96",
    )
    parser.add_argument(
        "--clat-v6-addr",
        default=AddressKind.AUTO,
        type=_address6,
        metavar="ADDR",
        help="IPv6 address of translated traffic: `dedicated`, a stable one in the uplink's /64; `shared`, the host's "
        "own; or an address (default: dedicated where there is a /64, else shared)",
    )
    parser.add_argument(
        "--clat-v4-addr", type=_address4, metavar="ADDR", help="default: a free one of 192.0.0.0/29 (RFC 7335)"
    )
    parser.add_argument("--device", type=_device, metavar="NAME", help="default: clat-<uplink>")
    parser.add_argument(
        "--mtu", type=_mtu, metavar="BYTES", help="the longest IPv4 packet to send (default: what the uplink takes)"
    )
    parser.add_argument("--backend", choices=_BACKENDS, default="auto", help="default: the best that works here")
    _add_relay_arguments(parser.add_argument_group("Edge Relay", "of SIIT-DC (RFC 7756), instead of a CLAT"))
    parser.add_argument("-v", "--verbose", action="count", default=0, help="log the evidence behind each decision")


def _add_relay_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--eam",
        action="append",
        default=[],
        metavar="V4=V6",
        help="hosts or prefixes that stand for each other, as 192.0.2.0/28=2001:db8::/124 (RFC 7757); any number",
    )
    group.add_argument(
        "--eam-file",
        action="append",
        default=[],
        metavar="FILE",
        help="such mappings, one a line: `192.0.2.1 2001:db8::1`; # begins a comment",
    )
    group.add_argument(
        "--address",
        action="append",
        default=[],
        type=_address4,
        metavar="V4",
        help="a mapped address of this host; any number (default: none, a router for others only)",
    )
    group.add_argument(
        "--route",
        action="append",
        default=[],
        type=_network4,
        metavar="V4NET",
        help="where the clients are; any number (default: 0.0.0.0/0)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Translate until SIGTERM or SIGINT; nothing is left then."""
    from clatnm.worker import launch

    with launch.ahead():  # before the imports below, which take as long as the process does to get ready
        _translate(arguments)
    return EXIT_OK


def _translate(arguments: argparse.Namespace) -> None:
    import asyncio

    from clatnm import log
    from clatnm.byhand import Wish, translate

    log.setup(verbose=arguments.verbose)
    address = arguments.clat_v6_addr
    choices = Choices(
        clat_v4=arguments.clat_v4_addr,
        clat_v6=None if isinstance(address, AddressKind) else address,
        address_kind=address if isinstance(address, AddressKind) else AddressKind.AUTO,
        device=arguments.device,
        relay=_relay(arguments),
        mtu_bytes=arguments.mtu,
    )
    wish = Wish(uplink=arguments.uplink, prefix=arguments.plat_prefix, choices=choices, backend=arguments.backend)
    asyncio.run(translate(wish, ready=lambda line: print(line, flush=True)))


def _relay(arguments: argparse.Namespace) -> Relay | None:
    """None for a CLAT. ConfigError for what cannot be."""
    from clatnm import relay

    if not (arguments.eam or arguments.eam_file):
        if arguments.address or arguments.route:
            raise ConfigError("an Edge Relay without mappings", hint="--eam V4=V6, or --eam-file FILE")
        return None
    if arguments.clat_v6_addr is AddressKind.SHARED:
        raise ConfigError("an Edge Relay shares no address", hint="--clat-v6-addr: one of its own, or none")
    told = [relay.read_mapping(text, where="--eam") for text in arguments.eam]
    for name in arguments.eam_file:
        try:
            text = Path(name).read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{name}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigError(f"{name}: not a text file") from None
        told += relay.read_mappings(text, name=name)
    addresses = [(address, "--address") for address in arguments.address]
    return relay.build(told, prefix=arguments.plat_prefix, addresses=addresses, routes=arguments.route)


def _prefix(text: str) -> IPv6Network:
    from clatnm.proto.nat64 import parse_prefix

    try:
        return parse_prefix(text)
    except ParseError as error:
        raise argparse.ArgumentTypeError(f"{error}") from None


def _device(text: str) -> str:
    """A name the kernel takes (dev_valid_name), and takes as it is."""
    wrong = not text or text in (".", "..") or any(char in "/:%" or char.isspace() for char in text)
    if wrong or len(text.encode()) > _MAX_DEVICE_BYTES:
        raise argparse.ArgumentTypeError(f"'{text}' is no device name: 1 to 15 bytes, without space, /, : and %")
    return text


def _mtu(text: str) -> int | None:
    from clatnm.config_device import mtu

    try:
        return mtu(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(f"{error}") from None


def _network4(text: str) -> IPv4Network:
    try:
        return IPv4Network(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}") from None


def _address4(text: str) -> IPv4Address:
    try:
        return IPv4Address(text)
    except AddressValueError as error:
        raise argparse.ArgumentTypeError(f"{error}") from None


def _address6(text: str) -> IPv6Address | AddressKind:
    if text in tuple(AddressKind):  # argparse passes the default through here, too
        return AddressKind(text)
    try:
        return IPv6Address(text)
    except AddressValueError as error:
        raise argparse.ArgumentTypeError(f"{error}; or `dedicated`, or `shared`") from None
