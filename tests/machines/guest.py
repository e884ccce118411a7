# SPDX-License-Identifier: GPL-2.0-or-later
"""One guest: boots, runs one command as root under a real systemd, and is gone.

It has no network card, and what it writes to its root is forgotten. Everything goes through a shared directory: the
payload in; output, exit status and versions out.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from tests.machines.emulator import emulator
from tests.machines.initramfs import BARE_TARGET, FIRST, JOB, PAYLOAD, START, TARGET, initramfs
from tests.machines.kernels import Kernel
from tests.machines.needs import CACHE, MachineError
from tests.machines.payload import LIBRARY, REPO
from tests.machines.results import NO_RESULT, TIMED_OUT, Outcome, checks, versions

MEMORY_MB, CPUS = 1024, 2
CPU = "Nehalem"
"""x86-64-v2, which every distribution runs on; what later ones have is slower here, since none has it in hardware."""
AT_ONCE = min(len(os.sched_getaffinity(0)), 4)
"""Guests that run side by side: qemu keeps one CPU busy for each, nine tenths of the time. With one more, all take a
fifth more of the CPUs' time for the same, even if that one waits for half of its own."""
# Two nanoseconds an instruction; and where all wait, nobody waits.
_COUNTED = ("-icount", "shift=1,sleep=off")
_POLL_S = 0.2
_CONSOLE_END = 6000
_PACKAGES = (
    *("systemd", "network-manager", "iproute2", "python3", "python3-pyroute2", "python3-dbus-next"),
    *("wpasupplicant", "firewalld", "unbound", "ppp", "tayga"),
)
LISTING = f"echo kernel $(uname -r); dpkg-query -W -f '${{Package}} ${{Version}}\\n' {' '.join(_PACKAGES)}"
"""Says what `results.versions` reads."""
_START = f"""\
exec 2>&1
{{ {LISTING}; }} >{JOB}/versions
# As a package's installation does.
[ -e {LIBRARY}/clatnm/__pycache__ ] || python3 -m compileall -q {LIBRARY}/clatnm
cd {REPO}
@COMMAND@
echo $? >{JOB}/status
sync
exec systemctl poweroff -ff
"""
_SHELL = "setsid -c bash -l </dev/ttyS0 >/dev/ttyS0 2>&1"


_given_up = threading.Event()


def give_up() -> None:
    """End the guests of this process, and start no more."""
    _given_up.set()


def run(
    image: Path,
    kernel: Kernel,
    command: Sequence[str],
    *,
    payload: bytes,
    limit_s: float,
    first: Sequence[str] = (),
    files: Mapping[str, bytes] | None = None,
    words: str = "",
    bare: bool = False,
    counted: bool = False,
    say: Callable[[str], object] = lambda text: None,
) -> Outcome:
    """Run the command in a guest of its own; `say` gets its output as it comes. MachineError when qemu does not run.

    `first` is a command for its root before systemd is there, with /proc alone. `files` are in the directory that it
    shares with us, `words` on its kernel's command line. A `bare` one has not started what a desktop has.
    In a `counted` one, time is what its CPU has done: the same on a busy machine, but a third more work for ours.
    """
    with _turn(), _shared(payload, f"{shlex.join(command)} >{JOB}/out 2>&1") as place:
        if first:
            (place / "job" / FIRST).write_text(f"cd {REPO} && exec {shlex.join(first)}\n")
        for name, data in (files or {}).items():
            (place / "job" / name).write_bytes(data)
        # All of them, since SELinux has no label that a guest could give to a new file there.
        for name in ("out", "status", "versions"):
            (place / "job" / name).touch()
        began = time.monotonic()
        console = place / "console"
        serial = ("-serial", f"file:{console}")
        options = (*serial, *(_COUNTED if counted else ()))
        with _qemu(place, image, kernel, *options, words=words, bare=bare, stdin=subprocess.DEVNULL) as qemu:
            with (place / "job/out").open(encoding="utf-8", errors="replace") as out:
                said, cpu_s = _follow(qemu, out.read, say, until=began + limit_s)
            late = qemu.poll() is None
        seconds = time.monotonic() - began
        whole = (place / "job/status").read_text().strip()
        return Outcome(
            status=TIMED_OUT if late else int(whole) if whole else NO_RESULT,
            checks=checks(said),
            versions=versions((place / "job/versions").read_text()),
            seconds=seconds,
            cpu_s=cpu_s,
            said=said,
            end="" if whole else console.read_text(errors="replace")[-_CONSOLE_END:],
        )


def shell(image: Path, kernel: Kernel, *, payload: bytes) -> None:
    """A shell in a guest on this terminal, until it ends. Ctrl-A X ends the guest."""
    with _turn(), _shared(payload, _SHELL) as place, _qemu(place, image, kernel, "-serial", "mon:stdio") as qemu:
        qemu.wait()


def _follow(
    qemu: subprocess.Popen[bytes], read: Callable[[], str], say: Callable[[str], object], *, until: float
) -> tuple[str, float]:
    """Hand on what is written until the guest has ended or its time is over; all of it, and the CPU seconds it took."""
    said, cpu_s = "", 0.0
    while True:
        over = qemu.poll() is not None or time.monotonic() > until or _given_up.is_set()
        if text := read():
            said += text
            say(text)
        if over:
            return said, cpu_s
        cpu_s = _cpu_s(qemu.pid) or cpu_s
        time.sleep(_POLL_S)


def _cpu_s(pid: int) -> float:
    """What a process has had so far, in seconds; 0 once it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime, stime: proc(5)


@contextlib.contextmanager
def _turn() -> Iterator[None]:
    """No more guests than AT_ONCE, whoever starts them: one more makes all slow, and then late."""
    CACHE.mkdir(mode=0o755, parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        places = [stack.enter_context((CACHE / f".guest.{number}.lock").open("w")) for number in range(AT_ONCE)]
        # Who has it is the next: or those who have just had a turn are always faster than who waits.
        queue = stack.enter_context((CACHE / ".guest.queue.lock").open("w"))
        told = False
        while not (_mine(queue) and any(map(_mine, places))):
            if not told:
                print("waiting for another guest to end", file=sys.stderr, flush=True)
            told = True
            time.sleep(_POLL_S)
        fcntl.flock(queue, fcntl.LOCK_UN)
        yield


def _mine(place: IO[str]) -> bool:
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _shared(payload: bytes, command: str) -> Iterator[Path]:
    place = Path(tempfile.mkdtemp(prefix="clatnm-guest-"))
    try:
        (place / "job").mkdir()
        (place / "job" / PAYLOAD).write_bytes(payload)
        (place / "job" / START).write_text(_START.replace("@COMMAND@", command))
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def _qemu(
    place: Path,
    image: Path,
    kernel: Kernel,
    *options: str,
    words: str = "",
    bare: bool = False,
    stdin: int | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """It runs within the block, at the longest."""
    (place / "initramfs").write_bytes(initramfs(kernel))
    arguments = (
        "console=ttyS0 loglevel=4 panic=-1 mitigations=off net.ifnames=0",
        f"systemd.unit={BARE_TARGET if bare else TARGET} systemd.getty_auto=no systemd.show_status=no",
        words,
    )
    share = "local,security_model=none,multidevs=remap"
    with_what = emulator()
    # One thread: with one a CPU, a kernel that patches its code now and then ends in "int3" on the other CPU.
    command = [
        # Ends with us, whatever ends us.
        *("setpriv", "--pdeathsig", "KILL"),
        *(*with_what.command, "-accel", "tcg,thread=single", "-cpu", CPU, "-m", str(MEMORY_MB), "-smp", str(CPUS)),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-nic", "none"),
        *("-kernel", str(kernel.image), "-initrd", str(place / "initramfs"), "-append", " ".join(arguments)),
        *("-drive", f"file={image},format=raw,if=virtio,snapshot=on", "-device", "virtio-rng-pci"),
        *("-virtfs", f"{share},path={kernel.modules},mount_tag=modules,readonly=on"),
        *("-virtfs", f"{share},path={place / 'job'},mount_tag=job"),
        *options,
    ]
    # For the snapshot: on a disk, as /tmp may be in memory.
    environment = {**os.environ, **with_what.environment(), "TMPDIR": os.environ.get("TMPDIR", "/var/tmp")}
    try:
        qemu = subprocess.Popen(command, env=environment, stdin=stdin)
    except OSError as error:
        raise MachineError(f"{with_what.command[0]}: {error}") from error
    try:
        yield qemu
    finally:
        if qemu.poll() is None:
            qemu.kill()
        qemu.wait()
