# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything that clatnm.service grants, and what fails without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.machines.inside import SkippedError, kernel_release

_CAPABILITIES = "CAP_NET_ADMIN CAP_NET_RAW CAP_BPF CAP_SETUID CAP_SETGID CAP_KILL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """`drop_in`: settings of [Service] that take one thing away. `fails`: the first of FUNCTIONS that does then."""

    name: str
    drop_in: str
    fails: str
    how: str = ""
    """A part of what is then said, where there is more than one way to fail."""
    before: tuple[int, int] | None = None
    """Only kernels older than this one need it; the job `kernels` tries it on one."""

    def check_kernel(self) -> None:
        """SkippedError where this one does not need it."""
        if self.before is not None and kernel_release() >= self.before:
            raise SkippedError(f"needed by kernels before {self.before[0]}.{self.before[1]} alone")


def _capability(name: str, fails: str, *, how: str = "") -> Removal:
    return Removal(name=name, drop_in=f"CapabilityBoundingSet=~{name}", fails=fails, how=how)


def _family(name: str, fails: str) -> Removal:
    return Removal(name=name, drop_in=f"RestrictAddressFamilies=~{name}", fails=fails)


def _calls(name: str, fails: str) -> Removal:
    return Removal(name=name, drop_in=f"SystemCallFilter=~{name}", fails=fails)


def _without(name: str, fails: str) -> Removal:
    """A setting that is empty."""
    return Removal(name=f"{name}=", drop_in=f"{name}=", fails=fails)


def _other(name: str, value: str, fails: str, *, more: str = "") -> Removal:
    """A setting that takes more away than the unit does."""
    return Removal(name=f"{name}={value}", drop_in=f"{name}={value}\n{more}", fails=fails)


GRANTED: Sequence[Removal] = (
    _capability("CAP_NET_ADMIN", "translates"),
    _capability("CAP_NET_RAW", "starts"),
    _capability("CAP_BPF", "uses-hooks"),
    _capability("CAP_SETUID", "translators-are-nobody-else"),
    _capability("CAP_SETGID", "translators-are-nobody-else"),
    _capability("CAP_KILL", "ends-a-translator-that-hangs", how="the translator has ended: not within"),
    _family("AF_UNIX", "starts"),
    _family("AF_NETLINK", "starts"),
    _family("AF_INET6", "starts"),
    _family("AF_PACKET", "translates"),
    _without("DeviceAllow", "translates"),
    _without("StateDirectory", "keeps-its-address"),
    _without("RuntimeDirectory", "hands-out-metrics"),
    Removal(name="LimitMEMLOCK=64K", drop_in="LimitMEMLOCK=64K", fails="uses-hooks", before=(5, 11)),
    _calls("@basic-io", "starts"),
    _calls("@file-system", "starts"),
    _calls("@io-event", "starts"),
    _calls("@ipc", "starts"),
    _calls("@network-io", "starts"),
    _calls("@process", "starts"),
    _calls("@setuid", "translators-are-nobody-else"),
    _calls("@signal", "starts"),
    _calls("@timer", "runs-scripts"),
    _calls("bpf", "uses-hooks"),
)
"""By the unit's own lines; @default is what systemd lets every service have."""

NOT_TAKEN: Sequence[Removal] = (
    _other("PrivateDevices", "yes", "translates"),
    _other("PrivateNetwork", "yes", "translates"),
    _other("PrivateUsers", "yes", "starts"),
    _other("IPAddressDeny", "any", "translates"),
    # With its capabilities, and without the directories, which would belong to that user from then on.
    _other(
        "User",
        "clatnm-translator",
        "answers",
        more=f"AmbientCapabilities={_CAPABILITIES}\nStateDirectory=\nRuntimeDirectory=",
    ),
)
"""What systemd could take away besides, by one line each."""

DUTIES: Sequence[Removal] = (
    _other("Type", "simple", "answers"),
    _without("ExecReload", "is-reloaded"),
    _other("RestartKillSignal", "SIGTERM", "restart-keeps-translators"),
    # Where none has a unit of its own.
    _other("KillMode", "mixed", "restart-keeps-translators", more="UnsetEnvironment=SYSTEMD_EXEC_PID"),
    _other("RuntimeDirectoryPreserve", "no", "restart-keeps-translators"),
    _other("Restart", "no", "comes-back"),
    Removal(name="ExecStopPost=", drop_in="ExecStopPost=", fails="leaves-nothing-when-killed", how="hooks are left"),
)
"""What it has systemd do."""

REMOVALS = (*GRANTED, *NOT_TAKEN, *DUTIES)
