"""What the project aims at, beside what the parts have measured: a table of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.bench.prober import Waits
from tests.bench.tables import markdown, times

Rows = dict[str, list[Any]]

COLUMNS = "with 10,000 links | measured | by | reached"
SIZE = 10_000
PARTS = ("http", "scrape", "loaded", "midnight", "reload", "polling", "memory", "storage")


@dataclass(frozen=True)
class Aim:
    """An aim, what was measured and by which parts, and whether that reaches it."""

    aim: str
    measured: str
    by: str
    reached: bool


def table(rows: Rows) -> str:
    """The aims as Markdown; nothing where not all has been measured that they speak of."""
    if any(SIZE not in {row.links for row in rows.get(part, [])} for part in PARTS):
        return ""
    return markdown(COLUMNS, [[a.aim, a.measured, a.by, "yes" if a.reached else "no"] for a in _aims(rows)])


def _aims(rows: Rows) -> Iterator[Aim]:
    plain, gzipped = (row for row in rows["http"] if row.links == SIZE)
    yield from _scrapes(plain, gzipped)
    yield from _stalls([row for row in rows["loaded"] if row.links == SIZE], _at(rows, "midnight"))
    yield _reload([row.waits for row in rows["reload"] if row.links == SIZE])
    polling, memory = _at(rows, "polling"), _at(rows, "memory")
    share = polling.ours.polls / polling.ceiling
    yield Aim("99 % of the polling ceiling", f"{share:.1%}", "`polling`", share >= 0.99)
    kilobytes = (memory.polled - memory.base[1]) / SIZE * 1000
    yield Aim("3 kB of memory a link over the base", f"{kilobytes:.1f} kB", "`memory`", kilobytes <= 3)
    if all(max(row.links for row in rows[part]) > SIZE for part, _ in COSTS.values()):
        yield _growth(rows)


def _at(rows: Rows, part: str) -> Any:
    return next(row for row in rows[part] if row.links == SIZE)


def _scrapes(plain: Any, gzipped: Any) -> Iterator[Aim]:
    faster = plain.objects / plain.ours, gzipped.objects / gzipped.ours
    told = f"{times(faster[0])} times plain, {times(faster[1])} gzipped"
    yield Aim(
        "a scrape 100 times as fast as `generate_latest` over objects", told, "`http`", min(faster) >= 100
    )
    if plain.nginx is not None:
        slower = plain.ours / plain.nginx, gzipped.ours / gzipped.nginx
        told = f"{slower[0]:.1f} times plain, {slower[1]:.1f} gzipped"
        yield Aim("within 3 times nginx sending the same bytes", told, "`http`", max(slower) <= 3)
    adds = gzipped.ours - plain.ours
    yield Aim("gzip adds less than 10 ms", f"{adds:+.1f} ms", "`http`", adds < 10)


def _stalls(loaded: list[Any], midnight: Any) -> Iterator[Aim]:
    longest, p99, idle = (
        max(getattr(row.waits, name) for row in loaded) for name in ("longest", "p99", "idle_longest")
    )
    told = f"longest {longest:.1f} ms, 99th percentile {p99:.1f} ms; an idle process {idle:.1f} ms"
    yield Aim("stalls under 10 ms, polling at full rate and scraped", told, "`loaded`", longest < 10)
    worst = max(midnight.midnight, midnight.month_end, midnight.set_back, midnight.stale)
    told = f"{worst:.1f} ms of CPU"
    yield Aim("the same when all links' figures are withdrawn", told, "`midnight`", worst < 10)


def _reload(waits: list[Waits]) -> Aim:
    longest, idle = max(wait.longest for wait in waits), max(wait.idle_longest for wait in waits)
    told = f"longest {longest:.1f} ms; an idle process {idle:.1f} ms"
    return Aim("the same when the configuration is loaded again", told, "`reload`", longest < 10)


COSTS: dict[str, tuple[str, Callable[[Any], float]]] = {
    "a change": ("scrape", lambda row: row.changing),
    "a page": ("scrape", lambda row: row.ours),
    "a restore": ("storage", lambda row: row.restore),
    "a start": ("storage", lambda row: row.start),
    "memory": ("memory", lambda row: row.polled - row.base[1]),
}
"""What is paid for all links together."""


def _growth(rows: Rows) -> Aim:
    """How much more a link costs among the most links that were measured; a quarter may be noise."""
    found = {}
    for cost, (part, value) in COSTS.items():
        values = {row.links: value(row) for row in rows[part]}
        most = max(values)
        found[cost] = values[most] / values[SIZE] / (most / SIZE)
    worst = max(found, key=lambda cost: found[cost])
    told = f"at most {found[worst]:.1f} times as much for a link, with the most links ({worst})"
    return Aim(
        "no cost that grows faster than the links", told, "`scrape`, `storage`, `memory`", found[worst] < 1.25
    )
