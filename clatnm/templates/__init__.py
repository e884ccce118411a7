# SPDX-License-Identifier: GPL-2.0-or-later
"""Text for other programs to read, from the templates in this folder."""

from __future__ import annotations

import functools

import jinja2


def render(name: str, /, **values: object) -> str:
    """The template `name` with `values`. jinja2.UndefinedError when it asks for one that is not there."""
    return _environment().get_template(name).render(values)


@functools.lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("clatnm", "templates"),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - configuration files, no HTML
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
