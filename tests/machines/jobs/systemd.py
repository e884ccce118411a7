# SPDX-License-Identifier: GPL-2.0-or-later
"""systemd as process 1, and what runs beside it: the service as it is installed, from its start to its death.

Arguments: names of checks, for these alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from tests.e2e.clat import wait_on
from tests.machines import systemd_network as network
from tests.machines import systemd_numbers as numbers
from tests.machines import systemd_service as service
from tests.machines import systemd_suspend as suspend
from tests.machines.inside import Report, be_patient
from tests.machines.systemd_place import UPLINK, Place

# In this order; after the first three, each finds a CLAT that is on, and leaves one.
FIRST: Mapping[str, Callable[[Place], None]] = {
    "unit-is-sound": service.unit_is_sound,
    "nobody-starts-it-by-asking": service.nobody_starts_it_by_asking,
    "started-means-it-answers": service.started_means_it_answers,
}
REST: Mapping[str, Callable[[Place], None]] = {
    "ipv4-works": service.ipv4_is_there,
    "sandbox-holds": service.sandbox_holds,
    "device-is-left-alone": service.device_is_left_alone,
    "anybody-may-look-only-root-may-poke": service.anybody_may_look,
    "set-is-allowed-as-nmcli-is": service.set_is_allowed_as_nmcli_is,
    "reload-reads-the-configuration": service.reload_reads_the_configuration,
    "metrics-are-handed-out": numbers.metrics_are_handed_out,
    "messages-are-explained": numbers.messages_are_explained,
    "restart-keeps-connections": service.restart_keeps_connections,
    "stop-leaves-nothing": service.stop_leaves_nothing,
    "killed-comes-back": service.killed_comes_back,
    "hanging-is-noticed": service.hanging_is_noticed,
    "order-delays-nothing": service.order_delays_nothing,
    "stops-before-the-network": service.stops_before_the_network,
    "works-behind-firewalld": network.works_behind_firewalld,
    "other-configuration": network.other_configuration,
    "asks-the-links-own-resolvers": network.asks_the_links_own_resolvers,
    "connections-outlive-native-ipv4": network.connections_outlive_native_ipv4,
    "resumes-here-with-connections": suspend.resumes_here,
    "resumes-elsewhere": suspend.resumes_elsewhere,
    "resumes-elsewhere-with-networkd": suspend.resumes_elsewhere_with_networkd,
}


def main() -> int:
    be_patient()
    asked = sys.argv[1:]
    report = Report()
    with Place() as place:
        for name, check in FIRST.items():
            if not asked or name in asked:
                with report.check(name):
                    check(place)
        place.clat.start()
        for name, check in REST.items():
            if not asked or name in asked:
                with report.check(name):
                    wait_on(place.clat, UPLINK, timeout_s=90.0)
                    check(place)
    return report.status


if __name__ == "__main__":
    sys.exit(main())
