# SPDX-License-Identifier: GPL-2.0-or-later
"""Plain interfaces of the kernel as uplinks: those that `interfaces` names and no network manager manages.

Whoever configures them (ifupdown, dhcpcd, a container's runtime, the kernel itself) tells nobody, and need not: their
addresses and routes are in the kernel, their routers are heard on our own socket, and so are the resolvers they tell.
"""

from __future__ import annotations

import asyncio
import logging
import stat
from collections.abc import Callable, Collection, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from clatnm.config import is_named
from clatnm.dbus.bus import Bus
from clatnm.errors import HostError
from clatnm.facts import TUNNEL_KINDS
from clatnm.kernel.inotify import DirectoryWatch
from clatnm.model import DEVICE_PREFIX, Link, Uplink

log = logging.getLogger(__name__)

NOBODY = "nobody"
RESOLV_CONF = Path("/etc/resolv.conf")
_LOOPBACK = "lo"
_MAX_BYTES = 1 << 16

Resolvers = tuple[IPv4Address | IPv6Address, ...]


class Plain:
    """A `uplinks.Manager`, of what the others leave. It needs no bus; `changed` is called when to look again."""

    name = NOBODY

    def __init__(self, *, changed: Callable[[], None], resolv_conf: Path = RESOLV_CONF) -> None:
        self._changed = changed
        self._resolv_conf = resolv_conf
        self._watch: DirectoryWatch | None = None
        self._interfaces: tuple[str, ...] = ()
        self._resolvers: Resolvers = ()
        self._read: tuple[int, int, int] | None = None
        self._in_file: Resolvers = ()

    async def attach(self, bus: Bus, changed: Callable[[], None]) -> None:
        """There is nobody to follow: the kernel's links are given to `follow`."""

    def managed(self) -> Collection[str]:
        """Nothing of what is followed here has a manager."""
        return ()

    def follow(self, patterns: Sequence[str], links: Mapping[str, Link], managed: Collection[str] | None) -> None:
        """Keep up with the links. `managed`: interfaces that are somebody's; None while that is not known."""
        if managed is None:  # an interface that is followed already stays so, until it is known to be somebody's
            self._interfaces = tuple(name for name in self._interfaces if name in links and is_named(name, patterns))
            return
        self._interfaces = tuple(
            name for name in sorted(links) if name not in managed and _is_meant(links[name], patterns)
        )
        # Which of several links its resolvers belong to, the file does not say; a VPN's may be among them.
        alone = not managed and not any(_is_tunnel(link) for link in links.values())
        if alone and len(self._interfaces) == 1:
            self._watch_resolv_conf()
            self._resolvers = self._told()
        else:
            self.close()
            self._resolvers = ()

    def uplinks(self) -> tuple[Uplink, ...]:
        """One for each interface. It is its own connection: its name stands where others have a UUID."""
        return tuple(
            Uplink(interface=name, uuid=name, name=name, manager=NOBODY, resolvers=self._resolvers)
            for name in self._interfaces
        )

    def close(self) -> None:
        """Stop looking at resolv.conf."""
        if self._watch is not None:
            asyncio.get_running_loop().remove_reader(self._watch.fileno())
            self._watch.close()
            self._watch = None

    def _watch_resolv_conf(self) -> None:
        """Before it is read, so that nothing is missed. Mostly it is a link into another directory."""
        try:
            if self._watch is None:
                self._watch = DirectoryWatch()
                asyncio.get_running_loop().add_reader(self._watch.fileno(), self._on_files)
            self._watch.add({self._resolv_conf.parent, self._resolv_conf.resolve().parent})
        except (HostError, OSError, RuntimeError) as error:
            log.debug("%s; another resolv.conf is noticed with the next other change", error)

    def _on_files(self) -> None:
        assert self._watch is not None
        self._watch.drain()
        before = self._in_file
        if self._told() != before:
            self._changed()

    def _told(self) -> Resolvers:
        """The resolvers in resolv.conf; read again when it is another file than before."""
        try:
            info = self._resolv_conf.stat()
            version = (info.st_ino, info.st_size, info.st_mtime_ns)
            if version != self._read:
                # A pipe would never end.
                regular = stat.S_ISREG(info.st_mode) and info.st_size <= _MAX_BYTES
                self._in_file = _resolvers(self._resolv_conf.read_bytes().decode(errors="replace")) if regular else ()
                self._read = version
        except (OSError, RuntimeError) as error:  # the latter: links in a circle
            log.debug("%s: %s", self._resolv_conf, error)
            self._in_file, self._read = (), None
        return self._in_file


def _is_meant(link: Link, patterns: Sequence[str]) -> bool:
    """A pattern means no tunnel: whoever wants one followed has to name it."""
    if link.name == _LOOPBACK or link.name.startswith(DEVICE_PREFIX):
        return False
    return link.name in patterns or (not _is_tunnel(link) and is_named(link.name, patterns))


def _is_tunnel(link: Link) -> bool:
    return link.kind in TUNNEL_KINDS and not link.name.startswith(DEVICE_PREFIX)


def _resolvers(text: str) -> Resolvers:
    """The `nameserver` lines of resolv.conf(5), but for those on this host: who they ask, nobody knows."""
    found: dict[IPv4Address | IPv6Address, None] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            try:
                address = ip_address(words[1].partition("%")[0])
            except ValueError:
                continue
            if not (address.is_loopback or address.is_unspecified or address.is_multicast):
                found[address] = None
    return tuple(found)
