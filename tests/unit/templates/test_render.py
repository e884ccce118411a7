# SPDX-License-Identifier: GPL-2.0-or-later
"""Templates say all they are asked for, and nothing that nobody told them."""

from __future__ import annotations

from pathlib import Path

import jinja2
import pytest

from clatnm import templates

VALUES = {
    "version": "0.9.2",
    "directives": frozenset[str](),
    "device": "tayga",
    "prefix": "64:ff9b::/96",
    "pairs": [("192.0.0.4", "2001:db8::c1a7")],
    "own_v4": "192.0.0.8",
    "own_v6": "100::1",
}


def test_template_is_rendered_without_traces_of_its_language() -> None:
    text = templates.render("tayga.conf.j2", **VALUES)
    assert not set("{}%") & set(text)
    assert "\n\n\n" not in text
    assert text.endswith("\n")
    assert not text.startswith("\n")


@pytest.mark.parametrize("name", VALUES)
def test_missing_value_is_an_error_instead_of_a_gap(name: str) -> None:
    with pytest.raises(jinja2.UndefinedError, match=name):
        templates.render("tayga.conf.j2", **{key: value for key, value in VALUES.items() if key != name})


def test_configuration_is_not_escaped_as_html() -> None:
    assert "map <&> " in templates.render("tayga.conf.j2", **{**VALUES, "pairs": [("<&>", "::1")]})


def test_unknown_template_is_an_error() -> None:
    with pytest.raises(jinja2.TemplateNotFound):
        templates.render("../model.py")


def test_every_template_is_packaged() -> None:
    folder = Path(templates.__file__).parent
    others = {path.name for path in folder.iterdir() if path.suffix not in (".py", ".j2") and path.is_file()}
    assert not others
    assert '"templates/*.j2"' in (folder.parents[1] / "pyproject.toml").read_text(encoding="utf-8")
