# SPDX-License-Identifier: GPL-2.0-or-later
"""Access points of one name, between which the station roams without losing its carrier: to another network, and not.

The first argument is how often it roams between the networks.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

from tests.e2e.clat import connection, wait_on
from tests.lab.poll import eventually
from tests.machines.clat_service import ClatService
from tests.machines.inside import Report, be_patient
from tests.machines.wifi_air import AccessPoint, Air, on_the_air
from tests.machines.wifi_events import Events
from tests.machines.wifi_traffic import PERIOD_S, Questions, asking, ipv4_works

STATION = "wlan0"
TIMES = 10
PREFIXES = {"a": "64:ff9b::/96", "c": "2001:db8:64:0:c::/96"}
# 100 ms; and an outage is known to the time between two questions, either way.
_TOLERATED_S = 0.1 + PERIOD_S
_UNDISTURBED, _AFTERWARDS = 20, 40  # questions
_IPV6_PATIENCE_S = 20.0


def main() -> int:
    times = int(sys.argv[1]) if len(sys.argv) > 1 else TIMES
    be_patient()
    report = Report()
    with on_the_air(radios=4, networks=("a", "c")) as (air, daemon), Events(air.laptop) as events:
        points = {
            "a": AccessPoint(air, 1, ssid="six", network="a", channel=1),
            "c": AccessPoint(air, 2, ssid="six", network="c", channel=6),
        }
        for network in points:
            air.router(network).ra(interval=1000)  # so that whoever wants to know has to ask
        with report.check("join"):
            points["a"].start()
            air.laptop.join(STATION, points["a"])
            wait_on(daemon, STATION, timeout_s=60.0)
            ipv4_works(air.laptop)
            points["c"].start()
        roams = Roams(air, daemon, events)
        for number in range(1, times + 1):
            network = "ac"[number % 2]
            with report.check(f"roam-{number}-to-{network}"), roams.told():
                roams.to_another_network(points[network])
        second = AccessPoint(air, 3, ssid="six", network=["a", "c"][times % 2], channel=11)
        with report.check("roam-within-the-network"), roams.told():
            second.start()
            roams.to_the_same_network(second)
    return report.status


class Roams:
    """Each with the questions that went on during it, and what they say."""

    def __init__(self, air: Air, daemon: ClatService, events: Events) -> None:
        self._air, self._daemon, self._events = air, daemon, events
        self._began = 0.0

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """A roam that is not as it should be is told of in every detail."""
        try:
            yield
        except AssertionError:
            print(self._events.since(self._began), flush=True)
            raise

    def to_another_network(self, point: AccessPoint) -> None:
        questions = self._go(point)
        wanted = PREFIXES[point.network]
        told = wait_on(self._daemon, STATION, timeout_s=60.0)
        assert told["translator"]["prefix"] == wanted, told
        ipv4_works(self._air.laptop)
        self._compare(questions, point)

    def to_the_same_network(self, point: AccessPoint) -> None:
        device = self._air.laptop.devices()[f"clat-{STATION}"]
        before = connection(self._daemon, STATION)
        questions = self._go(point)
        assert self._air.laptop.devices()[f"clat-{STATION}"] == device, "the translator was started again"
        after = connection(self._daemon, STATION)
        assert after["state"] == "on", after
        assert after["translator"]["clat_v6"] == before["translator"]["clat_v6"], (before, after)
        self._compare(questions, point)

    def _go(self, point: AccessPoint) -> Questions:
        """Roam, and ask on until both kinds are answered again."""
        laptop = self._air.laptop
        laptop.sees(STATION, point)
        with asking() as questions:
            eventually(lambda: len(questions.ipv4.answered) >= _UNDISTURBED, message="IPv4 before the roam")
            self._began = time.time()
            laptop.roam(STATION, point)
            self._wait(questions)
        return questions

    def _wait(self, questions: Questions) -> None:
        """Until both kinds are answered again, or IPv6 has had its time."""
        asked = len(questions.ipv4.sent)
        answered = questions.ipv4.answered
        eventually(lambda: sum(number > asked for number in list(answered)) > _AFTERWARDS, message="IPv4 is back")
        over = asked + _AFTERWARDS + int(_IPV6_PATIENCE_S / PERIOD_S)
        eventually(
            lambda: max(list(questions.ipv6.answered)) > asked or len(questions.ipv6.sent) > over,
            timeout_s=60.0,
            message="IPv6 is back or is not",
        )

    def _compare(self, questions: Questions, point: AccessPoint) -> None:
        ipv4_s, ipv6_s = questions.ipv4.outage_s(), questions.ipv6.outage_s()
        print(f"to {point.network} {point.bssid}: no IPv4 for {ipv4_s:.2f} s, no IPv6 for {ipv6_s:.2f} s", flush=True)
        assert ipv4_s <= ipv6_s + _TOLERATED_S, f"no IPv4 for {ipv4_s:.2f} s, no IPv6 for {ipv6_s:.2f} s"


if __name__ == "__main__":
    sys.exit(main())
