# SPDX-License-Identifier: GPL-2.0-or-later
"""What is shown to others has no hosts in it, and still shows which is which."""

from __future__ import annotations

import errno
import io
import json
import os
import shlex
import socket
import tarfile
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clatnm.doctor import bundle, report
from clatnm.doctor.redact import Redactor
from clatnm.errors import HostError
from clatnm.printable import json_text, printable
from tests.unit.doctor.cases import a_running_world, a_subject, the_facts


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("from 192.168.1.77/24", "from 192.168.1.1/24"),
        ("net 192.168.1.0/24", "net 192.168.1.0/24"),
        ("clat 192.0.0.4, lo 127.0.0.1, 0.0.0.0/0", "clat 192.0.0.4, lo 127.0.0.1, 0.0.0.0/0"),
        ("2001:db8:a::5/64 on wlan0", "2001:db8:a:0:aaaa::1/64 on wlan0"),
        ("2001:db8:a::/64, ::1, ff02::1, ::/0", "2001:db8:a::/64, ::1, ff02::1, ::/0"),
        ("via fe80::1%wlan0", "via fe80::aaaa:0:0:1%wlan0"),
        ("64:ff9b::/96 and 64:ff9b::c633:640a", "64:ff9b::/96 and 64:ff9b::c633:6401"),
        ("link/ether 3C:22:FB:01:02:03 brd ff:ff:ff:ff:ff:ff", "link/ether 02:00:00:00:00:01 brd 02:00:00:00:00:02"),
        ("enx3c22fb010203: up", "enx020000000001: up"),
        ("bridge_id 8000.52:54:0:12:34:56", "bridge_id 8000.02:00:00:00:00:01"),
        (f"link/infiniband 80:00:02:08:{'fe:80:' * 2}{'00:' * 11}07", "link/infiniband 02:00:00:00:00:01"),
        (f'{{"link_address": "{"80" * 20}"}}', '{"link_address": "020000000001"}'),
        ("/home/alice/up.sh, /run/user/1000/bus", "/home/somebody/up.sh, /run/user/somebody/bus"),
        (
            "tun type tap pi off vnet_hdr on persist on user alice",
            "tun type tap pi off vnet_hdr on persist on user somebody",
        ),
        ("1:2:3:4:5:6:7:8 and 1::6", "1:2:3:4:aaaa::1 and 1::aaaa:0:0:2"),
        ('{"link_address":"3c22fb010203"}', '{"link_address":"020000000001"}'),
        ("at 14:02:20 version 1.2.3.4.5", "at 14:02:20 version 1.2.3.4.5"),
        ("bbcd7cc0-dfd2-4e95-8d38-c9bc4872809c", "00000000-0000-4000-8000-000000000001"),
    ],
)
def test_hosts_go_and_networks_stay(text: str, shown: str) -> None:
    assert Redactor().text(text) == shown


def test_names_of_networks_go_where_they_are_words() -> None:
    redactor = Redactor(names=("Cafe", "Cafe am Markt"), hosts=("lap",))
    shown = redactor.text('"name": "Cafe am Markt", “Cafe”, Cafeteria, lap, laptop')
    assert shown == '"name": "network-1", “network-2”, Cafeteria, this-host, laptop'


@pytest.mark.parametrize(
    "name",
    ["Café “Nord”", 'say "x"', "it's \\ here", "two\nlines\x1b[2J\x9b", "\u202eback", "日本", "half\udce9", "'quoted'"],
)
def test_name_goes_in_each_form_that_it_has(name: str) -> None:
    redactor = Redactor(names=(name,))
    for form in (name, printable(name)):
        assert redactor.text(f"eth0 “{form}”: up") == "eth0 “network-1”: up"
        told = {"command": f"clatnm set {shlex.quote(form)} no", "cause": f"“{form}” is it"}
        for text in (json_text(told), json.dumps(told, ensure_ascii=False)):
            shown = json.loads(redactor.text(text))
            assert shown["command"].replace("'", "") == "clatnm set network-1 no"
            assert shown["cause"] == "“network-1” is it"
        assert json.loads(redactor.text(json.dumps([form]))) == ["network-1"]


def test_prefix_of_a_nat64_stays_and_the_host_behind_it_goes() -> None:
    redactor = Redactor(prefixes=[IPv6Network("2001:db8:64::/96")])
    assert redactor.text("203.0.113.9 2001:db8:64::cb00:7109") == "203.0.113.1 2001:db8:64::cb00:7101"


@given(st.lists(st.ip_addresses(v=4), min_size=2, max_size=20, unique=True))
def test_hosts_of_ipv4_stay_apart_and_in_their_networks(addresses: list[IPv4Address]) -> None:
    redactor = Redactor()
    shown = {address: IPv4Address(redactor.text(str(address))) for address in addresses}
    assert len(set(shown.values())) == len(addresses) or any(str(a).endswith(".0") for a in addresses)
    assert all(int(one) >> 8 == int(other) >> 8 for one, other in shown.items())
    assert shown == {address: IPv4Address(redactor.text(str(address))) for address in addresses}


@given(st.lists(st.ip_addresses(v=6), min_size=2, max_size=20, unique=True))
def test_hosts_of_ipv6_keep_their_64_and_nothing_else(addresses: list[IPv6Address]) -> None:
    redactor = Redactor()
    for address in addresses:
        shown = IPv6Address(redactor.text(str(address)))
        assert int(shown) >> 64 == int(address) >> 64
        assert shown == IPv6Address(redactor.text(str(address)))


@given(st.text())
def test_any_text_is_taken(text: str) -> None:
    assert isinstance(Redactor(names=(text[:3],)).text(text), str)


def test_bundle_has_everything_and_no_secret(tmp_path: Path) -> None:
    world = a_running_world()
    facts = replace(the_facts(a_subject(world)), world=world, status=json.dumps({"connections": []}))
    (tmp_path / "clatnm.conf").write_text("[clatnm]\nfallback-prefix = 64:ff9b::/96\ndns64-servers = 2001:db8:a::53\n")
    path = tmp_path / "out.tar.gz"
    names = bundle.write(path, report.findings(facts), facts, config_dir=tmp_path, with_names=False)
    assert {"findings.json", "findings.txt", "status.json", "world.json", "versions.txt", "etc/clatnm.conf"} <= set(
        names
    )
    text = unpacked(path)
    for secret in ("Net of wlan0", "2001:db8:a::5", "2001:db8:a::53", world.uplinks[0].uuid, "020000000005"):
        assert secret not in text
    assert "network-1" in text
    assert path.stat().st_mode & 0o777 == 0o600
    bundle.write(path, report.findings(facts), facts, config_dir=tmp_path, with_names=True)
    assert "Net of wlan0" in unpacked(path)


def test_bundle_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    facts = the_facts(a_subject())
    with pytest.raises(HostError, match="No such file or directory"):
        bundle.write(tmp_path / "no" / "x", report.findings(facts), facts, config_dir=tmp_path, with_names=False)


@pytest.mark.parametrize("kind", ["directory", "pipe", "device"])
def test_what_is_no_file_stays_what_it_is(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/null")
    before = path.lstat()
    facts = the_facts(a_subject())
    with pytest.raises(HostError, match="not a regular file"):
        bundle.write(path, report.findings(facts), facts, config_dir=tmp_path, with_names=False)
    assert path.lstat() == before
    assert list(tmp_path.iterdir()) == [path]


def test_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("precious")
    path = tmp_path / "x"
    path.symlink_to("other")
    facts = the_facts(a_subject())
    bundle.write(path, report.findings(facts), facts, config_dir=tmp_path, with_names=False)
    assert (tmp_path / "other").read_text() == "precious"
    assert not path.is_symlink() and unpacked(path)


def test_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    facts = the_facts(a_subject())
    with pytest.raises(HostError, match="No space left on device"):
        bundle.write(tmp_path / "x", report.findings(facts), facts, config_dir=tmp_path, with_names=False)
    assert list(tmp_path.iterdir()) == []


def test_host_and_comments_are_nobody_elses_business(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "lap.example.org")
    written = "# for Alice\n[clatnm]\nmode = auto  ; as Bob said\nscript-up = /opt/lap/up#1\n"
    (tmp_path / "clatnm.conf").write_text(written)
    facts = the_facts(a_subject())
    bundle.write(tmp_path / "x", report.findings(facts), facts, config_dir=tmp_path, with_names=False)
    assert "\n[clatnm]\nmode = auto\nscript-up = /opt/this-host/up#1\n" in unpacked(tmp_path / "x")
    assert "Alice" not in unpacked(tmp_path / "x")


def unpacked(path: Path) -> str:
    with tarfile.open(fileobj=io.BytesIO(path.read_bytes()), mode="r:gz") as archive:
        members = [archive.extractfile(member) for member in archive.getmembers()]
        return "".join(member.read().decode() for member in members if member is not None)
