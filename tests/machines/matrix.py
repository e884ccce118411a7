# SPDX-License-Identifier: GPL-2.0-or-later
"""Which job runs in which guests, and the page that tells how that went (docs/tested-on.md)."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

from tests.lab.system import REPOSITORY
from tests.machines import box, emulator, guest, kernels, machine, roots
from tests.machines.machine import Machine
from tests.machines.needs import CACHE, MachineError

PAGE = REPOSITORY / "docs/tested-on.md"
_MEMORY = CACHE / "results.json"

_NATIVE = (Machine("bookworm", "6.1"), Machine("trixie", "6.12"), Machine("forky", "newest"))
_OLDEST = Machine("trixie", "5.10")
HERE = "here"
"""For a kernel: this machine's own, so that no guest is needed, but a box (`box.py`)."""


def _boxed(root: str) -> Machine:
    return Machine(root, HERE)


# The longest first, so that none is left to run alone in the end; what is in a box has its turn beside the others.
PLACES: Mapping[str, Sequence[Machine]] = {
    "suspend+vpn+wifi+kernels+uplinks": (_NATIVE[2],),  # bookworm and trixie join in `wifi_mixed` and `wifi_roam`
    "suspend+vpn+desktop+apparmor": (_NATIVE[0],),  # iptables is this machine's, so apparmor's must be its release
    "privileges": (_boxed("forky"),),
    "selinux": (_NATIVE[0],),  # of the release whose policy it is that the module is put into
    "kernels+uplinks": (_OLDEST, *_NATIVE[:2]),
    "wifi_mixed": (_NATIVE[0],),
    "boot": (_NATIVE[2], _NATIVE[0]),
    "wifi_roam": (_NATIVE[1],),
    "boot_dual": (_NATIVE[1],),  # but for what it says of IPv4, the same as `boot`
    "systemd+services": (_boxed("bookworm"), _boxed("forky")),
    "systemd": (_boxed("trixie"),),
    "scopes": (_boxed("forky"),),
}
_MADE_AT_ONCE = 4
QUICK: Mapping[str, Sequence[Machine]] = {"kernels": (_NATIVE[0], _NATIVE[-1])}
"""What a change is not made without; the rest is for `make test-machines`."""

_HEAD = """\
# Tested on

Whole machines under qemu, each with a root and a kernel from Debian as they are: `make test-machines` runs every job
and writes this page. A kernel that is none of Debian's was the machine's own: there, systemd ran in namespaces.
[tests/machines](../tests/machines/README.md) says what the jobs check.

| root | kernel | job | result | on |
|---|---|---|---|---|
"""
_SHOWN = ("systemd", "network-manager", "python3", "python3-pyroute2", "python3-dbus-next", "iproute2")


class Key(NamedTuple):
    """One line of the page."""

    root: str
    kernel: str
    job: str

    @property
    def machine(self) -> Machine:
        return Machine(self.root, self.kernel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a job went in one guest: `fault` is empty for a success."""

    date: str
    fault: str
    checks: int
    skipped: Sequence[str]
    versions: Mapping[str, str]
    first_fault: str = ""
    """What the first try failed with, where it took a second."""


def keys(places: Mapping[str, Sequence[Machine]]) -> list[Key]:
    """One for each guest."""
    return [Key(place.root, place.kernel, job) for job in places for place in places[job]]


def run(names: Sequence[str] = (), *, quick: bool = False) -> bool:
    """All jobs, or those named, everywhere, as many guests side by side as this machine bears; the page is written
    after each. True when one has failed."""
    known = {} if quick else _remembered()
    failed = False
    wanted = [key for key in keys(QUICK if quick else PLACES) if not names or set(machine.parts(key.job)) & set(names)]
    # A box is no guest: it waits, most of the time.
    pools = making, guests, boxes = [ThreadPoolExecutor(number) for number in (_MADE_AT_ONCE, guest.AT_ONCE, 1)]
    newer = None if quick else making.submit(emulator.fetch)
    _make_ahead(making, wanted)
    tried = {(boxes if key.kernel == HERE else guests).submit(_try, key, newer): key for key in wanted}
    try:
        for future in as_completed(tried):
            result = known[tried[future]] = future.result()
            failed = failed or bool(result.fault)
            if not quick:
                _remember(known)
                PAGE.write_text(page(known), encoding="utf-8")
    except BaseException:  # somebody has had enough
        guest.give_up()
        for pool in pools:
            pool.shutdown(wait=False, cancel_futures=True)
        raise
    return failed


def _make_ahead(pool: ThreadPoolExecutor, wanted: Sequence[Key]) -> None:
    """What they need, in that order and side by side, as much of it is waiting for a mirror. Who needs what is being
    made waits for it, and is told what was wrong."""
    parts = ((make, name) for key in wanted for make, name in ((roots.image, key.root), (kernels.kernel, key.kernel)))
    for make, name in dict.fromkeys(parts):
        if name != HERE:
            pool.submit(make, name)


def _try(key: Key, needed: Future[None] | None) -> Result:
    """Twice if need be, which is not kept quiet: a guest that the machine has no time for is late for many things."""
    if needed is not None:
        needed.result()
    result = _once(key)
    if not result.fault:
        return result
    return replace(_once(key), first_fault=result.fault)


def _once(key: Key) -> Result:
    title = f"{key.job}: {key.machine}"
    print(f"== {title}\n", end="", flush=True)
    today = datetime.date.today().isoformat()
    lines = _Lines(title)
    try:
        if key.kernel == HERE:
            outcome = box.run_job(key.root, key.job, say=lines.write)
        else:
            outcome = machine.run(key.machine, key.job, say=lines.write)
    except MachineError as error:
        lines.write(f"== not run: {error}\n")
        return Result(date=today, fault=f"not run: {error}", checks=0, skipped=(), versions={})
    lines.write(
        f"{outcome.end}\n== {outcome.fault or 'passed'} ({outcome.seconds:.0f} s, {outcome.cpu_s:.0f} of CPU)\n"
    )
    return Result(
        date=today,
        fault=outcome.fault,
        checks=len(outcome.checks) - len(outcome.skipped),
        skipped=[f"{check.name} ({check.why})" for check in outcome.skipped],
        versions=outcome.versions,
    )


class _Lines:
    """Says whole lines, and in front of each whose it is, and when it was said."""

    def __init__(self, title: str) -> None:
        self._title, self._rest = title, ""
        self._began = time.monotonic()

    def write(self, text: str) -> None:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in filter(None, lines):
            print(f"{self._title} {time.monotonic() - self._began:4.0f} s | {line}\n", end="", flush=True)


def page(results: Mapping[Key, Result]) -> str:
    """docs/tested-on.md: a table of results, and one of the versions in each root."""
    shown = [key for key in sorted(keys(PLACES), key=lambda key: key.job) if key in results]
    lines = [
        _row(
            key.root,
            _kernel(key, results[key]),
            ", ".join(machine.parts(key.job)),
            _words(results[key]),
            results[key].date,
        )
        for key in shown
    ]
    return _HEAD + "".join(lines) + "\n" + _versions_table({key: results[key] for key in shown})


def _kernel(key: Key, result: Result) -> str:
    return result.versions.get("kernel", key.kernel)


def _words(result: Result) -> str:
    if result.fault:
        return f"**{result.fault}**"
    skipped = f"; not here: {', '.join(result.skipped)}" if result.skipped else ""
    again = f"; at the second try, the first: {result.first_fault}" if result.first_fault else ""
    return f"{result.checks} checks passed{skipped}{again}"


def _versions_table(results: Mapping[Key, Result]) -> str:
    roots = {key.root: result.versions for key, result in results.items() if result.versions}
    head = _row("in the root", *roots) + "|---" * (len(roots) + 1) + "|\n"
    return head + "".join(_row(name, *(told.get(name, "") for told in roots.values())) for name in _SHOWN)


def _row(*cells: str) -> str:
    return "".join(f"| {' '.join(cell.split()).replace('|', '/')} " for cell in cells) + "|\n"


def _remembered() -> dict[Key, Result]:
    """What earlier runs on this machine have found."""
    try:
        entries = json.loads(_MEMORY.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return {Key(*entry["key"]): Result(**entry["result"]) for entry in entries}


def _remember(results: Mapping[Key, Result]) -> None:
    entries = [{"key": key, "result": asdict(result)} for key, result in results.items()]
    fresh = _MEMORY.with_name(".results.new")
    fresh.write_text(json.dumps(entries, indent=1), encoding="utf-8")
    fresh.replace(_MEMORY)
