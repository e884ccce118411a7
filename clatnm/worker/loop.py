# SPDX-License-Identifier: GPL-2.0-or-later
"""The translator's one loop: descriptors with packets, one with orders, and the few deadlines there are."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv6Address
from typing import Any, Final

from clatnm.clock import boottime
from clatnm.errors import ConfigError
from clatnm.worker import wire
from clatnm.worker.counters import Counters
from clatnm.worker.forward import Forwarder
from clatnm.worker.hooked import HookedForwarder
from clatnm.worker.link import EthernetLink, Link, PlainLink
from clatnm.worker.port import UplinkPort, tun_port
from clatnm.worker.relay import RelayForwarder, relay_port
from clatnm.worker.survival import Survival
from clatnm.worker.wire import WorkerConfig

_LOOK_AGAIN_S: Final = 1.0  # how often to ask whether an uplink that is down still exists


class Worker:
    """Translates by `config` between a TUN descriptor and an uplink socket until told to stop.

    `control` leads to the supervisor; None while there is none.
    `relay`: the socket to another program that does the translation. `held` are descriptors merely to be kept open.
    All belong to the worker from now on.
    """

    def __init__(
        self,
        control: socket.socket,
        config: WorkerConfig,
        *,
        tun_fd: int,
        uplink: socket.socket,
        relay: socket.socket | None = None,
        held: Iterable[int] = (),
    ) -> None:
        os.set_blocking(tun_fd, False)
        uplink.setblocking(False)
        self.control: socket.socket | None = control
        self._config = config
        self._relay = relay
        self._given = (uplink.fileno(), *held)
        self._survival = Survival()
        self._conflict = ""
        self._over = False
        self._counters = Counters()
        self._uplink = UplinkPort(uplink, config.uplink)
        self._link: Link
        if config.link_address is None:
            self._link = PlainLink(self._uplink, self._counters)
        else:
            self._link = EthernetLink(self._uplink, self._counters, on_conflict=self._tell_conflict)
        self._forwarder: Forwarder | HookedForwarder | RelayForwarder
        self._ready: dict[int, Callable[[], None]] = {}
        tun = tun_port(tun_fd)
        if relay is not None:
            relay.setblocking(False)
            self._forwarder = forwarder = RelayForwarder(
                config,
                tun=tun,
                uplink=self._uplink,
                relay=relay_port(relay),
                link=self._link,
                counters=self._counters,
            )
            self._ready[relay.fileno()] = forwarder.from_relay
        else:
            kind = HookedForwarder if config.hooked else Forwarder
            self._forwarder = kind(config, tun=tun, uplink=self._uplink, link=self._link, counters=self._counters)
        self._look_at: float | None = None
        self._ready |= {tun_fd: self._forwarder.from_tun, uplink.fileno(): self._forwarder.from_uplink}
        self._ready[control.fileno()] = self._obey
        self._poll = select.epoll()
        for fd in self._ready:
            self._poll.register(fd, select.EPOLLIN)

    def run(self) -> None:
        """Until the supervisor says stop, or is gone and no successor comes in time.

        HostError when a device is gone, ConfigError for a wrong order.
        """
        self._tell("ready")
        self._link.reconfigure(self._config, boottime())
        handlers, poll = self._ready, self._poll.poll
        while not self._over:
            for fd, _ in poll(self._keep_time()):
                handler = handlers.get(fd)  # one before it may have closed this one
                if handler is not None:
                    handler()

    def _keep_time(self) -> float | None:
        """Do whatever is due; seconds to the next deadline, None when there is none: an idle translator sleeps."""
        now = boottime()
        self._over = self._over or self._survival.over(now)
        if self._over:
            return 0.0
        due = (self._link_due(now), self._forwarder_due(now), self._uplink_due(now), self._survival.until)
        at = min((at for at in due if at is not None), default=None)
        return None if at is None else max(0.0, at - now)

    def _link_due(self, now: float) -> float | None:
        used = self._forwarder.used
        at = self._link.deadline(now, used=used)
        if at is None or at > now:
            return at
        self._link.tick(now, used=used)
        self._forwarder.used = False
        return self._link.deadline(now, used=False)

    def _forwarder_due(self, now: float) -> float | None:
        at = self._forwarder.deadline()
        if at is None or at > now:
            return at
        self._forwarder.expire(now)
        return self._forwarder.deadline()

    def _uplink_due(self, now: float) -> float | None:
        if not self._uplink.down:
            self._look_at = None
        elif self._look_at is None or self._look_at <= now:
            self._uplink.look_again()
            self._look_at = now + _LOOK_AGAIN_S
        return self._look_at

    def _obey(self) -> None:
        """Follow one order, or learn that nobody gives any more."""
        assert self.control is not None
        try:
            data, descriptors, _ = wire.receive(self.control)
        except ConnectionError:
            data, descriptors = b"", []
        if not data:
            self._close(self.control)
            self.control = None
            self._survival.alone(boottime())
            self._over = self._survival.over(boottime())
            return
        op, fields = wire.decode(data)
        if op == "stop":
            self._over = True
        elif op == "counters":
            self._tell("counters", **self._counters.snapshot())
        elif op == "update":
            self._update(wire.read_config(fields, descriptors, known=self._config.mappings))
        elif op == "keep":
            self._keep(fields, descriptors)
        else:
            raise ConfigError(f"control message: unknown operation {op!r}")

    def _keep(self, fields: Mapping[str, Any], descriptors: list[int]) -> None:
        it = self._survival
        for sock in (it.door, it.alarm):
            if sock is not None:
                self._forget(sock)
        it.keep(fields, descriptors)
        assert it.door is not None
        self._hear(it.door, self._at_the_door)
        if it.alarm is not None:
            self._hear(it.alarm, it.listen)

    def _at_the_door(self) -> None:
        """Somebody wants to take this worker over; who has it now comes first, and whatever he has said already."""
        while self.control is not None and not self._over and _has_news(self.control):
            self._obey()
        busy = self.control is not None or self._over or self._relay is not None
        successor = self._survival.answer(self._given, busy=busy)
        if successor is None:
            return
        self.control = successor
        self._hear(successor, self._obey)
        if self._conflict:
            self._tell("conflict", address=self._conflict)

    def _hear(self, sock: socket.socket, handler: Callable[[], None]) -> None:
        self._ready[sock.fileno()] = handler
        self._poll.register(sock.fileno(), select.EPOLLIN)

    def _forget(self, sock: socket.socket) -> None:
        del self._ready[sock.fileno()]
        self._poll.unregister(sock.fileno())

    def _close(self, sock: socket.socket) -> None:
        self._forget(sock)
        sock.close()

    def _update(self, config: WorkerConfig) -> None:
        if (config.link_address is None) != (self._config.link_address is None):
            raise ConfigError("config: an uplink does not change between Ethernet and none", hint="start a new worker")
        if config.clat_v6 != self._config.clat_v6:
            self._conflict = ""
        self._config = config
        self._forwarder.reconfigure(config)
        self._link.reconfigure(config, boottime())

    def _tell_conflict(self, address: IPv6Address) -> None:
        self._conflict = str(address)  # for a successor as well
        self._tell("conflict", address=self._conflict)

    def _tell(self, op: str, **fields: object) -> None:
        """To the supervisor, unless it is gone (the loop will see) or reads nothing (then it misses this)."""
        try:
            if self.control is not None:
                self.control.send(wire.encode(op, **fields), socket.MSG_DONTWAIT)
        except OSError:
            pass


def _has_news(control: socket.socket) -> bool:
    poll = select.poll()
    poll.register(control, select.POLLIN)
    return bool(poll.poll(0))
