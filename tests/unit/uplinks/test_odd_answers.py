# SPDX-License-Identifier: GPL-2.0-or-later
"""What a network manager of another version may answer: what is understood counts, and nothing ends for the rest."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clatnm.dbus.bus import Signal, Variant
from clatnm.errors import BusError
from clatnm.model import Mode
from clatnm.uplinks import networkd_objects, nm_objects, nm_profiles
from clatnm.uplinks.networkd_files import NetworkFiles
from clatnm.uplinks.nm_modes import modes_from
from clatnm.uplinks.nm_objects import ACTIVE, DEVICE, IP4_CONFIG, NM, NM_PATH, Objects
from clatnm.uplinks.nm_types import objects_from, profile_from
from tests.unit.aio import run
from tests.unit.odd import mutated
from tests.unit.private_bus import PrivateBus
from tests.unit.uplinks.fake_networkmanager import FakeNetworkManager
from tests.unit.uplinks.follower import ONE, TWO, Follower, play
from tests.unit.uplinks.recorded import a_profile, active_path, device_path, profile_path, recording

HERE = Path(__file__).parent
START, PHASES = recording()
FIXTURES = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]

# What D-Bus can carry, unwrapped
_text = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=8)
_leaves = st.one_of(st.booleans(), st.integers(-(1 << 63), (1 << 64) - 1), st.floats(), _text, st.binary(max_size=20))
plain = st.recursive(
    _leaves, lambda one: st.one_of(st.lists(one, max_size=3), st.dictionaries(_text, one, max_size=3)), max_leaves=6
)
SOUND = [phase.objects for phase in PHASES] + [TWO]


def everything(objects: Objects, profiles: dict[str, Any]) -> None:
    """All that is ever asked of NetworkManager's objects."""
    uplinks = nm_objects.uplinks_from(objects, profiles)
    for uplink in uplinks:
        hash((uplink.interface, uplink.uuid, uplink.name, uplink.manager_clat, uplink.access_point))
        assert isinstance(uplink.interface, str) and isinstance(uplink.ipv4_metric, (int, type(None)))
    nm_objects.managed(objects)
    nm_objects.is_starting(objects)
    nm_objects.reading_again(objects, {}, uplinks)


@settings(deadline=None, max_examples=300, suppress_health_check=FIXTURES)
@given(st.sampled_from(SOUND).flatmap(lambda objects: mutated(objects, plain)), mutated(a_profile("auto"), plain))
def test_odd_objects_of_networkmanager_are_left_out(told: Any, profile: Any) -> None:
    objects = objects_from(told)
    everything(objects, {path: profile_from(profile) for path in nm_objects.active_profiles(objects)})


FULL_PROFILE = {
    "connection": {"id": "Net", "uuid": "uuid-1"},
    "user": {"data": {"clatnm.mode": "auto"}},
    "ipv4": {
        "method": "auto",
        "may-fail": False,
        "never-default": True,
        "clat": 2,
        "route-metric": 7,
        "dns-options": ["clatnm:1"],
    },
    "ipv6": {"dns-options": ["clatnm:0", "edns0"]},
}


@settings(deadline=None, max_examples=300)
@given(mutated(FULL_PROFILE, plain))
def test_odd_profile_still_has_modes(told: Any) -> None:
    profile = profile_from(told)
    assert all(isinstance(mode.text, str) for mode in modes_from(profile))
    everything(objects_from(ONE), {profile_path(1): profile})


def test_sound_answers_are_left_as_they_are() -> None:
    assert [objects_from(objects) for objects in SOUND] == SOUND
    assert profile_from(FULL_PROFILE) == FULL_PROFILE


@settings(deadline=None, max_examples=300, suppress_health_check=FIXTURES)
@given(st.data())
def test_odd_signals_of_networkmanager_leave_objects_that_can_be_read(data: st.DataObject) -> None:
    """A signal that cannot be read at all is dropped by the bus, with what it raised; what it left behind stays."""
    objects = objects_from(copy.deepcopy(data.draw(st.sampled_from(SOUND))))
    signals = [signal for phase in PHASES for signal in phase.signals]
    for signal in data.draw(st.lists(st.sampled_from(signals), min_size=1, max_size=3)):
        body = data.draw(mutated(list(signal.body), plain))
        odd = Signal(
            sender=signal.sender,
            path=signal.path,
            interface=signal.interface,
            member=signal.member,
            body=tuple(body if isinstance(body, list) else [body]),
        )
        try:
            nm_objects.is_leaving(objects, odd)
            nm_objects.apply(objects, odd)
        except (ValueError, TypeError, AttributeError, LookupError):
            pass
        everything(objects, {path: a_profile() for path in nm_objects.active_profiles(objects)})


@settings(deadline=None, max_examples=300, suppress_health_check=FIXTURES)
@given(st.data())
def test_odd_description_of_networkd_is_understood_in_part_or_refused(data: st.DataObject) -> None:
    sound = json.loads((HERE / f"networkd-{data.draw(st.sampled_from(['252', '257', '262']))}.json").read_text())
    try:
        links = networkd_objects.links_from(json.dumps(data.draw(mutated(sound))))
    except ValueError:
        return
    for link in networkd_objects.merge(links, links):
        uplink = networkd_objects.uplink(link, NetworkFiles(()).settings(link.network_file))
        uplink.interface.encode()
        assert uplink.uuid and uplink.name.isprintable()


@pytest.mark.parametrize(
    "text", ["", "null", "[" * 100_000, '{"Interfaces": 5}', "{" * 9, "\udc80"], ids=lambda text: text[:9]
)
def test_description_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        networkd_objects.links_from(text)


@pytest.mark.parametrize("bad", ["\0", "/a\0b", "/a\ud800", 5, None, "/a\nb"])
def test_file_that_cannot_be_is_none(bad: Any) -> None:
    entry = {"Index": 2, "Name": "up0", "Type": "ether", "AdministrativeState": "configured", "NetworkFile": bad}
    (link,) = networkd_objects.links_from(json.dumps({"Interfaces": [entry]}))
    assert link.network_file == ""
    assert NetworkFiles().settings("/a\0b").mode is None


# By a real bus


def odd_manager() -> Objects:
    """Two connections, of which one is told in a form that nobody knows, and much else besides."""
    objects = copy.deepcopy(TWO)
    objects[active_path(2)][ACTIVE]["Devices"] = "none"
    objects[device_path(2)][DEVICE]["State"] = "activated"
    objects[f"{NM_PATH}/IP4Config/1"][IP4_CONFIG]["ClatAddress"] = 5
    objects[NM_PATH][NM]["Startup"] = "no"
    objects[NM_PATH]["org.example.New"] = {"Whatever": ["a"]}
    return objects


def test_manager_that_tells_oddly_is_followed_for_what_is_understood(private_bus: PrivateBus) -> None:
    async def scene(fake: FakeNetworkManager, follower: Follower) -> None:
        await follower.sees("eth1")
        assert follower.manager.uplinks()[0].manager_clat == ""
        assert follower.manager.managed() == frozenset({"eth1"})

    play(scene, odd_manager())


@pytest.mark.parametrize("mode", [Mode.NO, Mode.FORCE, None], ids=str)
def test_profile_of_another_form_is_one_line(private_bus: PrivateBus, mode: Mode | None) -> None:
    async def work() -> None:
        fake = FakeNetworkManager(ONE, {profile_path(1): a_profile(number=1)})
        fake.profiles[profile_path(1)] = {
            "connection": {"id": Variant("s", "Net 1")},  # it has no identity
            "user": {"data": Variant("s", "clatnm.mode=no")},
        }
        await fake.start()
        with pytest.raises(BusError, match="NetworkManager's answer is not understood"):
            await nm_profiles.set_mode("Net 1", mode)
        fake.stop()

    run(work())
