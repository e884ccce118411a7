# SPDX-License-Identifier: GPL-2.0-or-later
"""What NetworkManager's D-Bus objects mean. Pure: objects in, uplinks out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from clatnm.dbus.bus import Signal
from clatnm.dbus.names import OBJECT_MANAGER, PROPERTIES
from clatnm.model import DEVICE_PREFIX, Uplink
from clatnm.uplinks.nm_modes import Profile, modes_from
from clatnm.uplinks.nm_types import interfaces_from, properties_from

NM = "org.freedesktop.NetworkManager"
NM_PATH = "/org/freedesktop/NetworkManager"
ROOT_PATH = "/org/freedesktop"
ACTIVE = f"{NM}.Connection.Active"
DEVICE = f"{NM}.Device"
WIRELESS = f"{DEVICE}.Wireless"
ACCESS_POINT = f"{NM}.AccessPoint"
IP4_CONFIG = f"{NM}.IP4Config"
IP6_CONFIG = f"{NM}.IP6Config"
DHCP6_CONFIG = f"{NM}.DHCP6Config"
SETTINGS_CONNECTION = f"{NM}.Settings.Connection"

# NMActiveConnectionState: only these two carry traffic. A connection that is activating already has its IPv6
# address and route more than a second before it counts as activated (duplicate address detection).
_ACTIVATING, _ACTIVATED = 1, 2
# NMActivationStateFlags and NMDeviceState
_EXTERNAL, _UNMANAGED = 0x80, 10
_CONFIGS = ("Ip4Config", "Ip6Config")
# Types whose traffic goes through another uplink.
_TUNNELS = frozenset({"vpn", "wireguard", "tun", "ip-tunnel", "vxlan"})
# By the value of `ipv4.clat`: default, no, auto, force.
_RIGHT_OF_WAY_S = {-1: 0.3, 0: 0.0, 1: 1.0, 2: 1.0}
# Nothing a user would look for: not even mentioned.
_INTERNAL = frozenset({"loopback", "dummy"})

Objects = dict[str, dict[str, dict[str, Any]]]
"""Path → interface → property → plain value, as GetManagedObjects tells and signals keep up to date."""


def apply(objects: Objects, signal: Signal) -> bool:
    """Bring `objects` up to date with one signal; True when that changed anything."""
    if not signal.body or not isinstance(signal.body[0], str):
        return False  # all three begin with the name of an object or of an interface
    if signal.interface == OBJECT_MANAGER and signal.member == "InterfacesAdded":
        path, interfaces = signal.body
        objects.setdefault(path, {}).update(interfaces_from(interfaces))
        return True
    if signal.interface == OBJECT_MANAGER and signal.member == "InterfacesRemoved":
        path, gone = signal.body
        for interface in gone:
            objects.get(path, {}).pop(interface, None)
        if not objects.get(path, True):
            del objects[path]
        return True
    if signal.interface == PROPERTIES and signal.member == "PropertiesChanged":
        interface, changed, invalidated = signal.body
        properties = objects.setdefault(signal.path, {}).setdefault(interface, {})
        # What has changed into a form that nobody understands is not as it was.
        for name in changed:
            properties.pop(name, None)
        properties.update(properties_from(interface, changed))
        for name in invalidated:
            properties.pop(name, None)
        return True
    return False


def _interface(objects: Objects, path: str, interface: str) -> Mapping[str, Any]:
    return objects.get(path, {}).get(interface, {})


def is_starting(objects: Objects) -> bool:
    """NetworkManager still brings up what it will bring up at its own start."""
    return bool(_interface(objects, NM_PATH, NM).get("Startup", True))


def managed(objects: Objects) -> frozenset[str]:
    """The interfaces that NetworkManager manages, which is more than having seen what others have done there."""
    foreign = {
        device
        for interfaces in objects.values()
        if int(interfaces.get(ACTIVE, {}).get("StateFlags", 0)) & _EXTERNAL
        for device in interfaces[ACTIVE].get("Devices", ())
    }
    devices = ((path, interfaces[DEVICE]) for path, interfaces in objects.items() if DEVICE in interfaces)
    return frozenset(
        str(name)
        for path, device in devices
        if path not in foreign and int(device.get("State", 0)) > _UNMANAGED
        for name in {device.get("Interface"), device.get("IpInterface")}
        if name
    )


def is_leaving(objects: Objects, signal: Signal) -> bool:
    """NetworkManager is about to stop: it takes a device off the bus whose connection is up, and stays up without it.

    (A device that is unplugged loses its connection first.)
    """
    if signal.interface != OBJECT_MANAGER or signal.member != "InterfacesRemoved" or DEVICE not in signal.body[1]:
        return False
    active = (interfaces[ACTIVE] for interfaces in objects.values() if ACTIVE in interfaces)
    return any(
        signal.body[0] in connection.get("Devices", ()) and connection.get("State") in (_ACTIVATING, _ACTIVATED)
        for connection in active
    )


def active_profiles(objects: Objects) -> frozenset[str]:
    """Paths of the profiles (Settings.Connection objects) that some active connection uses."""
    paths = (interfaces[ACTIVE].get("Connection", "/") for interfaces in objects.values() if ACTIVE in interfaces)
    return frozenset(path for path in paths if path != "/")


def uplinks_from(
    objects: Objects, profiles: Mapping[str, Profile], gateways: Mapping[str, IPv4Address] | None = None
) -> tuple[Uplink, ...]:
    """The active connections, one an interface, sorted by it. `gateways`: far ends of VPNs, by the VPN's device.

    A connection whose profile is not known yet is left out: its user may have opted out.
    """
    found: dict[str, Uplink] = {}
    for path, interfaces in sorted(objects.items()):
        active = interfaces.get(ACTIVE)
        if active is None or active.get("State") not in (_ACTIVATING, _ACTIVATED) or active.get("Type") in _INTERNAL:
            continue
        profile = profiles.get(active.get("Connection", "/"))
        for device_path in active.get("Devices", ()):
            device = _interface(objects, device_path, DEVICE)
            interface = device.get("IpInterface") or device.get("Interface")
            # During a hand-over two active connections name one device; the device says which of them has it.
            if (
                not interface
                or interface.startswith(DEVICE_PREFIX)
                or profile is None
                or device.get("ActiveConnection", path) != path
            ):
                continue
            # The device of a VPN is shown as a foreign one, with a profile of its own that nobody has made.
            vpn = _vpn_of(objects, device_path)
            known = active if vpn is None else vpn
            ip4 = _interface(objects, device.get("Ip4Config", "/"), IP4_CONFIG)
            found[interface] = Uplink(
                interface=interface,
                uuid=str(known.get("Uuid", "")),
                name=str(known.get("Id", "")),
                manager="NetworkManager",
                told_modes=modes_from(profiles.get(known.get("Connection", "/"), {})),
                is_vpn=_is_vpn(known),
                # Since 1.57.2; non-empty exactly while NetworkManager's own CLAT is active.
                manager_clat=str(ip4.get("ClatAddress") or ""),
                manager_wait_s=_right_of_way_s(ip4, profile),
                resolvers=_resolvers(objects, device_path),
                access_point=_access_point(objects, device_path),
                vpn_gateways=_far_ends(objects, device_path, gateways or {}),
                **_ipv4(profile),
            )
    return tuple(found[name] for name in sorted(found))


def _right_of_way_s(ip4: Mapping[str, Any], profile: Profile) -> float:
    """How long NetworkManager may take for a CLAT of its own, once it has heard a prefix. It took 4 ms when measured.

    The property is there where it has one. What `ipv4.clat` is by default (-1) is not told; mostly no.
    """
    ipv4 = profile.get("ipv4", {})
    if "ClatAddress" not in ip4 or ipv4.get("method") == "disabled":
        return 0.0
    return _RIGHT_OF_WAY_S.get(int(ipv4.get("clat", -1)), 0.0)


def _ipv4(profile: Profile) -> dict[str, Any]:
    """What a profile says of IPv4, by the fields of `Uplink`."""
    ipv4 = profile.get("ipv4", {})
    metric = int(ipv4.get("route-metric", -1))
    return {
        "ipv4_disabled": ipv4.get("method") == "disabled",
        "ipv4_required": ipv4.get("method") == "auto" and not ipv4.get("may-fail", True),
        "ipv4_metric": metric if metric >= 0 else None,
        "never_default": bool(ipv4.get("never-default", False)),
    }


def _vpn_of(objects: Objects, device_path: str) -> Mapping[str, Any] | None:
    """The VPN that a device was made for: it names the same IP configuration, and the device below as its own."""
    device = _interface(objects, device_path, DEVICE)
    own = {device.get(key, "/") for key in _CONFIGS} - {"/"}
    vpns = (active for active in _over(objects) if device_path not in active.get("Devices", ()))
    return next((vpn for vpn in vpns if own & {vpn.get(key) for key in _CONFIGS}), None)


def _far_ends(objects: Objects, device_path: str, gateways: Mapping[str, IPv4Address]) -> tuple[IPv4Address, ...]:
    """Those of the VPNs that run over a device, as far as they are known."""
    found = set()
    for path, interfaces in objects.items():
        gateway = gateways.get(str(interfaces.get(DEVICE, {}).get("Interface")))
        if gateway is not None:
            vpn = _vpn_of(objects, path)
            # While it comes up, a VPN does not say yet what its configuration is.
            beginning = [active for active in _over(objects) if active.get("State") == _ACTIVATING]
            if any(device_path in active.get("Devices", ()) for active in (beginning if vpn is None else [vpn])):
                found.add(gateway)
    return tuple(sorted(found))


def _over(objects: Objects) -> Iterator[Mapping[str, Any]]:
    """The VPNs that run over a device of another connection."""
    for interfaces in objects.values():
        active = interfaces.get(ACTIVE, {})
        if active.get("Vpn") and active.get("State") in (_ACTIVATING, _ACTIVATED):
            yield active


def _is_vpn(active: Mapping[str, Any]) -> bool:
    return bool(active.get("Vpn")) or active.get("Type") in _TUNNELS


def _access_point(objects: Objects, device_path: str) -> str:
    """BSSID of the access point that a Wi-Fi device uses; "" on others, and while NetworkManager does not know it."""
    path = _interface(objects, device_path, WIRELESS).get("ActiveAccessPoint", "/")
    return str(_interface(objects, path, ACCESS_POINT).get("HwAddress") or "")


def _resolvers(objects: Objects, device_path: str) -> tuple[IPv4Address | IPv6Address, ...]:
    """Those that a device's network told of, DHCPv6 first; not what a VPN over it brought along."""
    device = _interface(objects, device_path, DEVICE)
    leased = _interface(objects, device.get("Dhcp6Config", "/"), DHCP6_CONFIG).get("Options", {})
    told = [*_addresses(str(leased.get("dhcp6_name_servers", "")).split()), *_nameservers(objects, device)]
    foreign = {
        address
        for interfaces in objects.values()
        if _is_vpn(vpn := interfaces.get(ACTIVE, {})) and device_path in vpn.get("Devices", ())
        for address in _nameservers(objects, vpn, but=device)
    }
    return tuple(dict.fromkeys(address for address in told if address not in foreign))


def _nameservers(
    objects: Objects, owner: Mapping[str, Any], *, but: Mapping[str, Any] | None = None
) -> Iterator[IPv4Address | IPv6Address]:
    """The resolvers in the IP configurations that a device or an active connection names, unless `but` names them."""
    for key, interface in (("Ip6Config", IP6_CONFIG), ("Ip4Config", IP4_CONFIG)):
        path = owner.get(key, "/")
        if but is None or path != but.get(key):
            config = _interface(objects, path, interface)
            # IPv6 has had the plain addresses alone so far, and IPv4 has them as numbers.
            yield from _addresses(entry.get("address") for entry in config.get("NameserverData", ()))
            yield from _addresses(entry for entry in config.get("Nameservers", ()) if isinstance(entry, bytes))


def _addresses(told: Iterable[Any]) -> Iterator[IPv4Address | IPv6Address]:
    for text in told:
        try:
            yield ip_address(text.partition("%")[0] if isinstance(text, str) else text)
        except ValueError:
            continue


def merge_waiting(fresh: tuple[Uplink, ...], last: Iterable[Uplink]) -> tuple[Uplink, ...]:
    """While NetworkManager starts, connections it has not come to yet stay as they were last known."""
    known = {uplink.interface: uplink for uplink in last}
    known.update((uplink.interface, uplink) for uplink in fresh)
    return tuple(known[name] for name in sorted(known))


def reading_again(objects: Objects, profiles: Mapping[str, Profile], last: Iterable[Uplink]) -> tuple[Uplink, ...]:
    """Connections that were known already, are active, and whose profile is on its way: as they were known."""
    known = {(uplink.interface, uplink.uuid): uplink for uplink in last}
    whatever: dict[str, Profile] = {path: {} for path in active_profiles(objects) - profiles.keys()}
    waiting = ((uplink.interface, uplink.uuid) for uplink in uplinks_from(objects, whatever))
    return tuple(known[key] for key in waiting if key in known)
