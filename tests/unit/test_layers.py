# SPDX-License-Identifier: GPL-2.0-or-later
"""The house rules that a machine can check: who imports whom, how long things get. Reads `clatnm/`, imports nothing.

Each rule is a function from the sources to what is wrong with them, and is itself tested with a planted violation.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SPDX = "# SPDX-License-Identifier: GPL-2.0-or-later"
MAX_FILE_LINES = 399
MAX_FUNCTION_LINES = 50

# A room is a folder or a file directly in clatnm/. What each may import of the others; itself goes without saying.
LEAVES = frozenset({"clock", "compat", "errors", "facts", "heard", "log", "model", "printable", "waiting"})
ROOMS: Mapping[str, frozenset[str]] = {
    # leaves
    "clock": frozenset(),
    "compat": frozenset(),
    "waiting": frozenset(),
    "errors": frozenset(),
    "log": frozenset({"compat"}),
    "notify": frozenset(),
    "pipes": frozenset(),
    "printable": frozenset(),
    "facts": frozenset(),
    "heard": frozenset({"compat"}),
    "words": frozenset({"compat"}),
    "model": frozenset({"compat", "facts", "heard", "proto", "words"}),
    "config": frozenset(
        {"compat", "config_device", "config_metrics", "errors", "log", "model", "proto", "static_conf"}
    ),
    "config_metrics": frozenset({"errors"}),
    "static_conf": frozenset({"config_device", "errors", "model", "proto", "relay"}),
    "config_device": frozenset({"errors", "model"}),
    "clatd_conf": frozenset({"clatd_rules", "errors"}),
    "clatd_rules": frozenset({"compat", "config_device", "errors", "proto"}),
    "config_edit": frozenset({"config", "errors", "model"}),
    "status": frozenset({"compat", "model", "printable"}),
    # pure
    "proto": frozenset({"compat", "errors"}),
    "policy": frozenset({"compat", "errors", "facts", "model", "proto"}),
    "relay": frozenset({"errors", "model", "proto"}),
    "pcapfile": frozenset({"errors"}),
    "offline": frozenset({"pcapfile", "proto"}),
    # the machine
    "dbus": LEAVES,
    "bpf": frozenset(),
    "kernel": LEAVES | {"bpf", "proto"},
    "worker": LEAVES | {"proto"},
    "templates": LEAVES,
    # what the daemon is made of: three that do not know each other
    "uplinks": LEAVES | {"config", "dbus", "kernel"},
    # `policy` for discovery/plat.py: when to ask a PLAT, and what its answers mean, is decided there.
    "discovery": LEAVES | {"dbus", "kernel", "policy", "proto"},
    "firewall": LEAVES | {"dbus"},
    # What a user's session runs; of the daemon it knows what the bus says.
    "desktop": LEAVES | {"dbus", "pipes", "status"},
    "translators": LEAVES | {"bpf", "kernel", "memo", "proto", "templates", "worker"},
    # wiring
    "trace": LEAVES | {"proto"},
    "memo": LEAVES | {"proto", "trace"},
    "recorder": LEAVES | {"trace"},
    "explain": LEAVES | {"journal", "policy", "status"},
    "observer": LEAVES | {"dbus", "discovery", "kernel", "policy", "uplinks"},
    "explain_static": LEAVES | {"explain", "journal", "policy", "status"},
    "journal": LEAVES | {"status"},
    "hooks": frozenset({"log", "model", "waiting"}),
    "metrics": LEAVES | {"config_metrics", "status"},
    "monitor": LEAVES | {"dbus", "status"},
    "supervisor": LEAVES | {"hooks", "memo", "policy", "translators"},
    "caretaker": frozenset({"firewall", "kernel", "translators"}),
    "byhand": LEAVES | {"config", "kernel", "policy", "proto", "relay", "status", "translators"},
}
# These two sit on top and may import every room; nothing but `cli` may import them.
TOP = frozenset({"cli", "daemon", "doctor", "planner"})

# Third-party libraries and the one place each of them lives in.
LIBRARIES: Mapping[str, str] = {
    "dbus_next": "clatnm/dbus/",
    "dbus_fast": "clatnm/dbus/",
    "pyroute2": "clatnm/kernel/rtnl.py",
    "dns": "clatnm/discovery/question.py",
    "urwid": "clatnm/monitor/screen.py",
    "jinja2": "clatnm/templates/",
}
# Clock, network, scheduler, chance: what makes a function's answer depend on more than its arguments.
IMPURE = frozenset(
    {
        "asyncio",
        "datetime",
        "os",
        "pathlib",
        "random",
        "secrets",
        "select",
        "selectors",
        "signal",
        "socket",
        "ssl",
        "subprocess",
        "threading",
        "time",
    }
)
PURE_ROOMS = frozenset({"offline", "pcapfile", "policy", "proto", "relay"})

Sources = Mapping[str, str]
"""Path in the repository → text."""


def sources() -> Sources:
    files = sorted((REPOSITORY / "clatnm").rglob("*.py"))
    return {str(file.relative_to(REPOSITORY)): file.read_text(encoding="utf-8") for file in files}


def room_of(path: str) -> str:
    """`clatnm/proto/ndp.py` → `proto`, `clatnm/model.py` → `model`, `clatnm/__init__.py` → ``."""
    first = path.removeprefix("clatnm/").split("/")[0].removesuffix(".py")
    return "" if first == "__init__" else first


def imports(path: str, text: str) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of each import, wherever it stands; `from a import b` counts as `a.b`."""
    package = path.removesuffix(".py").split("/")[:-1]
    for node in ast.walk(ast.parse(text, path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def imported_rooms(path: str, text: str) -> Iterator[tuple[int, str]]:
    for line, name in imports(path, text):
        first, _, rest = name.partition(".")
        room = rest.split(".")[0]
        # `from clatnm import __version__` is a constant of the package, not a room.
        if first == "clatnm" and room and not room.startswith("__"):
            yield line, room


# The rules: each yields one sentence a violation, which says what to do.


def libraries_live_in_one_room(tree: Sources) -> Iterator[str]:
    for path, text in tree.items():
        for line, name in imports(path, text):
            library = name.split(".")[0]
            if library == "clatnm" or library in sys.stdlib_module_names:
                continue
            home = LIBRARIES.get(library)
            if home is None:
                yield f"{path}:{line}: {library} has no room: do without it, or give it one in LIBRARIES of this test"
            elif not path.startswith(home):
                yield f"{path}:{line}: {library} is imported in {home} only: offer there what is needed here"


def rooms_import_downwards(tree: Sources) -> Iterator[str]:
    for path, text in tree.items():
        room = room_of(path)
        if room in TOP or not room:
            continue
        if room not in ROOMS:
            yield f"{path}: the room {room} is new: say in ROOMS of this test what it may import"
            continue
        for line, other in imported_rooms(path, text):
            if other != room and other not in ROOMS[room] | TOP:
                allowed = ", ".join(sorted(ROOMS[room])) or "no other room"
                yield f"{path}:{line}: {room} may not import {other} (only: {allowed}): pass in what it needs"


def only_cli_imports_the_top(tree: Sources) -> Iterator[str]:
    for path, text in tree.items():
        room = room_of(path)
        for line, other in imported_rooms(path, text):
            if other in TOP and room not in ("cli", other):
                yield f"{path}:{line}: only cli imports {other}: move what is shared into a room below"


def pure_rooms_stay_pure(tree: Sources) -> Iterator[str]:
    for path, text in tree.items():
        if room_of(path) not in PURE_ROOMS:
            continue
        for line, name in imports(path, text):
            if name.split(".")[0] in IMPURE:
                yield f"{path}:{line}: {room_of(path)} is pure: take what {name} would give as an argument (`now`)"


def files_are_short(tree: Sources) -> Iterator[str]:
    for path, text in tree.items():
        lines = len(text.splitlines())
        if lines > MAX_FILE_LINES:
            yield f"{path}: {lines} lines, at most {MAX_FILE_LINES}: find the second idea in it and give it a file"


def functions_are_short(tree: Sources) -> Iterator[str]:
    for path, text in tree.items():
        for node in ast.walk(ast.parse(text, path)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    yield (
                        f"{path}:{node.lineno}: {node.name} has {lines} lines, at most {MAX_FUNCTION_LINES}: "
                        "name a part of it"
                    )


def files_name_their_license(tree: Sources) -> Iterator[str]:
    for path, text in tree.items():
        if text.partition("\n")[0] != SPDX:
            yield f"{path}:1: the first line must be `{SPDX}`"


RULES = (
    libraries_live_in_one_room,
    rooms_import_downwards,
    only_cli_imports_the_top,
    pure_rooms_stay_pure,
    files_are_short,
    functions_are_short,
    files_name_their_license,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_house_rule_holds(rule: Callable[[Sources], Iterator[str]]) -> None:
    violations = list(rule(sources()))
    assert not violations, "\n" + "\n".join(violations)


def test_sources_are_found_at_all() -> None:
    assert {"clatnm/model.py", "clatnm/proto/nat64.py", "clatnm/daemon.py"} <= sources().keys()


LONG_FUNCTION = "def long():\n" + "    pass\n" * MAX_FUNCTION_LINES


@pytest.mark.parametrize(
    ("rule", "path", "text", "told"),
    [
        (libraries_live_in_one_room, "clatnm/uplinks/a.py", "from dbus_next import Message", "clatnm/dbus/ only"),
        (libraries_live_in_one_room, "clatnm/cli/a.py", "def f():\n    import dbus_fast.aio", "clatnm/dbus/ only"),
        (libraries_live_in_one_room, "clatnm/worker/a.py", "import pyroute2.netlink", "clatnm/kernel/rtnl.py only"),
        (libraries_live_in_one_room, "clatnm/discovery/ra.py", "import dns.resolver", "discovery/question.py only"),
        (libraries_live_in_one_room, "clatnm/translators/a.py", "from jinja2 import Template", "templates/ only"),
        (libraries_live_in_one_room, "clatnm/model.py", "import requests", "requests has no room"),
        (rooms_import_downwards, "clatnm/proto/a.py", "from clatnm import model", "proto may not import model"),
        (rooms_import_downwards, "clatnm/proto/a.py", "from ..model import Plan", "proto may not import model"),
        (rooms_import_downwards, "clatnm/policy/a.py", "import clatnm.kernel.host", "policy may not import kernel"),
        (rooms_import_downwards, "clatnm/worker/a.py", "from clatnm.config import load", "may not import config"),
        (rooms_import_downwards, "clatnm/kernel/a.py", "from clatnm.policy import plan", "may not import policy"),
        (rooms_import_downwards, "clatnm/kernel/a.py", "from clatnm.uplinks import Manager", "may not import uplinks"),
        (rooms_import_downwards, "clatnm/uplinks/a.py", "from clatnm import discovery", "may not import discovery"),
        (rooms_import_downwards, "clatnm/discovery/a.py", "from clatnm import uplinks", "may not import uplinks"),
        (rooms_import_downwards, "clatnm/translators/a.py", "from clatnm import uplinks", "may not import uplinks"),
        (rooms_import_downwards, "clatnm/attic/a.py", "", "the room attic is new"),
        (only_cli_imports_the_top, "clatnm/daemon.py", "from clatnm.cli import EXIT_OK", "only cli imports cli"),
        (only_cli_imports_the_top, "clatnm/byhand.py", "from clatnm.daemon import Daemon", "only cli imports daemon"),
        (only_cli_imports_the_top, "clatnm/proto/a.py", "import clatnm.daemon", "only cli imports daemon"),
        (pure_rooms_stay_pure, "clatnm/policy/a.py", "import asyncio", "policy is pure"),
        (pure_rooms_stay_pure, "clatnm/proto/a.py", "from time import monotonic", "proto is pure"),
        (pure_rooms_stay_pure, "clatnm/proto/a.py", "def f():\n    import socket", "proto is pure"),
        (files_are_short, "clatnm/a.py", "pass\n" * (MAX_FILE_LINES + 1), "400 lines"),
        (functions_are_short, "clatnm/a.py", LONG_FUNCTION, "long has 51 lines"),
        (functions_are_short, "clatnm/a.py", f"class A:\n  async {LONG_FUNCTION}", "long has 51 lines"),
        (files_name_their_license, "clatnm/a.py", f"\n{SPDX}\n", "first line"),
    ],
)
def test_house_rule_catches_violation(
    rule: Callable[[Sources], Iterator[str]], path: str, text: str, told: str
) -> None:
    (violation,) = rule({path: text})
    assert violation.startswith(path)
    assert told in violation


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (libraries_live_in_one_room, "clatnm/dbus/bus.py", "from dbus_fast.aio import MessageBus"),
        (libraries_live_in_one_room, "clatnm/discovery/question.py", "import dns.resolver"),
        (rooms_import_downwards, "clatnm/policy/a.py", "from clatnm.proto.nat64 import embed"),
        (rooms_import_downwards, "clatnm/policy/a.py", "from clatnm.policy import retry"),
        (rooms_import_downwards, "clatnm/dbus/a.py", "from clatnm import __version__"),
        (only_cli_imports_the_top, "clatnm/cli/daemon_.py", "from clatnm.daemon import Daemon"),
        (pure_rooms_stay_pure, "clatnm/worker/a.py", "import time"),
        (functions_are_short, "clatnm/a.py", LONG_FUNCTION.removesuffix("    pass\n")),
        (files_are_short, "clatnm/a.py", "pass\n" * MAX_FILE_LINES),
    ],
)
def test_house_rule_allows_what_is_fine(rule: Callable[[Sources], Iterator[str]], path: str, text: str) -> None:
    assert list(rule({path: text})) == []
