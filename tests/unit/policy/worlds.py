# SPDX-License-Identifier: GPL-2.0-or-later
"""Short ways to say what a world looks like, for tests of decisions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address, IPv6Interface, IPv6Network

from clatnm.model import (
    Address6,
    DefaultRoute,
    Link,
    Mode,
    Plan,
    PrefixCandidate,
    PrefixSource,
    Reason,
    Retry,
    Running,
    RunState,
    Settings,
    ToldMode,
    Uplink,
    World,
)
from clatnm.policy.plan import decide

NOW = 1000.0
SECRET = b"s" * 32
MAC = bytes.fromhex("020000000005")
WELL_KNOWN = IPv6Network("64:ff9b::/96")
OWN_PREFIX = IPv6Network("2001:db8:64::/96")
ROUTER = IPv6Address("fe80::1")
_DEFAULT = Settings()
UUID = "bbcd7cc0-dfd2-4e95-8d38-c9bc4872809c"


def an_address(text: str, *, deprecated: bool = False, tentative: bool = False, temporary: bool = False) -> Address6:
    """`2001:db8::5/64` and what the kernel thinks of it."""
    own = IPv6Interface(text)
    return Address6(
        address=own.ip,
        prefixlen=own.network.prefixlen,
        deprecated=deprecated,
        tentative=tentative,
        temporary=temporary,
    )


def a_route4(*, metric: int = 100, gateway: str | None = "192.168.2.1") -> DefaultRoute:
    return DefaultRoute(gateway=None if gateway is None else IPv4Address(gateway), metric=metric)


def a_route6(*, metric: int = 100, gateway: str | None = "fe80::1") -> DefaultRoute:
    return DefaultRoute(gateway=None if gateway is None else IPv6Address(gateway), metric=metric)


def a_link(  # the IPv6-only network that a CLAT is for, unless told otherwise
    name: str = "wlan0",
    *,
    index: int = 2,
    ipv6: Iterable[str | Address6] = ("fe80::5/64", "2001:db8:a::5/64"),
    ipv4: Iterable[str] = (),
    default4: tuple[DefaultRoute, ...] = (),
    default6: tuple[DefaultRoute, ...] = (DefaultRoute(gateway=ROUTER, metric=100),),
    carrier: bool = True,
    carrier_changes: int = 2,
    mtu_bytes: int = 1500,
    link_address: bytes | None = MAC,
    kind: str = "",
) -> Link:
    return Link(
        index=index,
        name=name,
        ipv6_mtu_bytes=mtu_bytes,
        carrier=carrier,
        carrier_changes=carrier_changes,
        link_address=link_address,
        addresses4=frozenset(map(IPv4Address, ipv4)),
        addresses6=tuple(item if isinstance(item, Address6) else an_address(item) for item in ipv6),
        default4=default4,
        default6=default6,
        kind=kind,
    )


def a_told_mode(mode: Mode, source: str = "ipv6.dns-options") -> ToldMode:
    return ToldMode(source=source, text=str(mode), mode=mode)


def an_uplink(
    interface: str = "wlan0",
    *,
    uuid: str = UUID,
    mode: Mode | None = None,
    is_vpn: bool = False,
    manager_clat: str = "",
) -> Uplink:
    return Uplink(
        interface=interface,
        uuid=uuid,
        name=f"Net of {interface}",
        manager="NetworkManager",
        told_modes=() if mode is None else (a_told_mode(mode),),
        is_vpn=is_vpn,
        manager_clat=manager_clat,
    )


def a_candidate(prefix: IPv6Network = WELL_KNOWN, *, expires_at: float | None = NOW + 1800) -> PrefixCandidate:
    return PrefixCandidate(prefix=prefix, source=PrefixSource.RA, router=ROUTER, expires_at=expires_at)


def a_world(
    *links: Link,
    uplinks: Iterable[Uplink] | None = None,
    prefixes: Mapping[str, tuple[PrefixCandidate, ...]] | None = None,
    running: Mapping[str, Running] | None = None,
    retries: Mapping[str, Retry] | None = None,
    backends: Mapping[str, str] | None = None,
    settings: Settings = _DEFAULT,
) -> World:
    """Every link is an uplink with the well-known prefix, and the one backend works, unless told otherwise."""
    links = links or (a_link(),)
    told = [an_uplink(link.name) for link in links] if uplinks is None else list(uplinks)
    return World(
        uplinks=tuple(sorted(told, key=lambda uplink: uplink.interface)),
        links={link.name: link for link in links},
        prefixes={link.name: (a_candidate(),) for link in links} if prefixes is None else prefixes,
        running=running or {},
        retries=retries or {},
        backends={"tun": ""} if backends is None else backends,
        settings=settings,
        secret=SECRET,
    )


def the_plan(world: World, *, now: float = NOW) -> Plan:
    """The plan of the only connection, which must have one."""
    (verdict,) = decide(world, now)
    assert verdict.plan is not None, verdict.line()
    assert verdict.reason is None
    return verdict.plan


def the_reason(world: World, *, now: float = NOW) -> Reason | None:
    """Why the only connection has no plan; None when it has one."""
    (verdict,) = decide(world, now)
    assert (verdict.plan is None) == (verdict.reason is not None)
    return verdict.reason


def run_all(*plans: Plan, state: RunState = RunState.ON) -> dict[str, Running]:
    """These plans as what runs now."""
    return {plan.key: Running(plan=plan, state=state) for plan in plans}
