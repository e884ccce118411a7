#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Prints what bash, zsh or fish needs to complete `clatnm …`: `completions.py bash|zsh|fish`.

Made from the argument parser when clatnm is installed, so a new verb or option is there by itself. It needs no library
but Python's own. Names of connections are asked of the daemon when the key is pressed; without one there are none.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from clatnm.cli.main import parser
from clatnm.desktop.state import Kind
from clatnm.words import Mode

TEMPLATES = Path(__file__).resolve().parents[1] / "packaging/completions"
"""What does not depend on the verbs; `@NAME@` stands for what does."""
MODES = tuple(sorted(mode.value for mode in Mode))
CONNECTIONS, INTERFACES, FILES, DIRECTORIES, WORDS, ANYTHING = (
    "connections",
    "interfaces",
    "files",
    "directories",
    "words",
    "anything",
)
# What stands for a value in `--help` says what can be offered for it.
KINDS = {
    "CONNECTION": CONNECTIONS,
    "IF": INTERFACES,
    "INTERFACE": INTERFACES,
    "FILE": FILES,
    "IN": FILES,
    "OUT": FILES,
    "DIR": DIRECTORIES,
}
# Names in `clatnm status --json`, one a line. Those with control characters are left out. What stands deeper has more
# blanks before it.
NAMES = (
    "clatnm status --json 2>/dev/null | sed -n "
    """-e '/\\\\u/d' -e '/\\\\[bfnrt]/d' -e 's/\\\\"/"/g' -e 's/\\\\\\\\/\\\\/g' """
    """-e 's/^      "name": "\\(.*\\)",$/\\1/p' -e 's/^      "interface": "\\(.*\\)",$/\\1/p' | sort -u"""
)


@dataclass(frozen=True)
class Value:
    """What an option or a place takes: one of the kinds above, and which words."""

    kind: str
    words: tuple[str, ...] = ()
    title: str = ""
    """As `--help` calls it."""


@dataclass(frozen=True)
class Option:
    """`value` is None for a switch."""

    names: tuple[str, ...]
    text: str
    value: Value | None
    again: bool
    """It can be given several times."""


@dataclass(frozen=True)
class Verb:
    """`places`: what stands without an option, in its order; the last one any number of times if `endless`."""

    name: str
    text: str
    options: tuple[Option, ...]
    places: tuple[Value, ...]
    endless: bool

    @property
    def taking(self) -> Iterator[tuple[str, Value]]:
        """Each name of an option that takes a value, and which."""
        return ((name, option.value) for option in self.options if option.value for name in option.names)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for option in self.options for name in option.names)


def read(top: argparse.ArgumentParser) -> tuple[tuple[Option, ...], tuple[Verb, ...]]:
    """The options before any verb, and the verbs."""
    (verbs,) = (action for action in top._actions if isinstance(action, argparse._SubParsersAction))
    texts = {choice.dest: choice.help or "" for choice in verbs._choices_actions}
    return _options(top), tuple(_verb(name, texts[name], sub) for name, sub in verbs.choices.items())


def _verb(name: str, text: str, sub: argparse.ArgumentParser) -> Verb:
    if any(isinstance(action, argparse._SubParsersAction) for action in sub._actions):
        raise SystemExit(f"error: {name} has verbs of its own (teach tools/completions.py about them)")
    places = [action for action in sub._actions if not action.option_strings]
    endless = bool(places) and places[-1].nargs in ("*", "+", argparse.REMAINDER)
    return Verb(name, text, _options(sub), tuple(_value(action, own=True) for action in places), endless)


def _options(of: argparse.ArgumentParser) -> tuple[Option, ...]:
    formatter = of._get_formatter()
    return tuple(
        Option(
            names=tuple(action.option_strings),
            text=" ".join(formatter._expand_help(action).split()) if action.help else "",
            value=None if action.nargs == 0 else _value(action, own=False),
            again=isinstance(action, (argparse._AppendAction, argparse._CountAction)),
        )
        for action in of._actions
        if action.option_strings and action.help is not argparse.SUPPRESS
    )


def _value(action: argparse.Action, *, own: bool) -> Value:
    """`own`: a place, not an option. A connection's mode can be taken away again, the default's cannot."""
    title = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    if action.choices is not None:
        return Value(WORDS, tuple(map(str, action.choices)), title)
    if title == "MODE":
        return Value(WORDS, (*MODES, "default") if own else MODES, title)
    if title == "STATES":  # one of them; others can be put behind it by hand
        return Value(WORDS, tuple(kind.value for kind in Kind), title)
    return Value(KINDS.get(title, ANYTHING), (), title)


def bash(top: tuple[Option, ...], verbs: tuple[Verb, ...]) -> str:
    """A script for bash 4.3 or newer; bash-completion finds it by its name, but is not needed."""
    taking = [(f'"{verb.name} {name}"', value) for verb in verbs for name, value in verb.taking]
    values = (f"    {pattern}) _clatnm_give {_bash_words(value)}; return ;;" for pattern, value in taking)
    places = (
        f'    "{verb.name} "{number}) _clatnm_give {_bash_words(value)} ;;'
        for verb in verbs
        for number, value in _numbered(verb)
    )
    options = (f"        {verb.name}) _clatnm_give words {' '.join(verb.names)} ;;" for verb in verbs)
    return _filled(
        "bash",
        NAMES=NAMES,
        TOP=" ".join([*(verb.name for verb in verbs), *(name for option in top for name in option.names)]),
        OPTIONS="\n".join(options),
        VALUES="\n".join(values),
        TAKING=f"        {' | '.join(pattern for pattern, _ in taking)}) ((i += 1)) ;;",
        PLACES="\n".join(places),
    )


def _numbered(verb: Verb) -> Iterator[tuple[str, Value]]:
    """The places of a verb by number, which is a pattern for all that come after the last."""
    for number, value in enumerate(verb.places):
        yield "*" if verb.endless and number == len(verb.places) - 1 else str(number), value


def _bash_words(value: Value) -> str:
    return " ".join([value.kind, *(_quoted(word) for word in value.words)])


def zsh(top: tuple[Option, ...], verbs: tuple[Verb, ...]) -> str:
    """A function for a directory of `fpath`, to be named `_clatnm`."""
    cases = []
    for verb in verbs:
        places = (
            f"{'*' if number == '*' else int(number) + 1}::{value.title}:{_zsh_action(value)}"
            for number, value in _numbered(verb)
        )
        specs = [_quoted(spec) for spec in (*_zsh_specs(verb.options), *places)]
        cases.append(f"        {verb.name}) _arguments {' '.join(specs)} ;;")
    return _filled(
        "zsh",
        NAMES=NAMES,
        VERBS="\n".join(f"        {_quoted(f'{verb.name}:{verb.text}')}" for verb in verbs),
        TOP="\n".join(f"        {_quoted(spec)} \\" for spec in _zsh_specs(top, alone=True)),
        CASES="\n".join(cases),
    )


def _zsh_specs(options: Iterable[Option], *, alone: bool = False) -> Iterator[str]:
    """Each name of an option in the words of `_arguments`. `alone`: nothing else makes sense beside it."""
    for option in options:
        text = option.text.replace("\\", "").replace("[", "(").replace("]", ")").replace(":", "\\:")
        value = f":{option.value.title}:{_zsh_action(option.value)}" if option.value else ""
        for name in option.names:
            without = "(- *)" if alone else "*" if option.again else f"({' '.join(option.names)})"
            # `--name=` takes its value behind the sign or as the next word.
            yield f"{without}{name}{'=' if value and name.startswith('--') else ''}[{text}]{value}"


def _zsh_action(value: Value) -> str:
    return {
        CONNECTIONS: "_clatnm_connections",
        INTERFACES: "_clatnm_interfaces",
        FILES: "_files",
        DIRECTORIES: "_files -/",
        WORDS: f"({' '.join(value.words)})",
        ANYTHING: " ",
    }[value.kind]


def fish(top: tuple[Option, ...], verbs: tuple[Verb, ...]) -> str:
    """A script for a directory of `fish_complete_path`, to be named `clatnm.fish`."""
    lines = [_fish_option("__clatnm_first", option) for option in top]
    for verb in verbs:
        lines.append(f"complete -c clatnm -n __clatnm_first -a {verb.name} -d {_fish_quoted(verb.text)}")
        lines += [_fish_option(f"__clatnm_at {verb.name}", option) for option in verb.options]
        taking = " ".join(name for name, _ in verb.taking)
        for number, value in _numbered(verb):
            condition = f"__clatnm_at {verb.name} {_quoted(number)} {taking}".rstrip()
            lines.append(f"complete -c clatnm -n {_fish_quoted(condition)} {_fish_given(value)}")
    # In its quotes, too, a backslash needs one.
    return _filled("fish", NAMES=NAMES.replace("\\", "\\\\"), LINES="\n".join(lines))


def _fish_option(condition: str, option: Option) -> str:
    names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
    value = f" -r {_fish_given(option.value)}" if option.value else ""
    return f"complete -c clatnm -n {_fish_quoted(condition)} {names}{value} -d {_fish_quoted(option.text)}"


def _fish_given(value: Value) -> str:
    return {
        CONNECTIONS: "-f -a '(__clatnm_names)'",
        INTERFACES: "-f -a '(__fish_print_interfaces)'",
        FILES: "-F",
        DIRECTORIES: "-f -a '(__fish_complete_directories)'",
        WORDS: f"-f -a {_fish_quoted(' '.join(value.words))}",
        ANYTHING: "-f",
    }[value.kind]


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _quoted(text: str) -> str:
    """For bash and zsh, always with quotes: what is in a description is of no interest."""
    return "'" + text.replace("'", "'\\''") + "'"


def _filled(shell: str, **parts: str) -> str:
    template = (TEMPLATES / f"clatnm.{shell}.in").read_text(encoding="utf-8")
    for name, text in parts.items():
        template = template.replace(f"@{name}@", text)
    return template


SHELLS: Mapping[str, Callable[[tuple[Option, ...], tuple[Verb, ...]], str]] = {"bash": bash, "zsh": zsh, "fish": fish}


def main() -> int:
    """Print one; the exit status."""
    if len(sys.argv) != 2 or sys.argv[1] not in SHELLS:
        print(f"usage: completions.py {'|'.join(SHELLS)}", file=sys.stderr)
        return 2
    sys.stdout.write(SHELLS[sys.argv[1]](*read(parser())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
