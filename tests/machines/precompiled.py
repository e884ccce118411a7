# SPDX-License-Identifier: GPL-2.0-or-later
"""The eBPF programs where there is no clang: what a guest has brought along (payload.py)."""

from __future__ import annotations

import json
from pathlib import Path

from clatnm.bpf import build
from tests.bpf import programs
from tests.machines.payload import COMPILED


def use() -> None:
    """`tests.bpf` without clang: with what the guest has brought along."""
    place = Path(COMPILED)
    elf = (place / "clat.bpf.o").read_bytes()
    size, fields = json.loads((place / "config.json").read_text())
    layout = (size, {name: (offset, length) for name, (offset, length) in fields.items()})
    build.compile_source = lambda source=build.SOURCE: elf
    programs.config_layout = lambda: layout  # type: ignore[assignment]
