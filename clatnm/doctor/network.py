# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks of one connection up to the question whether it should have a CLAT. Pure: facts in, findings out."""

from __future__ import annotations

from clatnm.doctor import filters
from clatnm.doctor.facts import NETWORKMANAGER, Subject
from clatnm.doctor.findings import Check, Said, fail, ok, skip, warn
from clatnm.kernel.machine import Neighbour
from clatnm.model import Dhcp4State, Mode, Reason, ToldMode
from clatnm.policy.modes import GLOBAL_FILE, own_file
from clatnm.proto.nat64 import WELL_KNOWN

_RELOAD = "systemctl reload clatnm"
_UNDECIDED = skip("what clatnm makes of it the daemon knows, or root can find out")


def _connection(s: Subject) -> Said:
    if s.link is None:
        return fail(f"there is no interface {s.interface}", "plug it in, or have its driver loaded (ip link)")
    if s.unfollowed is not None:
        why, change = s.unfollowed
        command = ""
        if not s.manager:
            command = s.conf.edit("interfaces", s.interface)
        elif s.manager == NETWORKMANAGER:
            command = f"nmcli device connect {s.interface}"
        return fail(f"{s.interface} is no connection: {why}", change, command=command)
    if s.this is not None and not s.this.uplink_itself:
        return ok("a VPN: its traffic goes through another connection, and that one is translated", final=True)
    return ok(f"managed by {s.manager or 'nobody'}" if s.this is not None else "who manages it is not known")


def _link(s: Subject) -> Said:
    if s.link is not None and s.link.carrier:
        return ok("the link has a carrier")
    if s.up is False:
        command = f"ip link set {s.interface} up"
        if s.manager == NETWORKMANAGER:
            command += f" && nmcli connection up {s.called}"
        return fail(f"{s.interface} is switched off", "switch it on", command=command)
    return fail(f"{s.interface} has no carrier", "plug the cable in, or join the Wi-Fi network")


def _address(s: Subject) -> Said:
    assert s.link is not None
    able = [own for own in s.link.addresses6 if not (own.address.is_link_local or own.address.is_loopback)]
    if s.ipv6_off:
        command = f"sysctl -w net.ipv6.conf.{s.interface}.disable_ipv6=0"
        if s.manager == NETWORKMANAGER:
            command += f" && nmcli connection up {s.called}"
        return fail(f"IPv6 is switched off on {s.interface} (disable_ipv6)", "switch it on", command=command)
    if s.duplicates:
        whose = " and ".join(map(str, s.duplicates))
        words = f"{whose} of {s.interface} is another host's, too (duplicate address detection)"
        remedy = "give one of the two hosts another address, then connect again"
        return warn(words, remedy) if able else fail(words, remedy)
    if able:
        return ok(", ".join(str(own.address) for own in able))
    if s.adverts is not None and not any(info.autonomous for a in s.adverts.adverts for info in a.prefixes):
        managed = any(advert.managed for advert in s.adverts.adverts)
        what = (
            "routers say that DHCPv6 gives addresses, and none came" if managed else "no router tells a prefix for one"
        )
        cause = f"{s.interface} has no global IPv6 address: {what}"
        return fail(cause, "the network's router has to advertise a prefix for addresses, or DHCPv6 to give one")
    cause = f"{s.interface} has no global IPv6 address"
    if s.manager == NETWORKMANAGER:
        change = f"nmcli connection modify {s.called} ipv6.method auto"
        return fail(cause, "have NetworkManager configure IPv6", command=f"{change} && nmcli connection up {s.called}")
    return fail(cause, f"have {s.manager or 'whoever configures it'} take one from the router, or by DHCPv6")


def _ipv6_route(s: Subject) -> Said:
    assert s.link is not None
    if s.link.default6:
        ways = ", ".join(f"by {route.gateway or 'the link itself'}" for route in s.link.default6)
        return ok(f"IPv6 default route {ways}")
    cause = f"{s.interface} has no IPv6 default route"
    if s.adverts is not None and not any(advert.lifetime_s for advert in s.adverts.adverts):
        said = "no router says that it is one" if s.adverts.adverts else "no router says anything"
        return fail(f"{cause}: {said}", "the network's router has to advertise itself, with a lifetime")
    if s.manager == NETWORKMANAGER:
        remedy = "have NetworkManager make it again, and see that the profile allows it (ipv6.never-default)"
        return fail(cause, remedy, command=f"nmcli connection up {s.called}")
    return fail(cause, f"have {s.manager or 'whoever configures it'} take it from the router")


def _router(s: Subject) -> Said:
    if s.link is None or not any(route.gateway for route in s.link.default6):
        return ok("the link itself leads on")
    if s.router.answered:
        return ok(s.router.detail)
    if s.neighbour is Neighbour.FAILED:
        cause = f"the router of {s.interface} does not answer neighbour discovery"
        return fail(cause, "is the router on, is this port in the right VLAN, does the switch let multicast through?")
    return ok(
        "the router's link-layer address is known" if s.neighbour is Neighbour.GOOD else "nothing is known against it"
    )


def _mode(s: Subject) -> Said:
    if s.this is None:
        return _UNDECIDED
    if s.this.mode is not Mode.NO:
        return ok(f"mode {s.this.mode}")
    if s.this.native_ipv4 and s.ipv4.answered:
        return ok("CLAT is switched off, and native IPv4 works", final=True)
    told = next(told for told in s.told_modes if told.mode is not None)
    return fail(f"CLAT is switched off, by {told.source}", "switch it on", command=_switch_on(s, told))


def _switch_on(s: Subject, told: ToldMode) -> str:
    """Where it was switched off."""
    assert s.this is not None
    if told.source == own_file(s.this.uplink.uuid):
        script = "s|^[[:space:]]*mode[[:space:]]*[=:].*|mode = auto|"
        return f"sed -i '{script}' {told.source} && {_RELOAD}"
    if told.source == GLOBAL_FILE:
        return "clatnm set --default auto"
    return f"clatnm set {s.called} auto"


def _manager(s: Subject) -> Said:
    if s.verdict is None or s.this is None:
        return _UNDECIDED
    if s.verdict.reason is not Reason.MANAGER_TRANSLATES:
        return ok("the network manager does not translate it")
    address = s.this.manager_clat
    if s.ipv4.answered:
        return ok(f"the network manager translates it itself, from {address}, and it works", final=True)
    if s.this.uplink.manager_clat:
        change = f"nmcli connection modify {s.called} ipv4.clat no +ipv6.dns-options clatnm:1"
        cause = f"the network manager translates it itself, from {address}, and no packet gets an answer"
        return fail(cause, "have clatnm do it", command=f"{change} && nmcli connection up {s.called}")
    if not address:
        return skip("the network manager may be about to translate; ask again in a second", final=True)
    cause = f"{s.interface} has {address}, as if its network manager translated, and no packet gets an answer"
    command = f"ip -4 address flush dev {s.interface} to 192.0.0.0/29"
    return fail(cause, "take that address away, unless somebody needs it", command=command)


def _other(s: Subject) -> Said:
    if s.verdict is None or s.this is None:
        return _UNDECIDED
    if s.verdict.reason is not Reason.OTHER_TRANSLATOR:
        return ok("there is no other translator")
    cause = f"another translator is at work on this machine, with {s.this.other}"
    remedy = "stop it; of clatd, `clatnm import-clatd` first shows what becomes of its configuration"
    command = "systemctl disable --now clatd"
    if s.ipv4.answered:
        return warn(f"{cause}; IPv4 works by it", f"nothing, or: {remedy}", command=command, final=True)
    return fail(f"{cause}; no packet gets an answer", remedy, command=command)


def _native(s: Subject) -> Said:
    if s.verdict is None:
        return _UNDECIDED
    if s.link is None or s.verdict.reason is not Reason.NATIVE_IPV4:
        forced = s.this is not None and s.this.native_ipv4
        return ok("there is some, and CLAT is forced" if forced else "there is no native IPv4")
    if s.ipv4.answered:
        return ok(f"native IPv4 works ({s.ipv4.detail}), so no CLAT is needed", final=True)
    gateways = [route.gateway for route in s.link.default4]
    cause = f"{s.interface} has native IPv4, and it does not work: {s.ipv4.detail or 'not tried'}"
    if s.manager == NETWORKMANAGER:
        rest = "ipv4.addresses '' ipv4.gateway '' ipv4.dns ''"  # or it may not be disabled
        change = f"nmcli connection modify {s.called} ipv4.method disabled {rest}"
        command = f"{change} && nmcli connection up {s.called}"
        return fail(cause, "do without it on this network", command=command)
    ways = (f"ip -4 route del default via {gateway} dev {s.interface}" for gateway in gateways)
    return fail(cause, "take its default route away, or mend it", command=" && ".join(ways))


def _never_default(s: Subject) -> Said:
    if s.verdict is None:
        return _UNDECIDED
    if s.verdict.reason is not Reason.NEVER_DEFAULT:
        return ok("the profile allows an IPv4 default route")
    cause = "its profile keeps the IPv4 default route off this connection (never-default)"
    return fail(cause, "allow it", command=f"nmcli connection modify {s.called} ipv4.never-default no")


def _vpn(s: Subject) -> Said:
    if s.verdict is None or s.this is None:
        return _UNDECIDED
    found = s.this.vpns
    if s.verdict.reason is Reason.VPN_WITHOUT_IPV4:
        name = s.vpn_names.get(found.ipv6, "")
        cause = f"a VPN on {found.ipv6} has all of IPv6 and carries no IPv4, which is not to go around it"
        remedy = f"IPv4 in the VPN; or `vpn = bypass` in {s.conf.path}, then {_RELOAD}; or the end of the VPN"
        end = f"nmcli connection down {name}" if name else f"ip link delete {found.ipv6}"
        return fail(cause, remedy, command=end)
    if not found.ipv4:
        return ok("no VPN has the IPv4 of new connections")
    if s.ipv4.answered:
        return ok(f"IPv4 goes into the VPN on {found.ipv4}, and works there")
    name = s.vpn_names.get(found.ipv4, "")
    metric, gateway = s.metrics.get(found.ipv4, (0, ""))
    via = f" via {gateway}" if gateway else ""
    route = f"ip -4 route del default{via} dev {found.ipv4} metric {metric}"
    command = f"nmcli connection down {name}" if name else route
    cause = f"IPv4 goes into a VPN or tunnel, {found.ipv4}, and gets no answer there: {s.ipv4.detail}"
    return fail(cause, "mend the VPN, end it, or take its IPv4 default route away", command=command)


def _dhcp4(s: Subject) -> Said:
    if s.this is None:
        return _UNDECIDED
    state = s.this.dhcp4.state if s.this.dhcp4 is not None else None
    if s.this.uplink.ipv4_required and s.verdict is not None and s.verdict.reason is not Reason.NATIVE_IPV4:
        cause = "the profile insists on IPv4 (ipv4.may-fail no); without, NetworkManager gives the connection up"
        return warn(cause, "allow it to do without", command=f"nmcli connection modify {s.called} ipv4.may-fail yes")
    if state is Dhcp4State.REFUSED:
        return ok("the network wants hosts without IPv4 (DHCPv4 option 108)")
    if state is Dhcp4State.ASKING:
        return ok("DHCPv4 is asking")
    if state is Dhcp4State.SILENT:
        return ok("DHCPv4 asks, and nobody answers")
    return ok("nothing about option 108 was overheard")


def _pref64(s: Subject) -> Said:
    if s.verdict is None or s.this is None:
        return _UNDECIDED
    candidate = s.verdict.candidate
    if candidate is not None:
        whose = f" of {candidate.router}" if candidate.router else ""
        left = "" if candidate.expires_at is None else f", {max(0, round(candidate.expires_at - s.this.now))} s left"
        return ok(f"{candidate.prefix} from {candidate.source}{whose}{left}")
    announced = _announced(s)
    if announced and s.adverts is not None and not s.adverts.heard:
        cause = f"a router announces {announced}, but a firewall of this host keeps Router Advertisements from programs"
        command = filters.let_adverts_in(s.chains, s.interface)
        return fail(cause, "let ICMPv6 of the type nd-router-advert in", command=command)
    if not s.this.settings.dns64:
        cause = "no router tells a NAT64 prefix (PREF64), and `dns64 = no` forbids to ask the resolvers"
        return fail(cause, f"`dns64 = yes` in {s.conf.path}, then {_RELOAD}", command=s.conf.edit("dns64", "yes"))
    said = _sources(s)
    if s.unannounced.answered:
        cause = f"the network tells no NAT64 prefix ({said}), though a NAT64 answers behind {WELL_KNOWN}"
        remedy = f"`fallback-prefix = {WELL_KNOWN}` in {s.conf.path}, then {_RELOAD}"
        return fail(cause, remedy, command=s.conf.edit("fallback-prefix", str(WELL_KNOWN)))
    remedy = "the network has to announce its NAT64 (PREF64 in Router Advertisements, or DNS64); if it has one that it"
    remedy += f" does not announce: `prefix = …` in {s.conf.path}. Without a NAT64 there is no IPv4 here"
    return fail(f"the network tells no NAT64 prefix: {said}", remedy)


def _announced(s: Subject) -> str:
    """The prefix that some router announces on the wire."""
    adverts = s.adverts.adverts if s.adverts is not None else ()
    return next((str(o.prefix) for a in adverts for o in a.pref64 if o.lifetime_s), "")


def _sources(s: Subject) -> str:
    withdrawn = {
        advert.router: option.prefix
        for advert in (s.adverts.adverts if s.adverts is not None else ())
        for option in advert.pref64
        if not option.lifetime_s
    }
    told = [f"{router} has withdrawn {prefix}" for router, prefix in withdrawn.items()]
    told += [f"{source}: {detail}" for source, detail in s.sources]
    return "; ".join(told) or "nobody was asked"


CHECKS: tuple[Check[Subject], ...] = (
    Check(name="connection", look=_connection),
    Check(name="link", look=_link),
    Check(name="address", look=_address, needs=("ipv6-kernel",)),
    Check(name="ipv6-route", look=_ipv6_route),
    Check(name="router", look=_router),
    Check(name="mode", look=_mode),
    Check(name="manager", look=_manager),
    Check(name="other", look=_other),
    Check(name="native", look=_native),
    Check(name="never-default", look=_never_default),
    Check(name="vpn", look=_vpn),
    Check(name="dhcp4", look=_dhcp4),
    Check(name="pref64", look=_pref64),
)
