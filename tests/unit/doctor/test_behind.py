# SPDX-License-Identifier: GPL-2.0-or-later
"""Who is behind this host: asked of the rules, and only where somebody may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from clatnm.doctor import probing
from clatnm.doctor.facts import Behind
from clatnm.doctor.filters import Chain
from tests.unit.doctor.cases import a_subject

UFW = (Path(__file__).parent / "rules/ufw.json").read_text(encoding="utf-8")
BOX = ("br0", IPv4Address("10.9.0.1"))
UNMASKED = ("br1", IPv4Address("10.8.0.1"))
TARGETS = (IPv4Address("198.51.100.10"),)
FORWARD = Chain(family="ip", table="filter", name="FORWARD", hook="forward")


def behind(monkeypatch: pytest.MonkeyPatch, rules: str, **changes: Any) -> tuple[Behind, ...] | None:
    monkeypatch.setattr(probing, "_nft", lambda argv: rules)
    s = replace(a_subject(lans=(BOX, UNMASKED)), **changes)
    return probing._behind(s, s.run.plan if s.run else None, TARGETS)


def test_whoever_is_masqueraded_is_meant_to_have_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    assert behind(monkeypatch, UFW) == (Behind(device="br0", drop_out=(FORWARD,)),)


def test_without_rules_or_nft_nobody_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    assert behind(monkeypatch, "") == ()
    assert behind(monkeypatch, '{"nftables": []}') == ()


def test_rules_are_for_root_and_read_only_where_something_is_forwarded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert behind(monkeypatch, UFW, as_root=False) is None
    asked: list[Sequence[str]] = []
    monkeypatch.setattr(probing, "_nft", lambda argv: asked.append(argv) or "")
    s = a_subject()
    assert s.run is not None
    assert probing._behind(s, s.run.plan, TARGETS) == ()
    assert probing._behind(replace(s, lans=(BOX,)), None, TARGETS) == ()
    assert asked == []
