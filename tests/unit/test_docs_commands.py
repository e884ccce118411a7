# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands in the documents are found; `tests/e2e/test_documented_commands.py` runs each, or has a reason not to."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests import documented
from tests.documented import MAN_PAGES, MARKDOWN, Command
from tests.e2e import documented_ways as ways
from tests.unit.programs import need

COMMANDS = documented.all_of_them()

SAMPLE = """\
```sh
# a remark of its own
sudo clatnm set X no      never
                          on this one
clatnm status             # everything
```
```console
$ clatnm plan
nothing to do
# systemctl reload clatnm
```
```ini
[clatnm]
```
"""


def test_commands_are_found_in_their_order_without_remarks_and_output() -> None:
    found = ["clatnm set X no", "clatnm status", "clatnm plan", "systemctl reload clatnm"]
    assert list(documented.of_markdown(SAMPLE)) == found
    page = ".Dl $ clatnm set \\(dqOffice Wi-Fi\\(dq no\n.Dl no command\n.Dl # clatnm \\e\n.Dl cleanup\n"
    assert list(documented.of_man_page(page)) == ['clatnm set "Office Wi-Fi" no', "clatnm cleanup"]


@pytest.mark.parametrize("path", MAN_PAGES, ids=lambda path: path.name)
def test_command_in_a_man_page_can_be_copied_from_80_columns(path: Path) -> None:
    plain = (need("mandoc", "mandoc"), "-T", "utf8", "-O", "width=78", str(path))
    page = re.sub(r".\x08", "", subprocess.run(plain, capture_output=True, text=True, check=True).stdout)
    lines = {line.strip()[2:] for line in re.sub(r" \\\n +", " ", page).splitlines()}
    assert [found for found in documented.of_man_page(path.read_text(encoding="utf-8")) if found not in lines] == []


def test_command_in_a_block_of_another_kind_is_a_stray() -> None:
    text = "```\n  clatnm daemon is here\nclatnm status\n$ nmcli connection up X\nwlan0: CLAT up\nip = 1\n```\n"
    assert documented.strays(text) == ["clatnm status", "$ nmcli connection up X"]
    assert documented.strays(text.replace("```\n ", "```sh\n ", 1)) == []


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda path: str(path.relative_to(documented.REPOSITORY)))
def test_commands_are_marked_as_such(path: Path) -> None:
    assert documented.strays(path.read_text(encoding="utf-8")) == []


def test_there_are_commands_of_every_kind_of_document() -> None:
    assert {command.document.partition("/")[0] for command in COMMANDS} >= {"README.md", "docs", "packaging"}
    assert sum(command.program == "clatnm" for command in COMMANDS) > 20


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.text)
def test_command_is_one_that_a_shell_understands(command: Command) -> None:
    done = subprocess.run(
        [need("bash", "bash"), "-n", "-c", command.text], capture_output=True, text=True, timeout=10, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_exception_is_about_a_command_that_is_there() -> None:
    texts = {command.text for command in COMMANDS}
    assert set(ways.NOT_RUN) - texts == set()
    assert set(ways.DIFFERENTLY) - texts == set()
    assert ways.NOT_RUN.keys() & ways.DIFFERENTLY.keys() == set()


def test_every_reason_names_where_it_is_tried_otherwise() -> None:
    """A file that exists, unless there is nothing of ours in the command."""
    for text, reason in ways.NOT_RUN.items():
        named = [word.strip(",;:.()") for word in reason.split() if word.startswith(("tests/", "tools/", "Makefile"))]
        assert named or "nothing of ours" in reason, (text, reason)
        assert [name for name in named if not (documented.REPOSITORY / name).exists()] == [], text
