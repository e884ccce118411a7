# SPDX-License-Identifier: GPL-2.0-or-later
"""The texts that a desktop shows. Pure. A network's name may hold anything, so it is made harmless here."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from clatnm.desktop.state import Kind, Network, of_machine
from clatnm.printable import printable

Escape = Callable[[str], str]
"""Makes a text what is shown as that text."""

_LONGEST_NAME = 64

TEXTS = {
    Kind.NAT64: "NAT64",
    Kind.NATIVE: "IPv4",
    Kind.STARTING: "IPv4…",
    Kind.NONE: "no IPv4",
    Kind.OFF: "no CLAT",
    Kind.STOPPED: "no clatnm",
}
"""What a status bar has room for."""


def plain(text: str) -> str:
    """On one line, without terminal controls, and without what polybar takes for a command (`%{A1:…:}`)."""
    return printable(text).replace("%{", "% {")


def pango(text: str) -> str:
    """The same in markup: that of Pango, and of notifications."""
    return html.escape(plain(text), quote=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A notification. `title` is fixed text; `body` has a network's name in it."""

    title: str
    body: str
    icon: str
    """A name of the freedesktop icon naming specification."""
    category: str
    urgent: bool


def notice(network: Network, escape: Escape) -> Notice:
    """What is to be said of a network that has IPv4 through NAT64, or none."""
    name = f"“{escape(_short(network))}”"
    if network.kind is Kind.NAT64:
        return Notice(
            title="IPv4 works here through NAT64",
            body=f"{name} has IPv6 only. {_who(network, escape)} for programs that need IPv4.",
            icon="network-transmit-receive",
            category="network.connected",
            urgent=False,
        )
    no_nat64 = network.reason == "no-pref64"
    why = escape(network.explanation) or "the translator failed"
    return Notice(
        title="This network has no IPv4 and no NAT64" if no_nat64 else "IPv4 does not work here",
        body=(
            f"{name} has IPv6 only. What needs IPv4 does not work on it."
            if no_nat64
            else f"{name}: {why}. What needs IPv4 does not work."
        ),
        icon="network-error",
        category="network.error",
        urgent=True,
    )


def _who(network: Network, escape: Escape) -> str:
    if network.reason == "manager-translates":
        return f"{escape(network.manager) or 'The network manager'} translates"
    return f"clatnm translates ({escape(network.prefix)})" if network.prefix else "clatnm translates"


def _short(network: Network) -> str:
    name = network.name or network.interface
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What an indicator shows, already harmless for where it goes."""

    kind: Kind
    text: str
    details: tuple[str, ...]
    """One line a connection."""
    name: str = ""
    interface: str = ""
    prefix: str = ""
    reason: str = ""


def line(networks: Sequence[Network] | None, escape: Escape) -> Line:
    """How IPv4 is on this machine; `networks` None: the daemon does not answer."""
    if networks is None:
        return Line(kind=Kind.STOPPED, text=TEXTS[Kind.STOPPED], details=("the clatnm daemon does not run",))
    chosen = of_machine(networks)
    if chosen is None:
        return Line(kind=Kind.OFF, text=TEXTS[Kind.OFF], details=("no active connections",))
    return Line(
        kind=chosen.kind,
        text=TEXTS[chosen.kind],
        details=tuple(_detail(network, escape) for network in networks),
        name=escape(_short(chosen)),
        interface=escape(chosen.interface),
        prefix=escape(chosen.prefix),
        reason=escape(chosen.reason),
    )


def _detail(network: Network, escape: Escape) -> str:
    return f"{escape(network.interface)} “{escape(_short(network))}”: {_state(network, escape)}"


def _state(network: Network, escape: Escape) -> str:
    explanation = escape(network.explanation)
    if network.kind is Kind.NAT64:
        return f"IPv4 through NAT64 {escape(network.prefix)}".rstrip()
    if network.kind is Kind.NATIVE:
        return "native IPv4"
    if network.kind is Kind.STARTING:
        return "not known yet"
    if network.kind is Kind.NONE:
        return f"no IPv4: {explanation or 'the translator failed'}"
    return explanation or "no CLAT"
