# SPDX-License-Identifier: GPL-2.0-or-later
"""What is shown, word for word, and that a network's name is nothing but a name."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clatnm.desktop import bars, words
from clatnm.desktop.state import Kind, Network, networks
from clatnm.errors import ConfigError
from clatnm.status import EXPLANATIONS
from clatnm.words import Reason
from tests.unit.desktop import desktop_told as told

EVIL = "</b><img src='x'/>&\x1b[2J\n\N{RIGHT-TO-LEFT OVERRIDE}%{A1:reboot:}"
anything = st.text(st.characters(blacklist_categories=()), max_size=80)


def a_network(**changes: str) -> Network:
    """One of kind NAT64."""
    (network,) = networks(told.status(told.on(**changes)))
    return network


def without(reason: Reason) -> Network:
    (network,) = networks(told.status(told.connection("off", str(reason), explanation=EXPLANATIONS[reason])))
    return network


NOTICES = {
    "nat64": (
        a_network(),
        "IPv4 works here through NAT64",
        "“Cafe” has IPv6 only. clatnm translates (64:ff9b::/96) for programs that need IPv4.",
        False,
    ),
    "managers": (
        networks(told.status(told.connection("off", "manager-translates")))[0],
        "IPv4 works here through NAT64",
        "“Cafe” has IPv6 only. NetworkManager translates for programs that need IPv4.",
        False,
    ),
    "no-nat64": (
        without(Reason.NO_PREF64),
        "This network has no IPv4 and no NAT64",
        "“Cafe” has IPv6 only. What needs IPv4 does not work on it.",
        True,
    ),
    "dead-nat64": (
        without(Reason.PLAT_UNREACHABLE),
        "IPv4 does not work here",
        "“Cafe”: the network announces a NAT64 prefix, but the NAT64 behind it does not answer. "
        "What needs IPv4 does not work.",
        True,
    ),
}


@pytest.mark.parametrize(("network", "title", "body", "urgent"), NOTICES.values(), ids=NOTICES)
def test_notice_says_how_ipv4_is(network: Network, title: str, body: str, urgent: bool) -> None:
    notice = words.notice(network, words.pango)
    assert (notice.title, notice.body, notice.urgent) == (title, body, urgent)


def test_connection_without_a_name_is_called_by_its_interface() -> None:
    assert "“wlan0” has" in words.notice(a_network(name=""), words.plain).body


def test_long_name_is_cut() -> None:
    assert f"“{'x' * 64}…”" in words.notice(a_network(name="x" * 100), words.plain).body


def text_of(markup: str) -> str:
    """What a reader of markup shows; that it is well-formed, and has no element."""
    root = ElementTree.fromstring(f"<body>{markup}</body>")
    assert len(root) == 0
    return root.text or ""


@pytest.mark.parametrize("network", [a_network(name=EVIL), without(Reason.NO_PREF64)], ids=["evil", "tame"])
def test_name_is_not_markup(network: Network) -> None:
    notice = words.notice(network, words.pango)
    assert text_of(notice.body) == words.notice(network, words.plain).body


def test_name_is_shown_as_it_is_but_for_what_cannot_be_seen() -> None:
    assert words.plain(EVIL) == "</b><img src='x'/>&�[2J��% {A1:reboot:}"


@given(anything)
def test_any_name_is_one_harmless_line(name: str) -> None:
    for escape in (words.plain, words.pango):
        shown = escape(name)
        assert shown.isprintable()
        assert "%{" not in shown
    assert text_of(words.pango(name)) == words.plain(name)


# Status bars


def test_line_for_people_is_a_word_or_two() -> None:
    lines = {
        "NAT64": (told.on(),),
        "IPv4": (told.native(),),
        "no IPv4": (told.without_nat64(),),
        "IPv4…": (told.connection("starting"),),
        "no CLAT": (),
    }
    for line, said in lines.items():
        assert bars.indicator(networks(told.status(*said)), form=bars.words, escape=words.plain) == line
    assert bars.indicator(None, form=bars.words, escape=words.plain) == "no clatnm"


def test_waybar_is_told_text_tooltip_and_class() -> None:
    said = networks(told.status(told.on(name="<Cafe>"), told.native(**told.OFFICE)))
    line = bars.indicator(said, form=bars.waybar, escape=words.pango)
    assert "\n" not in line
    assert json.loads(line) == {
        "text": "NAT64",
        "alt": "nat64",
        "tooltip": "wlan0 “&lt;Cafe&gt;”: IPv4 through NAT64 64:ff9b::/96\neth0 “Office”: native IPv4",
        "class": "nat64",
    }


def test_waybar_is_told_that_there_is_no_daemon() -> None:
    told = json.loads(bars.indicator(None, form=bars.waybar, escape=words.pango))
    assert (told["class"], told["tooltip"]) == ("stopped", "the clatnm daemon does not run")


def test_programs_are_told_everything() -> None:
    line = bars.indicator(networks(told.status(told.without_nat64())), form=bars.as_json, escape=words.plain)
    assert json.loads(line) == {
        "text": "no IPv4",
        "state": "none",
        "name": "Cafe",
        "interface": "wlan0",
        "prefix": "",
        "reason": "no-pref64",
        "details": ["wlan0 “Cafe”: no IPv4: because of no-pref64"],
    }


@pytest.mark.parametrize("form", bars.JSON)
def test_state_that_is_not_wanted_has_no_text_but_is_told(form: bars.Form) -> None:
    said = networks(told.status(told.native()))
    line = json.loads(bars.indicator(said, form=form, escape=words.plain, only=(Kind.NONE, Kind.NAT64)))
    assert line["text"] == ""
    assert "native" in line.values()


def test_state_that_is_not_wanted_is_an_empty_line() -> None:
    said = networks(told.status(told.native()))
    form = bars.template("[{text}]")
    assert bars.indicator(said, form=form, escape=words.plain, only=(Kind.NONE,)) == ""
    assert bars.indicator(said, form=form, escape=words.plain, only=(Kind.NATIVE,)) == "[IPv4]"


FORMATS = {
    "all": ("{text}/{state}/{name}/{interface}/{prefix}/{reason}", "NAT64/nat64/<b>/wlan0/64:ff9b::/96/"),
    "brackets": ("{{{text}}} }}{{", "{NAT64} }{"),
    "none": ("IPv4", "IPv4"),
    "empty": ("", ""),
}


@pytest.mark.parametrize(("text", "line"), FORMATS.values(), ids=FORMATS)
def test_format_is_filled_in(text: str, line: str) -> None:
    form = bars.template(text)
    assert bars.indicator([a_network(name="<b>")], form=form, escape=words.plain) == line
    assert bars.indicator([a_network(name="<b>")], form=form, escape=words.pango) == line.replace("<b>", "&lt;b&gt;")


@pytest.mark.parametrize("text", ["{nmae}", "{", "}", "{}", "{name!r}", "{name.__class__}", "{text} {0}"])
def test_format_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--format: .* is unknown \(there are \{text\} "):
        bars.template(text)
