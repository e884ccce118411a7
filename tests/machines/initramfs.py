# SPDX-License-Identifier: GPL-2.0-or-later
"""The first thing a guest runs: mounts the root, the kernel's modules and the job, and gives over to systemd."""

from __future__ import annotations

import gzip
import lzma
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.lab.namespace import SYSTEM_PATH
from tests.machines.kernels import Kernel
from tests.machines.needs import MachineError, busybox

JOB = "/job"
PAYLOAD = "payload.tar"
TARGET, BARE_TARGET = "job.target", "bare.target"
"""The job after all that a desktop starts, and after nothing but the basic system."""
START = "start"
FIRST = "first"
"""What a guest does in its root before systemd is there; not every job has it."""
_MODULES = ("virtio_pci", "virtio_blk", "virtio_rng", "ext4", "9p", "9pnet_virtio")
_UNPACK = {".xz": lzma.decompress, ".gz": gzip.decompress}

_INIT = f"""#!/busybox sh
b=/busybox
$b mount -t devtmpfs dev /dev
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
for module in /modules/*; do $b insmod $module; done
o=trans=virtio,version=9p2000.L,msize=262144
$b mount -t ext4 -o noatime /dev/vda /root
$b mount -t 9p -o ro,cache=loose,$o modules /root/usr/lib/modules
$b mount -t 9p -o cache=none,$o job /root{JOB}
$b mount -t tmpfs -o mode=755 run /root/run
$b mkdir -p /root/run/systemd/system
$b cp /units/* /root/run/systemd/system/
$b tar -x -f /root{JOB}/{PAYLOAD} -C /root
if [ -e /root{JOB}/{FIRST} ]; then
    $b mount --bind /proc /root/proc
    $b chroot /root /bin/sh {JOB}/{FIRST} || $b poweroff -f
    $b umount /root/proc
fi
$b umount /sys
$b umount /proc
$b mount --move /dev /root/dev
exec $b switch_root /root /lib/systemd/systemd
"""

_UNITS = {
    TARGET: """\
[Unit]
Requires=multi-user.target
Wants=job.service
After=multi-user.target
""",
    BARE_TARGET: """\
[Unit]
Requires=basic.target
Wants=job.service
After=basic.target
""",
    "job.service": f"""\
[Unit]
After=multi-user.target systemd-user-sessions.service
[Service]
Type=oneshot
Environment=HOME=/root LANG=C.UTF-8 PYTHONUNBUFFERED=1 PATH={SYSTEM_PATH}
ExecStart=/bin/sh {JOB}/{START}
""",
}


class File(NamedTuple):
    """An entry of an archive; a directory has the mode of one and no data."""

    name: str
    mode: int
    data: bytes = b""


def cpio(files: Iterable[File]) -> bytes:
    """A newc archive, the kind that the kernel unpacks."""
    out = bytearray()
    for inode, (name, mode, data) in enumerate([*files, File("TRAILER!!!", 0)], 1):
        raw = name.encode() + b"\0"
        fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(raw), 0)
        for part in (b"070701" + b"".join(b"%08x" % field for field in fields) + raw, data):
            out += part
            out += bytes(-len(out) % 4)
    return bytes(out)


def initramfs(kernel: Kernel) -> bytes:
    """For one kernel; half a second. MachineError when it lacks what a guest boots with."""
    files = [File(name, 0o40755) for name in ("dev", "proc", "sys", "root", "modules", "units")]
    files += [File("init", 0o100755, _INIT.encode()), File("busybox", 0o100755, busybox())]
    files += [File(f"modules/{i:03}.ko", 0o100644, data) for i, data in enumerate(_boot_modules(kernel))]
    files += [File(f"units/{name}", 0o100644, text.encode()) for name, text in _UNITS.items()]
    return cpio(files)


def _boot_modules(kernel: Kernel) -> Iterator[bytes]:
    """In the order in which they can be loaded, unpacked: busybox's insmod takes no others."""
    seen = set()
    for path in (path for name in _MODULES for path in _with_dependencies(kernel, name)):
        if path not in seen:
            seen.add(path)
            yield _UNPACK.get(path.suffix, bytes)(path.read_bytes())


def _with_dependencies(kernel: Kernel, name: str) -> list[Path]:
    command = ("modprobe", "-d", str(kernel.tree), "-S", kernel.release, "--show-depends", name)
    result = subprocess.run(
        command, check=False, text=True, capture_output=True, env={"PATH": SYSTEM_PATH, "LC_ALL": "C"}
    )
    if result.returncode != 0:
        raise MachineError(f"kernel {kernel.release}: {result.stderr.strip()}")
    lines = [line.split() for line in result.stdout.splitlines()]
    return [Path(words[1]) for words in lines if words[0] == "insmod"]  # others are built in
