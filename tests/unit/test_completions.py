# SPDX-License-Identifier: GPL-2.0-or-later
"""What a real bash, zsh and fish complete: every verb, option and choice that the parser has, and connections."""

from __future__ import annotations

import argparse
import os
import pty
import select
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from clatnm.cli import status_
from clatnm.cli.main import parser
from clatnm.dbus import service
from clatnm.desktop.state import Kind
from clatnm.translators.backends import BACKENDS
from tests.unit.programs import PATH, need

REPOSITORY = Path(__file__).resolve().parents[2]
GENERATOR = REPOSITORY / "tools/completions.py"
PATIENCE_S = 20.0
ALL_OF_THEM = "\x14"  # what in_bash makes of Ctrl-T

# Whoever names a Wi-Fi network writes what others complete.
EVIL = 'Free $(touch pwned) `touch pwned` "it\'s" \\ ;touch pwned'
NAMES = {"Cafe": "wlan0", "Office Wi-Fi": "enp3s0", EVIL: "wlan1", "Zuhause: ü": "wlan2", "line\nbreak": "wlan3"}


def script(shell: str) -> str:
    """What is installed for a shell: made without any library, as where a package is built."""
    command = ["/usr/bin/env", "python3", "-I", "-S", "-B", str(GENERATOR), shell]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30, env={"PATH": PATH}).stdout


def told() -> str:
    """The answer of a daemon with these connections."""
    import json

    item = {"uuid": "0", "manager": "NetworkManager", "translator": {"name": "no connection", "interface": "nor this"}}
    connections = [{"interface": interface, "name": name, **item} for name, interface in NAMES.items()]
    return json.dumps({"version": "1", "connections": connections, "static": []})


class Place:
    """A directory with a `clatnm` that answers `status --json`, and the scripts."""

    def __init__(self, directory: Path, answer: str | None) -> None:
        self.directory = directory
        (directory / "a file").write_text("")
        (directory / "a directory").mkdir()
        program = directory / "bin/clatnm"
        program.parent.mkdir()
        (directory / "told").write_text(answer or "")
        words = f"cat {shlex.quote(str(directory / 'told'))}" if answer else "echo 'error: no daemon' >&2; exit 1"
        program.write_text(f'#!/bin/sh\n[ "$*" = "status --json" ] || exit 9\n{words}\n')
        program.chmod(0o755)
        self.environment = {
            "PATH": f"{program.parent}:{PATH}",
            "HOME": str(directory),
            "TERM": "dumb",
            "LC_ALL": "C.UTF-8",
        }

    def file(self, shell: str) -> Path:
        path = self.directory / f"completion.{shell}"
        if not path.exists():
            path.write_text(script(shell))
        return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    with pytest.MonkeyPatch.context() as patch:
        answer = told()

        async def ask(member: str, *arguments: str) -> str:
            return answer

        patch.setattr(service, "ask", ask)
        # In the very form that `clatnm status --json` has.
        printed: list[str] = []
        patch.setattr("builtins.print", printed.append)
        assert status_.run(argparse.Namespace(json=True)) == 0
    return Place(tmp_path_factory.mktemp("place"), f"{printed[0]}\n")


@pytest.fixture(scope="module")
def lonely(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """No daemon runs."""
    return Place(tmp_path_factory.mktemp("lonely"), None)


# The shells


class Terminal:
    """An interactive shell on a terminal of its own, ended with the block."""

    def __init__(self, argv: list[str], *, place: Place) -> None:
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            argv,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=place.directory,
            env=place.environment,
            start_new_session=True,
        )
        os.close(slave)
        self.said = ""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def wait(self, what: Callable[[], bool]) -> None:
        """Until it is so; what the terminal shows is read meanwhile, so that nobody waits for us."""
        until = time.monotonic() + PATIENCE_S
        while not what():
            assert time.monotonic() < until, self.said[-2000:]
            if select.select([self._master], [], [], 0.02)[0]:
                self.said += os.read(self._master, 65536).decode(errors="replace")


def in_bash(place: Place, line: str, *, key: str = ALL_OF_THEM) -> list[str]:
    """The words that all completions together make of the last one, by readline's own insert-completions; or, with
    another key, the only one."""
    answer = place.directory / "bash.answer"
    answer.unlink(missing_ok=True)
    setup = place.directory / "setup.bash"
    setup.write_text(
        f"source {shlex.quote(str(place.file('bash')))}\n"
        "PS1='ready> '\n"
        "set +o history\n"
        "bind 'set bell-style none' 'set completion-query-items 0'\n"
        """bind '"\\C-t": insert-completions'\n"""
        f"""bind -x '"\\C-o": printf %s "$READLINE_LINE" >answer.new; mv answer.new {answer.name}'\n"""
    )
    with Terminal([need("bash", "bash"), "--noprofile", "--rcfile", str(setup), "-i"], place=place) as terminal:
        terminal.wait(lambda: "ready> " in terminal.said)
        terminal.type(f"{line}{key}\x0f")
        terminal.wait(answer.exists)
    told = answer.read_text()
    return [] if told == line else shlex.split(told)[len(shlex.split(line.rpartition(" ")[0])) :]


def in_zsh(place: Place, line: str) -> list[str]:
    """The matches that are added; where there is one, the word in the line is it."""
    answer = place.directory / "zsh.answer"
    answer.unlink(missing_ok=True)
    functions = place.directory / "functions"
    functions.mkdir(exist_ok=True)
    (functions / "_clatnm").write_text(place.file("zsh").read_text())
    (place.directory / ".zshrc").write_text(ZSHRC.format(functions=shlex.quote(str(functions)), answer=answer.name))
    with Terminal([need("zsh", "zsh"), "-d", "-i"], place=place) as terminal:
        terminal.wait(lambda: "ready> " in terminal.said)
        terminal.type(f"{line}\t\x0f")
        terminal.wait(answer.exists)
    buffer, *matches = answer.read_text().split("\0")[:-1]
    if len(matches) == 1:
        assert shlex.split(buffer)[-1].rstrip("=/") == matches[0]
    return matches


ZSHRC = r"""
fpath=({functions} $fpath)
autoload -Uz compinit && compinit -u -D
PS1='ready> '
unsetopt beep list_beep
LISTMAX=0
typeset -ga found
compadd() {{
    local -a hits
    # Those with -O, -A or -D only ask.
    if [[ ${{@[1,(i)(-|--)]}} != *-(O|A|D)\ * ]]; then
        builtin compadd -A hits "$@"
        found+=("${{(@Q)hits}}")
    fi
    builtin compadd "$@"
}}
tell() {{
    printf '%s\0' "$BUFFER" ${{(u)found}} >answer.new
    mv answer.new {answer}
}}
zle -N tell
bindkey '^O' tell
bindkey '^I' expand-or-complete
"""


def in_fish(place: Place, line: str) -> list[str]:
    """What fish says itself of a line, without descriptions."""
    command = f"source {shlex.quote(str(place.file('fish')))}; complete -C {shlex.quote(line)}"
    done = subprocess.run(
        [need("fish", "fish"), "--no-config", "-c", command],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        cwd=place.directory,
        env=place.environment,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [row.partition("\t")[0] for row in done.stdout.splitlines()]


Complete = Callable[[Place, str], list[str]]
SHELLS: Mapping[str, Complete] = {"bash": in_bash, "zsh": in_zsh, "fish": in_fish}
each_shell = pytest.mark.parametrize("complete", SHELLS.values(), ids=SHELLS.keys())


def verbs() -> dict[str, argparse.ArgumentParser]:
    (action,) = (a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    return dict(action.choices)


def long_options(verb: str) -> set[str]:
    names = (name for action in verbs()[verb]._actions for name in action.option_strings)
    return {name for name in names if name.startswith("--")}


# What is completed


@each_shell
def test_every_verb_is_offered_first(place: Place, complete: Complete) -> None:
    assert set(complete(place, "clatnm ")) >= set(verbs())
    assert set(complete(place, "clatnm st")) == {name for name in verbs() if name.startswith("st")}


@pytest.mark.parametrize("verb", verbs())
@each_shell
def test_every_option_of_a_verb_is_offered(place: Place, complete: Complete, verb: str) -> None:
    assert set(complete(place, f"clatnm {verb} --")) == long_options(verb)


@each_shell
def test_choices_of_an_option_are_offered(place: Place, complete: Complete) -> None:
    assert set(complete(place, "clatnm translate --backend ")) == {"auto", *BACKENDS}
    assert set(complete(place, "clatnm indicator --only ")) == {kind.value for kind in Kind}
    assert complete(place, "clatnm translate --uplink ") == complete(place, "clatnm translate --uplink l") == [
        "lo"
    ] or ("lo" in complete(place, "clatnm translate --uplink "))


@each_shell
def test_connections_are_those_of_the_daemon(place: Place, complete: Complete) -> None:
    assert complete(place, "clatnm explain Off") == ["Office Wi-Fi"]
    assert set(complete(place, "clatnm set wlan")) == {"wlan0", "wlan1", "wlan2", "wlan3"}
    plain = {name for name in NAMES if "\n" not in name}
    assert set(complete(place, "clatnm explain ")) == plain | set(NAMES.values())


@each_shell
def test_modes_come_behind_the_connection_whatever_stands_before(place: Place, complete: Complete) -> None:
    modes = {"auto", "force", "no"}
    assert set(complete(place, "clatnm set Cafe ")) == {*modes, "default"}
    assert set(complete(place, "clatnm set 'Office Wi-Fi' ")) == {*modes, "default"}
    assert set(complete(place, "clatnm set --default ")) == modes
    assert complete(place, "clatnm set --default auto Ca") == ["Cafe"]
    assert complete(place, "clatnm translate --plat-prefix 64:ff9b::/96 --back") == ["--backend"]


@each_shell
def test_name_of_a_network_is_one_word_and_runs_nothing(place: Place, complete: Complete) -> None:
    assert complete(place, "clatnm explain Fre") == [EVIL]
    assert not list(place.directory.rglob("pwned"))


def test_name_that_cannot_stand_in_open_quotes_is_not_offered_there(place: Place) -> None:
    assert in_bash(place, 'clatnm explain "Off', key="\t") == ["Office Wi-Fi"]
    assert in_bash(place, "clatnm explain 'Off", key="\t") == ["Office Wi-Fi"]
    assert in_bash(place, 'clatnm explain "Fre', key="\t") == in_bash(place, "clatnm explain 'Fre", key="\t") == []


@each_shell
def test_files_and_directories_are_told_apart(place: Place, complete: Complete) -> None:
    def offered(line: str) -> set[str]:
        return {word.rstrip("/") for word in complete(place, line)}

    assert offered("clatnm daemon --record a") == {"a file", "a directory"}
    assert offered("clatnm daemon --state a") == {"a directory"}
    assert offered("clatnm status a") <= {"a"}


@each_shell
def test_without_a_daemon_there_are_no_names_and_no_noise(lonely: Place, complete: Complete) -> None:
    assert complete(lonely, "clatnm explain Ca") == []


# The scripts


@pytest.mark.parametrize("shell", SHELLS)
def test_script_is_what_is_installed(tmp_path: Path, shell: str) -> None:
    command = [str(REPOSITORY / "tools/install.sh"), "files"]
    subprocess.run(command, env={"PATH": PATH, "DESTDIR": str(tmp_path), "PREFIX": "/usr"}, check=True, timeout=60)
    places = {
        "bash": "usr/share/bash-completion/completions/clatnm",
        "zsh": "usr/share/zsh/site-functions/_clatnm",
        "fish": "usr/share/fish/vendor_completions.d/clatnm.fish",
    }
    assert (tmp_path / places[shell]).read_text() == script(shell)
    assert (tmp_path / places[shell]).stat().st_mode & 0o777 == 0o644


def test_script_for_bash_is_clean() -> None:
    checker = need("shellcheck", "shellcheck")
    done = subprocess.run(
        [checker, "--shell=bash", "-"], input=script("bash"), capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_unknown_shell_is_a_usage_error() -> None:
    done = subprocess.run(
        [sys.executable, str(GENERATOR), "csh"], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "usage: completions.py bash|zsh|fish\n"
