# SPDX-License-Identifier: GPL-2.0-or-later
"""Build step: C → BPF ELF (clang) → `clat.json`, which needs no library to be loaded. `python -m clatnm.bpf.build`.

Used by setup.py and by the Makefile; not needed at run time.
"""

from __future__ import annotations

import base64
import json
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("clat.bpf.c")
OUTPUT = Path(__file__).with_name("clat.json")
FLAGS = ("-O2", "-g0", "-mcpu=v3", "-Wall", "-Wextra", "-Werror")
TARGETS = {"little": "bpfel", "big": "bpfeb"}
"""Programs differ between byte orders, and in nothing else: with both, a package is for every machine."""

_SHT_SYMTAB, _STT_FUNC, _SHT_REL = 2, 2, 9
_R_BPF_64_64 = 1
_INSTRUCTION = 8
_CONFIG, _MAPS = ".rodata", "maps"
INSTALLED, TESTS = "tc", "tests"  # sections: the programs of the table, and those that only tests load


class BuildError(Exception):
    """The programs cannot be built here; the text says why."""


def build(output: Path = OUTPUT, *, source: Path = SOURCE) -> None:
    """Compile and write a table for each byte order. BuildError without clang or kernel headers: the output stays."""
    tables = {order: read(compile_source(source, order=order)) for order in TARGETS}
    temporary = output.with_suffix(".new")
    temporary.write_text(json.dumps(tables, indent=1) + "\n", encoding="ascii")
    temporary.replace(output)


def compile_source(source: Path = SOURCE, *, order: str = sys.byteorder) -> bytes:
    """The object file, for machines of this byte order. BuildError without clang or the kernel's headers."""
    clang = shutil.which("clang")
    if clang is None:
        raise BuildError("clang is not installed; the package will translate in user space only")
    with tempfile.TemporaryDirectory() as directory:
        object_path = Path(directory, "clat.bpf.o")
        command = [clang, "-target", TARGETS[order], *FLAGS, *includes(), "-c", str(source), "-o", str(object_path)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise BuildError(f"clang refuses {source.name}:\n{result.stderr}")
        return object_path.read_bytes()


def includes() -> list[str]:
    """Debian keeps asm/ in a directory per architecture, which clang for the target bpf does not look into."""
    places = sorted(Path("/usr/include").glob("*-linux-gnu*/asm/types.h"))
    return [f"-I{place.parent.parent}" for place in places[:1]]


@dataclass(frozen=True, slots=True)
class _Section:
    name: str
    kind: int
    offset: int
    size: int
    link: int
    target: int


@dataclass(frozen=True, slots=True)
class _Symbol:
    name: str
    kind: int
    section: int
    value: int
    size: int


def read(elf: bytes, *, section: str = INSTALLED) -> dict[str, Any]:
    """The table (see `clatnm.bpf.read`) of a 64-bit BPF object file, with the programs of one section."""
    mark = _mark(elf)
    sections = list(_sections(elf))
    symbols = list(_symbols(elf, sections))
    index = {section.name: number for number, section in enumerate(sections)}
    home = index[section]
    code = _content(elf, sections[home])
    relocations = list(_relocations(elf, sections, symbols, home, code))
    programs = {}
    for symbol in symbols:
        if symbol.section == home and symbol.kind == _STT_FUNC:
            end = symbol.value + symbol.size
            own = [
                ((at - symbol.value) // _INSTRUCTION, *rest) for at, *rest in relocations if symbol.value <= at < end
            ]
            text = base64.b64encode(code[symbol.value : end]).decode()
            programs[symbol.name] = {"code": text, "relocations": own}
    maps = {}
    for symbol in symbols:
        if symbol.section == index[_MAPS] and symbol.name:
            maps[symbol.name] = struct.unpack_from(f"{mark}5I", _content(elf, sections[index[_MAPS]]), symbol.value)
    return {
        "byte_order": "little" if mark == "<" else "big",
        "config_size": sections[index[_CONFIG]].size,
        "programs": programs,
        "maps": maps,
    }


def _mark(elf: bytes) -> str:
    """The byte order of the file, as `struct` writes it (EI_DATA: 1 is least significant byte first)."""
    return "<" if elf[5] == 1 else ">"


def _sections(elf: bytes) -> Iterator[_Section]:
    mark = _mark(elf)
    table, entry_size, count, names_at = struct.unpack_from(f"{mark}Q10xHHH", elf, 0x28)
    rows = [struct.unpack_from(f"{mark}IIQQQQIIQQ", elf, table + i * entry_size) for i in range(count)]
    names = rows[names_at][4]
    for name, kind, _, _, offset, size, link, target, _, _ in rows:
        yield _Section(_text(elf, names + name), kind, offset, size, link, target)


def _symbols(elf: bytes, sections: list[_Section]) -> Iterator[_Symbol]:
    (table,) = (section for section in sections if section.kind == _SHT_SYMTAB)
    names = sections[table.link].offset
    for at in range(table.offset, table.offset + table.size, 24):
        name, info, _, section, value, size = struct.unpack_from(f"{_mark(elf)}IBBHQQ", elf, at)
        yield _Symbol(_text(elf, names + name), info & 15, section, value, size)


def _relocations(
    elf: bytes, sections: list[_Section], symbols: list[_Symbol], target: int, code: bytes
) -> Iterator[tuple[int, str, int | None]]:
    """(position in the code, map, offset in its value or None for the map itself)."""
    mark = _mark(elf)
    for section in sections:
        if section.kind != _SHT_REL or section.target != target:
            continue
        for at in range(section.offset, section.offset + section.size, 16):
            position, info = struct.unpack_from(f"{mark}QQ", elf, at)
            symbol = symbols[info >> 32]
            if info & 0xFFFFFFFF != _R_BPF_64_64:
                raise BuildError(f"relocation of kind {info & 0xFFFFFFFF} against {symbol.name or 'a section'}")
            where = sections[symbol.section].name
            if where == _MAPS:
                yield position, symbol.name, None
            elif where == _CONFIG:
                (addend,) = struct.unpack_from(f"{mark}i", code, position + 4)
                yield position, _CONFIG, symbol.value + addend
            else:
                raise BuildError(f"{symbol.name or where}: only configuration and maps may be referred to")


def _content(elf: bytes, section: _Section) -> bytes:
    return elf[section.offset : section.offset + section.size]


def _text(elf: bytes, at: int) -> str:
    return elf[at : elf.index(b"\0", at)].decode()


def main() -> int:
    """Build in place; the exit status."""
    try:
        build()
    except BuildError as error:
        print(f"clatnm.bpf: {error}", file=sys.stderr)
        return 1
    print(f"clatnm.bpf: {OUTPUT.name} built")
    return 0


if __name__ == "__main__":
    sys.exit(main())
