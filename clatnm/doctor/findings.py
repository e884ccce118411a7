# SPDX-License-Identifier: GPL-2.0-or-later
"""What a check says, and checks one after another: the first that fails is the cause, what depends on it is skipped."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from clatnm.compat import StrEnum

_T = TypeVar("_T")


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    """IPv4 works, or may; but something should be looked at."""
    FAIL = "fail"
    """For this, IPv4 or clatnm itself does not work."""
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """The answer of one check."""

    level: Level
    cause: str
    remedy: str = ""
    """What to do, in words."""
    command: str = ""
    """What to type to have it done, where a command can; as root unless NetworkManager allows it to others."""
    final: bool = False
    """What comes behind it is not needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check says of the machine (`interface` is "") or of one connection."""

    check: str
    said: Said
    interface: str = ""
    connection: str = ""

    @property
    def level(self) -> Level:
        return self.said.level


@dataclass(frozen=True, slots=True, kw_only=True)
class Check(Generic[_T]):
    """A question about facts of one kind. It is asked only if none of `needs` has failed."""

    name: str
    look: Callable[[_T], Said]
    needs: tuple[str, ...] = ()


def ok(cause: str, *, final: bool = False) -> Said:
    """All is well."""
    return Said(level=Level.OK, cause=cause, final=final)


def warn(cause: str, remedy: str, *, command: str = "", final: bool = False) -> Said:
    """Something should be looked at."""
    return Said(level=Level.WARN, cause=cause, remedy=remedy, command=command, final=final)


def fail(cause: str, remedy: str, *, command: str = "") -> Said:
    """This is why it does not work."""
    return Said(level=Level.FAIL, cause=cause, remedy=remedy, command=command)


def skip(cause: str, *, final: bool = False) -> Said:
    """It was not asked, or could not be."""
    return Said(level=Level.SKIPPED, cause=cause, final=final)


def each(checks: Iterable[Check[_T]], facts: _T) -> Iterator[Finding]:
    """All of them; of those that fail, each knocks out whoever needs it, directly or by another."""
    out: set[str] = set()
    for check in checks:
        lost = _first(check.needs, out)
        said = skip(f"not asked, because of {lost}") if lost else check.look(facts)
        if lost or said.level is Level.FAIL:
            out.add(check.name)
        yield Finding(check=check.name, said=said)


def in_turn(
    checks: Iterable[Check[_T]], facts: _T, *, out: Collection[str], interface: str, connection: str
) -> Iterator[Finding]:
    """One after the other, until one fails or needs no more; `out`: names of others' checks that have failed."""
    end = ""
    for check in checks:
        lost = _first(check.needs, out)
        if end:
            said = skip(end)
        elif lost:
            said, end = skip(f"not asked, because of {lost}"), f"not asked, because of {lost}"
        else:
            said = check.look(facts)
            if said.level is Level.FAIL:
                end = f"not asked, because of {check.name}"
            elif said.final:
                end = f"not needed: {check.name} says it all"
        yield Finding(check=check.name, said=said, interface=interface, connection=connection)


def root_cause(findings: Iterable[Finding]) -> Finding | None:
    """The first that fails, else the first to look at; None when all is well."""
    found = list(findings)
    for level in (Level.FAIL, Level.WARN):
        for finding in found:
            if finding.level is level:
                return finding
    return None


def _first(names: Iterable[str], out: Collection[str]) -> str:
    return next((name for name in names if name in out), "")


TITLES: Mapping[str, str] = {
    "config": "the configuration makes sense",
    "ipv6-kernel": "the kernel has IPv6",
    "bus": "the system bus is there",
    "daemon": "the daemon runs and answers",
    "tun": "there is /dev/net/tun",
    "capabilities": "the daemon has the rights it needs",
    "backend": "packets can be translated, and by eBPF on which hook",
    "leftovers": "a killed translator left nothing behind",
    "static": "static translators run",
    "connection": "there is a connection, and clatnm follows it",
    "link": "the link is up",
    "address": "it has an IPv6 address, and nobody else has it",
    "ipv6-route": "it has an IPv6 default route",
    "router": "the router answers",
    "mode": "CLAT is switched on for it",
    "manager": "the network manager does not translate, or does it well",
    "other": "there is no other translator",
    "native": "there is no native IPv4 that does not work",
    "never-default": "the profile allows an IPv4 default route",
    "vpn": "no VPN is in the way",
    "dhcp4": "what DHCPv4 says is no trouble",
    "pref64": "the network tells its NAT64 prefix",
    "plat": "the NAT64 answers",
    "clat-address": "there are addresses for the CLAT",
    "translator": "the translator runs",
    "device": "its device has its address",
    "ipv4-route": "IPv4 goes into it",
    "firewall": "no firewall of this host drops what is translated",
    "zone": "its device is in the firewalld zone of its uplink",
    "ipv4": "a test packet gets an answer over IPv4",
    "mtu": "long packets get through",
    "forward": "no firewall of this host drops what is forwarded for others",
}
"""Every check, in the order in which they are asked."""
