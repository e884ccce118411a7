# SPDX-License-Identifier: GPL-2.0-or-later
"""Resolving the router, answering for the CLAT address and probing for it, in simulated time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clatnm.proto import ndp
from clatnm.proto.ndp import NeighborAdvert, NeighborSolicit
from clatnm.proto.neighbor import DuplicateCheck, NextHop, Responder

ROUTER = IPv6Address("fe80::1")
CLAT = IPv6Address("2001:db8:a::c1a7")
OTHER = IPv6Address("2001:db8:a::5")
OUR_MAC = bytes.fromhex("02000000000a")
MAC = bytes.fromhex("02000000000b")
MAC_2 = bytes.fromhex("02000000000c")
GROUP_MAC = "3333ff000001"
NONCE = b"nonce!"


def na(
    mac: bytes | None = MAC, *, target: IPv6Address = ROUTER, solicited: bool = True, override: bool = True
) -> NeighborAdvert:
    return NeighborAdvert(
        source=target,
        destination=CLAT if solicited else ndp.ALL_NODES,
        target=target,
        link_address=mac,
        router=True,
        solicited=solicited,
        override=override,
    )


def ns(
    *, source: IPv6Address = ROUTER, target: IPv6Address = CLAT, mac: bytes | None = MAC, unicast: bool = False
) -> NeighborSolicit:
    destination = target if unicast else ndp.solicited_node(target)
    return NeighborSolicit(source=source, destination=destination, target=target, link_address=mac, nonce=None)


def probe(nonce: bytes | None = None, *, target: IPv6Address = CLAT) -> NeighborSolicit:
    return replace(ns(source=ndp.UNSPECIFIED, target=target, mac=None), nonce=nonce)


def opened(frame: bytes) -> tuple[str, NeighborSolicit | NeighborAdvert]:
    """Destination link address and message of one of our frames."""
    assert frame[6:14] == OUR_MAC + b"\x86\xdd"
    return frame[:6].hex(), ndp.parse_neighbor(frame[14:])


def next_hop(*, resolved_at: float | None = None) -> NextHop:
    hop = NextHop(ROUTER, CLAT, OUR_MAC)
    if resolved_at is not None:
        hop.poll(resolved_at, used=True)
        hop.on_advert(na(), resolved_at)
    return hop


def run(hop: NextHop, times: Iterable[int], *, used: bool) -> list[tuple[int, str]]:
    """(second, destination) of every frame, polling at each of these whole seconds."""
    return [(now, frame[:6].hex()) for now in times for frame in hop.poll(now, used=used)]


def test_unresolved_router_is_asked_for_at_once_and_every_second() -> None:
    assert run(next_hop(), range(20), used=True) == [(now, GROUP_MAC) for now in range(20)]


def test_first_question_waits_for_no_traffic() -> None:
    hop = next_hop()
    assert hop.next_deadline(7, False) == 7
    (frame,) = hop.poll(7, used=False)
    assert opened(frame) == (GROUP_MAC, ns(source=CLAT, target=ROUTER, mac=OUR_MAC))
    assert hop.mac is None


def test_unresolved_router_is_left_alone_when_nobody_wants_it() -> None:
    """RFC 4861 7.2.2: MAX_MULTICAST_SOLICIT, then silence; and a question at once when there is traffic again."""
    hop = next_hop()
    assert run(hop, range(100), used=False) == [(0, GROUP_MAC), (1, GROUP_MAC), (2, GROUP_MAC)]
    assert hop.next_deadline(100, False) is None
    assert run(hop, [100], used=True) == [(100, GROUP_MAC)]


def test_answer_gives_the_link_address_and_ends_the_asking() -> None:
    hop = next_hop()
    hop.poll(0, used=True)
    hop.on_advert(na(), 0.01)
    assert hop.mac == MAC
    assert hop.next_deadline(0.01, False) is None
    assert run(hop, range(1, 1000), used=False) == []


def test_used_router_is_checked_by_unicast_after_the_reachable_time() -> None:
    hop = next_hop(resolved_at=0)
    assert hop.next_deadline(1, True) == 30
    assert hop.poll(29.9, used=True) == ()
    assert hop.next_deadline(29.9, False) == 30  # used since it was confirmed
    (frame,) = hop.poll(30, used=False)
    assert opened(frame) == (MAC.hex(), ns(source=CLAT, target=ROUTER, mac=OUR_MAC, unicast=True))
    hop.on_advert(na(None, override=False), 30.01)  # as Linux answers a unicast solicitation
    assert hop.mac == MAC
    assert hop.next_deadline(31, True) == pytest.approx(60.01)
    assert hop.next_deadline(31, False) is None


def test_idle_router_is_never_checked_and_at_once_when_used_again() -> None:
    hop = next_hop(resolved_at=0)
    assert hop.next_deadline(5000, False) is None
    assert hop.next_deadline(5000, True) == 5000
    assert run(hop, [5000], used=True) == [(5000, MAC.hex())]


def test_silent_router_in_use_is_asked_ever_more_slowly_and_still_used() -> None:
    hop = next_hop(resolved_at=0)
    found = run(hop, range(1, 100), used=True)
    unicast = [(now, MAC.hex()) for now in (30, 31, 32)]
    multicast = [(now, GROUP_MAC) for now in (33, 34, 36, 40, 48, 58, 68, 78, 88, 98)]
    assert found == unicast + multicast
    assert hop.mac == MAC


def test_silent_router_out_of_use_is_left_alone() -> None:
    hop = next_hop(resolved_at=0)
    assert hop.poll(30, used=True)
    assert [now for now, _ in run(hop, range(31, 1000), used=False)] == [31, 32, 33, 34, 36]
    assert hop.next_deadline(1000, False) is None
    assert run(hop, [1000], used=True) == [(1000, GROUP_MAC)]


def test_silent_router_that_answers_again_is_reachable_again() -> None:
    hop = next_hop(resolved_at=0)
    run(hop, range(30, 50), used=True)
    hop.on_advert(na(), 50)
    assert run(hop, range(51, 81), used=True) == [(80, MAC.hex())]


def test_deadline_is_when_the_next_frame_comes() -> None:
    """Sleeping until each deadline sends exactly what polling all the time would send."""
    hop = next_hop(resolved_at=0)
    found, now = [], 1.0
    while (deadline := hop.next_deadline(now, True) or 0) < 99:
        found += [(int(deadline), frame[:6].hex()) for frame in hop.poll(deadline, used=True)]
        now = deadline + 0.001
    assert found == run(next_hop(resolved_at=0), range(1, 99), used=True)


@pytest.mark.parametrize(
    ("advert", "mac"),
    [
        pytest.param(na(), MAC, id="rfc4861-7.2.5-solicited"),
        pytest.param(na(override=False), MAC, id="rfc4861-7.2.5-override-is-ignored"),
        pytest.param(na(solicited=False), MAC, id="rfc4861-7.2.5-unsolicited"),
        pytest.param(na(None), None, id="rfc4861-7.2.5-no-link-address"),
        pytest.param(na(target=OTHER), None, id="another-target"),
    ],
)
def test_incomplete_entry_takes_what_an_advert_says(advert: NeighborAdvert, mac: bytes | None) -> None:
    hop = next_hop()
    hop.poll(0, used=True)
    hop.on_advert(advert, 0.1)
    assert hop.mac == mac


@pytest.mark.parametrize(
    ("advert", "mac", "due_at"),
    [
        pytest.param(na(MAC_2), MAC_2, 40, id="rfc4861-7.2.5-override-solicited"),
        pytest.param(na(MAC_2, solicited=False), MAC_2, 10, id="rfc4861-7.2.5-override-unsolicited-is-stale"),
        pytest.param(na(MAC_2, override=False), MAC, 10, id="rfc4861-7.2.5-I-doubt-but-keep"),
        pytest.param(na(MAC_2, override=False, solicited=False), MAC, 10, id="rfc4861-7.2.5-I-unsolicited"),
        pytest.param(na(solicited=False), MAC, 30, id="rfc4861-7.2.5-nothing-new"),
        pytest.param(na(override=False), MAC, 40, id="rfc4861-7.2.5-confirmed"),
        pytest.param(na(MAC_2, target=OTHER), MAC, 30, id="another-target"),
    ],
)
def test_reachable_entry_takes_what_an_advert_says(advert: NeighborAdvert, mac: bytes, due_at: float) -> None:
    hop = next_hop(resolved_at=0)
    hop.on_advert(advert, 10)
    assert hop.mac == mac
    assert hop.next_deadline(10, True) == due_at
    assert hop.next_deadline(10, False) is None


@pytest.mark.parametrize(
    ("asked", "mac"),
    [
        pytest.param(3, MAC, id="rfc4861-7.2.5-I-while-probing"),
        pytest.param(4, MAC_2, id="rfc7048-3-lost-router-may-be-anywhere"),
    ],
)
def test_weak_claim_counts_only_once_the_router_is_lost(asked: int, mac: bytes) -> None:
    hop = next_hop(resolved_at=0)
    assert len(run(hop, range(30, 30 + asked), used=True)) == asked
    hop.on_advert(na(MAC_2, override=False), 40)
    assert hop.mac == mac


@pytest.mark.parametrize(
    ("solicit", "mac", "due_at"),
    [
        pytest.param(ns(mac=MAC_2), MAC_2, 10, id="rfc4861-7.2.3-new-link-address-is-stale"),
        pytest.param(ns(), MAC, 30, id="rfc4861-7.2.3-known-link-address-proves-nothing"),
        pytest.param(ns(mac=None), MAC, 30, id="rfc4861-7.2.3-no-link-address"),
        pytest.param(ns(source=OTHER, mac=MAC_2), MAC, 30, id="another-neighbour"),
        pytest.param(probe(), MAC, 30, id="probe"),
    ],
)
def test_question_of_the_router_tells_its_link_address(solicit: NeighborSolicit, mac: bytes, due_at: float) -> None:
    hop = next_hop(resolved_at=0)
    hop.on_solicit(solicit, 10)
    assert hop.mac == mac
    assert hop.next_deadline(10, True) == due_at


def test_question_of_the_router_resolves_it() -> None:
    hop = next_hop()
    hop.on_solicit(ns(), 0)
    assert hop.next_deadline(0, False) is None
    assert run(hop, [0], used=True) == [(0, MAC.hex())]


def test_flapping_claims_make_no_flood_of_questions() -> None:
    hop, sent = next_hop(resolved_at=0), 0
    for tenth in range(100):
        now = tenth / 10
        hop.on_advert(na(MAC if tenth % 2 else MAC_2, solicited=False), now)
        sent += len(hop.poll(now, used=True))
    assert 9 <= sent <= 10


events = st.one_of(
    st.builds(na, st.sampled_from([None, MAC, MAC_2]), solicited=st.booleans(), override=st.booleans()),
    st.builds(ns, source=st.sampled_from([ROUTER, OTHER]), mac=st.sampled_from([None, MAC, MAC_2])),
    st.sampled_from(["used", "unused"]),
)


@given(story=st.lists(st.tuples(st.floats(0, 40), events), max_size=40))
def test_whatever_happens_questions_are_rare_and_a_known_address_stays(
    story: list[tuple[float, NeighborAdvert | NeighborSolicit | str]],
) -> None:
    hop, now, asked_at = next_hop(), 0.0, float("-inf")
    for wait_s, event in story:
        now += wait_s
        known = hop.mac is not None
        if isinstance(event, NeighborAdvert):
            hop.on_advert(event, now)
        elif isinstance(event, NeighborSolicit):
            hop.on_solicit(event, now)
        else:
            used = event == "used"
            deadline = hop.next_deadline(now, used)
            frames = hop.poll(now, used=used)
            assert bool(frames) == (deadline == now)
            assert deadline is None or deadline >= now
            if frames:
                assert now >= asked_at + 1
                asked_at = now
        assert not known or hop.mac is not None
        after = hop.next_deadline(now, True)
        assert after is not None and now <= after <= now + 30


@pytest.mark.parametrize(
    ("solicit", "mac", "destination", "solicited"),
    [
        pytest.param(ns(), MAC.hex(), ROUTER, True, id="rfc4861-7.2.4-multicast"),
        pytest.param(ns(unicast=True), MAC.hex(), ROUTER, True, id="rfc4861-7.2.4-unicast"),
        pytest.param(ns(source=OTHER, mac=MAC_2), MAC_2.hex(), OTHER, True, id="another-neighbour"),
        pytest.param(probe(NONCE), "333300000001", ndp.ALL_NODES, False, id="rfc4861-7.2.4-probe"),
    ],
)
def test_question_for_the_clat_address_is_answered(
    solicit: NeighborSolicit, mac: str, destination: IPv6Address, solicited: bool
) -> None:
    frame = Responder(CLAT, OUR_MAC).answer(solicit)
    assert frame is not None
    assert opened(frame) == (
        mac,
        NeighborAdvert(
            source=CLAT,
            destination=destination,
            target=CLAT,
            link_address=OUR_MAC,
            router=False,
            solicited=solicited,
            override=True,
        ),
    )


@pytest.mark.parametrize(
    "solicit",
    [
        pytest.param(ns(target=OTHER), id="another-target"),
        pytest.param(probe(target=OTHER), id="probe-for-another-target"),
        pytest.param(ns(source=CLAT, mac=OUR_MAC), id="from-the-address-itself"),
        pytest.param(ns(mac=None), id="no-link-address-to-answer-to"),
    ],
)
def test_other_questions_are_not_answered(solicit: NeighborSolicit) -> None:
    assert Responder(CLAT, OUR_MAC).answer(solicit) is None


def test_question_without_link_address_is_answered_to_where_its_frame_came_from() -> None:
    responder = Responder(CLAT, OUR_MAC)
    frame = responder.answer(ns(mac=None), frame_source=MAC_2)
    assert frame is not None and frame[:6] == MAC_2
    frame = responder.answer(ns(), frame_source=MAC_2)  # RFC 4861 7.2.3: the option is the asker's word
    assert frame is not None and frame[:6] == MAC


def test_optimistic_answer_overrides_nobody_and_leaves_probes_alone() -> None:
    """RFC 4429 2.2 and RFC 4862 5.4.3."""
    responder = Responder(CLAT, OUR_MAC)
    frame = responder.answer(ns(), optimistic=True)
    assert frame is not None
    advert = opened(frame)[1]
    assert isinstance(advert, NeighborAdvert)
    assert (advert.override, advert.solicited) == (False, True)
    assert responder.answer(probe(), optimistic=True) is None


def test_answer_resolves_us_for_somebody_doing_the_same() -> None:
    """Our own two machines, face to face."""
    router = NextHop(CLAT, ROUTER, MAC)
    (question,) = router.poll(0, used=True)
    solicit = ndp.parse_neighbor(question[14:])
    assert isinstance(solicit, NeighborSolicit)
    answer = Responder(CLAT, OUR_MAC).answer(solicit)
    assert answer is not None
    advert = ndp.parse_neighbor(answer[14:])
    assert isinstance(advert, NeighborAdvert)
    router.on_advert(advert, 0.1)
    assert router.mac == OUR_MAC


def test_duplicate_check_sends_one_probe_and_listens_for_a_second() -> None:
    check = DuplicateCheck(CLAT, OUR_MAC)
    assert not check.done(100)
    (frame,) = check.start(5, nonce=NONCE)
    assert opened(frame) == ("3333ff00c1a7", probe(NONCE))
    assert [check.done(now) for now in (5.9, 6)] == [False, True]


@pytest.mark.parametrize(
    ("solicit", "conflict"),
    [
        pytest.param(probe(b"other!"), True, id="rfc7527-4.2-other-nonce"),
        pytest.param(probe(None), True, id="rfc4862-5.4.3-no-nonce"),
        pytest.param(probe(NONCE), False, id="rfc7527-4.2-our-own-looped-back"),
        pytest.param(probe(b"other!", target=OTHER), False, id="another-target"),
        pytest.param(ns(), False, id="rfc4862-5.4.3-resolution-is-no-claim"),
    ],
)
def test_probe_of_another_node_is_a_conflict_while_checking(solicit: NeighborSolicit, conflict: bool) -> None:
    check = DuplicateCheck(CLAT, OUR_MAC)
    check.start(0, nonce=NONCE)
    assert check.on_solicit(solicit, 0.5) is conflict
    assert check.on_solicit(solicit, 1.0) is False  # ours by then, and defended


def test_probe_of_another_node_before_our_own_is_a_conflict() -> None:
    check = DuplicateCheck(CLAT, OUR_MAC)
    assert check.on_solicit(probe(None), 0) is True
    assert check.on_solicit(probe(NONCE), 0) is True


@pytest.mark.parametrize(
    ("advert", "conflict"),
    [
        pytest.param(na(target=CLAT, solicited=False), True, id="rfc4862-5.4.4-another-station"),
        pytest.param(na(target=CLAT), True, id="rfc4862-5.4.4-solicited"),
        pytest.param(na(None, target=CLAT, solicited=False), True, id="rfc4862-5.4.4-unnamed-station"),
        pytest.param(na(OUR_MAC, target=CLAT, solicited=False), False, id="our-own-looped-back"),
        pytest.param(na(target=OTHER), False, id="another-target"),
    ],
)
def test_claim_of_another_station_is_a_conflict(advert: NeighborAdvert, conflict: bool) -> None:
    check = DuplicateCheck(CLAT, OUR_MAC)
    check.start(0, nonce=NONCE)
    assert check.on_advert(advert) is conflict


def test_two_nodes_probing_at_once_both_see_it() -> None:
    checks = {nonce: DuplicateCheck(CLAT, OUR_MAC) for nonce in (b"nonce1", b"nonce2")}
    heard = [opened(check.start(0, nonce=nonce)[0])[1] for nonce, check in checks.items()]
    for nonce, check in checks.items():
        for solicit in heard:
            assert isinstance(solicit, NeighborSolicit)
            assert check.on_solicit(solicit, 0.1) is (solicit.nonce != nonce)
