# SPDX-License-Identifier: GPL-2.0-or-later
"""Images of Debian's userland without a kernel, cached: `image("trixie")`. A guest never writes to one."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.lab import trees
from tests.machines.needs import CACHE, MachineError

IMAGE = "root.ext4"
SIZE = "4G"  # of the sparse file
# Ends of the boot that every guest has: what a desktop has, and what tests bring up by themselves.
_PACKAGES = (
    *("systemd", "systemd-sysv", "systemd-resolved", "udev", "dbus", "kmod", "libpam-systemd", "polkitd", "passwd"),
    *("netbase", "procps", "iproute2", "iputils-ping", "nftables", "ethtool", "tcpdump", "strace", "curl", "iperf3"),
    *(
        "network-manager",
        "firewalld",
        "ppp",
        "libteam-utils",
        "apparmor",
        "wireguard-tools",
        "bpftool",
        "libglib2.0-bin",
    ),
    *("wpasupplicant", "hostapd", "iw", "wireless-regdb"),
    *("radvd", "dnsmasq-base", "unbound", "tayga"),
    *("python3", "python3-pyroute2", "python3-dbus-next", "python3-dnspython", "python3-jinja2", "python3-pytest"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe(trees.Recipe):
    """All that an image depends on. The libraries clatnm needs are the distribution's own: those are to be tested."""

    packages: tuple[str, ...] = _PACKAGES
    masked: tuple[str, ...] = (
        *("hostapd", "radvd", "unbound", "tayga", "apparmor", "e2scrub_reap"),
        *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer"),
        # A quarter of the boot: what a new or a changed root has done for it, and what nobody here looks at.
        *("ldconfig", "systemd-journal-catalog-update", "systemd-sysusers", "systemd-update-done"),
        *("systemd-binfmt", "proc-sys-fs-binfmt_misc.automount", "systemd-random-seed", "systemd-journal-flush"),
        *("dev-hugepages.mount", "dev-mqueue.mount", "run-lock.mount", "sys-kernel-debug.mount"),
        *("sys-fs-fuse-connections.mount", "sys-kernel-config.mount", "getty@tty1", "getty-static"),
        *(f"modprobe@{module}" for module in ("configfs", "drm", "efi_pstore", "fuse")),
        *("systemd-udev-load-credentials", "systemd-pstore", "systemd-initctl.socket"),
        *("systemd-creds.socket", "systemd-sysext.socket"),
    )
    """What Debian starts at boot and a test starts itself, and what would only cost time."""
    disabled: tuple[str, ...] = ("firewalld", "systemd-networkd")


RECIPES: Mapping[str, Recipe] = {suite: Recipe(suite=suite) for suite in ("bookworm", "trixie", "forky")}
"""systemd 252, 257 and at least 262; NetworkManager 1.42, 1.52 and at least 1.58; Python 3.11, 3.13, 3.14."""


def image(name: str) -> Path:
    """The image of one of RECIPES, made now if it has to be: half a minute. MachineError where it cannot be."""
    try:
        return trees.cached(RECIPES[name], CACHE / "roots", _make) / IMAGE
    except trees.TreeError as error:
        raise MachineError(str(error)) from error


def _make(recipe: trees.Recipe, place: Path) -> None:
    assert isinstance(recipe, Recipe)
    tree = place / "tree"
    tree.mkdir()
    try:
        trees.mmdebstrap(recipe, tree)
        _furnish(recipe, tree)
        target = place / IMAGE
        _run("truncate", "-s", SIZE, str(target))
        # No journal: a guest is never shut down in order, and never seen again.
        options = ("-q", "-F", "-O", "^has_journal", "-E", "lazy_itable_init=1", "-d", str(tree))
        _run("mkfs.ext4", *options, str(target))
    finally:
        shutil.rmtree(tree, ignore_errors=True)


def _furnish(recipe: Recipe, tree: Path) -> None:
    for name in recipe.dropped:
        shutil.rmtree(tree / name, ignore_errors=True)
    (tree / "etc/hostname").write_text("guest\n")
    (tree / "etc/fstab").write_text("")
    for name in ("usr/lib/modules", "job"):
        (tree / name).mkdir(exist_ok=True)
    masks = tree / "etc/systemd/system"
    for name in recipe.masked:
        unit = masks / (name if "." in name else f"{name}.service")
        unit.unlink(missing_ok=True)
        unit.symlink_to("/dev/null")
    for name in recipe.disabled:
        with contextlib.suppress(MachineError):  # a systemd without that unit
            _run("systemctl", f"--root={tree}", "disable", "--quiet", name)


def _run(*argv: str) -> None:
    try:
        subprocess.run(argv, check=True, text=True, capture_output=True, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError) as error:
        detail = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else str(error)
        raise MachineError(f"{argv[0]}: {detail}") from error
