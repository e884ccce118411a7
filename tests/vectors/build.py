# SPDX-License-Identifier: GPL-2.0-or-later
"""All cases, and the file made of them."""

from __future__ import annotations

from collections.abc import Iterator

from tests.vectors import cases_addresses, cases_fragments, cases_headers, cases_icmp, cases_quoted
from tests.vectors.vector import Vector


def all_cases() -> Iterator[Vector]:
    for module in (cases_headers, cases_addresses, cases_fragments, cases_icmp, cases_quoted):
        yield from module.cases()


def text() -> str:
    """The content of siit.jsonl: one vector a line."""
    return "".join(f"{vector.to_json()}\n" for vector in all_cases())
