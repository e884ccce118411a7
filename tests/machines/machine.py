# SPDX-License-Identifier: GPL-2.0-or-later
"""A job by its name, in a guest made of a root and a kernel by theirs."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.machines import byte_code, guest, iptables, kernels, needs, roots, selinux_policy
from tests.machines.needs import MachineError
from tests.machines.payload import LIBRARY, REPO, payload
from tests.machines.results import Outcome

JOBS = Path(__file__).with_name("jobs")
_FURNISH = ("python3", "-m", "tests.machines.boot_first")
FIRST: Mapping[str, Sequence[str]] = {
    "boot": (*_FURNISH, "a"),
    "boot_dual": (*_FURNISH, "b"),
    "selinux": ("python3", "-m", "tests.machines.selinux_first"),
}
"""Jobs about the boot itself, each in a guest of its own: what is done in the root before."""
BRINGS: Mapping[str, Sequence[Callable[[], Mapping[str, bytes]]]] = {
    "apparmor": (iptables.files,),
    "selinux": (selinux_policy.files, iptables.files),
}
"""What is made for a job alone: files in the directory that its guest shares with us."""
# Whatever is refused is told, however much comes at once.
_TOLD = "audit_backlog_limit=65536"
WORDS: Mapping[str, str] = {
    "apparmor": _TOLD,
    "selinux": f"security=selinux selinux=1 {_TOLD}",
}
"""For the kernel's command line."""
BARE = ("kernels", "uplinks")
"""Jobs that need nothing but a kernel and systemd."""
COUNTED = ("wifi_mixed", "wifi_roam")
"""Jobs that measure times, or have nothing to do for a third of theirs."""
LIMIT_S = 1200.0
_COMPILED = (f"{LIBRARY}/clatnm", *(f"{REPO}/tests/{name}" for name in ("bpf", "e2e", "lab", "machines")))
"""What jobs import."""
_MAKING = threading.Lock()


@dataclass(frozen=True, slots=True)
class Machine:
    """One of `roots.RECIPES` on one of `kernels.SUITES`."""

    root: str
    kernel: str

    def __str__(self) -> str:
        return f"{self.root} on {self.kernel}"


def jobs() -> list[str]:
    """Names of all jobs."""
    return sorted(path.stem for path in JOBS.iterdir() if path.suffix in (".py", ".sh") and path.stem != "__init__")


def command(job: str) -> list[str]:
    """How a guest runs a job, or several one after the other: "kernels+uplinks". MachineError when there is none of
    that name."""
    for name in parts(job):
        if name not in jobs():
            raise MachineError(f"there is no job {name} (there are {', '.join(jobs())})")
    if len(parts(job)) > 1:
        each = " ".join(parts(job))
        return ["sh", "-c", f"s=0; for job in {each}; do python3 -m tests.machines.jobs.$job || s=$?; done; exit $s"]
    if (JOBS / f"{job}.sh").exists():
        return ["bash", f"tests/machines/jobs/{job}.sh"]
    return ["python3", "-m", f"tests.machines.jobs.{job}"]


def parts(job: str) -> list[str]:
    """The jobs that a guest does one after the other: "kernels+uplinks" is two, which spares a boot."""
    return job.split("+")


def why_not(machine: Machine) -> str | None:
    """Why it cannot be had, in words for a skipped test; None when all is there, made now if necessary."""
    try:
        _parts(machine)
    except MachineError as error:
        return str(error)
    return None


def run(
    machine: Machine,
    job: str,
    *arguments: str,
    say: Callable[[str], object] = sys.stdout.write,
    limit_s: float = LIMIT_S,
) -> Outcome:
    """Boot it, do the job. MachineError when there is no such thing."""
    argv: Sequence[str] = [*command(job), *arguments]
    each = parts(job)
    image, kernel = _parts(machine)
    with _MAKING:
        brought = _payload(machine.root)
    return guest.run(
        image,
        kernel,
        argv,
        payload=brought,
        limit_s=limit_s,
        first=FIRST.get(job, ()),
        files={name: data for part in each for bring in BRINGS.get(part, ()) for name, data in bring().items()},
        words=" ".join(filter(None, (WORDS.get(part) for part in each))),
        bare=set(each) <= set(BARE),
        counted=job in COUNTED,
        say=say,
    )


def shell(machine: Machine) -> None:
    """A shell in it, on this terminal. MachineError."""
    image, kernel = _parts(machine)
    guest.shell(image, kernel, payload=_payload(machine.root))


@functools.lru_cache
def _parts(machine: Machine) -> tuple[Path, kernels.Kernel]:
    reason = needs.missing()
    if reason:
        raise MachineError(reason)
    return roots.image(machine.root), kernels.kernel(machine.kernel)


@functools.lru_cache
def _payload(root: str) -> bytes:
    return byte_code.compiled(roots.image(root), _archive(), *_COMPILED)


@functools.lru_cache(maxsize=1)
def _archive() -> bytes:
    return payload()
