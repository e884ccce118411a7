# SPDX-License-Identifier: GPL-2.0-or-later
"""systemd as process 1: the service as it is installed, from its start to its death."""

from __future__ import annotations

import sys

from tests.machines import systemd_service as service
from tests.machines import systemd_trouble as trouble
from tests.machines.systemd_checks import Checks, run

FIRST: Checks = {
    "unit-is-sound": service.unit_is_sound,
    "nobody-starts-it-by-asking": service.nobody_starts_it_by_asking,
    "started-means-it-answers": service.started_means_it_answers,
}
REST: Checks = {
    "ipv4-works": service.ipv4_is_there,
    "sandbox-holds": service.sandbox_holds,
    "device-is-left-alone": service.device_is_left_alone,
    "anybody-may-look-only-root-may-poke": service.anybody_may_look,
    "reload-reads-the-configuration": service.reload_reads_the_configuration,
    "restart-keeps-connections": service.restart_keeps_connections,
    "stop-leaves-nothing": service.stop_leaves_nothing,
    "killed-comes-back": service.killed_comes_back,
    "hanging-is-noticed": service.hanging_is_noticed,
    "failed-start-is-made-good": trouble.failed_start_is_made_good,
    "many-translators-find-room": trouble.many_translators_find_room,
    "one-that-takes-all-memory-ends-alone": trouble.one_that_takes_all_memory_ends_alone,
    "order-delays-nothing": service.order_delays_nothing,
    "stops-before-the-network": service.stops_before_the_network,
}

if __name__ == "__main__":
    sys.exit(run(REST, first=FIRST))
