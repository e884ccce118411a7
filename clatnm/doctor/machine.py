# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks of what is not about one connection. Pure: facts in, findings out."""

from __future__ import annotations

from clatnm.doctor.facts import DaemonState, Machine
from clatnm.doctor.findings import Check, Said, fail, ok, skip, warn

_NEEDED = ("CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SETUID", "CAP_SETGID")
_BY_BPF = ("CAP_BPF", "CAP_SYS_ADMIN")
_RESTART = "systemctl restart clatnm"
_HOOKS = {"ebpf": "by eBPF, on tcx hooks", "ebpf-clsact": "by eBPF, on clsact hooks (tcx comes with Linux 6.6)"}


def _config(machine: Machine) -> Said:
    if machine.config_hidden:
        return skip("this user may not read it; root may")
    if machine.config_fault:
        remedy = f"mend that line: {machine.config_hint}" if machine.config_hint else "mend that line"
        return fail(machine.config_fault, f"{remedy}; then systemctl reload clatnm")
    return ok(f"{machine.conf.path} and what is beside it makes sense")


def _ipv6_kernel(machine: Machine) -> Said:
    if machine.ipv6:
        return ok("the kernel has IPv6")
    return fail("this kernel runs without IPv6", "start it without `ipv6.disable=1`, and with the module ipv6")


def _bus(machine: Machine) -> Said:
    if not machine.bus_fault:
        return ok("the system bus answers")
    if machine.plain_only:
        return warn(machine.bus_fault, "clatnm follows the interfaces in `interfaces` without it; nobody can ask it")
    return fail(machine.bus_fault, "start the system bus, then NetworkManager", command="systemctl start dbus")


def _daemon(machine: Machine) -> Said:
    match machine.daemon:
        case DaemonState.ANSWERS:
            return ok("it runs and answers")
        case DaemonState.ABSENT:
            return fail("the clatnm daemon does not run", "start it", command="systemctl enable --now clatnm")
        case DaemonState.NAMELESS:
            return fail(
                f"the daemon runs (process {machine.daemon_pid}), but the bus denies it its name, org.clatnm1",
                "put org.clatnm1.conf into /usr/share/dbus-1/system.d, have the bus read it, and start the daemon anew",
                command=f"systemctl reload dbus && {_RESTART}",
            )
        case DaemonState.MUTE:
            cause = f"the daemon has its name on the bus, but does not answer: {machine.daemon_words}"
            return fail(cause, "start it again; what it did last: journalctl -u clatnm", command=_RESTART)
        case DaemonState.FORBIDDEN:
            cause = f"the bus does not let this user ask the daemon: {machine.daemon_words}"
            return fail(cause, "put org.clatnm1.conf into /usr/share/dbus-1/system.d", command="systemctl reload dbus")
        case _:
            return skip("without a bus nobody can ask it")


def _tun(machine: Machine) -> Said:
    if machine.tun_fault:
        return fail(
            machine.tun_fault, "load the kernel's module `tun`, or give it to the container", command="modprobe tun"
        )
    return ok("/dev/net/tun is there")


def _capabilities(machine: Machine) -> Said:
    if machine.capabilities is None:
        return skip("which rights the daemon has is not known")
    missing = [name for name in _NEEDED if name not in machine.capabilities]
    if missing:
        remedy = "CapabilityBoundingSet= of clatnm.service has to name them (systemctl cat clatnm), then start it again"
        return fail(f"the daemon runs without {' and '.join(missing)}", remedy, command=_RESTART)
    return ok("the daemon has the rights it needs")


def _backend(machine: Machine) -> Said:
    if not machine.backends:
        return skip("the daemon knows, or root can try")
    working = [name for name, fault in machine.backends.items() if not fault]
    if machine.backend != "auto" and machine.backend not in working:
        fault = machine.backends.get(machine.backend, "unknown")
        cause = f"`backend = {machine.backend}` cannot work on this machine: {fault}"
        remedy = f"`backend = auto` in {machine.conf.path}, then systemctl reload clatnm"
        return fail(cause, remedy, command=machine.conf.edit("backend", "auto"))
    if not working:
        faults = "; ".join(f"{name}: {fault}" for name, fault in machine.backends.items())
        return fail(f"nothing can translate on this machine: {faults}", "access to /dev/net/tun for the daemon")
    for name, words in _HOOKS.items():
        if name in working:
            return ok(words)
    return _without_ebpf(machine)


def _without_ebpf(machine: Machine) -> Said:
    """The process alone translates, which is slower and works as well."""
    fault = machine.backends.get("ebpf") or machine.backends.get("ebpf-clsact", "")
    cause = f"no eBPF, so the process alone translates: {fault}"
    lacking = machine.capabilities is not None and not machine.capabilities & frozenset(_BY_BPF)
    if lacking:
        remedy = "CapabilityBoundingSet= of clatnm.service has to name CAP_BPF, then start it again"
        return warn(cause, remedy, command=_RESTART)
    if "clang" in fault:
        return warn(cause, "a package of clatnm that was built with clang")
    return warn(cause, "a kernel with CONFIG_BPF_SYSCALL that lets the daemon use it (lockdown, a container's seccomp)")


def _leftovers(machine: Machine) -> Said:
    if machine.leftovers is None:
        return skip("only root sees hooks on devices")
    if machine.leftovers:
        what = " and ".join(machine.leftovers)
        return warn(f"a killed translator left {what}", "have it removed", command="clatnm cleanup")
    return ok("nothing is left of an earlier translator")


def _static(machine: Machine) -> Said:
    lost = [static for static in machine.statics if not static.runs]
    if lost:
        causes = "; ".join(f"{static.name} does not run: {static.why}" for static in lost)
        return fail(causes, lost[0].change)
    names = ", ".join(static.name for static in machine.statics)
    return ok(f"{names} runs" if names else "there are no static translators")


CHECKS: tuple[Check[Machine], ...] = (
    Check(name="config", look=_config),
    Check(name="ipv6-kernel", look=_ipv6_kernel),
    Check(name="bus", look=_bus),
    Check(name="daemon", look=_daemon, needs=("bus",)),
    Check(name="tun", look=_tun),
    Check(name="capabilities", look=_capabilities, needs=("daemon",)),
    Check(name="backend", look=_backend, needs=("tun", "capabilities")),
    Check(name="leftovers", look=_leftovers),
    Check(name="static", look=_static, needs=("ipv6-kernel", "daemon", "backend")),
)
