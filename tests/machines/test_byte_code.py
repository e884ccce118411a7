# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest finds byte code for its own Python, and takes it for that of the sources that it has."""

from __future__ import annotations

import io
import struct
import tarfile

import pytest

from tests.machines import box, roots
from tests.machines.byte_code import compiled
from tests.machines.needs import MachineError

ROOT = "bookworm"
PLACE = "srv/thing"
SOURCE = b"ANSWER = 42\n"
# With a fraction, which byte code does not know, and what unpacks it in a guest does not either.
MADE_AT = 1_700_000_000.75


@pytest.fixture(scope="module", autouse=True)
def there_are_images() -> None:
    if reason := box.why_not(ROOT):
        pytest.skip(reason)


def archive() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        entry = tarfile.TarInfo(f"{PLACE}/answer.py")
        entry.size, entry.mtime = len(SOURCE), MADE_AT
        made.addfile(entry, io.BytesIO(SOURCE))
    return out.getvalue()


def test_archive_has_byte_code_of_the_source_that_it_has() -> None:
    with tarfile.open(fileobj=io.BytesIO(compiled(roots.image(ROOT), archive(), f"/{PLACE}"))) as made:
        content = made.extractfile(f"{PLACE}/__pycache__/answer.cpython-311.pyc")
        assert content is not None
        # PEP 552: a magic number, flags, and of the source its time and size.
        assert struct.unpack("<8x2I", content.read(16)) == (int(MADE_AT), len(SOURCE))
        assert made.getnames()[0] == f"{PLACE}/answer.py"


def test_what_cannot_be_compiled_is_told() -> None:
    with pytest.raises(MachineError, match="no byte code for "):
        compiled(roots.image(ROOT), b"no archive", f"/{PLACE}")
