# SPDX-License-Identifier: GPL-2.0-or-later
"""What guests under AppArmor and SELinux have brought along, and which lines of the journal are refusals."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from tests.machines import bounds_wider, iptables, machine, selinux_policy
from tests.machines.jobs import apparmor, selinux
from tests.packaging import selinux_build

REPOSITORY = Path(__file__).resolve().parents[3]
_CLATNM = "scontext=system_u:system_r:clatnm_t:s0"
_AVC = 'AVC avc:  denied  { read } for  pid=412 comm="clatnm" name="shadow" dev="vda" ino=99'
_TARGET = "tcontext=system_u:object_r:shadow_t:s0 tclass=file"


def test_what_is_for_a_job_alone_is_for_one_that_there_is() -> None:
    assert {*machine.FIRST, *machine.BRINGS, *machine.WORDS} <= set(machine.jobs())


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        (f"{_AVC} {_CLATNM} {_TARGET} permissive=0", True),
        (f"{_AVC} {_CLATNM} {_TARGET} permissive=1", False),
        (f"{_AVC} scontext=system_u:system_r:init_t:s0 {_TARGET} permissive=0", False),
        (f"{_AVC.replace('denied', 'granted')} {_CLATNM} {_TARGET} permissive=0", False),
        # the bus and systemd
        (f"USER_AVC pid=301 uid=100 msg='avc:  denied  {{ send_msg }} for {_CLATNM} tcontext=x tclass=dbus'", True),
        (f"USER_AVC pid=1 uid=0 msg='avc:  denied  {{ start }} for auid=0 {_CLATNM} tcontext=x tclass=system'", True),
    ],
)
def test_refusal_of_selinux_is_known(line: str, *, refused: bool) -> None:
    assert bool(selinux.BOUNDS.refusal.search(line)) is refused


@pytest.mark.parametrize(("profile", "refused"), [("clatnm", True), ("man_groff", False)])
def test_refusal_of_apparmor_is_known(profile: str, *, refused: bool) -> None:
    line = f'AVC apparmor="DENIED" operation="open" profile="{profile}" name="/etc/shadow" pid=412 comm="cat"'
    assert bool(apparmor.BOUNDS.refusal.search(line)) is refused


def test_what_an_administrator_adds_is_documented() -> None:
    page = (REPOSITORY / "docs/security.md").read_text()
    for rule in (*apparmor.TAYGA, *apparmor.LEGACY_IPTABLES, f"setsebool -P {selinux.TAYGA} on"):
        assert f"`{rule}`" in page, rule
    manual = (REPOSITORY / "packaging/man/clatnm.conf.5").read_text()
    for drop_in in (bounds_wider.TAYGA_UNIT, bounds_wider.LEGACY_UNIT):
        assert f"[Service]\n{drop_in}\n" in manual, drop_in


def test_every_process_but_ours_is_permissive() -> None:
    text = "(typeattributeset domain (init_t clatnm_t ))\n(typeattributeset file_type (etc_t ))\n"
    assert selinux_build.domains(text) == ["init_t", selinux_policy.DOMAIN]


def test_iptables_comes_with_what_it_needs() -> None:
    brought = iptables.files()
    if not brought:
        pytest.skip("needs iptables (package iptables)")
    with tarfile.open(fileobj=io.BytesIO(brought[iptables.ARCHIVE])) as archive:
        names = archive.getnames()
        for command in (iptables.NFT, iptables.LEGACY):
            link = archive.getmember(f"usr/sbin/{command}")
            assert link.issym() and f"usr/sbin/{link.linkname}" in names
    assert any(name.endswith("xtables/libxt_standard.so") for name in names), names
    assert not any("/libc.so" in name for name in names), names
