# SPDX-License-Identifier: GPL-2.0-or-later
"""packaging/selinux, compiled, and a whole policy with it: Debian's modules and ours. Nothing is loaded here."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.packaging import unit_file

MODULE = unit_file.REPOSITORY / "packaging/selinux"
DEVEL = Path("/usr/share/selinux/devel/Makefile")
AROUND = Path("/usr/share/selinux/default")
"""Debian's modules, each a file."""
CONTEXTS = Path("/etc/selinux/default/contexts")
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_TO_CIL = Path("/usr/libexec/selinux/hll/pp")
# Program or file: the package that has it.
_TOOLS = {
    "checkmodule": "checkpolicy",
    "semodule_package": "semodule-utils",
    "secilc": "secilc",
    "bzip2": "bzip2",
    str(DEVEL): "selinux-policy-dev",
    str(_TO_CIL): "policycoreutils",
    str(AROUND / "base.pp.bz2"): "selinux-policy-default",
}
_LIMIT_S = 300
_DOMAINS = re.compile(r"\(typeattributeset domain \(([\w ]+)\)\)")
# What every kernel of today knows; newer ones read it as well.
_VERSION = 33


class Whole(NamedTuple):
    """A policy as a kernel takes it, and which file has which label."""

    binary: Path
    labels: Path


class BuildError(RuntimeError):
    """It cannot be made; the text says why."""


def missing() -> str:
    """Why a whole policy cannot be made here; "" when it can."""
    absent = [tool for tool in _TOOLS if not (Path(tool).exists() or shutil.which(tool, path=_PATH))]
    return "needs " + ", ".join(f"{tool} (package {_TOOLS[tool]})" for tool in absent) if absent else ""


def module(place: Path) -> Path:
    """A copy of the module's directory in `place`, compiled: that leaves files beside. BuildError."""
    copy = place / "selinux"
    shutil.copytree(MODULE, copy)
    said = run("make", "-C", str(copy), "SELINUXTYPE=default")
    if "arning" in said:
        raise BuildError(said)
    return copy


def whole(compiled: Path, place: Path, *, permissive_but: str = "") -> Whole:
    """All of Debian's modules and `compiled`; with a domain given, every other one is permissive in it.

    BuildError, also for what a neverallow forbids.
    """
    cil = place / "cil"
    cil.mkdir()
    inputs = [*sorted(AROUND.glob("*.pp.bz2")), compiled / "clatnm.pp.bz2"]
    convert = f'bzip2 -dc "$1" | {_TO_CIL} >"{cil}/$(basename "$1" .pp.bz2).cil"'
    run("xargs", "-d", "\\n", "-n1", "-P2", "sh", "-c", convert, "sh", stdin="\n".join(map(str, inputs)))
    texts = sorted(cil.iterdir())
    if permissive_but:
        loose = sorted({domain for text in texts for domain in domains(text.read_text())} - {permissive_but})
        texts.append(cil / "permissive.cil")
        texts[-1].write_text("".join(f"(optional loose_{name} (typepermissive {name}))\n" for name in loose))
    made = Whole(place / f"policy.{_VERSION}", place / "file_contexts")
    options = ("-M", "1", "-c", str(_VERSION), "-o", str(made.binary), "-f", str(made.labels))
    run("secilc", *options, *map(str, texts))
    return made


def domains(text: str) -> list[str]:
    """The types of a module that are processes."""
    return " ".join(_DOMAINS.findall(text)).split()


def run(*argv: str, stdin: str = "") -> str:
    """What it says on standard output and error. BuildError when it fails."""
    try:
        told = subprocess.run(
            argv,
            check=False,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            input=stdin,
            timeout=_LIMIT_S,
            env={"PATH": _PATH, "LC_ALL": "C.UTF-8"},
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise BuildError(f"{argv[0]}: {error}") from error
    if told.returncode != 0:
        raise BuildError(f"{' '.join(argv[:3])}: {told.stdout.strip()[-1000:]}")
    return told.stdout
