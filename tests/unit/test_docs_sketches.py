# SPDX-License-Identifier: GPL-2.0-or-later
"""The sketches in CONTRIBUTING.md fit where they are said to fit."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Callable, Collection
from dataclasses import replace
from ipaddress import IPv6Network
from pathlib import Path
from typing import Any

import pytest

from clatnm import config
from clatnm.dbus.bus import Bus
from clatnm.discovery.dns64 import Dns64
from clatnm.discovery.manager import ManagerKnowledge
from clatnm.discovery.ra import RouterAdvertisements
from clatnm.errors import TranslatorError
from clatnm.kernel.host import Host
from clatnm.model import Plan, PrefixCandidate, PrefixSource, SourceReport, Uplink
from clatnm.policy.prefixes import choose_prefix
from clatnm.translators import base
from clatnm.translators.backends import BACKENDS, available, faults
from clatnm.translators.base import Translator
from clatnm.uplinks import Manager
from clatnm.uplinks.managers import Managers
from tests.unit.policy.worlds import NOW, a_link, a_world, an_uplink, decide

TEXT = (Path(__file__).resolve().parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
SKETCHES = re.findall(r"^```python\n(# (clatnm/\S+)\n.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
GIVEN = (Bus, Callable, Collection, Host, Path, Plan, PrefixCandidate, PrefixSource, SourceReport, TranslatorError)


def sketch(name: str) -> type[Any]:
    """The class of this name, as the document has it."""
    names: dict[str, Any] = {getattr(item, "__name__", str(item)): item for item in GIVEN}
    names |= {"Callable": Callable, "Collection": Collection, "Uplink": Uplink, "Translator": Translator}
    for text, _ in SKETCHES:
        exec(f"from __future__ import annotations\n{text}", names)  # our own document
    found: type[Any] = names[name]
    return found


def methods(of: type[Any]) -> dict[str, list[str]]:
    """Name → names of the arguments."""
    return {
        name: list(inspect.signature(member).parameters)
        for name, member in inspect.getmembers(of, inspect.isfunction)
        if not name.startswith("_")
    }


def test_sketches_are_files_that_are_not_there_yet_in_rooms_that_are() -> None:
    root = Path(__file__).resolve().parents[2]
    paths = [root / path for _, path in SKETCHES]
    assert [path.parent.name for path in paths] == ["discovery", "uplinks", "translators"]
    assert all(path.parent.is_dir() and not path.exists() for path in paths)


@pytest.mark.parametrize("source", [RouterAdvertisements, ManagerKnowledge, Dns64])
def test_source_has_what_every_source_has(source: type[Any]) -> None:
    sketched = methods(sketch("Leaflet"))
    assert sketched.keys() == {"candidates", "report", "forget", "close"}
    assert sketched.items() <= methods(source).items()


def test_what_a_source_tells_is_chosen_while_it_is_valid() -> None:
    source = sketch("Leaflet")(clock=lambda: NOW, changed=lambda: None)
    told = PrefixCandidate(prefix=IPv6Network("64:ff9b::/96"), source=PrefixSource.MANAGER, expires_at=NOW + 1)
    source._told["wlan0"] = told
    assert choose_prefix(source.candidates("wlan0", NOW)) == told
    assert choose_prefix(source.candidates("wlan0", NOW + 1)) is None
    assert source.report("wlan0", NOW).settled
    source.forget()
    assert source.candidates("wlan0", NOW) == ()


def test_manager_has_what_a_manager_has_and_is_one_of_several() -> None:
    own = sketch("Connman")
    assert methods(own) == {name: names for name, names in methods(Manager).items() if name != "name"}
    manager = own()
    manager._uplinks = (an_uplink("wlan0"),)
    everybody = Managers((manager,))
    asyncio.run(everybody.attach(None, lambda: None))  # type: ignore[arg-type]  # the sketch asks no bus
    assert everybody.uplinks() == manager._uplinks
    assert everybody.manager_of("wlan0") == "ConnMan"


def test_translator_needs_no_more_than_its_file_and_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    own = sketch("SiitBackend")
    assert methods(own) == methods(base.Backend)
    monkeypatch.setitem(BACKENDS, "siit", own)
    host = object()
    backends = available(host)  # type: ignore[arg-type]  # the sketch asks it nothing
    assert "siit" in backends and faults({"siit": backends["siit"]}) == {"siit": "the kernel has no such translator"}
    settings = config.parse("[clatnm]\nbackend = siit\n", source="test", backends=tuple(BACKENDS))
    world = a_world(a_link(), backends={"tun": "", "siit": ""})
    (verdict,) = decide(replace(world, settings=settings), NOW)
    assert verdict.plan is not None and verdict.plan.backend == "siit"
