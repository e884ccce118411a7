# SPDX-License-Identifier: GPL-2.0-or-later
"""Metrics of a real daemon with real traffic, as they are read by others; and its JSON by the written schemas."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.e2e import clat
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.poll import eventually
from tests.schemas import faults
from tests.unit.programs import need

SOCKET = "/run/clatnm/metrics.sock"
TEXTFILES = "/run/clatnm/textfiles"


def values(page: str) -> dict[tuple[str, str], float]:
    """(metric, interface) → the sum of its samples."""
    found: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            key = (sample.name, sample.labels.get("interface", ""))
            found[key] = found.get(key, 0.0) + sample.value
    return found


def packets(daemon: Any) -> int:
    counters = clat.connection(daemon)["translator"]["counters"]
    return sum(
        row["packets"] for way in ("ipv4_to_ipv6", "ipv6_to_ipv4") for row in counters[way]["protocols"].values()
    )


def scrape(host: Host, place: str, *more: str) -> str:
    """What `GET /metrics` gives there."""
    where = (
        ["--unix-socket", place, "http://localhost/metrics"] if place.startswith("/") else [f"http://{place}/metrics"]
    )
    return host.run("curl", "-sS", "--max-time", "5", *more, *where).stdout


def configure(host: Host, text: str) -> None:
    host.path("/etc/clatnm/clatnm.conf").write_text(f"[clatnm]\n{text}\n")


def test_metrics_are_what_status_tells(clean_lab: Lab) -> None:
    joined = clat.join(clean_lab)
    clat.ping(joined.host)
    before = packets(joined.daemon)
    page = values(joined.host.clatnm("metrics").stdout)
    assert page["clatnm_up", ""] == 1
    assert page["clatnm_connection_state", "up0"] == 1
    assert before <= page["clatnm_packets_total", "up0"] <= packets(joined.daemon)
    assert page["clatnm_bytes_total", "up0"] > 0
    assert page["clatnm_translator_starts_total", "up0"] == 1
    assert 0 < page["clatnm_translator_start_seconds", "up0"] < 10
    assert page["clatnm_prefix_lifetime_seconds", "up0"] > 0


def test_a_killed_translator_is_counted_as_one_that_failed(clean_lab: Lab) -> None:
    joined = clat.join(clean_lab)
    joined.host.run("kill", "-KILL", str(clat.translator(joined.host)))

    def counted() -> bool:
        page = values(joined.host.clatnm("metrics").stdout)
        return (page["clatnm_translator_failures_total", "up0"], page["clatnm_translator_starts_total", "up0"]) == (
            1,
            2,
        )

    eventually(counted, message="one failure, two starts")


def test_json_has_the_written_form(clean_lab: Lab) -> None:
    joined = clat.join(clean_lab)
    static = joined.host.path("/etc/clatnm/static.d/web.conf")
    static.parent.mkdir(exist_ok=True)
    static.write_text(
        "[clatnm]\nuplink = up0\nprefix = 2001:db8:46::/96\nroutes = 203.0.113.0/24\naddresses = 192.0.2.1\n"
        "[eam]\n192.0.2.1 = 2001:db8:a::192\n"
    )
    joined.daemon.signal(signal.SIGHUP)
    eventually(lambda: joined.daemon.status()["static"][0]["state"] == "on", message="the relay runs")
    clat.ping(joined.host)
    told = joined.daemon.status()
    assert told["connections"][0]["translator"]["counters"]["ipv4_to_ipv6"]["protocols"]
    assert faults("status", told) == []
    for which in ("up0", "netA", "static.d/web", "up1", "lo"):
        explained = json.loads(joined.host.clatnm("explain", "--json", which).stdout)
        assert (which, faults("explain", explained)) == (which, [])
    joined.host.clatnm("set", "netA", "no")
    clat.wait_off(joined.daemon, "opted-out")
    assert faults("status", joined.daemon.status()) == []
    assert faults("explain", json.loads(joined.host.clatnm("explain", "--json", "up0").stdout)) == []


def test_daemon_hands_metrics_out_where_it_is_told_to(clean_lab: Lab) -> None:
    host = clean_lab.host
    configure(host, f"metrics = {SOCKET}")
    joined = clat.join(clean_lab)
    clat.ping(host)
    assert values(scrape(host, SOCKET))["clatnm_packets_total", "up0"] > 0
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--")
    told = host.run(*nobody, "curl", "-sS", "--unix-socket", SOCKET, "http://localhost/metrics").stdout
    assert values(told)["clatnm_up", ""] == 1

    configure(host, "metrics = [::1]:9864")
    joined.daemon.signal(signal.SIGHUP)
    eventually(lambda: values(scrape(host, "[::1]:9864")), message="metrics by TCP")
    assert not host.path(SOCKET).exists()
    code = ("-o", "/dev/null", "-w", "%{http_code}", "-H", "Host: evil.example")
    assert scrape(host, "[::1]:9864", *code) == "403"

    configure(host, "metrics = 0.0.0.0:9864")
    joined.daemon.signal(signal.SIGHUP)
    refused = "clatnm.conf:2: metrics are for this machine alone, and 0.0.0.0 is no loopback address"
    eventually(lambda: refused in joined.daemon.log(), message="the mistake is told with its line")
    assert values(scrape(host, "[::1]:9864"))["clatnm_up", ""] == 1

    joined.daemon.stop()
    assert "9864" not in host.run("ss", "-Hltn").stdout


def test_file_for_others_is_whole_and_says_when_nobody_runs(clean_lab: Lab) -> None:
    joined = clat.join(clean_lab)
    file = joined.host.path("/run/clatnm/clatnm.prom")
    joined.host.clatnm("metrics", "--output", "/run/clatnm/clatnm.prom")
    assert values(file.read_text())["clatnm_up", ""] == 1
    assert file.stat().st_mode & 0o777 == 0o644
    joined.daemon.stop()
    result = joined.host.clatnm("metrics", "--output", "/run/clatnm/clatnm.prom", check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "error: the clatnm daemon does not run (systemctl start clatnm)\n"
    assert values(file.read_text()) == {("clatnm_up", ""): 0.0}
    assert [path.name for path in file.parent.iterdir() if "prom" in path.name] == ["clatnm.prom"]


@pytest.mark.parametrize("form", ["openmetrics", "prometheus"])
def test_node_exporter_reads_the_file(clean_lab: Lab, form: str) -> None:
    program = need("prometheus-node-exporter", "prometheus-node-exporter")
    joined = clat.join(clean_lab)
    directory = joined.host.path(TEXTFILES)
    directory.mkdir()
    clat.ping(joined.host)
    joined.host.clatnm("metrics", "--format", form, "--output", f"{TEXTFILES}/clatnm.prom")
    Path(directory, "broken.prom").write_text("# TYPE x info\nx 1\n")  # what it cannot read, it says
    options = ("--collector.disable-defaults", "--collector.textfile", f"--collector.textfile.directory={TEXTFILES}")
    joined.host.popen(program, *options, "--web.listen-address=[::1]:9100", name="node-exporter")
    page = eventually(lambda: scrape(joined.host, "[::1]:9100"), message="node_exporter answers")
    lines = page.splitlines()
    assert "node_textfile_scrape_error 1" in lines
    joined.host.path(f"{TEXTFILES}/broken.prom").unlink()
    lines = scrape(joined.host, "[::1]:9100").splitlines()
    assert "node_textfile_scrape_error 0" in lines
    assert "clatnm_up 1" in lines
    assert any(line.startswith('clatnm_packets_total{direction="ipv4_to_ipv6",interface="up0"') for line in lines)
    kind = "counter" if form == "prometheus" else "untyped"
    assert f"# TYPE clatnm_packets_total {kind}" in lines
