# SPDX-License-Identifier: GPL-2.0-or-later
"""The whole lab: up in a few seconds, reset in a fraction of one, gone without a trace."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from tests.lab import poll, topology
from tests.lab.host import Host
from tests.lab.namespace import PYTHON, Namespace
from tests.lab.poll import eventually
from tests.lab.requirements import LAB_TOOLS, missing
from tests.lab.router import DNSMASQ, Router
from tests.lab.session import LabError, Session

INET = str(Path(__file__).with_name("inet.py"))
NAMES = {
    "v4only.test": ["198.51.100.10"],
    "dual.test": ["198.51.100.10", "2001:db8:100::10"],
    "v6only.test": ["2001:db8:100::10"],
    "ipv4only.arpa": ["192.0.0.170", "192.0.0.171"],  # RFC 7050 8.2
}


class Lab:
    """Context manager: `with Lab() as lab: lab.host.run(...)`. See `topology` for who is who.

    `root`: the tree NetworkManager and dbus-daemon run from; another Debian release gives another NetworkManager.
    """

    host: Host
    switch: Namespace
    inet: Namespace
    a: Router
    b: Router
    c: Router

    def __init__(self, *, root: Path = Path("/")) -> None:
        self._root = root
        self._session: Session | None = None

    def __enter__(self) -> Lab:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def routers(self) -> tuple[Router, Router, Router]:
        return self.a, self.b, self.c

    @property
    def prefix(self) -> str:
        assert self._session
        return self._session.prefix

    @property
    def directory(self) -> Path:
        """State: logs in `log/`, removed with the lab."""
        assert self._session
        return self._session.directory

    def start(self) -> None:
        """Bring everything up: NetworkManager runs without profiles, up0 is plugged into A. LabError, or it is up."""
        reason = missing(LAB_TOOLS)
        if reason:
            raise LabError(f"the lab {reason}")
        self._session = Session.open()
        try:
            self._build(self._session)
        except BaseException:
            self.close()
            raise
        poll.diagnoses.append(self._short_report)

    def close(self) -> None:
        """Remove every process, namespace and file of the lab."""
        if self._short_report in poll.diagnoses:
            poll.diagnoses.remove(self._short_report)
        if self._session:
            with _uninterrupted():
                self._session.close()
            self._session = None

    def reset(self) -> None:
        """Everything back to the state `start` leaves."""
        for router in self.routers:
            router.reset()
        self.inet.stop_services()
        self.switch.stop_services()
        self.host.reset()

    def report(self, *, lines: int = 60) -> dict[str, str]:
        """What to read after a failure, by title."""
        host = self.host
        sections = {"NetworkManager": _tail(host.nm_log(), lines, without="<debug>")}
        for number, daemon in enumerate(host.daemons, start=1):
            sections[f"clatnm daemon {number}"] = _tail(daemon.log(), lines)
        for argv in (
            ("-d", "addr"),
            ("-4", "route", "show", "table", "all"),
            ("-6", "route"),
            ("rule",),
            ("-6", "rule"),
        ):
            sections[f"ip {' '.join(argv)}"] = host.ip(*argv)
        for router in self.routers:
            sections[f"adverts of {router.network.letter}"] = router.ra_log(lines=lines // 4)
        return sections

    def _short_report(self) -> str:
        return "\n".join(f"--- {title}\n{text.rstrip()}" for title, text in self.report(lines=25).items())

    def _build(self, session: Session) -> None:
        self.switch = Namespace("sw", session)
        self.inet = Namespace("inet", session)
        topology.connect_switch(self.switch)
        topology.connect_inet(self.inet)
        self.a, self.b, self.c = (Router(network, session) for network in topology.NETWORKS)
        for router in self.routers:
            topology.connect_router(router, router.network, self.switch, self.inet)
            router.start()
        serve_inet(self.inet)
        self.host = Host(session, switch=self.switch, root=self._root)
        self.host.start()
        for router in self.routers:
            router.wait_ready()
        eventually(lambda: "ready" in self.inet.log("inet"), message="the lab's internet serves")


def serve_inet(inet: Namespace) -> None:
    """Begin to be the internet, names included, until the session ends; its log says when it is ready."""
    serve = inet.enter()
    inet._spawn("inet", [*serve, PYTHON, "-I", INET])
    records = [f"--host-record={name},{address}" for name, addresses in NAMES.items() for address in addresses]
    listen = [f"--listen-address={topology.INET_V4}", f"--listen-address={topology.INET_V6}", "--bind-interfaces"]
    inet._spawn("names", [*serve, *DNSMASQ, *listen, "--local-ttl=5", "--local=/#/", *records])


def _tail(log: str, lines: int, *, without: str | None = None) -> str:
    kept = [line for line in log.splitlines(keepends=True) if without is None or without not in line]
    return "".join(kept[-lines:])


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """A second Ctrl-C must not leave half a lab behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
