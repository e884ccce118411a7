# SPDX-License-Identifier: GPL-2.0-or-later
"""The service beside what else a system has: polkit, journald, firewalld, systemd-resolved."""

from __future__ import annotations

import sys

from tests.machines import systemd_network as network
from tests.machines import systemd_numbers as numbers
from tests.machines import systemd_service as service
from tests.machines.systemd_checks import Checks, run

CHECKS: Checks = {
    "set-is-allowed-as-nmcli-is": service.set_is_allowed_as_nmcli_is,
    "metrics-are-handed-out": numbers.metrics_are_handed_out,
    "messages-are-explained": numbers.messages_are_explained,
    "works-behind-firewalld": network.works_behind_firewalld,
    "other-configuration": network.other_configuration,
    "asks-the-links-own-resolvers": network.asks_the_links_own_resolvers,
    "connections-outlive-native-ipv4": network.connections_outlive_native_ipv4,
}

if __name__ == "__main__":
    sys.exit(run(CHECKS))
