# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands that the documents show, found by how they are marked.

In Markdown, a block fenced as `sh` is commands, one a line; two blanks or more begin a remark, a line that begins with
a blank goes on with it, and `#` begins one too. In a block fenced as `console`, commands follow `$ ` or `# `, and the
rest is what they print. In man pages a command is `.Dl $ …` or `.Dl # …`; with ` \\e` at its end it goes on in the next
one, as in a shell. Blocks of any other kind have none: `strays` finds those that do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
MARKDOWN = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md"), *REPOSITORY.glob("tests/*/README.md")])
MAN_PAGES = sorted((REPOSITORY / "packaging/man").glob("*.[0-9]"))

PROGRAMS = (
    "apt-get|busctl|clatnm|cp|curl|dnf|firewall-cmd|gdbus|ip|journalctl|make|networkctl|nft|nmcli|pip|ping|python3?|"
    "sudo|sysctl|systemctl|tcpdump"
)

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_REMARK = re.compile(r"\s{2,}.*| #.*")
_IN_CONSOLE = re.compile(r"[$#] (.*)")
_IN_MAN_PAGE = re.compile(r"\.Dl [$#] (.*)")
_GOES_ON = re.compile(r" \\e\n\.Dl ")
_STRAY = re.compile(rf"(?:[$#] )?(?:{PROGRAMS}) [\w'\"+./-]")


@dataclass(frozen=True, order=True)
class Command:
    """One line of a document that is to be run; without `sudo`, which only says who has to."""

    text: str
    document: str

    @property
    def program(self) -> str:
        return self.text.split()[0]


def all_of_them() -> list[Command]:
    """Each command once, with the first document that has it."""
    found: dict[str, Command] = {}
    for path in (*MARKDOWN, *MAN_PAGES):
        text = path.read_text(encoding="utf-8")
        for line in of_markdown(text) if path.suffix == ".md" else of_man_page(text):
            found.setdefault(line, Command(text=line, document=str(path.relative_to(REPOSITORY))))
    return list(found.values())


def of_markdown(text: str) -> Iterator[str]:
    """The commands of a document, in its order."""
    for language, block in _FENCE.findall(text):
        for line in block.splitlines():
            if language == "sh" and line[:1] not in ("", " ", "#"):
                yield _bare(line)
            elif language == "console" and (match := _IN_CONSOLE.match(line)):
                yield _bare(match[1])


def of_man_page(text: str) -> Iterator[str]:
    """The commands of a page in mdoc."""
    for line in _GOES_ON.sub(" ", text).splitlines():
        if match := _IN_MAN_PAGE.match(line):
            yield _bare(match[1].replace("\\(dq", '"'))


def strays(text: str) -> list[str]:
    """Lines that look like commands, in blocks that are not marked as such."""
    blocks = (block for language, block in _FENCE.findall(text) if language not in ("sh", "console"))
    return [line for block in blocks for line in block.splitlines() if _STRAY.match(line)]


def _bare(line: str) -> str:
    return _REMARK.sub("", line).removeprefix("sudo ").strip()
