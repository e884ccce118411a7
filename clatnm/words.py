# SPDX-License-Identifier: GPL-2.0-or-later
"""Words that users read and write: what they want, and why they do not have it."""

from __future__ import annotations

from clatnm.compat import StrEnum


class Mode(StrEnum):
    """What the user wants for a connection, in NetworkManager's own words for `ipv4.clat`."""

    NO = "no"
    AUTO = "auto"
    FORCE = "force"


class Reason(StrEnum):
    """Why a connection has no CLAT now. The value is what the user reads first."""

    NOT_AN_UPLINK = "not-an-uplink"
    OPTED_OUT = "opted-out"
    MANAGER_TRANSLATES = "manager-translates"
    OTHER_TRANSLATOR = "other-translator"
    NO_IPV6 = "no-ipv6"
    NATIVE_IPV4 = "native-ipv4"
    NEVER_DEFAULT = "never-default"
    VPN_WITHOUT_IPV4 = "vpn-without-ipv4"
    NO_PREF64 = "no-pref64"
    PLAT_UNREACHABLE = "plat-unreachable"
    NO_CLAT_ADDRESS = "no-clat-address"
    NO_TRANSLATOR = "no-translator"
    BACKING_OFF = "backing-off"


class AroundVpn(StrEnum):
    """What becomes of IPv4 beside a VPN that takes only IPv6."""

    STRICT = "strict"
    BYPASS = "bypass"
