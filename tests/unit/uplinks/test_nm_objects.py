# SPDX-License-Identifier: GPL-2.0-or-later
"""What NetworkManager's objects and signals mean: the recording, and every exception from the rule."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest

from clatnm.dbus.bus import Signal
from clatnm.dbus.names import OBJECT_MANAGER, PROPERTIES
from clatnm.model import Mode, Uplink
from clatnm.uplinks import nm_objects
from clatnm.uplinks.nm_modes import Profile
from clatnm.uplinks.nm_objects import ACTIVE, DEVICE, IP4_CONFIG, NM, NM_PATH, Objects
from tests.unit.uplinks.recorded import (
    OWNER,
    Phase,
    a_device,
    a_profile,
    active_path,
    added,
    an_active,
    changed,
    device_path,
    known,
    profile_path,
    recording,
    removed,
    the_manager,
)

START, PHASES = recording()
BY_NAME = {phase.what: phase for phase in PHASES}


def any_profiles(objects: Objects) -> dict[str, Profile]:
    """A profile without user data for every path that an active connection names."""
    return {path: a_profile() for path in nm_objects.active_profiles(objects)}


def interfaces(objects: Objects) -> list[str]:
    return [uplink.interface for uplink in nm_objects.uplinks_from(objects, any_profiles(objects))]


def single(objects: Objects, profile: Profile | None = None) -> Uplink:
    (uplink,) = nm_objects.uplinks_from(objects, {profile_path(1): profile or a_profile()})
    return uplink


# The recording


@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.what)
def test_signals_lead_to_what_the_manager_then_tells(phase: Phase) -> None:
    before = {one.what: two for one, two in zip(PHASES[1:], PHASES[:-1], strict=True)}.get(phase.what)
    objects = copy.deepcopy(before.objects if before else START)
    for signal in phase.signals:
        nm_objects.apply(objects, signal)
    assert known(objects) == known(phase.objects)


# Which uplinks there are after each signal that changes that; up1 is unplugged all the time.
COURSES: dict[str, list[list[str]]] = {
    "up": [[], ["up0"]],
    "again": [["up0"], [], ["up0"]],
    "handover": [["up0"], [], ["up0"]],
    "modify": [["up0"]],
    "delete": [["up0"], []],
    "foreign": [[], ["tunx"]],
    "foreigngone": [["tunx"], []],
}


@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.what)
def test_uplinks_come_and_go_once(phase: Phase) -> None:
    index = PHASES.index(phase)
    objects = copy.deepcopy(PHASES[index - 1].objects if index else START)
    course = [interfaces(objects)]
    for signal in phase.signals:
        nm_objects.apply(objects, signal)
        if interfaces(objects) != course[-1]:
            course.append(interfaces(objects))
    assert course == COURSES[phase.what]


def test_recorded_connection_is_read_whole() -> None:
    objects = BY_NAME["up"].objects
    (path,) = nm_objects.active_profiles(objects) - {profile_path(1)}  # 1 is that of the loopback
    (uplink,) = nm_objects.uplinks_from(objects, {path: a_profile("force")})
    assert (uplink.interface, uplink.name, uplink.manager) == ("up0", "netA", "NetworkManager")
    assert uplink.uuid == objects[active_path(3)][ACTIVE]["Uuid"]
    assert (uplink.mode, uplink.is_vpn, uplink.manager_clat) == (Mode.FORCE, False, "")


def test_uplink_is_there_before_duplicate_address_detection_ends() -> None:
    # Its IPv6 address and route are, and a second counts.
    objects = copy.deepcopy(START)
    states: list[int] = []
    for signal in BY_NAME["up"].signals:
        nm_objects.apply(objects, signal)
        if interfaces(objects):
            states.append(objects[device_path(2)][DEVICE]["State"])
    assert states[0] < 80 < states[-1]


def test_hand_over_never_takes_the_new_name_for_the_old_connection() -> None:
    objects = copy.deepcopy(BY_NAME["again"].objects)
    seen: list[str] = []
    for signal in BY_NAME["handover"].signals:
        nm_objects.apply(objects, signal)
        seen += [u.name for u in nm_objects.uplinks_from(objects, any_profiles(objects)) if u.name not in seen[-1:]]
    assert seen == ["netA", "dual"]


def test_startup_ends_in_the_recording() -> None:
    assert nm_objects.is_starting(START)
    assert not nm_objects.is_starting(BY_NAME["up"].objects)
    assert nm_objects.is_starting({})  # it has not even said so yet


def test_stop_of_the_manager_is_told_from_an_unplugged_device() -> None:
    objects, (stop, _) = recording("nm-1.42.4-restart")
    (first, *_) = (signal for signal in stop.signals if signal.member == "InterfacesRemoved")
    assert nm_objects.is_leaving(objects, first)
    for index, phase in enumerate(PHASES):
        objects = copy.deepcopy(PHASES[index - 1].objects if index else START)
        for signal in phase.signals:
            assert not nm_objects.is_leaving(objects, signal), phase.what
            nm_objects.apply(objects, signal)


# Which connections count


@pytest.mark.parametrize(("state", "counts"), [(0, False), (1, True), (2, True), (3, False), (4, False), (None, False)])
def test_connection_counts_while_activating_and_activated(state: int | None, counts: bool) -> None:
    objects = an_active(State=state) | a_device()
    assert bool(interfaces(objects)) is counts


@pytest.mark.parametrize("kind", ["loopback", "dummy"])
def test_internal_devices_are_not_mentioned(kind: str) -> None:
    assert interfaces(an_active(Type=kind) | a_device()) == []


@pytest.mark.parametrize("kind", ["802-3-ethernet", "802-11-wireless", "gsm", "bond", "bridge", "vlan", "pppoe"])
def test_other_devices_are_uplinks(kind: str) -> None:
    assert not single(an_active(Type=kind) | a_device()).is_vpn


@pytest.mark.parametrize(
    "properties", [{"Vpn": True}, {"Type": "vpn"}, {"Type": "wireguard"}, {"Type": "tun"}, {"Type": "ip-tunnel"}]
)
def test_vpn_is_marked(properties: dict[str, Any]) -> None:
    assert single(an_active(**properties) | a_device()).is_vpn


def test_vpn_over_an_ethernet_does_not_take_its_place() -> None:
    # NetworkManager names the underlying device as the VPN's.
    objects = an_active() | an_active(2, profile=2, Type="vpn", Vpn=True, State=2) | a_device()
    (uplink,) = nm_objects.uplinks_from(objects, any_profiles(objects))
    assert (uplink.uuid, uplink.is_vpn) == ("uuid-1", False)


def test_wwan_is_known_by_the_device_that_carries_ip() -> None:
    objects = an_active(Type="gsm") | a_device(Interface="cdc-wdm0", IpInterface="wwan0", DeviceType=8)
    assert single(objects).interface == "wwan0"


@pytest.mark.parametrize("ip_interface", ["", None])
def test_device_without_ip_interface_yet_is_known_by_its_name(ip_interface: str | None) -> None:
    assert single(an_active() | a_device(IpInterface=ip_interface)).interface == "eth1"


def test_own_device_is_left_out() -> None:
    assert interfaces(an_active(Type="tun") | a_device(Interface="clat-eth0", IpInterface="clat-eth0")) == []


@pytest.mark.parametrize(
    "objects",
    [
        pytest.param(an_active(Devices=[]) | a_device(), id="no-device"),
        pytest.param(an_active(), id="device-not-told-yet"),
        pytest.param(an_active() | a_device(active=2), id="device-has-another"),
        pytest.param(an_active() | a_device(Interface="", IpInterface=""), id="device-without-name"),
        pytest.param(an_active(Connection="/") | a_device(), id="profile-deleted"),
        pytest.param(a_device(), id="no-active-connection"),
        pytest.param({}, id="nothing"),
    ],
)
def test_half_told_connection_is_none(objects: Objects) -> None:
    assert nm_objects.uplinks_from(objects, {profile_path(1): a_profile()}) == ()


def test_connection_waits_for_its_profile() -> None:
    # Its user may have opted out.
    objects = an_active() | a_device()
    assert nm_objects.uplinks_from(objects, {}) == ()
    assert nm_objects.uplinks_from(objects, {profile_path(2): a_profile()}) == ()


def test_device_of_an_old_manager_without_the_property_is_believed() -> None:
    objects = an_active() | a_device()
    del objects[device_path(1)][DEVICE]["ActiveConnection"]
    assert single(objects).interface == "eth1"


@pytest.mark.parametrize(("clat", "told"), [(None, ""), ("", ""), ("192.0.0.5", "192.0.0.5")])
def test_clat_address_says_whether_the_manager_translates(clat: str | None, told: str) -> None:
    assert single(an_active() | a_device(clat=clat)).manager_clat == told


def test_clat_address_comes_and_goes_by_signal() -> None:
    objects = an_active() | a_device(clat="")
    path = f"{NM_PATH}/IP4Config/1"
    assert nm_objects.apply(objects, changed(path, IP4_CONFIG, {"ClatAddress": "192.0.0.5"}))
    assert single(objects).manager_clat == "192.0.0.5"
    nm_objects.apply(objects, changed(path, IP4_CONFIG, {"ClatAddress": ""}))
    assert single(objects).manager_clat == ""


def test_uplinks_are_sorted_whatever_the_order_of_objects() -> None:
    parts = [an_active(n, device=n, profile=n) | a_device(n, active=n) for n in (1, 2, 3, 10)]
    objects: Objects = {path: value for part in parts for path, value in part.items()}
    expected = nm_objects.uplinks_from(objects, any_profiles(objects))
    assert [uplink.interface for uplink in expected] == ["eth1", "eth10", "eth2", "eth3"]
    for seed in range(20):
        mixed = dict(random.Random(seed).sample(sorted(objects.items()), len(objects)))
        assert nm_objects.uplinks_from(mixed, any_profiles(mixed)) == expected


def test_profile_says_the_mode() -> None:
    uplink = single(an_active() | a_device(), {**a_profile("force"), "ipv6": {"dns-options": ["clatnm:0"]}})
    assert uplink.mode is Mode.FORCE
    assert [told.mode for told in uplink.told_modes] == [Mode.FORCE, Mode.NO]


# Signals


def test_properties_may_come_before_their_object() -> None:
    objects: Objects = {}
    nm_objects.apply(objects, changed(device_path(1), DEVICE, {"State": 40}))
    for signal in added(an_active() | a_device()):
        nm_objects.apply(objects, signal)
    assert interfaces(objects) == ["eth1"]


def test_properties_of_a_removed_connection_bring_nothing_back() -> None:
    objects = an_active() | a_device()
    nm_objects.apply(objects, removed(active_path(1), ACTIVE))
    nm_objects.apply(objects, changed(active_path(1), ACTIVE, {"State": 4, "Devices": []}))
    assert interfaces(objects) == []


def test_invalidated_property_is_unknown_again() -> None:
    objects = an_active() | a_device(clat="192.0.0.5")
    nm_objects.apply(objects, changed(f"{NM_PATH}/IP4Config/1", IP4_CONFIG, {}, gone=("ClatAddress", "Unheard")))
    assert single(objects).manager_clat == ""


def test_object_is_gone_with_its_last_interface() -> None:
    objects = a_device()
    nm_objects.apply(objects, removed(device_path(1), f"{DEVICE}.Statistics", "never.had.this"))
    assert DEVICE in objects[device_path(1)]
    nm_objects.apply(objects, removed(device_path(1), DEVICE))
    assert device_path(1) not in objects
    assert nm_objects.apply(objects, removed(device_path(7), DEVICE))


def test_added_again_means_changed() -> None:
    objects = an_active() | a_device()
    for signal in added(a_device(Interface="renamed0", IpInterface="renamed0")):
        nm_objects.apply(objects, signal)
    assert interfaces(objects) == ["renamed0"]


@pytest.mark.parametrize(
    ("interface", "member", "body"),
    [
        (ACTIVE, "StateChanged", (4, 3)),
        (NM, "StateChanged", (70,)),
        (NM, "DeviceAdded", (device_path(9),)),
        (NM, "PropertiesChanged", ({"State": 70},)),  # of the time before org.freedesktop.DBus.Properties had it
        (PROPERTIES, "Get", ()),
        (OBJECT_MANAGER, "Other", ()),
    ],
)
def test_other_signals_change_nothing(interface: str, member: str, body: tuple[Any, ...]) -> None:
    objects = an_active() | a_device()
    before = copy.deepcopy(objects)
    signal = Signal(sender=OWNER, path=active_path(1), interface=interface, member=member, body=body)
    assert not nm_objects.apply(objects, signal)
    assert objects == before


# While NetworkManager starts


def test_connections_not_come_to_yet_stay_as_they_were() -> None:
    def uplink(interface: str, uuid: str) -> Uplink:
        return Uplink(interface=interface, uuid=uuid, name="", manager="NetworkManager")

    fresh, last = (uplink("eth2", "new"),), (uplink("eth1", "old"), uplink("eth2", "old"))
    assert nm_objects.merge_waiting(fresh, last) == (uplink("eth1", "old"), uplink("eth2", "new"))
    assert nm_objects.merge_waiting((), last) == last
    assert nm_objects.merge_waiting(fresh, ()) == fresh
    assert nm_objects.is_starting(the_manager(startup=True))


def test_connection_known_before_stays_while_its_profile_is_read_again() -> None:
    objects = an_active() | an_active(2, device=2, profile=2) | a_device() | a_device(2, active=2)
    last = nm_objects.uplinks_from(objects, {profile_path(1): a_profile("no"), profile_path(2): a_profile()})
    assert nm_objects.reading_again(objects, {}, last) == last
    assert nm_objects.reading_again(objects, {profile_path(2): a_profile()}, last) == last[:1]
    assert nm_objects.reading_again(objects, any_profiles(objects), last) == ()
    assert nm_objects.reading_again(objects, {}, ()) == ()


@pytest.mark.parametrize("change", [{"Uuid": "another"}, {"State": 4}, {"Connection": "/"}])
def test_other_connection_of_the_same_device_waits_for_its_profile(change: dict[str, Any]) -> None:
    before = an_active() | a_device()
    last = nm_objects.uplinks_from(before, any_profiles(before))
    assert nm_objects.reading_again(an_active(**change) | a_device(), {}, last) == ()


# What it manages


@pytest.mark.parametrize(
    ("device", "active", "expected"),
    [
        pytest.param({}, {}, {"eth1"}, id="activated"),
        pytest.param({"State": 20}, {"Devices": []}, {"eth1"}, id="unplugged"),
        pytest.param({"State": 30}, {"Devices": []}, {"eth1"}, id="idle"),
        pytest.param({"State": 10}, {"Devices": []}, set(), id="unmanaged"),
        pytest.param({"State": 0}, {"Devices": []}, set(), id="not-looked-at-yet"),
        pytest.param({}, {"StateFlags": 0x80 | 28}, set(), id="connected-externally"),
        pytest.param({"Interface": "cdc-wdm0", "IpInterface": "wwan0"}, {}, {"cdc-wdm0", "wwan0"}, id="modem"),
        pytest.param({"IpInterface": ""}, {}, {"eth1"}, id="no-ip-interface"),
    ],
)
def test_interface_is_managed_or_not(device: dict[str, Any], active: dict[str, Any], expected: set[str]) -> None:
    assert nm_objects.managed(the_manager() | an_active(**active) | a_device(**device)) == expected


def test_recorded_interfaces_are_managed_but_not_a_foreign_one() -> None:
    assert nm_objects.managed(START) >= {"up0", "up1"}
    assert "tunx" not in nm_objects.managed(BY_NAME["foreign"].objects)
