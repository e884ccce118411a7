# SPDX-License-Identifier: GPL-2.0-or-later
"""What the documents say, the program does: commands, options, reasons, exit statuses, configuration, links."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from clatnm import cli, config
from clatnm.cli import set_
from clatnm.cli.main import parser
from clatnm.errors import ConfigError
from clatnm.model import Reason, Settings
from clatnm.status import EXPLANATIONS
from clatnm.translators.backends import BACKENDS

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
MAN_8 = (REPOSITORY / "packaging/man/clatnm.8").read_text(encoding="utf-8")
MAN_TRANSLATE = (REPOSITORY / "packaging/man/clatnm-translate.8").read_text(encoding="utf-8")
MAN_5 = (REPOSITORY / "packaging/man/clatnm.conf.5").read_text(encoding="utf-8")
MAN_PAGES = sorted((REPOSITORY / "packaging/man").glob("*.[0-9]"))
DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md")])
MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")

FENCE = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
LINK = re.compile(r"\]\(([^)#:]+)\)")


def verbs() -> dict[str, argparse.ArgumentParser]:
    (action,) = (a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    return dict(action.choices)


def options(verb: argparse.ArgumentParser) -> set[str]:
    return {name for action in verb._actions for name in action.option_strings} - {"-h", "--help"}


def commands(text: str) -> Iterator[list[str]]:
    """Each `clatnm …` in code, as arguments; a choice like `auto|no` gives several."""
    code = [line for block in FENCE.findall(text) for line in block.splitlines()]
    code += CODE.findall(FENCE.sub("", text))
    for line in code:
        match = re.match(r"(?:[$#] )?(?:sudo )?clatnm (\S.*)", line)
        if match:
            # Two spaces or more: what follows is a remark.
            words = shlex.split(re.split(r"\s{2,}", match[1])[0])
            choices = words[-1].split("|") if words else [""]
            yield from ([*words[:-1], choice] for choice in choices)


def is_accepted(argv: list[str]) -> bool:
    """The parser takes it, or it is a verb's name alone."""
    if len(argv) == 1 and argv[0] in verbs():
        return True
    try:
        arguments = parser().parse_args(argv)
        if arguments.verb == "set":
            set_.wish(arguments)
    except (SystemExit, ConfigError):
        return False
    return True


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_command_in_document_is_accepted(document: Path) -> None:
    refused = [argv for argv in commands(document.read_text(encoding="utf-8")) if not is_accepted(argv)]
    assert not refused


def test_command_check_sees_what_is_wrong() -> None:
    text = (
        "```\nsudo clatnm status --jsno   all\n```\nand `clatnm set X auto|maybe` or `clatnm daemon`, see `clatnm(8)`"
    )
    found = list(commands(text))
    assert found == [["status", "--jsno"], ["set", "X", "auto"], ["set", "X", "maybe"], ["daemon"]]
    assert [is_accepted(argv) for argv in found] == [False, True, False, True]


def test_readme_shows_every_verb_for_users() -> None:
    assert {argv[0] for argv in commands(README)} >= verbs().keys() - {"daemon"}


def man_options() -> dict[str, set[str]]:
    """Verb → options, as the list of clatnm(8) has them."""
    body = MAN_8.partition(".Sh COMMANDS")[2].partition(".Sh ")[0]
    found: dict[str, set[str]] = {}
    for line in body.splitlines():
        if match := re.match(r"\.It Cm ([\w-]+)", line):
            found[match[1]] = current = set()
        elif line.startswith(".It Fl "):
            current |= {"-" + name for name in re.findall(r"Fl (\S+)", line)}
    return found


def test_man_page_has_exactly_the_options_there_are() -> None:
    assert man_options() == {name: options(verb) for name, verb in verbs().items()}


@pytest.mark.parametrize("verb", verbs())
def test_man_page_synopsis_has_every_option(verb: str) -> None:
    synopsis = MAN_8.partition(".Sh SYNOPSIS")[2].partition(".Sh ")[0]
    (part,) = (part for part in synopsis.split(".Nm\n") if part.startswith(f".Cm {verb}\n"))
    shown = {"-" + name for name in re.findall(r"Fl (\S+)", part)}
    # One name of each option is enough.
    assert shown <= options(verbs()[verb])
    for action in verbs()[verb]._actions:
        assert not action.option_strings or "--help" in action.option_strings or shown & set(action.option_strings)


def test_page_of_translate_has_exactly_its_options() -> None:
    lines = (line for line in MAN_TRANSLATE.splitlines() if line.startswith(".It Fl "))
    shown = {"-" + name for line in lines for name in re.findall(r"Fl (\S+)", line)}
    assert shown == options(verbs()["translate"]) | {"-h", "--help"}
    synopsis = MAN_TRANSLATE.partition(".Sh SYNOPSIS")[2].partition(".Sh ")[0]
    assert {"-" + name for name in re.findall(r"Fl (\S+)", synopsis)} == shown - {"-h", "--help", "--verbose"}


@pytest.mark.parametrize("page", MAN_PAGES, ids=lambda page: page.name)
def test_man_page_refers_to_ours_that_exist_and_is_referred_to(page: Path) -> None:
    ours = {f"{other.stem} {other.suffix[1:]}" for other in MAN_PAGES}
    referred = set(re.findall(r"^\.Xr (\S+ \d)", page.read_text(encoding="utf-8"), re.MULTILINE))
    assert {name for name in referred if "clatnm" in name} <= ours
    name = f"{page.stem} {page.suffix[1:]}"
    others = "".join(other.read_text(encoding="utf-8") for other in MAN_PAGES if other != page)
    assert f".Xr {name}" in others
    assert f"`{page.stem}({page.suffix[1:]})`" in README


def test_every_reason_has_words() -> None:
    assert set(EXPLANATIONS) == set(Reason)


@pytest.mark.parametrize("reason", Reason)
def test_reason_is_explained_in_readme_and_man_page(reason: Reason) -> None:
    assert f"| `{reason}` | {EXPLANATIONS[reason]} |" in README
    assert f".It Li {reason}\n" in MAN_8


def test_no_reason_is_explained_that_does_not_exist() -> None:
    rows = re.findall(r"^\| `([a-z0-9-]+)` \|", README, re.MULTILINE)
    items = re.findall(r"^\.It Li (\S+)$", MAN_8.partition(".Sh REASONS")[2].partition(".Sh ")[0], re.MULTILINE)
    assert rows == items == [str(reason) for reason in EXPLANATIONS]


def test_exit_statuses_are_those_of_the_program() -> None:
    statuses = {value for name, value in vars(cli).items() if name.startswith("EXIT_")}
    assert {int(number) for number in re.findall(r"^\.It (\d+)$", MAN_8, re.MULTILINE)} == statuses
    (sentence,) = re.findall(r"Exit status of every command:(.*?)\. More", README, re.DOTALL)
    assert {int(part.split()[0]) for part in sentence.split(";")} == statuses


def known_keys() -> set[str]:
    with pytest.raises(ConfigError) as caught:
        config.parse("[clatnm]\nno-such-key = 1\n", source="", backends=())
    return set(caught.value.hint.removeprefix("known keys: ").split(", "))


def test_man_page_of_the_configuration_has_exactly_the_keys_there_are() -> None:
    assert set(re.findall(r"^\.It Va ([\w-]+)$", MAN_5, re.MULTILINE)) == known_keys()


@pytest.mark.parametrize("backend", BACKENDS)
def test_backend_is_explained_where_one_is_chosen(backend: str) -> None:
    assert re.search(rf"^\.Cm {backend} ", MAN_5, re.MULTILINE)
    assert f"#   {backend} " in (REPOSITORY / "packaging/clatnm.conf").read_text(encoding="utf-8")


def test_example_configurations_are_accepted() -> None:
    examples = re.findall(r"^```ini\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    examples += re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", MAN_5, re.MULTILINE | re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        config.parse(example, source="example", backends=tuple(BACKENDS))


def test_installed_configuration_shows_every_key_with_its_default() -> None:
    text = (REPOSITORY / "packaging/clatnm.conf").read_text(encoding="utf-8")
    assert config.parse(text, source="installed", backends=tuple(BACKENDS)) == Settings()
    active = re.sub(r"^#([\w-]+ = )", r"\1", text, flags=re.MULTILINE)
    shown = config.parse(active, source="active", backends=tuple(BACKENDS))
    assert replace(shown, written=frozenset()) == Settings()
    assert set(re.findall(r"^([\w-]+) = ", active, re.MULTILINE)) == known_keys()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_link_in_document_leads_somewhere(document: Path) -> None:
    targets = LINK.findall(document.read_text(encoding="utf-8"))
    assert [target for target in targets if not (document.parent / target).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_make_target_in_document_exists(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    code = [*FENCE.findall(text), *CODE.findall(text)]
    named = {target for part in code for target in re.findall(r"^(?:sudo )?make ([a-z-]+)", part, re.MULTILINE)}
    assert named <= set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
