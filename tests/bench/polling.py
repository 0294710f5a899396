"""How many polls a second the exporter makes of what there can be, and the CPU that each takes.

Nobody scrapes meanwhile: polls and time are read from the simulator and from Linux. Beside it a client that
does nothing but ask, in turns with the exporter, where there are links enough for it to ask without a pause.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import mean

from tests.bench.asking import CONCURRENCY, INTERVAL, LATENCY, Asking, ceiling
from tests.bench.tables import SIZES, Asked, figure, markdown, say
from tests.bench.target import CLIMB, polling, simulator

COLUMNS = (
    "links | ceiling, polls/s | polls/s | of the ceiling | a bare client's | of the bare client's"
    " | CPU per poll, µs | a bare client's | worst window | most in flight"
)
TURNS = 2


@dataclass(frozen=True)
class Rate:
    """Polls a second, and microseconds of CPU for each."""

    polls: float
    cpu: float


@dataclass(frozen=True)
class Row:
    """One size; no ``bare`` client where it would be refused."""

    links: int
    ceiling: float
    ours: Rate
    bare: Rate | None
    worst_window: int
    most_in_flight: int


def measure(asked: Asked) -> Iterator[Row]:
    """A row for each number of links. A link's interval passes in each turn, so that each is read in it."""
    for size in asked.sizes or SIZES:
        yield _compare(size, asked.seconds or INTERVAL)


def _compare(links: int, seconds: float) -> Row:
    fair = links / INTERVAL > CONCURRENCY / LATENCY
    ours: list[Rate] = []
    bare: list[Rate] = []
    worst = most = 0
    for turn in range(TURNS if fair else 1):
        say(f"{links} links, turn {turn + 1}: the exporter, {seconds:g} s")
        rate, window, in_flight = _ours(links, seconds)
        ours.append(rate)
        worst, most = max(worst, window), max(most, in_flight)
        if fair:
            say(f"{links} links, turn {turn + 1}: a bare client, {seconds:g} s")
            bare.append(_bare(links, seconds))
    return Row(links, ceiling(links), _mean(ours), _mean(bare) if bare else None, worst, most)


def _mean(rates: list[Rate]) -> Rate:
    return Rate(mean(rate.polls for rate in rates), mean(rate.cpu for rate in rates))


def _ours(links: int, seconds: float) -> tuple[Rate, int, int]:
    with polling(links) as target:
        time.sleep(min(CLIMB, seconds))
        polls, cpu, start = target.polls(), target.cpu(), time.monotonic()
        time.sleep(seconds)
        polls, cpu, seconds = target.polls() - polls, target.cpu() - cpu, time.monotonic() - start
        audit = target.audit()
    rate = Rate(polls / seconds, cpu / max(1, polls) * 1e6)
    return rate, audit["worst_window"], audit["most_in_flight"]


def _bare(links: int, seconds: float) -> Rate:
    with simulator(links) as provider:
        return asyncio.run(_ask(provider, links, seconds))


async def _ask(provider: str, links: int, seconds: float) -> Rate:
    asking = Asking(provider, links)
    task = asyncio.create_task(asking.forever())
    await asyncio.sleep(1)
    asked, cpu, start = asking.asked, time.process_time(), time.monotonic()
    await asyncio.sleep(seconds)
    asked, cpu, seconds = asking.asked - asked, time.process_time() - cpu, time.monotonic() - start
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return Rate(asked / seconds, cpu / max(1, asked) * 1e6)


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    return markdown(COLUMNS, map(_cells, rows))


def _cells(r: Row) -> list[str]:
    return [
        f"{r.links}",
        f"{r.ceiling:.1f}",
        f"{r.ours.polls:.1f}",
        f"{r.ours.polls / r.ceiling:.1%}",
        figure(r.bare.polls if r.bare else None, ".1f"),
        figure(r.ours.polls / r.bare.polls if r.bare else None, ".1%"),
        f"{r.ours.cpu:.0f}",
        figure(r.bare.cpu if r.bare else None, ".0f"),
        f"{r.worst_window}",
        f"{r.most_in_flight}",
    ]
