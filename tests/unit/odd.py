# SPDX-License-Identifier: GPL-2.0-or-later
"""Values that nobody expects: any JSON, and a sound value with something in it changed."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

_NUMBERS = st.one_of(st.integers(), st.just(10**400), st.floats())


def texts() -> st.SearchStrategy[str]:
    """Short texts; as in JSON, also such with half of a character in them."""
    return st.text(max_size=8)


def json_values() -> st.SearchStrategy[Any]:
    """Anything that a JSON text can stand for."""
    leaves = st.one_of(st.none(), st.booleans(), _NUMBERS, texts())
    return st.recursive(
        leaves,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts(), inner, max_size=3)),
        max_leaves=8,
    )


@st.composite
def mutated(draw: st.DrawFn, sound: Any, odd: st.SearchStrategy[Any] | None = None) -> Any:
    """A copy of a JSON value in which one to four places have something else, or nothing."""
    anything = json_values() if odd is None else odd
    value = copy.deepcopy(sound)
    for _ in range(draw(st.integers(1, 4))):
        places = list(_places(value))
        if not places:
            return draw(anything)
        holder, key = draw(st.sampled_from(places))
        if draw(st.booleans()):
            holder[key] = draw(anything)
        else:
            del holder[key]
    return value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each container in a value with each key or index of it."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield value, key
        yield from _places(inner)
