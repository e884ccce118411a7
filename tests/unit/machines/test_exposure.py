# SPDX-License-Identifier: GPL-2.0-or-later
"""The unit that a translator would be: each line of it from what was seen. A real one is judged by the job `scopes`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clatnm.worker.syscalls import CALLS
from tests.machines import exposure

UNIT = """\
[Unit]
Description=a daemon
[Service]
ExecStart=/bin/true
CapabilityBoundingSet=CAP_NET_ADMIN CAP_KILL
NoNewPrivileges=yes
RestrictAddressFamilies=AF_UNIX AF_PACKET
DevicePolicy=closed
DeviceAllow=/dev/net/tun rw
SystemCallFilter=@system-service bpf
SystemCallFilter=~@sync
ProtectSystem=strict
"""
STATUS = {
    "Uid": "990\t990\t990\t990",
    "Groups": "",
    "CapInh": "0000000000000000",
    "CapPrm": "0000000000000000",
    "CapEff": "0000000000000000",
    "CapBnd": "0000000000001020",
    "CapAmb": "0000000000000000",
    "NoNewPrivs": "1",
    "Seccomp": "2",
    "Seccomp_filters": "13",
}
SEEN = exposure.Observed(status=STATUS, daemon_filters=12, calls=CALLS, user="clatnm-translator")


def lines(**changed: str) -> set[str]:
    """Those that differ from the daemon's."""
    observed = replace(SEEN, status={**STATUS, **changed})
    return set(exposure.unit(UNIT, observed).splitlines()) - set(UNIT.splitlines())


def test_what_it_gave_up_is_taken_away() -> None:
    assert lines() == {
        "User=clatnm-translator",
        "SupplementaryGroups=",
        "AmbientCapabilities=",
        "CapabilityBoundingSet=CAP_KILL CAP_NET_ADMIN",
        f"SystemCallFilter={' '.join(sorted(CALLS))}",
        "RestrictAddressFamilies=none",
    }
    text = exposure.unit(UNIT, SEEN)
    assert "DeviceAllow" not in text and "@system-service" not in text
    assert "ProtectSystem=strict\n" in text and "DevicePolicy=closed\n" in text
    assert text.count("NoNewPrivileges=") == text.count("CapabilityBoundingSet=") == 1


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"NoNewPrivs": "0"}, "NoNewPrivileges=no"),
        ({"Groups": "4 27"}, "SupplementaryGroups=4 27"),
        ({"CapBnd": "0000000000000000"}, "CapabilityBoundingSet="),
        ({"CapBnd": "0000008000003000"}, "CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW CAP_BPF"),
    ],
)
def test_what_it_kept_is_not(changed: dict[str, str], line: str) -> None:
    assert line in lines(**changed)


def test_root_is_no_user_of_its_own() -> None:
    assert not any(line.startswith("User=") for line in lines(Uid="0\t0\t0\t0"))


def test_calls_that_lead_to_files_and_sockets_count() -> None:
    text = exposure.unit(UNIT, replace(SEEN, calls=[*CALLS, "openat", "socket"]))
    assert "DeviceAllow=/dev/net/tun rw\n" in text and "RestrictAddressFamilies=none" not in text


@pytest.mark.parametrize(
    "changed",
    [
        {"Uid": "990\t0\t990\t990"},
        {"CapEff": "0000000000001000"},
        {"CapAmb": "0000000000001000"},
        {"Seccomp": "0"},
        {"Seccomp_filters": "12"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_one_that_has_kept_what_it_should_not_is_not_judged(changed: dict[str, str]) -> None:
    with pytest.raises(AssertionError):
        lines(**changed)


def test_figure_is_read_from_the_last_line() -> None:
    assert exposure.figure("x\n\n→ Overall exposure level for judged.service: 1.8 OK 🙂\n") == 1.8
    with pytest.raises(AssertionError):
        exposure.figure("nothing")
