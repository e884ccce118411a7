# SPDX-License-Identifier: GPL-2.0-or-later
"""One line in the forms that status bars read. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

from clatnm.desktop.state import Kind, Network
from clatnm.desktop.words import Escape, Line, line, pango, plain
from clatnm.errors import ConfigError

Form = Callable[[Line], str]
"""Makes a text of one line, without its end."""
FIELDS = ("text", "state", "name", "interface", "prefix", "reason")
MARKUP: dict[str, Escape] = {"none": plain, "pango": pango}

_FIELD = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


def words(shown: Line) -> str:
    """As people and most bars read it."""
    return shown.text


def template(text: str) -> Form:
    """`{text}`, `{name}` and the rest in a text of the user's own. ConfigError for what there is not."""
    for match in _FIELD.finditer(text):
        if match[0] not in ("{{", "}}") and match[1] not in FIELDS:
            known = " ".join(f"{{{name}}}" for name in FIELDS)
            raise ConfigError(f"--format: {match[0]} is unknown", hint=f"there are {known}, and {{{{ for a bracket")

    def fill(shown: Line) -> str:
        values = _values(shown)
        return _FIELD.sub(lambda match: match[0][0] if match[1] is None else values[match[1]], text)

    return fill


def waybar(shown: Line) -> str:
    """What a custom module of Waybar with `"return-type": "json"` takes."""
    kind = str(shown.kind)
    return _json({"text": shown.text, "alt": kind, "tooltip": "\n".join(shown.details), "class": kind})


def as_json(shown: Line) -> str:
    """Everything, for programs."""
    return _json({**_values(shown), "details": list(shown.details)})


JSON = (waybar, as_json)


def indicator(networks: Sequence[Network] | None, *, form: Form, escape: Escape, only: Collection[Kind] = ()) -> str:
    """The line for this state of the machine; without a text, by which bars hide it, where that is not among `only`."""
    shown = line(networks, escape)
    if not only or shown.kind in only:
        return form(shown)
    return form(replace(shown, text="")) if form in JSON else ""


def _values(shown: Line) -> dict[str, str]:
    return {
        "text": shown.text,
        "state": str(shown.kind),
        "name": shown.name,
        "interface": shown.interface,
        "prefix": shown.prefix,
        "reason": shown.reason,
    }


def _json(value: Any) -> str:
    # In ASCII: a bar may run us in a locale that has no more.
    return json.dumps(value)
