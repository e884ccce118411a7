# SPDX-License-Identifier: GPL-2.0-or-later
"""The step that makes a table of the C source: its errors, and that it always makes the same."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from clatnm import bpf
from clatnm.bpf import build
from clatnm.bpf.build import BuildError
from tests.bpf.programs import missing

needs_clang = pytest.mark.skipif(missing() is not None, reason=str(missing()))

HEAD = f'#include "{build.SOURCE.with_name("helpers.h")}"\nchar gpl[] SEC("license") = "GPL";\n'
MAPS = (
    "struct config { __u32 number; };\nconst volatile struct config config = {};\n"
    'struct map_definition m SEC("maps") = { .type = 2, .key_size = 4, .value_size = 8, .max_entries = 1 };\n'
)
PROGRAM = (
    'SEC("tc") int p(struct __sk_buff *skb)\n'
    "{ __u32 key = config.number; skb->mark = skb->len; return map_lookup(&m, &key) != 0; }\n"
)


def source(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "small.bpf.c"
    path.write_text(text)
    return path


def test_without_clang_the_error_says_what_that_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match="clang is not installed; the package will translate in user space only"):
        build.build(tmp_path / "table.json")
    assert list(tmp_path.iterdir()) == []


def test_without_clang_the_command_fails_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert build.main() == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("clatnm.bpf: clang is not installed")
    assert told.err.count("\n") == 1


@needs_clang
def test_broken_source_shows_what_the_compiler_says_and_keeps_the_old_table(tmp_path: Path) -> None:
    output = tmp_path / "table.json"
    output.write_text("old")
    with pytest.raises(BuildError, match=r"clang refuses small\.bpf\.c:\n.*small\.bpf\.c:1:.*error: unknown type name"):
        build.build(output, source=source(tmp_path, "nonsense p;\n"))
    assert output.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.bpf.c", "table.json"]


@needs_clang
def test_warning_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="unused variable"):
        build.compile_source(source(tmp_path, "int p(void) { int unused; return 0; }\n"))


@needs_clang
def test_two_builds_are_the_same_to_the_byte(tmp_path: Path) -> None:
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    build.build(one)
    build.build(other)
    assert one.read_bytes() == other.read_bytes()
    assert str(tmp_path).encode() not in one.read_bytes()


@needs_clang
def test_table_tells_programs_maps_and_what_refers_to_what(tmp_path: Path) -> None:
    text = HEAD + MAPS + PROGRAM + PROGRAM.replace('"tc"', '"tests"').replace("int p(", "int for_tests(")
    elf = build.compile_source(source(tmp_path, text))
    installed, tests = bpf.read(build.read(elf)), bpf.read(build.read(elf, section=build.TESTS))
    assert installed is not None
    assert tests is not None
    assert (list(installed.programs), list(tests.programs)) == (["p"], ["for_tests"])
    assert installed.programs["p"] == tests.programs["for_tests"]
    assert installed.maps == {"m": bpf.MapDefinition(kind=2, key_size=4, value_size=8, max_entries=1, flags=0)}
    assert installed.config_size == 4
    names = {(where.map_name, where.offset) for where in installed.programs["p"].relocations}
    assert names == {("m", None), (".rodata", 0)}
    code = installed.programs["p"].code
    assert all(code[where.instruction * 8] == 0x18 for where in installed.programs["p"].relocations)  # 64-bit load


@needs_clang
@pytest.mark.parametrize(
    ("line", "told"),
    [
        pytest.param("int variable = 1;\n", "variable: only configuration and maps may be referred to", id="variable"),
        pytest.param("int function(int);\n", "function", id="function"),
    ],
)
def test_what_nobody_could_link_is_refused(tmp_path: Path, line: str, told: str) -> None:
    use = "variable" if "variable" in line else "function(1)"
    text = HEAD + MAPS + line + PROGRAM.replace("return ", f"return {use} + ")
    elf = build.compile_source(source(tmp_path, text))
    with pytest.raises(BuildError, match=told):
        build.read(elf)


def test_table_for_the_other_byte_order_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Instructions differ in the order of their registers and numbers: such a table cannot be used, nor mended."""
    other = {"little": "big", "big": "little"}[sys.byteorder]
    (tmp_path / "table.json").write_text(
        json.dumps({other: {"byte_order": other, "programs": {}, "maps": {}, "config_size": 0}})
    )
    monkeypatch.setattr(bpf, "TABLE", tmp_path / "table.json")
    assert bpf.table() is None


@needs_clang
def test_built_file_is_for_both_byte_orders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So one package is for every machine, wherever it was built."""
    build.build(tmp_path / "table.json", source=source(tmp_path, HEAD + MAPS + PROGRAM))
    monkeypatch.setattr(bpf, "TABLE", tmp_path / "table.json")
    found = {}
    for order in ("little", "big"):
        monkeypatch.setattr(sys, "byteorder", order)
        found[order] = bpf.table()
    little, big = found["little"], found["big"]
    assert little is not None
    assert big is not None
    assert (little.maps, little.config_size) == (big.maps, big.config_size)
    assert little.programs["p"].relocations == big.programs["p"].relocations
    # BPF_EXIT | BPF_JMP has neither registers nor numbers; the loads name their registers the other way around.
    codes = [table.programs["p"].code for table in (little, big)]
    assert [code[::8] for code in codes] == [codes[0][::8]] * 2
    assert [register >> 4 | (register & 15) << 4 for register in codes[0][1::8]] == list(codes[1][1::8])


def test_table_that_was_not_built_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpf, "TABLE", tmp_path / "table.json")
    assert bpf.table() is None


# Instructions, not more than these: a program that grows should do so on purpose.
SIZES = {"device_egress": 700, "device_ingress": 250, "uplink_ingress_ethernet": 1000, "uplink_ingress_plain": 1000}


@needs_clang
def test_programs_stay_small() -> None:
    installed = bpf.read(build.read(build.compile_source()))
    assert installed is not None
    sizes = {name: len(program.code) // 8 for name, program in installed.programs.items()}
    assert sizes.keys() == SIZES.keys()
    assert {name: size for name, size in sizes.items() if size > SIZES[name]} == {}
