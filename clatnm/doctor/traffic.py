# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks of a connection that should have a CLAT: the far end, the translator, and packets. Pure: facts in, findings
out."""

from __future__ import annotations

from clatnm.doctor import filters
from clatnm.doctor.facts import Subject
from clatnm.doctor.findings import Check, Said, fail, ok, skip, warn
from clatnm.kernel.ping import Outcome
from clatnm.model import Plan, Reason, RunState
from clatnm.policy.addressing import CONTINUITY_PREFIX

_LOG = "what it did: journalctl -u clatnm"
_RELOAD = "systemctl reload clatnm"
_ROUTE = "proto 164 scope link"
_UNDECIDED = skip("what clatnm makes of it the daemon knows, or root can find out")
_RESTART = "systemctl restart clatnm"


def _plan(s: Subject) -> Plan | None:
    """What its translator was told, if one runs."""
    return s.run.plan if s.run is not None and s.run.state is RunState.ON else None


def _plat(s: Subject) -> Said:
    if s.this is None or s.verdict is None:
        return _UNDECIDED
    if s.plat.answered:
        return ok(s.plat.detail)
    prefix = s.verdict.candidate.prefix if s.verdict.candidate else "the prefix"
    operator = "tell whoever runs the network; if it has another NAT64, `prefix = …` in"
    remedy = f"{operator} {s.conf.path}, then {_RELOAD}"
    if s.plat.outcome in (Outcome.UNREACHABLE, Outcome.NO_ROUTE):
        return fail(f"routers know no way to the NAT64 behind {prefix}: {s.plat.detail}", remedy)
    if s.verdict.reason is Reason.PLAT_UNREACHABLE:
        health = f": {s.this.plat.detail}" if s.this.plat is not None and s.this.plat.detail else ""
        return fail(f"the NAT64 behind {prefix} does not answer{health}", remedy)
    if s.plat.outcome is Outcome.REFUSED:
        remedy = "let IPv6 of programs out; translated packets pass this firewall by"
        command = filters.let_out6(s.chains, s.interface)
        return warn(f"a firewall of this host keeps IPv6 from {s.interface}", remedy, command=command)
    if s.by_device.outcome is Outcome.SILENT and s.went and not s.came:
        tried = "answers neither over IPv6 nor over" if s.plat.outcome is Outcome.SILENT else "does not answer over"
        cause = f"the NAT64 behind {prefix} {tried} IPv4; translated packets go out, and none comes back"
        return fail(cause, remedy)
    if s.plat.outcome is Outcome.SILENT:
        return ok("it answers no ping of this host, as many do not")
    return skip("root can ping it over IPv6")


def _clat_address(s: Subject) -> Said:
    if s.verdict is None:
        return _UNDECIDED
    if s.verdict.reason is not Reason.NO_CLAT_ADDRESS:
        refused = s.this.retry.collisions if s.this is not None and s.this.retry is not None else 0
        others = f"; duplicate address detection refused {refused}, which other hosts have" if refused else ""
        return ok(f"there are addresses for it{others}")
    if len({address for _, address in s.pool}) == CONTINUITY_PREFIX.num_addresses:
        device = s.pool[-1][0]
        command = f"ip -4 address flush dev {device} to {CONTINUITY_PREFIX}"
        cause = f"all of {CONTINUITY_PREFIX} is in use by others, on {', '.join(sorted({name for name, _ in s.pool}))}"
        return fail(cause, "free one of them", command=command)
    cause = "the link has no /64 for an address of its own, and the backend cannot share the host's"
    remedy = f"`backend = auto` and `clat-v6-addr = auto` in {s.conf.path}, then {_RELOAD}; sharing takes eBPF"
    return fail(cause, remedy)


def _translator(s: Subject) -> Said:
    if s.verdict is None:
        return _UNDECIDED
    plan = _plan(s)
    if plan is not None and plan.offered:
        return ok(f"{plan.device}, {plan.backend}, {plan.clat_v4} as {plan.clat_v6}")
    device = s.verdict.plan.device if s.verdict.plan else f"clat-{s.interface}"
    if s.error and s.foreign_device:
        cause = f"the translator cannot start, since somebody else has a device {s.foreign_device}: {s.error}"
        return fail(cause, "remove that device, unless somebody needs it", command=f"ip link delete {s.foreign_device}")
    if s.error:
        return fail(f"the translator failed: {s.error}", f"the next try is made by itself within a minute; {_LOG}")
    if s.verdict.reason is Reason.NO_TRANSLATOR:
        return fail("no translator works on this machine", "see `backend` above")
    return fail(f"there is no {device} yet", f"ask again in some seconds; {_LOG}", command=_RESTART)


def _add_route(plan: Plan) -> str:
    words = f"src {plan.clat_v4} metric {plan.metric} mtu {plan.ipv4_mtu_bytes}"
    return f"ip -4 route replace default dev {plan.device} {_ROUTE} {words}"


def _device(s: Subject) -> Said:
    plan = _plan(s)
    if plan is None:
        return _UNDECIDED
    if s.device is None:
        return fail(
            f"{plan.device} is gone, and its translator believes in it", "start the daemon again", command=_RESTART
        )
    if plan.clat_v4 in s.device.addresses4:
        return ok(f"{plan.device} has {plan.clat_v4}")
    command = f"ip address add {plan.clat_v4}/32 dev {plan.device}"
    if plan.default_route:
        command += f" && {_add_route(plan)}"
    return fail(f"somebody took the address {plan.clat_v4} from {plan.device}", "give it back", command=command)


def _ipv4_route(s: Subject) -> Said:
    plan = _plan(s)
    if plan is None or s.device is None:
        return _UNDECIDED
    if not plan.default_route:
        return ok("none is wanted (default-route = no)")
    if not s.device.default4:
        cause = f"somebody took the IPv4 default route from {plan.device}"
        return fail(cause, "give it back", command=_add_route(plan))
    if s.way is None:
        return fail("there is no route to the IPv4 Internet", "start the daemon again", command=_RESTART)
    if s.way.interface == plan.device:
        return ok(f"IPv4 goes by {plan.device}, from {s.way.source or plan.clat_v4}")
    if s.ipv4.answered:
        return ok(f"IPv4 goes by {s.way.interface} first, and works there")
    cause = f"IPv4 does not go by {plan.device} (metric {plan.metric}), but by {s.way.interface}"
    if s.way.interface not in s.metrics:
        return fail(
            f"{cause}, by a rule or a route of another table", "remove it: ip -4 rule; ip -4 route show table all"
        )
    metric, gateway = s.metrics[s.way.interface]
    via = f" via {gateway}" if gateway else ""
    command = f"ip -4 route del default{via} dev {s.way.interface} metric {metric}"
    cause = f"{cause} with the better metric {metric}, and gets no answer there: {s.ipv4.detail}"
    return fail(cause, "take that default route away, or mend what is behind it", command=command)


def _firewall(s: Subject) -> Said:
    plan = _plan(s)
    if plan is None:
        return _UNDECIDED
    if s.by_device.answered:
        return ok("a test packet passed both ways")
    if s.by_device.outcome is Outcome.REFUSED:
        cause = f"a firewall of this host does not let IPv4 out by {plan.device}"
        return fail(cause, f"let IPv4 out by {plan.device}", command=filters.let_out(s.chains, plan.device))
    if s.came:
        cause = f"answers come in by {plan.device}, and a firewall of this host drops them"
        return fail(cause, f"let in by {plan.device} what belongs to connections of this host",
                    command=filters.let_in(s.chains, plan.device))  # fmt: skip
    if s.by_device.outcome is Outcome.SILENT and s.went == 0:
        cause = f"test packets for {plan.device} do not arrive in the translator"
        return fail(cause, f"look at `nft list ruleset` and `tc filter show dev {plan.device}`; {_LOG}")
    return ok("nothing is known against it")


def _zone(s: Subject) -> Said:
    plan = _plan(s)
    if plan is None:
        return _UNDECIDED
    if s.zones is None:
        return ok("no firewalld, or nobody may ask it")
    uplink, own = (zone or "the default zone" for zone in s.zones)
    if s.zones[0] == s.zones[1]:
        return ok(f"{plan.device} is in {own}, as {s.interface} is")
    remedy = "put it there; what comes in by IPv4 is judged by another zone than what comes in by IPv6"
    change = (
        f"--zone={s.zones[0]} --change-interface={plan.device}" if s.zones[0] else f"--remove-interface={plan.device}"
    )
    cause = f"{plan.device} is in {own}, and its uplink {s.interface} in {uplink} (firewalld)"
    return warn(cause, remedy, command=f"firewall-cmd {change}")


def _ipv4(s: Subject) -> Said:
    plan = _plan(s)
    if plan is None:
        return _UNDECIDED
    best = s.ipv4 if s.ipv4.answered else s.by_device
    if best.answered:
        return ok(best.detail)
    if best.outcome is Outcome.NOT_TRIED:
        return skip("this user may send no test packets")
    if s.plat.answered and s.went and not s.came and not plan.shared:
        cause = f"the NAT64 answers this host's own address, but not {plan.clat_v6}: the network lets no other through"
        remedy = f"`clat-v6-addr = shared` in {s.conf.path}, then {_RELOAD} (takes eBPF)"
        return fail(cause, remedy, command=s.conf.edit("clat-v6-addr", "shared"))
    return fail(f"no host answers over IPv4: {best.detail}", f"`plat-check-targets` has to name hosts that do; {_LOG}")


def _mtu(s: Subject) -> Said:
    plan = _plan(s)
    if plan is None or s.reach is None or not s.reach.longest_bytes:
        return skip("how long packets may be was not found out")
    longest = s.reach.longest_bytes
    if longest >= plan.ipv4_mtu_bytes:
        return ok(f"packets of {longest} bytes get through")
    if s.reach.told:
        return ok(f"packets of {longest} bytes get through, and routers tell that longer ones do not")
    cause = f"packets longer than {longest} bytes vanish on their way, and nobody tells"
    remedy = f"`mtu = {longest}` in {s.conf.path}, then {_RELOAD}; the network should let ICMPv6 Packet Too Big through"
    return warn(cause, remedy, command=s.conf.edit("mtu", str(longest)))


def _forward(s: Subject) -> Said:
    plan = _plan(s)
    if plan is None:
        return _UNDECIDED
    if s.behind is None:
        return skip(f"root sees whether a firewall drops what comes from {', '.join(name for name, _ in s.lans)}")
    if s.way is not None and s.way.interface != plan.device:
        return ok(f"theirs goes by {s.way.interface}, too")
    kept = [found for found in s.behind if found.drop_out or found.drop_back]
    if not kept:
        names = ", ".join(found.device for found in s.behind)
        return ok(
            f"nothing is known to drop what comes from {names}" if names else "nobody is known to be behind this host"
        )
    first = kept[0]
    chains = " and ".join(dict.fromkeys(chain.called for chain in (*first.drop_out, *first.drop_back)))
    what = f"what comes from {first.device}" if first.drop_out else f"the answers for {first.device}"
    cause = f"a firewall of this host ({chains}) drops {what}: no IPv4 by {plan.device} for those behind it"
    command = filters.let_through(first.device, plan.device, first.drop_out, first.drop_back)
    return warn(cause, "let it through, if they are to have IPv4", command=command)


_RUNNING = ("bus", "daemon", "tun", "capabilities", "backend")

CHECKS: tuple[Check[Subject], ...] = (
    Check(name="plat", look=_plat),
    Check(name="clat-address", look=_clat_address),
    Check(name="translator", look=_translator, needs=_RUNNING),
    Check(name="device", look=_device),
    Check(name="ipv4-route", look=_ipv4_route),
    Check(name="firewall", look=_firewall),
    Check(name="zone", look=_zone),
    Check(name="ipv4", look=_ipv4),
    Check(name="mtu", look=_mtu),
    Check(name="forward", look=_forward),
)
