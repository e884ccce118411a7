# SPDX-License-Identifier: GPL-2.0-or-later
"""What a profile says about our mode, in each of its places: what counts, and what is ignored and why."""

from __future__ import annotations

from typing import Any

import pytest

from clatnm.model import Mode, ToldMode
from clatnm.uplinks.nm_modes import Profile, is_token, modes_from

OPTIONS, USER, CLAT = "ipv6.dns-options", "user data clatnm.mode", "ipv4.clat"
TOKENS = "clatnm:0 is no, clatnm:1 auto, clatnm:2 force"


def profile(
    *, user: str | None = None, options: tuple[str, ...] = (), options4: tuple[str, ...] = (), clat: int | None = None
) -> Profile:
    settings: dict[str, dict[str, Any]] = {"connection": {"id": "Net"}, "ipv4": {"method": "auto"}, "ipv6": {}}
    if user is not None:
        settings["user"] = {"data": {"clatnm.mode": user, "other.key": "x"}}
    if options:
        settings["ipv6"]["dns-options"] = list(options)
    if options4:
        settings["ipv4"]["dns-options"] = list(options4)
    if clat is not None:
        settings["ipv4"]["clat"] = clat
    return settings


def told(source: str, text: str, mode: Mode | None, fault: str = "") -> ToldMode:
    return ToldMode(source=source, text=text, mode=mode, fault=fault)


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("no", Mode.NO),
        ("off", Mode.NO),
        ("0", Mode.NO),
        ("auto", Mode.AUTO),
        ("1", Mode.AUTO),
        (" Force ", Mode.FORCE),
        ("2", Mode.FORCE),
        ("", None),
        ("maybe", None),
        ("-1", None),
    ],
)
def test_user_data_is_read_and_nonsense_does_not_count(text: str, mode: Mode | None) -> None:
    fault = "" if mode else "one of: auto, force, no"
    assert modes_from(profile(user=text)) == (told(USER, text, mode, fault),)


TOKEN_CASES: dict[str, tuple[tuple[str, ...], tuple[ToldMode, ...]]] = {
    "no": (("clatnm:0",), (told(OPTIONS, "clatnm:0", Mode.NO),)),
    "auto": (("clatnm:1",), (told(OPTIONS, "clatnm:1", Mode.AUTO),)),
    "force": (("clatnm:2",), (told(OPTIONS, "clatnm:2", Mode.FORCE),)),
    "among-others": (("rotate", "clatnm:2", "ndots:1"), (told(OPTIONS, "clatnm:2", Mode.FORCE),)),
    "capital": (("Clatnm:0",), (told(OPTIONS, "Clatnm:0", Mode.NO),)),
    "unknown-number": (("clatnm:7",), (told(OPTIONS, "clatnm:7", None, TOKENS),)),
    "no-number": (("clatnm",), (told(OPTIONS, "clatnm", None, TOKENS),)),
    "no-number-at-all": (("clatnm:x",), (told(OPTIONS, "clatnm:x", None, TOKENS),)),
    "empty": (("clatnm:",), (told(OPTIONS, "clatnm:", None, TOKENS),)),
    "twice-the-same": (("clatnm:1", "Clatnm:1"), (told(OPTIONS, "clatnm:1", Mode.AUTO),)),
    "two-that-differ": (
        ("clatnm:1", "Clatnm:0"),
        (told(OPTIONS, "clatnm:1, Clatnm:0", None, "they contradict each other"),),
    ),
    "one-of-them-nonsense": (
        ("clatnm:1", "clatnm:7"),
        (told(OPTIONS, "clatnm:1, clatnm:7", None, "they contradict each other"),),
    ),
    "others-alone": (("rotate", "clatnmx:1", "ndots:1"), ()),
}


@pytest.mark.parametrize(("options", "expected"), TOKEN_CASES.values(), ids=TOKEN_CASES)
def test_dns_option_is_read_and_nonsense_does_not_count(
    options: tuple[str, ...], expected: tuple[ToldMode, ...]
) -> None:
    assert modes_from(profile(options=options)) == expected


def test_dns_option_of_ipv4_is_said_to_be_in_the_wrong_place() -> None:
    wrong = told("ipv4.dns-options", "clatnm:1", None, "it belongs in ipv6.dns-options")
    assert modes_from(profile(options4=("rotate", "clatnm:1"))) == (wrong,)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (-1, ()),
        (0, (told(CLAT, "0", Mode.NO),)),
        (1, (told(CLAT, "1", Mode.AUTO),)),
        (2, (told(CLAT, "2", Mode.FORCE),)),
        (3, (told(CLAT, "3", None, "NetworkManager knows more values than clatnm"),)),
    ],
)
def test_clat_of_networkmanager_is_read_and_its_default_says_nothing(
    number: int, expected: tuple[ToldMode, ...]
) -> None:
    assert modes_from(profile(clat=number)) == expected


def test_all_places_are_told_in_the_order_of_belief() -> None:
    found = modes_from(profile(user="no", options=("clatnm:1",), clat=2))
    assert [(each.source, each.mode) for each in found] == [
        (USER, Mode.NO),
        (OPTIONS, Mode.AUTO),
        (CLAT, Mode.FORCE),
    ]


@pytest.mark.parametrize("silent", [{}, {"user": {}}, {"user": {"data": {}}}, {"user": {"data": {"other.key": "no"}}}])
def test_profile_without_our_key_says_nothing(silent: Profile) -> None:
    assert modes_from(silent) == ()


@pytest.mark.parametrize(("option", "ours"), [("clatnm:1", True), ("CLATNM", True), ("clatnmd:1", False), ("", False)])
def test_option_is_known_by_its_name(option: str, ours: bool) -> None:
    assert is_token(option) is ours
