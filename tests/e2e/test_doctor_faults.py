# SPDX-License-Identifier: GPL-2.0-or-later
"""Each fault is named first, and what `clatnm doctor` prints about it, done as it stands, cures it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.doctor_acts import Fault
from tests.e2e.doctor_faults import FAULTS
from tests.e2e.doctor_scene import Scene
from tests.lab.firewalld import Firewalld
from tests.lab.lab import Lab
from tests.lab.poll import eventually


@pytest.fixture(scope="module")
def scene(own_lab: Lab) -> Iterator[Scene]:
    found = Scene(own_lab)
    found.remember_router()
    yield found
    found.stack.close()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault_is_named_first_and_its_remedy_cures_it(scene: Scene, fault: Fault) -> None:
    if fault.check == "zone" and (reason := Firewalld.missing(scene.host)):
        pytest.skip(reason)
    scene.ready(plain_link=fault.plain)
    fault.inject(scene)

    def named() -> dict[str, str]:
        cause = scene.cause()
        assert cause is not None, "the doctor finds nothing"
        assert (cause["check"], cause["level"]) == (fault.check, fault.level), cause
        assert fault.says in cause["cause"], cause
        return dict(cause)

    told = eventually(named, timeout_s=15, message=f"{fault.name} is named")
    if fault.heal is not None:
        assert fault.remedy in told["remedy"]
        fault.heal(scene)
    else:
        uuid = scene.host.nmcli("-g", "connection.uuid", "connection", "show", "netA", check=False).stdout.strip()
        assert told["command"] == fault.command.replace("UUID", uuid)
        scene.follow(told["command"])

    def cured() -> bool:
        cause = scene.cause()
        assert cause is None, cause
        return True

    eventually(cured, timeout_s=30, message=f"{fault.name} is cured")
    if fault.tidy is not None:
        fault.tidy(scene)
        eventually(cured, timeout_s=30, message=f"{fault.name} has left nothing")
    scene.well()
