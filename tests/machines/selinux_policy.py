# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest needs to have SELinux enforce packaging/selinux: a policy, labels for its files, and what else is read
from /etc/selinux. All of it is made here; the guest's root has nothing of it.

Debian's policy around the module is not what is tested. Enforced for everybody, it lets a guest boot, but not the tests
make their networks (`ip netns` may not mount). So each domain but clatnm_t is permissive in it.
"""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.machines.needs import MachineError
from tests.packaging import selinux_build

DOMAIN = "clatnm_t"
ARCHIVE = "selinux.tar"
_CONFIG = b"SELINUX=enforcing\nSELINUXTYPE=default\n"


def files() -> Mapping[str, bytes]:
    """For the directory that a guest shares with us: an archive of /etc/selinux. MachineError."""
    reason = selinux_build.missing()
    if reason:
        raise MachineError(reason)
    try:
        with tempfile.TemporaryDirectory(prefix="clatnm-selinux-") as name:
            place = Path(name)
            compiled = selinux_build.module(place)
            made = selinux_build.whole(compiled, place, permissive_but=DOMAIN)
            return {ARCHIVE: _archive(made)}
    except selinux_build.BuildError as error:
        raise MachineError(str(error)) from error


def _archive(made: selinux_build.Whole) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        _add(archive, "config", _CONFIG)
        _add(archive, f"default/policy/{made.binary.name}", made.binary.read_bytes())
        _add(archive, "default/contexts/files/file_contexts", made.labels.read_bytes())
        for path in sorted(_files(selinux_build.CONTEXTS)):
            _add(archive, f"default/contexts/{path.relative_to(selinux_build.CONTEXTS)}", path.read_bytes())
    return out.getvalue()


def _files(place: Path) -> Iterator[Path]:
    """Without Debian's labels: ours are others. Which directory counts as which other is as Debian has it."""
    labels = place / "files"
    yield labels / "file_contexts.subs_dist"
    yield from (path for path in place.rglob("*") if path.is_file() and labels not in path.parents)


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o644
    archive.addfile(entry, io.BytesIO(data))
