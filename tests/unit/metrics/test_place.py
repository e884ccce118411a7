# SPDX-License-Identifier: GPL-2.0-or-later
"""Where metrics may be handed out, and that everything else is a mistake with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clatnm import config
from clatnm.config_metrics import host_and_port, metrics
from clatnm.errors import ConfigError


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("none", ""),
        ("/run/clatnm/metrics.sock", "/run/clatnm/metrics.sock"),
        ("127.0.0.1:9864", "127.0.0.1:9864"),
        ("127.1.2.3:1", "127.1.2.3:1"),
        ("[::1]:65535", "[::1]:65535"),
        ("[0:0:0:0:0:0:0:1]:09864", "[::1]:9864"),
    ],
)
def test_place_on_this_machine_is_taken(told: str, meant: str) -> None:
    assert metrics(told) == meant
    settings = config.parse(f"[clatnm]\nmetrics = {told}\n", source="conf", backends=())
    assert (settings.metrics, settings.written) == (meant, {"metrics"})
    if meant and not meant.startswith("/"):
        host, port = host_and_port(meant)
        assert meant in (f"{host}:{port}", f"[{host}]:{port}")


REFUSED = {
    "everywhere": ("0.0.0.0:9864", "is no loopback address"),
    "everywhere-6": ("[::]:9864", "is no loopback address"),
    "network": ("192.0.2.1:9864", "is no loopback address"),
    "mapped": ("[::ffff:127.0.0.1]:9864", "is no loopback address"),
    "network-6": ("[2001:db8::1]:9864", "is no loopback address"),
    "no-port": ("127.0.0.1", "neither a path nor"),
    "port-0": ("[::1]:0", "0 is no port"),
    "port-too-large": ("[::1]:65536", "65536 is no port"),
    "name": ("localhost:9864", "neither a path nor"),
    "scope": ("[::1%lo]:9864", "is no loopback address"),
    "nonsense": ("[::g]:9864", "is no address"),
    "no-brackets": ("::1:9864", "neither a path nor"),
    "relative": ("metrics.sock", "neither a path nor"),
    "directory": ("/run/", "is no path for a socket"),
    "long": ("/" + "x" * 107, "is no path for a socket"),
    "control": ("/run/\x07", "is no path for a socket"),
    "empty": ("", "neither a path nor"),
}


@pytest.mark.parametrize(("told", "why"), REFUSED.values(), ids=REFUSED)
def test_any_other_place_is_a_mistake_with_file_and_line(tmp_path: Path, told: str, why: str) -> None:
    (tmp_path / "clatnm.conf").write_text(f"[clatnm]\nmode = auto\nmetrics = {told}\n")
    with pytest.raises(ConfigError) as caught:
        config.load(tmp_path, backends=())
    assert str(caught.value).startswith(f"{tmp_path}/clatnm.conf:3: ")
    assert why in str(caught.value)


def test_no_connection_has_a_place_of_its_own() -> None:
    assert "metrics" not in config.CONNECTION_KEYS


@given(st.text(max_size=40))
def test_any_text_is_a_place_or_a_mistake(text: str) -> None:
    try:
        meant = metrics(text)
    except ConfigError:
        return
    assert meant == "" or meant.startswith(("/", "[::1]:", "127."))
