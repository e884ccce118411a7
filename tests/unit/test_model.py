# SPDX-License-Identifier: GPL-2.0-or-later
"""The words of the house: values that cannot be changed, compare by content and print as the user knows them."""

from __future__ import annotations

import dataclasses
import inspect
from dataclasses import fields, is_dataclass, replace

import pytest

from clatnm import model
from clatnm.compat import StrEnum, assert_never
from clatnm.model import Mode, PrefixSource, Reason, RunState, Settings, World
from clatnm.policy.plan import decide
from tests.unit.policy.worlds import NOW, a_link, a_world, an_uplink, the_plan

RECORDS = [value for value in vars(model).values() if inspect.isclass(value) and is_dataclass(value)]
WORDS = [value for value in vars(model).values() if inspect.isclass(value) and issubclass(value, StrEnum)]


def test_there_are_records_and_words() -> None:
    assert len(RECORDS) > 10
    assert {Mode, Reason, PrefixSource, RunState} <= set(WORDS)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_record_is_frozen_small_and_built_by_name(record: type) -> None:
    parameters = record.__dataclass_params__  # type: ignore[attr-defined]
    assert parameters.frozen
    assert "__slots__" in vars(record)
    assert all(field.kw_only for field in fields(record))


def test_record_cannot_be_changed() -> None:
    link = a_link()
    with pytest.raises(dataclasses.FrozenInstanceError):
        link.carrier = False  # type: ignore[misc]


def test_worlds_do_not_share_their_maps() -> None:
    assert World().links is not World().links


def test_equal_plans_are_the_same_translator() -> None:
    one, other = the_plan(a_world()), the_plan(a_world())
    assert one == other
    assert hash(one) == hash(other)
    assert one.same_translator(other)
    assert one != replace(other, metric=1)


@pytest.mark.parametrize("words", [word for word in WORDS if word is not StrEnum], ids=lambda word: word.__name__)
def test_word_is_and_prints_as_its_value(words: type[StrEnum]) -> None:
    for member in words:
        assert str(member) == format(member) == f"{member}" == member.value
        assert member == member.value
        assert f"{member:>20}" == f"{member.value:>20}"
        assert words(member.value) is member


def test_modes_are_the_words_of_networkmanager() -> None:
    assert {str(mode) for mode in Mode} == {"no", "auto", "force"}


def test_without_configuration_we_help_and_choose_ourselves() -> None:
    assert Settings() == Settings(mode=Mode.AUTO, backend="auto")
    assert an_uplink().mode is None


def test_verdict_line_has_the_evidence_in_order_and_the_answer_last() -> None:
    (verdict,) = decide(a_world(prefixes={}), NOW)
    assert list(verdict.evidence) == ["mode", "ipv4", "ipv6", "pref64"]
    assert verdict.line() == "[mode=auto ipv4=none ipv6=yes pref64=none ret=no-pref64]"
    assert replace(verdict, reason=None, evidence={}).line() == "[ret=wanted]"


def test_case_left_out_of_a_match_is_found_at_the_latest_when_it_runs() -> None:
    with pytest.raises(AssertionError, match="unhandled: 'force'"):
        assert_never(str(Mode.FORCE))  # type: ignore[arg-type]
