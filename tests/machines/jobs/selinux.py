# SPDX-License-Identifier: GPL-2.0-or-later
"""SELinux enforces packaging/selinux, in Debian's policy (tests/machines/selinux_policy.py)."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.machines import bounds, bounds_wider
from tests.machines.systemd_place import Place

TAYGA = "clatnm_tayga"
"""The switch that docs/security.md names."""
_KERNEL = Path("/sys/fs/selinux")
_CONTEXT = "system_u:system_r:clatnm_t:s0"
_STRANGER = ("org.freedesktop.resolve1", "/org/freedesktop/resolve1")
_IPTABLES = "system_u:object_r:iptables_exec_t:s0"
BOUNDS = bounds.Bounds(
    setting=f"SELinuxContext={_CONTEXT}",
    label=_CONTEXT,
    # The bus and systemd tell their own refusals in the same words.
    refusal=re.compile(rf"avc:\s+denied\s.* scontext={_CONTEXT} (?!.*permissive=1)"),
    # Who is asked over the bus is looked into by the bus.
    forbidden={"ask-strangers": ("busctl", "--system", "call", *_STRANGER, "org.freedesktop.DBus.Peer", "Ping")},
)
_LABEL = "security.selinux"
_ABOUT_US = re.compile(r"avc:\s+denied\s.*:clatnm_\w+:")
# But for `tc`, which would like to tell more of a program than its number.
_US_TO_OTHERS = re.compile(r"avc:\s+denied\s.* scontext=(?!\S*:(?:clatnm|ifconfig)_t:)\S+ tcontext=\S*:clatnm_\w+:")
_LABELS = {
    "/etc/clatnm": "clatnm_etc_t",
    "/usr/bin/clatnm": "bin_t",
    "/var/lib/clatnm": "clatnm_var_lib_t",
    "/run/clatnm": "clatnm_var_run_t",
}


def it_is_enforced(place: Place) -> None:
    assert (_KERNEL / "enforce").read_text().strip() == "1"


def places_have_their_labels(place: Place) -> None:
    """Those that systemd has made, too."""
    found = {path: _label_of(path).split(":")[2] for path in _LABELS}
    assert found == _LABELS, found


def tayga_translates(place: Place) -> None:
    bounds_wider.tayga_translates(BOUNDS, place, _with_tayga)


def others_have_what_they_need_of_us(place: Place) -> None:
    """Where they are not permissive, they would be refused it."""
    told = bounds.kernel_said(_US_TO_OTHERS)
    assert not told, "\n".join(told)


def iptables_works(place: Place) -> None:
    _label_iptables()
    bounds_wider.iptables_works(BOUNDS, place)


def legacy_iptables_works(place: Place) -> None:
    _label_iptables()
    bounds_wider.legacy_iptables_works(BOUNDS, place, contextlib.nullcontext)


def _label_iptables() -> None:
    """As Fedora has it; Debian's policy knows the names of older ones."""
    for path in bounds_wider.install_iptables():
        os.setxattr(path, _LABEL, _IPTABLES.encode() + b"\0")


@contextlib.contextmanager
def _with_tayga() -> Iterator[None]:
    """As `setsebool clatnm_tayga on`."""
    _switch(TAYGA, on=True)
    try:
        yield
    finally:
        _switch(TAYGA, on=False)


def _switch(name: str, *, on: bool) -> None:
    (_KERNEL / "booleans" / name).write_text(str(int(on)))
    (_KERNEL / "commit_pending_bools").write_text("1")
    assert (_KERNEL / "booleans" / name).read_text().split()[0] == str(int(on))


def _label_of(path: str) -> str:
    return os.getxattr(path, _LABEL).decode().strip("\0")


if __name__ == "__main__":
    more = (places_have_their_labels, others_have_what_they_need_of_us)
    added = (iptables_works, legacy_iptables_works, tayga_translates)
    status = bounds.run(BOUNDS, it_is_enforced, *more, widened=added)
    for line in sorted(set(bounds.kernel_said(_ABOUT_US))):
        print(line, flush=True)
    sys.exit(status)
