# SPDX-License-Identifier: GPL-2.0-or-later
"""clatnm-static.conf(5) and the example beside it say what the parser takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from clatnm import static_conf
from clatnm.translators.backends import BACKENDS

REPOSITORY = Path(__file__).resolve().parents[2]
MAN = (REPOSITORY / "packaging/man/clatnm-static.conf.5").read_text(encoding="utf-8")
EXAMPLE = (REPOSITORY / "packaging/static-relay.conf").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", MAN, re.MULTILINE | re.DOTALL)


def read(text: str) -> static_conf.Read:
    return static_conf.parse(
        text, source="example", name="example", backends=tuple(BACKENDS), backend="auto", read=lambda _: "10.0.0.1 2::1"
    )


def test_man_page_has_exactly_the_keys_of_a_static_translator() -> None:
    assert set(re.findall(r"^\.It Va ([\w-]+)$", MAN, re.MULTILINE)) == set(static_conf.KEYS)


@pytest.mark.parametrize("text", EXAMPLES)
def test_example_in_man_page_is_accepted(text: str) -> None:
    assert read(text).static.uplink == "eth0"


def test_man_page_shows_a_host_a_router_and_a_clat() -> None:
    relays = [read(text).static.choices.relay for text in EXAMPLES]
    assert [relay and bool(relay.addresses) for relay in relays] == [True, False, None]


def test_installed_example_shows_every_key_with_its_default() -> None:
    plain = read(EXAMPLE).static
    active = re.sub(r"^#([\w-]+ = )", r"\1", EXAMPLE, flags=re.MULTILINE)
    assert set(re.findall(r"^([\w-]+) = ", active, re.MULTILINE)) == set(static_conf.KEYS)
    without_file = "".join(line for line in active.splitlines(keepends=True) if not line.startswith("eam-file"))
    shown = read(without_file).static
    assert (shown.choices, shown.backend) == (plain.choices, plain.backend)
