# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of what the service is granted: nothing is missing in it, and the page about security has it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.machines.privileges_functions import FUNCTIONS
from tests.machines.privileges_removed import DUTIES, GRANTED, NOT_TAKEN, REMOVALS

REPOSITORY = Path(__file__).resolve().parents[3]
UNIT = REPOSITORY / "packaging/systemd/clatnm.service"
PAGE = REPOSITORY / "docs/security.md"
# systemd.exec(5); @default cannot be taken away.
SYSTEM_SERVICE = {
    *("@aio", "@basic-io", "@chown", "@file-system", "@io-event", "@ipc", "@keyring", "@memlock", "@network-io"),
    *("@process", "@resources", "@setuid", "@signal", "@sync", "@timer"),
}
# What [Service] has systemd do besides, and what is not a right: how, when, who may read.
NO_RIGHTS = {
    *("ExecStart", "RestartSec", "WatchdogSec", "TimeoutStopSec", "StateDirectoryMode", "RuntimeDirectoryMode"),
    *(
        "LimitNOFILE",
        "OOMPolicy",
        "UMask",
        "NoNewPrivileges",
        "DevicePolicy",
        "SystemCallArchitectures",
        "SystemCallErrorNumber",
    ),
    *(
        "ProtectSystem",
        "ReadOnlyPaths",
        "ProtectHome",
        "PrivateMounts",
        "PrivateTmp",
        "ProtectClock",
        "ProtectControlGroups",
    ),
    *("ProtectHostname", "ProtectKernelLogs", "ProtectKernelModules", "ProtectKernelTunables", "ProtectProc"),
    *("ProcSubset", "RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID", "LockPersonality"),
    *("MemoryDenyWriteExecute", "RemoveIPC", "KeyringMode", "AppArmorProfile", "SELinuxContext"),
}


def settings() -> list[tuple[str, str]]:
    _, _, service = UNIT.read_text().partition("[Service]\n")
    service, _, _ = service.partition("\n[Install]")
    lines = (line.partition("=") for line in service.splitlines() if line and not line.startswith("#"))
    return [(name, value) for name, _, value in lines]


def granted() -> set[str]:
    """All that the unit's lines grant, called as in the table."""
    calls: set[str] = set()
    found: set[str] = set()
    for name, value in settings():
        if name == "SystemCallFilter" and value.startswith("~"):
            calls -= set(value[1:].split())
        elif name == "SystemCallFilter":
            for word in value.split():
                calls |= SYSTEM_SERVICE if word == "@system-service" else {word}
        elif name in ("CapabilityBoundingSet", "RestrictAddressFamilies"):
            found |= set(value.split())
        elif name in ("DeviceAllow", "StateDirectory", "RuntimeDirectory"):
            found.add(f"{name}=")
        elif name == "LimitMEMLOCK":
            found.add("LimitMEMLOCK=64K")
    return found | calls


def test_everything_that_is_granted_is_in_the_table() -> None:
    assert {removal.name for removal in GRANTED} == granted()


def test_every_line_of_the_unit_is_known() -> None:
    rights = {"CapabilityBoundingSet", "RestrictAddressFamilies", "DeviceAllow", "StateDirectory", "RuntimeDirectory"}
    rights |= {"LimitMEMLOCK", "SystemCallFilter"}
    duties = {removal.name.partition("=")[0] for removal in DUTIES}
    assert {name for name, _ in settings()} == rights | duties | NO_RIGHTS


def test_what_is_not_taken_away_is_explained_in_the_unit() -> None:
    remarks = " ".join(line[2:] for line in UNIT.read_text().splitlines() if line.startswith("# "))
    for removal in NOT_TAKEN:
        assert f"No {removal.name.partition('=')[0]}=" in remarks, removal.name


def test_names_are_unique_and_functions_exist() -> None:
    names = [removal.name for removal in REMOVALS]
    assert len(set(names)) == len(names)
    assert {removal.fails for removal in REMOVALS} <= FUNCTIONS.keys()


def test_page_has_the_table() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| [^|]+ \| `([a-z-]+)` \|$", PAGE.read_text(), re.MULTILINE)
    assert rows == [(removal.name, removal.fails) for removal in REMOVALS]
