"""A flood of wrong passwords right after a start: who still gets in, and what becomes of scrapes and polls.

The wrong passwords come from ten addresses, a hundred a second, each a new one, so that none is remembered.
Scrapes are measured during the flood and, for as long, after it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

import aiohttp
import bcrypt

from exporter.simulator import Provider, Settings, numbered_links
from tests.bench.tables import Asked, markdown, say
from tests.processes import exporter
from tests.providers import provider
from tests.unit.webconfig.door import basic

COLUMNS = (
    "links | wrong passwords | refused (401) | turned away (503) | tries until the right one is let in"
    " | seconds until then | scrapes | median, ms | slowest, ms | after the flood: median, ms | slowest, ms"
    " | polls in the flood | polls after it"
)
SIZE = 100
SECONDS = 60.0
RATE = 100.0
ADDRESSES = tuple(f"127.0.0.{n}" for n in range(2, 12))
PASSWORD = "right"
PAUSE = 0.5


@dataclass(frozen=True)
class Row:
    """Times of scrapes are in milliseconds."""

    links: int
    wrong: int
    refused: int
    turned_away: int
    tries: int
    seconds: float
    scrapes: int
    middle: float
    slowest: float
    middle_after: float
    slowest_after: float
    polls: int
    polls_after: int


def measure(asked: Asked) -> Iterator[Row]:
    """A row for each number of links."""
    for size in asked.sizes or (SIZE,):
        seconds = asked.seconds or SECONDS
        say(f"{size} links: wrong passwords from {len(ADDRESSES)} addresses for {seconds:g} s")
        with tempfile.TemporaryDirectory() as folder:
            yield _flooded(Path(folder), size, seconds)


def _flooded(home: Path, size: int, seconds: float) -> Row:
    links = numbered_links(size)
    with provider(Settings(links=links)) as (simulated, url):
        named = {"links": [{"id": link.id} for link in links]}
        account = {"name": "main", "login": "demo", "password": "demo", "base_url": url, **named}
        (home / "config.yaml").write_text(json.dumps({"refresh_interval": "21s", "accounts": [account]}))
        hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(10)).decode()
        (home / "web.yaml").write_text(f"basic_auth_users: {{prometheus: {hashed}}}\n")
        flags = "--web.config.file=web.yaml", "--web.listen-address=127.0.0.1:0"
        with exporter(*flags, cwd=home, fresh=True) as running:
            address = running.expect(r"event=listening url=(\S+)")[1]
            row = asyncio.run(_observe(f"{address}/metrics", simulated, size, seconds))
            running.stop()
            return row


async def _observe(url: str, simulated: Provider, size: int, seconds: float) -> Row:
    statuses: Counter[int] = Counter()
    floods = [asyncio.create_task(_flood(url, address, statuses)) for address in ADDRESSES]
    await asyncio.sleep(1.0)  # all who may wait do
    start, before = perf_counter(), _polls(simulated)
    right = {"Authorization": basic("prometheus", PASSWORD)}
    async with aiohttp.ClientSession(headers=right) as session:
        tries = 1
        while (await _ask(session, url))[0] != 200:
            tries += 1
        let_in = perf_counter() - start
        during = await _scrape(session, url, seconds)
        for task in floods:
            task.cancel()
        await asyncio.gather(*floods, return_exceptions=True)
        polled = _polls(simulated)
        after = await _scrape(session, url, seconds)
    return Row(
        size,
        sum(statuses.values()),
        statuses[401],
        statuses[503],
        tries,
        let_in,
        len(during),
        median(during),
        max(during),
        median(after),
        max(after),
        polled - before,
        _polls(simulated) - polled,
    )


async def _scrape(session: aiohttp.ClientSession, url: str, seconds: float) -> list[float]:
    """What scrapes take (milliseconds), one after the other for so many seconds."""
    took: list[float] = []
    end = perf_counter() + seconds
    while not took or perf_counter() < end:
        status, milliseconds = await _ask(session, url)
        assert status == 200
        took.append(milliseconds)
        await asyncio.sleep(PAUSE)
    return took


async def _flood(url: str, address: str, statuses: Counter[int]) -> None:
    """Wrong passwords from one address, at its share of the rate, whether the former are answered or not."""
    connector = aiohttp.TCPConnector(local_addr=(address, 0), limit=0)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as guesses:
        for n in itertools.count():
            guesses.create_task(_guess(session, url, f"{address} {n}", statuses))
            await asyncio.sleep(len(ADDRESSES) / RATE)


async def _guess(session: aiohttp.ClientSession, url: str, password: str, statuses: Counter[int]) -> None:
    with suppress(aiohttp.ClientError):
        login = {"Authorization": basic("prometheus", password)}
        async with session.get(url, headers=login) as response:
            statuses[response.status] += 1


async def _ask(session: aiohttp.ClientSession, url: str) -> tuple[int, float]:
    start = perf_counter()
    async with session.get(url) as response:
        await response.read()
    return response.status, (perf_counter() - start) * 1000


def _polls(simulated: Provider) -> int:
    return int(str(simulated.audit()["requests"]))


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    return markdown(COLUMNS, map(_cells, rows))


def _cells(r: Row) -> list[str]:
    return [
        f"{r.links}",
        f"{r.wrong}",
        f"{r.refused}",
        f"{r.turned_away}",
        f"{r.tries}",
        f"{r.seconds:.1f}",
        f"{r.scrapes}",
        f"{r.middle:.0f}",
        f"{r.slowest:.0f}",
        f"{r.middle_after:.0f}",
        f"{r.slowest_after:.0f}",
        f"{r.polls}",
        f"{r.polls_after}",
    ]
