# SPDX-License-Identifier: GPL-2.0-or-later
"""org.clatnm1(5) has what the bus has, by name and type, and no more."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from clatnm.dbus import names
from clatnm.dbus.objects import Objects
from clatnm.dbus.properties import PROPERTIES
from clatnm.dbus.service import _guarded, _Manager

REPOSITORY = Path(__file__).resolve().parents[3]
PAGE = (REPOSITORY / "packaging/man/org.clatnm1.5").read_text(encoding="utf-8")
FUNCTION = re.compile(r'Fn (\w+)(?: "([^"]*)")?')


def section(interface: str) -> str:
    return PAGE.partition(f".Ss {interface}\n")[2].partition(".Ss ")[0].partition(".Sh ")[0]


def properties(interface: str) -> list[tuple[str, str]]:
    return re.findall(r"^\.It Va (\w+) No \((.*)\)$", section(interface), re.MULTILINE)


def functions(interface: str) -> dict[str, tuple[str, str]]:
    """Name → D-Bus types that go in and that come out; of a signal, those it carries."""
    found: dict[str, tuple[str, str]] = {}
    for line in re.findall(r"^\.It Fn .*", section(interface), re.MULTILINE):
        for name, words in FUNCTION.findall(line):
            takes, _, gives = words.partition("\\(->")
            found[name] = ("".join(takes.split()[:1]), gives.strip())
    return found


def introspected() -> Any:
    nobody: Any = None
    return _Manager(nobody, Objects(nobody, explain=nobody)).introspect()


def test_page_has_the_properties_of_a_connection_in_their_order() -> None:
    assert properties(names.CONNECTION_INTERFACE) == [(row.name, row.signature) for row in PROPERTIES]
    assert functions(names.CONNECTION_INTERFACE) == {"Explain": ("", "s")}


def test_page_has_all_of_the_manager() -> None:
    manager = introspected()
    assert sorted(properties(names.MANAGER_INTERFACE)) == sorted((p.name, p.signature) for p in manager.properties)
    expected = {each.name: (each.in_signature, each.out_signature) for each in manager.methods}
    expected |= {each.name: (each.signature, "") for each in manager.signals}
    assert functions(names.MANAGER_INTERFACE) == expected


def test_page_has_the_actions_of_polkit() -> None:
    nobody: Any = None
    for method in _guarded(nobody):
        part = section(names.MANAGER_INTERFACE).partition(f".It Fn {method.member} ")[2].partition(".It ")[0]
        assert f".Li {method.action} ." in part


def test_page_names_the_version() -> None:
    assert f"are version {names.API_VERSION}.\n" in PAGE
