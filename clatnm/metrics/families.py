# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon's status as a page of metrics: OpenMetrics 1.0, or the older text format of Prometheus. Pure.

Only counters and gauges are used. OpenMetrics has types of its own for information and for states, but a reader of the
older format, as node_exporter's textfile collector is, refuses a whole file because of one of them. So they are gauges:
1 where it is so, else 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from clatnm.compat import StrEnum
from clatnm.model import Mode, RunState
from clatnm.printable import printable

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
STATES = ("off", *map(str, RunState), "draining")
DIRECTIONS = ("ipv4_to_ipv6", "ipv6_to_ipv4")
# More than any counter of ours can hold; what is larger was made up.
_MOST = 1 << 64


class _Kind(StrEnum):
    GAUGE = "gauge"
    COUNTER = "counter"


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Metrics of one name. OpenMetrics names a counter's family without the `_total` that its samples have."""

    name: str
    help: str
    kind: _Kind = _Kind.GAUGE
    unit: str = ""
    labels: tuple[str, ...] = ()
    """Besides `interface`, `uuid` and, where asked for, `name`, if `of_connection`."""
    of_connection: bool = True

    @property
    def sample(self) -> str:
        """The name of its samples."""
        return f"{self.name}_total" if self.kind is _Kind.COUNTER else self.name


def _common(name: str, text: str, labels: tuple[str, ...] = (), kind: _Kind = _Kind.GAUGE) -> Family:
    return Family(name=f"clatnm_{name}", help=text, labels=labels, kind=kind, of_connection=False)


def _gauge(name: str, text: str, labels: tuple[str, ...] = (), unit: str = "") -> Family:
    return Family(name=f"clatnm_{name}", help=text, labels=labels, unit=unit)


def _counter(name: str, text: str, labels: tuple[str, ...] = (), unit: str = "") -> Family:
    return Family(name=f"clatnm_{name}", help=text, labels=labels, unit=unit, kind=_Kind.COUNTER)


UP = _common("up", "Whether the clatnm daemon runs.")
BUILD = _common("build_info", "The version of the daemon.", ("version",))
DEFAULT_MODE = _common("default_mode", "The mode of connections that have none of their own.", ("mode",))
CONNECTIONS = _common("connections", "Active connections and static translators, by state.", ("kind", "state"))
ADVERTS = _common(
    "router_advertisements",
    "Router Advertisements since the daemon began: well-formed ones, and malformed ones.",
    ("result",),
    _Kind.COUNTER,
)
INFO = _gauge("connection_info", "A connection or static translator, and whose it is.", ("kind", "manager", "mode"))
STATE = _gauge("connection_state", "Which state its translator is in.", ("state",))
REASON = _gauge("connection_reason", "Why it has no CLAT; absent where it has one.", ("reason",))
PREFIX = _gauge("prefix_info", "Its NAT64 prefix, and where that is known from.", ("prefix", "source"))
LIFETIME = _gauge("prefix_lifetime_seconds", "How long its NAT64 prefix remains valid.", unit="seconds")
TRANSLATOR = _gauge("translator_info", "Its translator.", ("device", "backend", "prefix", "shared"))
START = _gauge("translator_start_seconds", "How long its translator took to come up.", unit="seconds")
MTU = _gauge("mtu_bytes", "The longest packet, in IPv4 and in IPv6.", ("family",), unit="bytes")
MAPPINGS = _gauge("relay_mappings", "Explicit address mappings of an Edge Relay.")
FAILING = _gauge("failures_in_a_row", "How often its translator has failed since it last worked.")
STARTS = _counter("translator_starts", "Translators that came up for it since the daemon began.")
FAILURES = _counter("translator_failures", "Translators of it that failed since the daemon began.")
PACKETS = _counter("packets", "Translated packets, by the protocol in them.", ("direction", "protocol"))
BYTES = _counter("bytes", "Translated bytes, as they came.", ("direction", "protocol"), unit="bytes")
PATHS = _counter("path_packets", "Packets by the way they took: as usual, or the slow one.", ("direction", "path"))
DROPS = _counter("dropped_packets", "Packets that were not translated.", ("direction", "reason"))
ANSWERS = _counter("icmp_errors_sent", "ICMP errors sent back because of a packet.", ("direction",))
HELD = _counter("held_fragments", "Fragments kept to be put together.", ("direction",))
TIMEOUTS = _counter("reassembly_timeouts", "Datagrams of which some fragments never came.")
NEIGHBOURS = _counter("neighbour_messages", "Neighbour discovery for the CLAT address.", ("way",))

FAMILIES = (
    *(UP, BUILD, DEFAULT_MODE, CONNECTIONS, ADVERTS, INFO, STATE, REASON, PREFIX, LIFETIME, TRANSLATOR, START, MTU),
    *(MAPPINGS, FAILING, STARTS, FAILURES, PACKETS, BYTES, PATHS, DROPS, ANSWERS, HELD, TIMEOUTS, NEIGHBOURS),
)

_Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _Page:
    samples: dict[str, dict[_Labels, int | float]] = field(default_factory=dict)

    def put(self, family: Family, value: Any, base: _Labels, *labels: Any) -> None:
        """One sample; nothing where there is no such number. The same labels twice are one sample, the first."""
        number = _number(value)
        if number is None or (number < 0 and family.kind is _Kind.COUNTER):
            return
        own = tuple(zip(family.labels, map(_word, labels), strict=True))
        self.samples.setdefault(family.name, {}).setdefault((*base, *own), number)


def as_text(told: Mapping[str, Any], *, names: bool = False, classic: bool = False) -> str:
    """The page, from what `clatnm status --json` holds. What is missing in it, or odd, is left out.

    `names`: connections have their names as a label, which are mostly those of Wi-Fi networks. `classic`: in the format
    that Prometheus had before. ValueError: this is no status.
    """
    if not isinstance(told, dict) or not isinstance(told.get("connections"), list):
        raise ValueError("no connections are told")
    page = _Page()
    page.put(UP, 1, ())
    if "version" in told:
        page.put(BUILD, 1, (), told["version"])
    for mode in Mode:
        page.put(DEFAULT_MODE, int(told.get("default_mode") == mode), (), mode)
    adverts = _mapping(told, "router_advertisements")
    for result in ("heard", "dropped"):
        page.put(ADVERTS, adverts.get(result), (), result)
    for kind, key in (("connection", "connections"), ("static", "static")):
        listed = [item for item in _list(told, key) if isinstance(item, dict)]
        for state in STATES:
            page.put(CONNECTIONS, sum(item.get("state") == state for item in listed), (), kind, state)
        for item in listed:
            _connection(page, item, kind, names=names)
    return _rendered(page, classic=classic)


def absent(*, classic: bool = False) -> str:
    """The page where no daemon runs."""
    page = _Page()
    page.put(UP, 0, ())
    return _rendered(page, classic=classic)


def _connection(page: _Page, told: Mapping[str, Any], kind: str, *, names: bool) -> None:
    which = ("interface", "uuid", "name") if names else ("interface", "uuid")
    base = tuple((key, _word(told.get(key))) for key in which)
    page.put(INFO, 1, base, kind, told.get("manager"), told.get("mode"))
    state = _word(told.get("state"))
    for each in dict.fromkeys((*STATES, state)):
        page.put(STATE, int(each == state), base, each)
    if told.get("reason") is not None:
        page.put(REASON, 1, base, told["reason"])
    page.put(FAILING, told.get("failures"), base)
    totals = _mapping(told, "totals")
    page.put(STARTS, totals.get("starts"), base)
    page.put(FAILURES, totals.get("failures"), base)
    prefix = _mapping(told, "prefix")
    if prefix:
        page.put(PREFIX, 1, base, prefix.get("prefix"), prefix.get("source"))
        page.put(LIFETIME, prefix.get("lifetime_s"), base)
    translator = _mapping(told, "translator")
    if translator:
        _translator(page, translator, base)


def _translator(page: _Page, told: Mapping[str, Any], base: _Labels) -> None:
    shared = "yes" if told.get("shared") is True else "no"
    page.put(TRANSLATOR, 1, base, told.get("device"), told.get("backend"), told.get("prefix"), shared)
    milliseconds = _number(told.get("start_ms"))
    page.put(START, None if milliseconds is None else milliseconds / 1000, base)
    for family in ("ipv4", "ipv6"):
        page.put(MTU, told.get(f"{family}_mtu_bytes"), base, family)
    page.put(MAPPINGS, _mapping(told, "relay").get("mappings"), base)
    counters = _mapping(told, "counters")
    for direction in DIRECTIONS:
        _flow(page, _mapping(counters, direction), base, direction)
    page.put(TIMEOUTS, counters.get("reassembly_timeouts"), base)
    for way, number in _mapping(counters, "neighbour").items():
        page.put(NEIGHBOURS, number, base, way)


def _flow(page: _Page, flow: Mapping[str, Any], base: _Labels, direction: str) -> None:
    protocols = _mapping(flow, "protocols")
    for protocol in protocols:
        row = _mapping(protocols, protocol)
        page.put(PACKETS, row.get("packets"), base, direction, protocol)
        page.put(BYTES, row.get("bytes"), base, direction, protocol)
    for path in ("fast", "slow"):
        page.put(PATHS, flow.get(path), base, direction, path)
    for reason, number in _mapping(flow, "drops").items():
        page.put(DROPS, number, base, direction, reason)
    page.put(ANSWERS, flow.get("replies"), base, direction)
    page.put(HELD, flow.get("held"), base, direction)


def _rendered(page: _Page, *, classic: bool) -> str:
    blocks = [_block(family, page.samples[family.name], classic) for family in FAMILIES if family.name in page.samples]
    lines = [line for block in blocks for line in block]
    return "\n".join(lines if classic else [*lines, "# EOF"]) + "\n"


def _block(family: Family, samples: Mapping[_Labels, int | float], classic: bool) -> Iterator[str]:
    name = family.sample if classic else family.name
    yield f"# HELP {name} {family.help}"
    yield f"# TYPE {name} {family.kind}"
    if family.unit and not classic:
        yield f"# UNIT {name} {family.unit}"
    for labels, value in samples.items():
        yield f"{family.sample}{_labels(labels)} {value}"


def _labels(labels: Iterable[tuple[str, str]]) -> str:
    told = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)
    return f"{{{told}}}" if told else ""


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


# What an answer of another version may lack, or have in another form


def _typed(kind: type) -> Callable[[Mapping[str, Any], str], Any]:
    return lambda told, key: found if isinstance(found := told.get(key), kind) else kind()


_mapping, _list = _typed(dict), _typed(list)


def _word(value: Any) -> str:
    """A label's value: on one line, and what can be written in UTF-8."""
    return printable("" if value is None else str(value))


def _number(value: Any) -> int | float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(_bounded(value)):
        return None
    return value


def _bounded(value: float) -> float:
    return math.inf if isinstance(value, int) and abs(value) > _MOST else value
