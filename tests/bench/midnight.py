"""What holds up everybody else at a scrape when many lines expire at once: at midnight, for one.

The clock is virtual, all else is real: the pages come over HTTP from this process. Time is what the event
loop's thread spends in one go, in CPU: other programs take no part in it.
"""

from __future__ import annotations

import asyncio
import gc
import http.client
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.bench.server import served
from tests.bench.tables import SIZES, Asked, markdown, say
from tests.bench.ways import Links, Ours
from tests.virtual import VirtualClock

COLUMNS = (
    "links | usual, ms | at midnight, ms | at the month's end, ms | clock set back an hour, ms"
    " | all stale, ms"
)
EVENING = 1_751_230_740.0
"""29 June 2025, 23:59 in Moscow."""
DAY = 86_400.0


@dataclass(frozen=True)
class Row:
    """The longest that the event loop does one thing during a scrape, in milliseconds."""

    links: int
    usual: float
    midnight: float
    month_end: float
    set_back: float
    stale: float


class _Ticker:
    """Notes how much CPU each turn of the event loop takes."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._last = time.thread_time()
        self._going = True
        self.longest = 0.0
        self._tick()

    def _tick(self) -> None:
        now = time.thread_time()
        self.longest = max(self.longest, now - self._last)
        self._last = now
        if self._going:
            self._loop.call_soon(self._tick)

    def stop(self) -> None:
        self._going = False


def measure(asked: Asked) -> Iterator[Row]:
    """A row for each number of links."""
    for size in asked.sizes or SIZES:
        say(f"{size} links through a midnight, a month's end, a clock set back and a pause")
        yield asyncio.run(_live_through(size))


async def _live_through(size: int) -> Row:
    clock = VirtualClock(EVENING)
    links = Links(size, clock)
    ours = Ours(links)
    gc.freeze()  # as after a load
    async with served(ours.scrape) as port:

        async def scrape(later: float = 0.0) -> float:
            clock.advance(later)
            with _ticking() as ticker:
                await asyncio.to_thread(_get, port)
            return ticker.longest * 1000

        async def read_all() -> None:
            ours.update([links.read(place, 8) for place in range(size)])
            await scrape()

        await scrape()
        ours.update(links.change())
        usual = await scrape()
        midnight = await scrape(120)
        clock.advance(DAY - 120)
        await read_all()
        month_end = await scrape(120)
        await read_all()
        clock.step(-3600)
        set_back = await scrape()
        stale = await scrape(DAY)
    return Row(size, usual, midnight, month_end, set_back, stale)


@contextmanager
def _ticking() -> Iterator[_Ticker]:
    ticker = _Ticker(asyncio.get_running_loop())
    try:
        yield ticker
    finally:
        ticker.stop()


def _get(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/metrics")
    assert connection.getresponse().read()
    connection.close()


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    return markdown(COLUMNS, map(_cells, rows))


def _cells(r: Row) -> list[str]:
    values = (r.usual, r.midnight, r.month_end, r.set_back, r.stale)
    return [f"{r.links}", *(f"{value:.1f}" for value in values)]
