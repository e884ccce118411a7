# SPDX-License-Identifier: GPL-2.0-or-later
"""The log: plain lines, or entries of the journal in its own protocol; every message with id and explanation."""

from __future__ import annotations

import ast
import functools
import io
import logging
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clatnm import log
from clatnm.log import JournalHandler, Message, about, encoded
from tests.unit.programs import need

REPOSITORY = Path(__file__).resolve().parents[2]
CATALOG = REPOSITORY / "packaging/systemd/clatnm.catalog"
# What people run for themselves: it speaks to them, not to whoever looks after the machine.
NOT_THE_DAEMON = ("clatnm/cli/", "clatnm/desktop/", "clatnm/doctor/", "clatnm/monitor/")


def decoded(entry: bytes) -> dict[str, str]:
    """An entry as the journal reads it (systemd.io/JOURNAL_NATIVE_PROTOCOL)."""
    fields: dict[str, str] = {}
    while entry:
        line, _, rest = entry.partition(b"\n")
        key, equals, value = line.partition(b"=")
        if equals:
            entry = rest
        else:
            (length,) = struct.unpack_from("<Q", rest)
            value, end, entry = rest[8 : 8 + length], rest[8 + length : 9 + length], rest[9 + length :]
            assert end == b"\n"
        assert re.fullmatch(rb"[A-Z0-9][A-Z0-9_]{0,63}", key), key
        fields[key.decode()] = value.decode()
    return fields


class Journal:
    """A socket in the journal's place."""

    def __init__(self, directory: Path) -> None:
        self.path = str(directory / "socket")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.settimeout(5)

    def entry(self) -> dict[str, str]:
        return decoded(self._socket.recv(1 << 20))

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    listening = Journal(tmp_path)
    yield listening
    listening.close()


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    own = logging.getLogger("clatnm.tests.log")
    root = logging.getLogger("clatnm")
    before = (root.handlers[:], root.propagate, root.level)
    yield own
    for handler in root.handlers:
        if handler not in before[0]:
            handler.close()
    root.handlers[:], root.propagate = before[0], before[1]
    root.setLevel(before[2])


def to_journal(logger: logging.Logger, path: str) -> io.StringIO:
    """Have the logger write to a journal there; what goes past it comes here."""
    aside = io.StringIO()
    fallback = logging.StreamHandler(aside)
    fallback.setFormatter(log._PriorityFormatter("%(message)s"))
    handler = JournalHandler(fallback, path=path)
    root = logging.getLogger("clatnm")
    root.handlers[:] = [handler]
    root.propagate = False
    root.setLevel(logging.DEBUG)
    return aside


# Entries


@given(st.dictionaries(st.from_regex(r"[A-Z][A-Z0-9_]{0,20}", fullmatch=True), st.text(max_size=30), max_size=5))
def test_entry_is_read_back_as_it_was(fields: dict[str, str]) -> None:
    readable = {key: value.encode("utf-8", "replace").decode() for key, value in fields.items()}
    assert decoded(encoded(fields)) == readable


def test_message_has_its_id_and_fields(journal: Journal, logger: logging.Logger) -> None:
    aside = to_journal(logger, journal.path)
    fields = about(Message.CLAT_UP, connection="u-u-i-d", uplink="wlan0", prefix="64:ff9b::/96", reason=None, device="")
    logger.info("%s: CLAT up", "wlan0", extra=fields)
    assert journal.entry() == {
        "MESSAGE": "wlan0: CLAT up",
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "clatnm",
        "MESSAGE_ID": str(Message.CLAT_UP),
        "CLATNM_CONNECTION": "u-u-i-d",
        "CLATNM_UPLINK": "wlan0",
        "CLATNM_PREFIX": "64:ff9b::/96",
    }
    assert aside.getvalue() == ""


@pytest.mark.parametrize(("level", "priority"), [("debug", "7"), ("info", "6"), ("warning", "4"), ("error", "3")])
def test_priority_is_the_journals(journal: Journal, logger: logging.Logger, level: str, priority: str) -> None:
    to_journal(logger, journal.path)
    getattr(logger, level)("it is so")
    assert journal.entry() == {"MESSAGE": "it is so", "PRIORITY": priority, "SYSLOG_IDENTIFIER": "clatnm"}


def test_traceback_is_one_entry(journal: Journal, logger: logging.Logger) -> None:
    to_journal(logger, journal.path)
    try:
        raise KeyError("x")
    except KeyError:
        logger.exception("it failed")
    message = journal.entry()["MESSAGE"]
    assert message.startswith("it failed\nTraceback ") and message.endswith("KeyError: 'x'")


@pytest.mark.parametrize("why", ["gone", "too-long"])
def test_what_the_journal_does_not_take_is_a_line_as_ever(
    journal: Journal, logger: logging.Logger, why: str, tmp_path: Path
) -> None:
    aside = to_journal(logger, journal.path if why == "too-long" else str(tmp_path / "nobody"))
    text = "x" * (1 << 22) if why == "too-long" else "it is so"
    logger.warning("%s\nsecond", text, extra=about(Message.BUS_LOST))
    assert aside.getvalue() == f"<4>{text}\n<4>second\n"


def test_log_is_plain_where_nobody_named_a_journal(
    logger: logging.Logger, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "1:2")
    with os.fdopen(os.dup(2), "w", buffering=1) as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        log.setup()
        logger.info("it is so", extra=about(Message.BUS_LOST))
        logger.debug("nobody asked")
        logger.info("eth0\x1b[2J\x9b: as\nit is")
    assert capfd.readouterr().err == "it is so\neth0\ufffd[2J\ufffd: as\nit is\n"


def test_log_goes_to_the_journal_where_standard_error_is_one(
    logger: logging.Logger, monkeypatch: pytest.MonkeyPatch, journal: Journal, tmp_path: Path
) -> None:
    monkeypatch.setattr(log, "_JOURNAL", journal.path)
    with (tmp_path / "stderr").open("w") as stderr:
        told = os.fstat(stderr.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{told.st_dev}:{told.st_ino}")
        monkeypatch.setattr(sys, "stderr", stderr)
        log.setup(verbose=1)
        logger.debug("evidence")
        assert journal.entry()["MESSAGE"] == "evidence"
        log.setup()  # again, as a verb in a test does
    assert (tmp_path / "stderr").read_text() == ""


# Ids


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Each call of a logger, and where it stands."""
    for path in sorted((REPOSITORY / "clatnm").rglob("*.py")):
        name = str(path.relative_to(REPOSITORY))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = node.func if isinstance(node, ast.Call) else None
            if not isinstance(called, ast.Attribute) or name.startswith(NOT_THE_DAEMON):
                continue
            if getattr(called.value, "id", "") == "log":
                yield f"{name}:{called.lineno}", node


def test_whatever_users_are_told_of_has_an_id() -> None:
    levels = ("info", "warning", "error", "log")
    told = [(where, call) for where, call in calls() if getattr(call.func, "attr", "") in levels]
    assert len(told) > 20
    assert [where for where, call in told if not any(word.arg == "extra" for word in call.keywords)] == []


def test_every_message_is_used() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "clatnm").rglob("*.py"))
    assert [message.name for message in Message if f"Message.{message.name}" not in text] == []


def test_ids_are_random_uuids_and_no_two_are_the_same() -> None:
    for message in Message:
        assert uuid.UUID(message).hex == str(message)
        assert uuid.UUID(message).version == 4
    assert len({str(message) for message in Message}) == len(list(Message)) == len(Message.__members__)


# The catalog


def catalog() -> dict[str, str]:
    """MESSAGE_ID → its entry."""
    parts = re.split(r"^-- ([0-9a-f]{32})\n", CATALOG.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(parts[1::2]) == len(set(parts[1::2]))
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_catalog_explains_every_message_and_no_other() -> None:
    assert set(catalog()) == {str(message) for message in Message}


@pytest.mark.parametrize("message", Message, ids=lambda message: message.name)
def test_catalog_entry_has_headers_and_text(message: Message) -> None:
    headers, blank, text = catalog()[message].partition("\n\n")
    assert blank and text.strip()
    found = dict(line.split(": ", 1) for line in headers.splitlines())
    assert set(found) == {"Subject", "Defined-By", "Documentation"}
    assert found["Subject"] and not found["Subject"].endswith(".")


@functools.cache
def told_fields() -> dict[str, set[str]]:
    """Name of a message → the fields that calls of `about` give it; helpers that add some are read as well."""
    found: dict[str, set[str]] = {}
    for path in (REPOSITORY / "clatnm").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        shared = {
            key.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Dict)
            for key in node.keys
            if isinstance(key, ast.Constant) and isinstance(key.value, str)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("about", "_about"):
                first = node.args[0]
                if isinstance(first, ast.Attribute):
                    names = {word.arg for word in node.keywords if word.arg}
                    more = any(word.arg is None for word in node.keywords) or node.func.id == "_about"  # type: ignore[attr-defined]
                    found.setdefault(first.attr, set()).update(names | (shared | {"connection"} if more else set()))
    return found


@pytest.mark.parametrize("message", Message, ids=lambda message: message.name)
def test_catalog_entry_names_fields_that_the_message_has(message: Message) -> None:
    named = set(re.findall(r"@(\w+)@", catalog()[message]))
    assert named <= {f"CLATNM_{field.upper()}" for field in told_fields()[message.name]}


def test_journalctl_takes_the_catalog(tmp_path: Path) -> None:
    program = need("journalctl", "systemd")
    place = tmp_path / "usr/lib/systemd/catalog/clatnm.catalog"
    place.parent.mkdir(parents=True)
    (tmp_path / "var/lib/systemd/catalog").mkdir(parents=True)
    shutil.copy(CATALOG, place)
    done = [
        subprocess.run([program, f"--root={tmp_path}", verb], capture_output=True, text=True, check=True)
        for verb in ("--update-catalog", "--list-catalog")
    ]
    assert "clatnm.catalog" not in done[0].stderr, done[0].stderr
    subjects = dict(re.findall(r"^([0-9a-f]{32}) clatnm: (.+)$", done[1].stdout, re.MULTILINE))
    assert subjects.keys() == {str(message) for message in Message}


def test_document_lists_every_id_with_its_subject() -> None:
    rows = re.findall(r"^\| `([0-9a-f]{32})` \| (.+) \|$", (REPOSITORY / "docs/metrics.md").read_text(), re.MULTILINE)
    subjects = {key: re.match(r"Subject: (.*)", entry)[1] for key, entry in catalog().items()}  # type: ignore[index]
    assert rows == [(str(m), re.sub(r"@CLATNM_(\w+)@", r"\1", subjects[m])) for m in Message]
