# SPDX-License-Identifier: GPL-2.0-or-later
"""Captures to translate, and one run of `clatnm pcap`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from clatnm import pcapfile
from clatnm.cli.main import main
from clatnm.pcapfile import Record
from tests.unit import test_pcapfile as files
from tests.unit.proto import siit_packets as pk

NS = 10**9
PREFIX = ("--plat-prefix", "2001:db8:64::/96")

GOOD = pk.summed(pk.ipv4(pk.udp(b"hello"), pk.UDP))
EXPIRED = pk.summed(pk.ipv4(pk.udp(b"hello"), pk.UDP, ttl=1))
ARP = bytes(12) + b"\x08\x06" + bytes(28)


def frames(packets: Iterable[bytes], *, link: int = 101) -> list[Record]:
    return [Record((5 + at) * NS + at * 1000, link, packet, len(packet)) for at, packet in enumerate(packets)]


def pcap(*packets: bytes, link: int = 101) -> bytes:
    return files.pcap(frames(packets, link=link), link=link)


def records(file: Path) -> list[Record]:
    with file.open("rb") as stream:
        return list(pcapfile.read(stream).records)


class Case:
    """IN and OUT in a directory of their own."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.input, self.output = directory / "in.pcap", directory / "out.pcap"
        self._capsys = capsys

    def run(self, *options: str, status: int = 0) -> list[str]:
        """What is said on standard error."""
        try:
            ended = main(["pcap", *(options or PREFIX), str(self.input), str(self.output)])
        except SystemExit as end:
            assert isinstance(end.code, int)
            ended = end.code
        told = self._capsys.readouterr()
        assert (ended, told.out) == (status, ""), told
        return told.err.splitlines()

    def nothing_left(self) -> bool:
        return [path for path in self.output.parent.iterdir() if path != self.input] == []
