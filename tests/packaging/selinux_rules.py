# SPDX-License-Identifier: GPL-2.0-or-later
"""`/usr/bin/python3 selinux_rules.py POLICY DOMAIN`: as JSON, what a policy allows a domain, no attribute left.

For the system's own Python, whose setools read the policies of its own SELinux. `allowed`: [source, target, class,
permissions] of each rule with the domain as source; `entered`: the same for changing into the domain; `leads`:
[source, target, default] of transitions by themselves into it or out of it; `permissive`: domains that may do anything;
`types` and `classes`: those that there are, the latter with their permissions.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import setools


def main(path: str, domain: str) -> None:
    """On standard output. Whatever is wrong ends it."""
    policy = setools.SELinuxPolicy(path)
    known = policy.lookup_type(domain)
    told = {
        "allowed": [_spelt(rule) for rule in _rules(policy, source=known)],
        "entered": [
            [str(source), *_spelt(rule)[1:]]
            for rule in _rules(policy, target=known)
            if str(rule.tclass) == "process" and {"transition", "dyntransition"} & {str(perm) for perm in rule.perms}
            for source in rule.source.expand()
        ],
        "leads": [
            [str(rule.source), str(rule.target), str(rule.default)]
            for rule in policy.terules()
            if str(rule.ruletype) == "type_transition"
            and str(rule.tclass) == "process"
            and (rule.default == known or known in set(rule.source.expand()))
        ],
        "permissive": [str(kind) for kind in policy.types() if kind.ispermissive],
        "types": [str(kind) for kind in policy.types()],
        "classes": {str(what): sorted(what.perms | _common(what)) for what in policy.classes()},
    }
    json.dump(told, sys.stdout)


def _rules(policy: Any, **criteria: Any) -> Any:
    found = setools.TERuleQuery(policy, ruletype=["allow"], **criteria).results()
    return [rule for rule in found if _is_in_force(rule)]


def _is_in_force(rule: Any) -> bool:
    """With every boolean as the policy has it; what an administrator switches on is theirs."""
    try:
        condition = rule.conditional
    except setools.exception.RuleNotConditional:
        return True
    return bool(
        condition.evaluate(**{str(switch): switch.state for switch in condition.booleans}) == rule.conditional_block
    )


def _common(what: Any) -> set[str]:
    try:
        return set(what.common.perms)
    except setools.exception.NoCommon:
        return set()


def _spelt(rule: Any) -> list[Any]:
    # A target of `self` in a rule for an attribute is the source itself: setools has resolved that already.
    return [
        str(rule.source),
        [str(kind) for kind in rule.target.expand()],
        str(rule.tclass),
        sorted(map(str, rule.perms)),
    ]


if __name__ == "__main__":
    main(*sys.argv[1:])
