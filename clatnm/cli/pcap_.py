# SPDX-License-Identifier: GPL-2.0-or-later
"""`clatnm pcap`"""

from __future__ import annotations

import argparse
import errno
import os
import secrets
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from clatnm.cli import EXIT_NOTHING_TO_DO, EXIT_OK
from clatnm.errors import ConfigError, HostError, ParseError
from clatnm.printable import printable

if TYPE_CHECKING:
    from clatnm.offline import OfflineTranslator
    from clatnm.pcapfile import Writer
    from clatnm.proto.siit import SiitConfig
    from clatnm.proto.snapped import Start

_STANDARD = "-"
_IPV6_MTU_BYTES = 1280  # RFC 7915 4: what every IPv6 path carries
_MAX_IPV6_BYTES = 40 + 0xFFFF


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("--plat-prefix", type=_prefix, metavar="P/LEN", help="the NAT64 prefix, as 64:ff9b::/96")
    parser.add_argument(
        "--eam",
        action="append",
        default=[],
        type=_mapping,
        metavar="V4=V6",
        help="hosts or prefixes that stand for each other, as 192.0.2.0/28=2001:db8::/124 (RFC 7757); any number",
    )
    parser.add_argument(
        "--clat-v4-addr", type=_parsed(IPv4Address), metavar="ADDR", help="do what a CLAT with these addresses does"
    )
    parser.add_argument(
        "--clat-v6-addr", type=_parsed(IPv6Address), metavar="ADDR", help="given both, or none for plain SIIT"
    )
    parser.add_argument(
        "--ipv6-mtu",
        type=_ipv6_mtu,
        default=_IPV6_MTU_BYTES,
        metavar="BYTES",
        help=f"size of the largest IPv6 packet to make (default: {_IPV6_MTU_BYTES})",
    )
    parser.add_argument(
        "--icmp-source",
        type=_host_v4,
        metavar="ADDR",
        help="where ICMP errors towards IPv4 come from that have no better source (default: 192.0.0.8)",
    )
    parser.add_argument("input", metavar="IN", help="capture to read, pcap or pcapng; - for standard input")
    parser.add_argument("output", metavar="OUT", help="pcap file to write; - for standard output")


def run(arguments: argparse.Namespace) -> int:
    """Translate what is in IN to OUT, and tell what is not translated on standard error."""
    from clatnm.offline import OfflineTranslator

    translator = OfflineTranslator(_config(arguments), _tell)
    name = "standard input" if arguments.input == _STANDARD else arguments.input
    with _told(f"cannot read {name}"), _open_input(arguments.input) as source, _Output(arguments.output, source) as out:
        damage = _translate(source, translator, out)
        translator.close()
        if translator.ip_packets:
            out.keep()
    if damage is not None:
        raise ParseError(f"{name}: {damage.what}", hint=damage.hint)
    if not translator.ip_packets:
        what = f"{name}: no packet to translate (neither IPv4 nor IPv6 is in it)"
        print(f"error: {printable(what)}", file=sys.stderr)
        return EXIT_NOTHING_TO_DO
    return EXIT_OK


def _translate(source: BinaryIO, translator: OfflineTranslator, out: _Output) -> ParseError | None:
    """All packets, or those before the damage that is returned."""
    from clatnm import pcapfile

    try:
        capture = pcapfile.read(source)
        for record in capture.records:
            made = translator.translate(record)
            if translator.ip_packets:
                out.write(record.time_ns, made, fine=capture.fine)
    except ParseError as error:
        return error
    return None


def _tell(number: int, reason: str) -> None:
    print(f"packet {number}: not translated: {reason}", file=sys.stderr)


class _Output:
    """OUT: a pipe or device as it is; a file only under another name until `keep` says that it is good."""

    def __init__(self, name: str, source: BinaryIO) -> None:
        """HostError when it cannot be written, ConfigError when `source` reads it."""
        self._what = "cannot write standard output" if name == _STANDARD else f"cannot write {name}"
        self._target = Path(name)
        self._temporary: Path | None = None
        self._writer: Writer | None = None
        with _told(self._what):
            self._stream = self._open(name, os.fstat(source.fileno()))

    def __enter__(self) -> _Output:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # what could not be written was told before
            self._stream.close()
        if self._temporary is not None:
            self._temporary.unlink()

    def write(self, time_ns: int, packets: Sequence[Start], *, fine: bool) -> None:
        """What was made of one frame; who reads a pipe sees it at once."""
        from clatnm.pcapfile import Writer

        with _told(self._what):
            if self._writer is None:
                self._writer = Writer(self._stream, fine=fine)
            for packet in packets:
                self._writer.write(time_ns, packet.data, packet.length)
            if self._temporary is None:
                self._stream.flush()

    def keep(self) -> None:
        """All is written."""
        with _told(self._what):
            self._stream.flush()
            if self._temporary is not None:
                os.fsync(self._stream.fileno())
                self._temporary.replace(self._target)
                self._temporary = None
            self._stream.close()

    def _open(self, name: str, source: os.stat_result) -> BinaryIO:
        if name == _STANDARD:
            stream = _standard(sys.stdout, 1, "wb")
            _refuse_same(os.fstat(1), source)
            return stream
        there = self._target.stat() if self._target.exists() else None
        if there is not None:
            _refuse_same(there, source)
            if not stat.S_ISREG(there.st_mode):
                return self._target.open("wb")
            self._target = self._target.resolve()  # a symbolic link stays one
            os.close(os.open(self._target, os.O_WRONLY))  # what may not be written may not be replaced either
        temporary = self._target.with_name(f".clatnm-{secrets.token_hex(8)}.pcap")
        stream = temporary.open("xb")
        self._temporary = temporary
        if there is not None:
            with suppress(PermissionError):  # not every file system has modes
                os.fchmod(stream.fileno(), stat.S_IMODE(there.st_mode))
        return stream


def _open_input(name: str) -> BinaryIO:
    return _standard(sys.stdin, 0, "rb") if name == _STANDARD else Path(name).open("rb")


def _standard(stream: object, fd: int, mode: str) -> BinaryIO:
    if stream is None:  # closed when the program began: the number may be another file's by now
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    return cast("BinaryIO", os.fdopen(fd, mode, closefd=False))


def _refuse_same(out: os.stat_result, source: os.stat_result) -> None:
    if stat.S_ISREG(source.st_mode) and os.path.samestat(out, source):
        raise ConfigError("IN and OUT are the same file", hint="write to another one")


@contextmanager
def _told(what: str) -> Iterator[None]:
    """The kernel's refusals in words. A broken pipe is no refusal: the reader had enough."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise HostError(what, errno=error.errno or 0, hint=error.strerror or str(error)) from None


def _config(arguments: argparse.Namespace) -> SiitConfig:
    """ConfigError for options that do not go together."""
    from clatnm.proto.eam import EamTable, host_pair
    from clatnm.proto.siit import DUMMY_SOURCE, SiitConfig

    v4, v6, mappings = arguments.clat_v4_addr, arguments.clat_v6_addr, arguments.eam
    if (v4 is None) != (v6 is None):
        raise ConfigError("half a CLAT", hint="--clat-v4-addr and --clat-v6-addr go together")
    if arguments.plat_prefix is None and not mappings:
        raise ConfigError("nothing to translate by", hint="--plat-prefix, --eam, or both")
    try:
        return SiitConfig(
            prefix=arguments.plat_prefix,
            eam=EamTable(mappings if v4 is None else [*mappings, host_pair(v4, v6)]),
            ipv6_mtu_bytes=arguments.ipv6_mtu,
            ipv4_mtu_bytes=0xFFFF,
            icmp_source=arguments.icmp_source or DUMMY_SOURCE,
            symmetric=v4 is None,
        )
    except ParseError as error:
        raise ConfigError(error.what, hint=error.hint) from None


def _parsed(kind: Callable[[str], IPv4Address | IPv6Address]) -> Callable[[str], IPv4Address | IPv6Address]:
    def parse(text: str) -> IPv4Address | IPv6Address:
        try:
            return kind(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse


def _host_v4(text: str) -> IPv4Address:
    from clatnm.proto.addresses import is_martian_v4

    try:
        address = IPv4Address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if is_martian_v4(address.packed):
        raise argparse.ArgumentTypeError(f"{address} is not the address of a host")
    return address


def _prefix(text: str) -> IPv6Network:
    from clatnm.proto.nat64 import parse_prefix

    try:
        return parse_prefix(text)
    except ParseError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _mapping(text: str) -> tuple[IPv4Network, IPv6Network]:
    v4, _, v6 = text.partition("=")
    try:
        return IPv4Network(v4), IPv6Network(v6)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not V4=V6: {error}") from None


def _ipv6_mtu(text: str) -> int:
    from clatnm.proto.icmp_codes import MIN_IPV6_MTU

    size = int(text) if text.isascii() and text.isdigit() else 0
    if not MIN_IPV6_MTU <= size <= _MAX_IPV6_BYTES:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size from {MIN_IPV6_MTU} to {_MAX_IPV6_BYTES} bytes")
    return size
