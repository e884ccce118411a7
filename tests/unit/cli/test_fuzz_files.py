# SPDX-License-Identifier: GPL-2.0-or-later
"""Configuration files with anything in them: understood, or refused in one line that says where."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from clatnm import clatd_conf, config, config_edit, static_conf, trace
from clatnm.clatd_rules import RULES
from clatnm.errors import ClatnmError, ConfigError, HostError
from clatnm.model import Mode, Settings, World
from clatnm.uplinks.networkd_files import NetworkFiles
from clatnm.uplinks.networkd_objects import settings_from
from tests.unit.policy.worlds import NOW, UUID

BACKENDS = ("ebpf", "tun")
VALUES = (
    *("auto", "no", "force", "none", "yes", "", "0", "99999999999", "-1", "1280", "64:ff9b::/96", "64:ff9b::/97"),
    *("2001:db8::1", "192.0.0.1", "192.0.2.1, 192.0.2.2", "eth0", "eth0 wlan*", "lo", "clat-eth0", "/bin/true", "tun"),
    *("[::1]:9864", "0.0.0.0:1", "/run/clatnm/metrics.sock", "shared", "strict", "9" * 400, "x" * 300, "%(mode)s"),
    *("default", "::/0", "0.0.0.0/0", "\\", "# x", "a\tb", "\ufeff", "\x85", "\u2028x"),
)
KEYS = tuple(
    sorted({*config.KEYS, *static_conf.KEYS, *RULES, "Mode", "FallbackPrefix", "DHCP", "Address", "no-such-key"})
)
SECTIONS = ("[clatnm]", "[eam]", "[X-Clatnm]", "[Network]", "[Match]", "[DEFAULT]", "[", "[]", "[clatnm", "]")
FIXTURES = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]

# Any character that UTF-8 has.
anything = st.text(st.characters(blacklist_categories=("Cs",)), max_size=12)
values = st.one_of(st.sampled_from(VALUES), anything)
settings_lines = st.builds(
    lambda key, sign, value, end: f"{key}{sign}{value}{end}",
    st.sampled_from(KEYS),
    st.sampled_from([" = ", "=", ": ", " ", ""]),
    values,
    st.sampled_from(["", " # comment", " ; comment", " \\", "\r"]),
)
mappings = st.builds(lambda v4, v6: f"{v4} = {v6}", values, values)
lines = st.one_of(settings_lines, st.sampled_from(SECTIONS), mappings, anything)
texts = st.builds(
    lambda head, body: "\n".join([*head, *body]),
    st.sampled_from([[], ["[clatnm]"], ["[X-Clatnm]"]]),
    st.lists(lines, max_size=7),
)
files = st.one_of(texts.map(str.encode), st.binary(max_size=60))


def assert_one_line(error: ClatnmError, place: str) -> None:
    """It says which file, and in it which line."""
    text = str(error)
    assert text.isprintable(), repr(text)
    assert text.startswith(place)
    assert len(text) < 2000


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """Stands for /etc/clatnm."""
    for name in (config.CONNECTIONS_NAME, config.STATIC_NAME):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.mark.parametrize(
    "name", [config.CONFIG_NAME, f"connections.d/{UUID}.conf", "static.d/web.conf", "connections.d/eth0.conf"]
)
def test_any_file_is_read_or_refused_with_its_line(etc: Path, name: str) -> None:
    other = etc / config.CONFIG_NAME
    line = re.compile(re.escape(f"{etc / name}:") + "[0-9]+: ")

    @settings(deadline=None, max_examples=300, suppress_health_check=FIXTURES)
    @given(files)
    def check(data: bytes) -> None:
        other.write_text("[clatnm]\ninterfaces = eth0\n")
        (etc / name).write_bytes(data)
        try:
            read = config.load(etc, backends=BACKENDS)
        except ConfigError as error:
            assert_one_line(error, str(etc / name))
            assert line.match(str(error))
            return
        # What was read can be told, as a trace and to whoever asks.
        ((_, world),) = trace.parse([trace.line(World(settings=read), NOW)])
        assert world.settings == read

    check()


def test_static_translator_that_is_read_has_what_it_needs() -> None:
    @settings(deadline=None, max_examples=300)
    @given(st.lists(st.one_of(settings_lines, mappings), max_size=6))
    def check(more: list[str]) -> None:
        text = "\n".join(["[clatnm]", "uplink = eth0", "prefix = 2001:db8:46::/96", *more])
        names = {"source": "web.conf", "name": "web", "backend": "auto"}
        try:
            found = static_conf.parse(text, backends=BACKENDS, read=lambda _: "192.0.2.9 2001:db8::9\n", **names)
        except ConfigError as error:
            assert_one_line(error, "")
            return
        assert (found.static.uplink, found.static.told_at) == ("eth0", "web.conf:2")

    check()


@pytest.mark.parametrize("mode", [*Mode, None], ids=str)
def test_mode_is_written_into_any_file_or_the_file_stays(etc: Path, mode: Mode | None) -> None:
    path = etc / config.CONFIG_NAME

    @settings(deadline=None, max_examples=150, suppress_health_check=FIXTURES)
    @given(files)
    @example(b"[clatnm]\nmode\n = auto\n")
    def check(data: bytes) -> None:
        path.write_bytes(data)
        try:
            changed = config_edit.set_mode(path, mode, backends=BACKENDS)
        except (ConfigError, HostError) as error:
            assert_one_line(error, str(path))
            assert path.read_bytes() == data
            return
        read = config.load(etc, backends=BACKENDS) if path.exists() else Settings()
        assert (read.mode if "mode" in read.written else None) is mode
        assert changed or path.read_bytes() == data

    check()


@settings(deadline=None, max_examples=300)
@given(st.lists(st.one_of(settings_lines, anything), max_size=6), st.booleans(), st.sampled_from(["", "eth0"]))
def test_any_file_of_clatd_is_imported_or_refused_with_its_line(
    told: list[str], for_connection: bool, uplink: str
) -> None:
    lines = clatd_conf.parse("\n".join(told))
    try:
        found = clatd_conf.translate(lines, source="clatd.conf", for_connection=for_connection, uplink=uplink)
    except ConfigError as error:
        assert str(error).startswith("clatd.conf:")
        return
    assert [fate.line for fate in found.fates] == list(lines)


@settings(deadline=None, max_examples=300)
@given(st.lists(texts, min_size=1, max_size=3))
def test_any_network_file_has_settings_and_problems_are_lines(told: list[str]) -> None:
    found = settings_from([(f"/etc/{n}.network", text) for n, text in enumerate(told)], backends=BACKENDS)
    for problem in found.problems:
        assert problem.startswith("/etc/")
        assert re.match(r"/etc/[0-9]\.network:[0-9]+: \[X-Clatnm\] ", problem)
        assert len(problem.splitlines()) == 1, repr(problem)
    assert found.mode is None or found.mode in Mode


def test_any_network_file_can_be_read_from_the_disk(tmp_path: Path) -> None:
    place = NetworkFiles((tmp_path,), backends=BACKENDS)

    @settings(deadline=None, max_examples=100, suppress_health_check=FIXTURES)
    @given(files, st.integers(0, 9))
    def check(data: bytes, number: int) -> None:
        file = tmp_path / f"{number}.network"
        (tmp_path / f"{file.name}.d").mkdir(exist_ok=True)
        file.write_bytes(data)
        (tmp_path / f"{file.name}.d" / "own.conf").write_bytes(data)
        place.settings(str(file))

    check()
