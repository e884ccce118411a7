# SPDX-License-Identifier: GPL-2.0-or-later
"""The places of a NetworkManager profile that can hold our mode, and what they say. Pure.

User data is ours alone, but no nmcli can write it. A DNS option that nobody knows goes to no resolver, and every nmcli
can write one. `ipv4.clat` is NetworkManager's own, since 1.57.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from clatnm.config import parse_mode
from clatnm.errors import ConfigError
from clatnm.model import Mode, ToldMode

Profile = Mapping[str, Mapping[str, Any]]
"""What GetSettings returns for one profile: setting → key → plain value."""

# Key in the profile's `user` setting; it must contain a dot to be legal there.
MODE_KEY = "clatnm.mode"
# An option is `name` or `name:number`; ours is `clatnm:0`, `clatnm:1` or `clatnm:2`.
OPTION = "clatnm"
NUMBERS: Mapping[Mode, int] = {Mode.NO: 0, Mode.AUTO: 1, Mode.FORCE: 2}
"""NetworkManager's own for `ipv4.clat`; it has -1 for the default."""
_DEFAULT = -1

USER_DATA, DNS_OPTIONS, CLAT = f"user data {MODE_KEY}", "ipv6.dns-options", "ipv4.clat"
_TOKENS_HINT = f"{OPTION}:0 is no, {OPTION}:1 auto, {OPTION}:2 force"


def modes_from(profile: Profile) -> tuple[ToldMode, ...]:
    """What a profile says about its mode, best first; also what does not count, with the reason."""
    return (*_in_user_data(profile), *_in_dns_options(profile), *_in_clat(profile))


def is_token(option: str) -> bool:
    """Whether a DNS option is ours."""
    return option.partition(":")[0].strip().lower() == OPTION


def _in_user_data(profile: Profile) -> Iterator[ToldMode]:
    text = profile.get("user", {}).get("data", {}).get(MODE_KEY)
    if text is not None:
        yield _told(USER_DATA, str(text), str(text), "one of: auto, force, no")


def _in_dns_options(profile: Profile) -> Iterator[ToldMode]:
    tokens = _tokens(profile, "ipv6")
    told = [_told(DNS_OPTIONS, token, token.partition(":")[2], _TOKENS_HINT) for token in tokens]
    if len({each.mode for each in told}) > 1:
        yield ToldMode(source=DNS_OPTIONS, text=", ".join(tokens), mode=None, fault="they contradict each other")
    else:
        yield from told[:1]
    for token in _tokens(profile, "ipv4")[:1]:
        yield ToldMode(source="ipv4.dns-options", text=token, mode=None, fault=f"it belongs in {DNS_OPTIONS}")


def _in_clat(profile: Profile) -> Iterator[ToldMode]:
    number = profile.get("ipv4", {}).get("clat", _DEFAULT)
    if number != _DEFAULT:
        yield _told(CLAT, str(number), str(number), "NetworkManager knows more values than clatnm")


def _tokens(profile: Profile, setting: str) -> list[str]:
    options: Iterable[Any] = profile.get(setting, {}).get("dns-options", ())
    return [str(option) for option in options if is_token(str(option))]


def _told(source: str, text: str, mode: str, fault: str) -> ToldMode:
    try:
        return ToldMode(source=source, text=text, mode=parse_mode(mode))
    except ConfigError:
        return ToldMode(source=source, text=text, mode=None, fault=fault)
