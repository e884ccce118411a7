# SPDX-License-Identifier: GPL-2.0-or-later
"""What iperf3 3.12, ping and /proc print, cut down to what is read; and what they print when something is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.bench import readings
from tests.bench.readings import ReadingError

TCP = {
    "end": {
        "sum_sent": {"seconds": 2.000096, "bytes": 2051014656, "bits_per_second": 8.2e9, "sender": True},
        "sum_received": {"seconds": 2.0, "bytes": 2500000000, "bits_per_second": 1e10, "sender": True},
    }
}
UDP = {
    "end": {
        "sum": {"seconds": 1.000198, "bytes": 9048320, "lost_packets": 66275, "packets": 141380, "sender": True},
        "sum_sent": {"seconds": 1.000148, "bytes": 9048320, "lost_packets": 0, "packets": 150000, "sender": True},
        "sum_received": {"seconds": 0.5, "bytes": 4800000, "lost_packets": 66275, "packets": 141380, "sender": False},
    }
}
PING = """\
PING 198.51.100.1 (198.51.100.1) 56(84) bytes of data.
64 bytes from 198.51.100.1: icmp_seq=1 ttl=63 time=0.030 ms
64 bytes from 198.51.100.1: icmp_seq=2 ttl=63 time=0.012 ms
64 bytes from 198.51.100.1: icmp_seq=4 ttl=63 time=1.20 ms

--- 198.51.100.1 ping statistics ---
4 packets transmitted, 3 received, 25% packet loss, time 4ms
rtt min/avg/max/mdev = 0.012/0.414/1.200/0.008 ms
"""
STAT = """\
cpu  259982 124910 105813 559352 3395 10 4532 2229 7 8
cpu0 124491 53273 52181 295651 1130 0 1996 1104 0 0
"""
STATUS = "Name:\tpython3\nVmPeak:\t   40960 kB\nVmRSS:\t   15360 kB\nRssAnon:\t    9000 kB\n"


def test_tcp_counts_what_was_received() -> None:
    stream = readings.tcp(json.dumps(TCP))
    assert (stream.size_bytes, stream.gbit_s) == (2500000000, 10.0)


def test_udp_counts_what_was_received_of_what_was_sent() -> None:
    flood = readings.udp(json.dumps(UDP))
    assert (flood.received, flood.sent, flood.received_kpps) == (75000, 150000, 150.0)
    assert flood.lost_percent == 50.0


def test_more_received_than_told_as_sent_is_no_negative_loss() -> None:
    # The sender's last figure is a little older than the receiver's.
    assert readings.Flood(received=101, sent=100, duration_s=1.0).lost_percent == 0.0


def _without(told: dict[str, Any], *keys: str) -> str:
    end = {name: value for name, value in told["end"].items() if name not in keys}
    return json.dumps({"end": end})


@pytest.mark.parametrize("read", [readings.tcp, readings.udp])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("", "unexpected output", id="empty"),
        pytest.param("iperf3: error - out of memory", "unexpected output", id="no-json"),
        pytest.param("[]", "unexpected output", id="list"),
        pytest.param("{}", "unexpected output", id="no-end"),
        pytest.param('{"end": {}, "error": "unable to connect to server"}', "unable to connect to server", id="error"),
        pytest.param('{"end": {}}', "no sums", id="no-sums"),
        pytest.param(_without(TCP, "sum_sent"), "no sums", id="half"),
        pytest.param('{"end": {"sum_sent": {}, "sum_received": {"bytes": 0}}}', "nothing was received", id="nothing"),
    ],
)
def test_iperf_that_failed_is_a_reading_error(read: Callable[[str], object], text: str, said: str) -> None:
    with pytest.raises(ReadingError, match=said):
        read(text)


def test_each_round_trip_is_read_in_microseconds() -> None:
    assert readings.round_trips_us(PING) == pytest.approx([30.0, 12.0, 1200.0])


def test_ping_without_answer_is_a_reading_error() -> None:
    with pytest.raises(ReadingError, match="no answer"):
        readings.round_trips_us("ping: connect: Network is unreachable\n")


def test_busy_is_neither_idle_nor_waiting_nor_stolen() -> None:
    assert readings.busy_ticks(STAT) == 259982 + 124910 + 105813 + 10 + 4532
    assert readings.stolen_ticks(STAT) == 2229


def test_other_text_is_no_proc_stat() -> None:
    with pytest.raises(ReadingError, match="/proc/stat"):
        readings.busy_ticks("intr 1 2 3\n")


def test_cpu_time_of_a_task_is_its_first_number() -> None:
    assert readings.cpu_ns("179386789 15267499 403\n") == 179386789


@pytest.mark.parametrize("text", ["", "none 0 0\n"])
def test_other_text_is_no_schedstat(text: str) -> None:
    with pytest.raises(ReadingError, match="schedstat"):
        readings.cpu_ns(text)


def test_resident_memory_is_read_in_mib() -> None:
    assert readings.resident_mib(STATUS) == 15.0


def test_kernel_thread_has_no_resident_memory() -> None:
    with pytest.raises(ReadingError, match="VmRSS"):
        readings.resident_mib("Name:\tkthreadd\n")


def test_first_answer_is_found_between_other_lines() -> None:
    log = "ready clat-up0 192.0.0.4 2001:db8::1 64:ff9b::/96 ebpf\npid 7\nanswer after 41.25 ms\n"
    assert readings.first_answer_ms(log) == 41.25


def test_no_answer_is_a_reading_error() -> None:
    with pytest.raises(ReadingError, match="no answer"):
        readings.first_answer_ms("pid 7\nno answer\n")
