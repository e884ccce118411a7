# SPDX-License-Identifier: GPL-2.0-or-later
"""How `test_documented_commands.py` runs those commands of the documents that do not simply end with status 0.

Pure data, so that a unit test can hold it against the documents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

NOTHING_TO_DO = 3

CONFIGURATION = "[clatnm]\nplat-check-targets = 198.51.100.10\n"
# What the documents call things, and what they are called in the lab.
LAB_WORDS: Mapping[str, str] = {
    "CONNECTION": "netA",
    '"Office Wi-Fi"': "netA",
    "wlan0": "up0",
    "eth0": "up0",
    "DEVICE": "up0",
}


@dataclass(frozen=True, kw_only=True)
class Way:
    """`before` and `after` are run by a shell of the host, whatever their status."""

    before: str = ""
    after: str = ""
    beside: str = ""
    """It goes on while the command runs."""
    statuses: tuple[int, ...] = (0,)
    shows: str = ""
    """What has to be in its output."""
    until: str = ""
    """It goes on until it is ended, once this is in its output."""
    as_user: bool = False
    """Not root, and of no group."""


_ALONE = "clatnm set --default no"
_BACK = "clatnm set --default auto"
_READY = Way(before=_ALONE, until="ready ", after=_BACK)
_PINGS = "ping -i 0.2 198.51.100.10"
_UNSET = "clatnm set netA default"
_NOT_DEFAULT = "clatnm set netA force"

DIFFERENTLY: Mapping[str, Way] = {
    "clatnm status": Way(shows="CLAT on", as_user=True),
    "clatnm status --json": Way(shows='"connections"', as_user=True),
    "clatnm explain CONNECTION": Way(shows="has CLAT", as_user=True),
    "clatnm explain wlan0": Way(shows="has CLAT", as_user=True),
    "clatnm indicator --json": Way(shows='"nat64"', as_user=True),
    "clatnm plan": Way(statuses=(NOTHING_TO_DO,), shows="nothing to do"),
    "clatnm plan --replay trace": Way(shows="start clat-up0"),
    "clatnm monitor": Way(until="netA"),
    "clatnm doctor CONNECTION": Way(shows="ok"),
    "clatnm metrics": Way(shows="# EOF", as_user=True),
    "clatnm metrics --format prometheus --output /var/lib/prometheus/node-exporter/clatnm.prom": Way(
        before="mkdir -p /var/lib/prometheus/node-exporter",
        after="grep -q clatnm_up /var/lib/prometheus/node-exporter/clatnm.prom",
    ),
    "clatnm indicator": Way(shows="NAT64", as_user=True),
    "gdbus monitor --system --dest org.clatnm1": Way(until="org.clatnm1"),
    "clatnm cleanup": Way(statuses=(NOTHING_TO_DO,)),
    "clatnm set CONNECTION auto": Way(before=_UNSET, after=_UNSET),
    "clatnm set CONNECTION force": Way(before=_UNSET, after=_UNSET),
    "clatnm set CONNECTION no": Way(before=_UNSET, after=_UNSET),
    'clatnm set "Office Wi-Fi" no': Way(before=_UNSET, after=_UNSET),
    "clatnm set CONNECTION default": Way(before=_NOT_DEFAULT),
    "clatnm set --default auto": Way(before=_ALONE),
    "clatnm import-clatd": Way(before="echo plat-prefix=64:ff9b::/96 >/etc/clatd.conf", shows="plat-prefix"),
    "clatnm import-clatd --write": Way(
        before="echo v4-defaultroute-mtu=1260 >/etc/clatd.conf",
        shows="mtu",
        after=f"echo '{CONFIGURATION}' >/etc/clatnm/clatnm.conf; {_BACK}",
    ),
    "clatnm translate --uplink eth0 --plat-prefix 64:ff9b::/96": _READY,
    "clatnm translate --uplink eth0 --plat-prefix 2001:db8:46::/96 --eam 192.0.2.1=2001:db8:12:34::1 "
    "--address 192.0.2.1": _READY,
    "clatnm translate --uplink eth0 --plat-prefix 64:ff9b::/96 --clat-v6-addr 2001:db8:a::c1a7 --backend tun": _READY,
    "clatnm translate --uplink eth0 --plat-prefix 2001:db8:46::/96 --eam 192.0.2.1=2001:db8:12:34::1 "
    "--address 192.0.2.1 --route 203.0.113.0/24": _READY,
    "clatnm translate --uplink eth0 --plat-prefix 2001:db8:46::/96 --eam-file /etc/clatnm/eam": Way(
        before=f"{_ALONE}; echo 192.0.2.1 2001:db8:77::1 >/etc/clatnm/eam", until="ready ", after=_BACK
    ),
    "clatnm pcap --plat-prefix 64:ff9b::/96 --eam 192.0.0.4=2001:db8:a::c0df --ipv6-mtu 1500 clat-wlan0.pcap "
    "translated.pcap": Way(before="@capture clat-up0.pcap", statuses=(0, NOTHING_TO_DO)),
    "clatnm pcap --plat-prefix 2001:db8:64::/96 --ipv6-mtu 1500 in.pcap out.pcap": Way(before="@capture in.pcap"),
    "nmcli connection modify CONNECTION +ipv6.dns-options clatnm:1": Way(
        after="nmcli connection modify netA ipv6.dns-options ''"
    ),
    'nmcli connection modify "Office Wi-Fi" +ipv6.dns-options clatnm:0': Way(
        after="nmcli connection modify netA ipv6.dns-options ''"
    ),
    "clatnm pcap --plat-prefix 64:ff9b::/96 --eam 192.0.0.4=2001:db8:a::c0df clat-wlan0.pcap translated.pcap": Way(
        before="@capture clat-up0.pcap", statuses=(0, NOTHING_TO_DO)
    ),
    "tcpdump -ni clat-wlan0 -c 1": Way(beside=_PINGS, shows="198.51.100.10 > 192.0.0."),
    "tcpdump -ni wlan0 -c 1 'net 64:ff9b::/96'": Way(beside=_PINGS, shows="64:ff9b::c633:640a"),
    "sysctl -w net.ipv4.ip_forward=1": Way(after="sysctl -w net.ipv4.ip_forward=0"),
}

_GUESTS = "the lab has no systemd as process 1; tests/machines/systemd_service.py does it in whole machines"
_JOURNAL = "the lab has no journal; tests/e2e/test_journald.py has one"
_MAKE = "it would run this very test, or take minutes; its target exists (tests/unit/test_docs.py), "
_TEST = _MAKE + "and it is how all of this is run: Makefile"
_INSTALL = "it changes the machine; tests/unit/test_packaging.py installs below another root, and"
_RELEASE = "it takes minutes; tests/packaging has what it calls:"
_OWN_CLAT = "it takes NetworkManager 1.58; tests/e2e/native/test_toggle_native_clat.py does it with one"
_OPTION_108 = "it takes NetworkManager 1.52; tests/e2e/native/test_snippets_option_108.py does it with one"
_USERS = "the lab has no systemd of a user's; tests/machines/jobs/desktop.py does it in whole machines"

NOT_RUN: Mapping[str, str] = {
    "make demo": _TEST,
    "make test": _TEST,
    "make help": _TEST,
    "make test ARGS='tests/unit/policy -x'": _TEST,
    "make test-machines": _TEST,
    "make test-packages": _TEST,
    "make test-nm-matrix": _TEST,
    "make test-networkd-matrix": _TEST,
    "make test-clatd": _TEST,
    "make test-versions": _TEST,
    "make lint": _TEST,
    "make format": _TEST,
    "make lab": _TEST,
    "make bench": _TEST,
    "make fuzz": _TEST,
    "make install": f"{_INSTALL} tests/machines/systemd_place.py the whole",
    "make dist": f"{_RELEASE} test_dist.py",
    "make rpms": f"{_RELEASE} test_rpm.py",
    "make packages": f"{_RELEASE} test_rpm.py and test_deb_build.py",
    "dnf install ./dist/clatnm-*.noarch.rpm": "there is no dnf here; tests/packaging/test_rpm.py has rpm install it",
    "systemctl enable --now clatnm": _GUESTS,
    "journalctl -u clatnm": _GUESTS,
    "journalctl -x -u clatnm": _JOURNAL,
    "journalctl MESSAGE_ID=249978b1fd0d43ea96451b720b1a1437 CLATNM_REASON=plat-unreachable": _JOURNAL,
    "journalctl -o json CLATNM_UPLINK=wlan0": _JOURNAL,
    "curl --unix-socket /run/clatnm/metrics.sock http://localhost/metrics": "it takes `metrics` in the configuration; "
    "tests/e2e/test_metrics.py has it there",
    "systemctl disable --now clatd": "there is no clatd here; tests/e2e/test_moving_from_clatd.py ends its stand-in",
    "ip -6 route add 2001:db8:77::/112 via 2001:db8:12:34::10": "for the network's router; "
    "tests/e2e/datapath/test_edge_relay.py has such a route on one",
    "firewall-cmd --permanent --zone=trusted --add-interface=clat-eth0": "it takes a firewalld that runs; "
    "tests/e2e/test_firewalld.py has one",
    "cp /usr/local/share/clatnm/clatnm-option-108.conf /etc/NetworkManager/conf.d/": _OPTION_108,
    "nmcli general reload conf": _OPTION_108,
    "systemctl --user enable --now clatnm-notify": _USERS,
    "journalctl --user -u clatnm-notify": _USERS,
    "cp /usr/local/share/clatnm/clatnm-notify.desktop ~/.config/autostart/": "it begins with the next session; "
    "tests/unit/desktop/test_desktop_files.py runs what the file runs",
    "nmcli connection modify CONNECTION ipv4.dhcp-ipv6-only-preferred yes": _OPTION_108,
    "nmcli connection modify Home ipv4.clat no +ipv6.dns-options clatnm:1": _OWN_CLAT,
}
