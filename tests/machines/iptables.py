# SPDX-License-Identifier: GPL-2.0-or-later
"""iptables, on nf_tables and as it was before, for a guest whose root has none: this machine's own, with what it needs.

Where this machine has none either, its guests go without, and say so.
"""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

ARCHIVE = "iptables.tar"
NFT, LEGACY = "iptables-nft", "iptables-legacy"
_PROGRAMS = {NFT: Path("/usr/sbin/xtables-nft-multi"), LEGACY: Path("/usr/sbin/xtables-legacy-multi")}
_EXTENSION = "xtables/libxt_standard.so"
_LIBRARY = re.compile(r"=> (?:/usr)?(/\S+/lib(?:xtables|ip[46]tc|mnl|nftnl)\.so\S*)")
"""A line of ldd: but for libc, which every root has."""


def files() -> Mapping[str, bytes]:
    """For the directory that a guest shares with us: an archive for its root. Nothing where there are none here."""
    if not all(program.exists() for program in _PROGRAMS.values()):
        return {}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", dereference=True) as archive:
        for path in sorted({path for program in _PROGRAMS.values() for path in (program, *_libraries(program))}):
            archive.add(path)
        for name, program in _PROGRAMS.items():
            link = tarfile.TarInfo(str(program.with_name(name)).lstrip("/"))
            link.type, link.linkname = tarfile.SYMTYPE, program.name
            archive.addfile(link)
    return {ARCHIVE: out.getvalue()}


def _libraries(program: Path) -> Iterator[Path]:
    said = subprocess.run(["ldd", str(program)], check=True, text=True, capture_output=True).stdout
    found = [Path(f"/usr{path}") for path in _LIBRARY.findall(said)]
    yield from found
    yield from (path.parent / _EXTENSION for path in found if "xtables" in path.name)
