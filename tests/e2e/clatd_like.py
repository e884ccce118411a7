# SPDX-License-Identifier: GPL-2.0-or-later
"""What clatd makes of a host: TAYGA on a TUN device `clat`, addresses, routes, proxied neighbour discovery, forwarding.

Debian has no package of clatd that could run here, and what it does is this much. The IPv4 that it gives does work.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.lab.host import Host
from tests.lab.poll import eventually

DEVICE, METRIC = "clat", 2048
# TAYGA 0.9.2 refuses documentation addresses as the lab's behind 64:ff9b::/96; A translates this one, too.
PREFIX = "2001:db8:64::/96"
_CLAT_V4, _TAYGA_V4 = "192.0.0.1", "192.0.0.2"
_CLAT_V6, _TAYGA_V6 = "2001:db8:a::c1a7:d", "2001:db8:a::c1a7:e"
_CONF = f"""\
tun-device {DEVICE}
prefix {PREFIX}
ipv4-addr {_TAYGA_V4}
ipv6-addr {_TAYGA_V6}
map {_CLAT_V4} {_CLAT_V6}
"""


@contextmanager
def clatd(host: Host) -> Iterator[None]:
    """A host whose uplink is up0, in A, with another translator; all of it goes again."""
    conf = host.path("/run/clatd-like.conf")
    conf.write_text(_CONF)
    host.sysctl(ipv6__conf__all__forwarding=1, ipv6__conf__up0__proxy_ndp=1)
    host.run("tayga", "-c", "/run/clatd-like.conf", "--mktun")
    host.ip("-batch", "-", stdin=_UP)
    tayga = host.popen("tayga", "-c", "/run/clatd-like.conf", "-d", name="clatd")
    eventually(lambda: "LOWER_UP" in host.ip("link", "show", DEVICE), message="TAYGA has its device")
    try:
        yield
    finally:
        tayga.kill()
        host.run("tayga", "-c", "/run/clatd-like.conf", "--rmtun")
        host.ip("-6", "neigh", "del", "proxy", _CLAT_V6, "dev", "up0")
        host.sysctl(ipv6__conf__all__forwarding=0, ipv6__conf__up0__proxy_ndp=0)


_UP = f"""\
link set {DEVICE} up
route add {_CLAT_V6} dev {DEVICE}
neigh add proxy {_CLAT_V6} dev up0
addr add {_CLAT_V4}/32 dev {DEVICE}
route add default dev {DEVICE} metric {METRIC} mtu 1260
"""
