# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel: does it take the programs with the service's rights, are they right there, and what is left of the dead?

The argument is how many generated packets go through the programs and the translator.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections.abc import Callable
from ipaddress import IPv6Address

from tests.bpf import fuzz
from tests.bpf.programs import Kind, Programs
from tests.bpf.vectors import VECTORS, clat, usable, without_ident
from tests.e2e.datapath import traffic
from tests.e2e.datapath.hooks import hooks
from tests.e2e.datapath.rig import CLAT, PREFIX, SERVER6, Rig, alive, rigged, wait_settled
from tests.lab import snapshot
from tests.lab.poll import eventually
from tests.machines import forked, precompiled
from tests.machines.inside import Report, Sandboxed, SkippedError, be_patient, has_tcx, kernel_release

BACKENDS = ("ebpf", "ebpf-clsact", "tun")
TYPED_TEST_RUNS = (5, 14)
_COUNTED_BY_CGROUP = (5, 11)
PACKETS = 3000


def main() -> int:
    packets = int(sys.argv[1]) if len(sys.argv) > 1 else PACKETS
    be_patient()
    precompiled.use()
    report = Report()
    with report.check("vectors"):
        vectors_agree()
    with report.check(f"{packets}-generated-packets"):
        generated_agree(packets)
    with rigged(forked.start) as rig:
        with report.check("programs-load-with-the-rights-of-the-service"):
            loads(backends_of_the_service())
        with report.check("programs-do-not-load-without-room-in-memory"):
            needs_room(lambda: backends_of_the_service(LimitMEMLOCK="64K"), "ebpf-clsact")
        with report.check("programs-of-many-do-not-load-with-what-systemd-has-for-all"):
            needs_room(lambda: backends_of_the_service(LimitMEMLOCK=None), "many")
        before = snapshot.take(rig.host)
        for backend in BACKENDS:
            if backend == "ebpf" and not has_tcx():
                print(f"skip {backend}: no tcx before Linux 6.6", flush=True)
                continue
            with report.check(f"{backend}-in-the-sandbox-of-the-service"):
                carries(report, rig, backend)
                same(rig, before)
            for victim in ("worker", "supervisor"):
                with report.check(f"{backend}-killed-{victim}-leaves-nothing"):
                    dies(rig, backend, victim)
                    same(rig, before)
    return report.status


def vectors_agree() -> None:
    """Each of tests/vectors: simple ones become what they say, others are left alone."""
    loaded: dict[object, Programs] = {}
    for vector in VECTORS:
        if vector.config not in loaded:
            loaded[vector.config] = Programs(clat(vector.config, IPv6Address("fe80::1")))
        made = loaded[vector.config]
        translate = made.from_host if vector.direction == "4to6" else made.from_network
        for result in [translate(packet) for packet in usable(vector)]:
            assert (result.kind is Kind.TRANSLATED) is vector.simple, vector.name
            if vector.simple and vector.direction == "4to6":
                assert result.packet == vector.forward[0], vector.name
            elif vector.simple:
                assert without_ident(result.packet) == without_ident(vector.forward[0]), vector.name
    for programs in loaded.values():
        programs.close()
    assert len(loaded) > 1


def generated_agree(packets: int) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}", flush=True)
    if kernel_release() < TYPED_TEST_RUNS:
        # Such a kernel changes TCP's GSO packets alone, and those of a test run are of no type.
        print("skip generated-gso-packets: a test run has them since Linux 5.14", flush=True)
        whole = fuzz._run
        fuzz._run = lambda comparison, case: Kind.NOT_OURS if case.gso_size else whole(comparison, case)
    summary = fuzz.fuzz(seed, packets)
    print(fuzz.table(summary), flush=True)
    assert summary.total() == packets
    assert fuzz.accepted(summary) > 0.3


def backends_of_the_service(**settings: str | None) -> dict[str, str]:
    """What the daemon would find: backend, and why it does not work."""
    argv = ("/usr/bin/env", "PYTHONPATH=/srv/clatnm", "/usr/bin/python3", "-m", "tests.machines.probe")
    with Sandboxed("probe", *argv, **settings) as probe:
        told: dict[str, str] = json.loads(probe.wait())
    return told


def loads(found: dict[str, str]) -> None:
    assert found["ebpf-clsact"] == "", found
    assert found["tun"] == "", found
    assert (found["ebpf"] == "") is has_tcx(), found
    assert found["relay"] == "", found
    assert found["many"] == "", found


def needs_room(look: Callable[[], dict[str, str]], what: str) -> None:
    """LimitMEMLOCK= of the unit is for these kernels."""
    if kernel_release() >= _COUNTED_BY_CGROUP:
        raise SkippedError("since Linux 5.11, programs do not count against it")
    found = look()
    print(found, flush=True)
    assert found[what] != "", found


def carries(report: Report, rig: Rig, backend: str) -> None:
    """Both ways: TCP checked by its hash, datagrams, echo, fragments, and packets that just fit."""
    what = ("--backend", backend, "--uplink", "wan0", "--plat-prefix", str(PREFIX), "--clat-v6-addr", str(CLAT))
    with Sandboxed("translate", "/usr/bin/clatnm", "translate", *what, netns=rig.host.netns) as unit:
        eventually(lambda: "ready " in unit.log(), message="the ready line")
        wait_settled(rig.host, backend, "clat-wan0")
        with report.check(f"{backend}-echo"):
            traffic.ping(rig.host)
            traffic.ping(rig.server, "-I", str(SERVER6), address=str(CLAT))
        with report.check(f"{backend}-largest-packets"):
            (route,) = rig.host.ip_json("route", "show", "default", "dev", "clat-wan0")
            largest = route["metrics"][0]["mtu"] - 28
            for size in (largest - 28, largest - 20, largest):
                traffic.ping(rig.host, "-M", "do", "-s", str(size))
                traffic.exchange(rig, size)
        with report.check(f"{backend}-datagrams-and-fragments"):
            traffic.ping(rig.host, "-s", "4000")
            for size in (20, 1200, 4000, 20000):
                traffic.exchange(rig, size)
        with report.check(f"{backend}-download"):
            traffic.download(rig.host, traffic.MIB)
        with report.check(f"{backend}-upload"):
            traffic.upload(rig.host, traffic.MIB)
    assert "Traceback" not in unit.log(), unit.log()


def dies(rig: Rig, backend: str, victim: str) -> None:
    """SIGKILL. Only what hangs on clsact may stay, and no longer than until somebody cleans up."""
    with rig.translate(backend) as clat:
        traffic.ping(rig.host)
        worker = clat.worker
        os.kill(worker if victim == "worker" else clat.service.pid, signal.SIGKILL)
        eventually(lambda: clat.service.status is not None and not alive(worker), message="both end")
    assert clat.device not in rig.host.devices()
    assert hooks(rig.host, "wan0") == [] if has_tcx() else True
    traffic.ping(rig.host, address=str(SERVER6))
    if backend == "ebpf-clsact" and victim == "supervisor":
        rig.host.run("/usr/bin/clatnm", "cleanup", check=False)


def same(rig: Rig, before: snapshot.HostState) -> None:
    """The host is as it was."""
    difference = before.diff(snapshot.take(rig.host))
    assert not difference, difference


if __name__ == "__main__":
    sys.exit(main())
