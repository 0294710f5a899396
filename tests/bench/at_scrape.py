"""What becomes of asking the provider at scrape time, as json_exporter does, beside polling in between.

Two Prometheis scrape every 15 s, each scrape asking for every link, fourteen at a time; the simulator answers
as the provider's page says. Beside it, at the same time, the exporter, with the same links, scraped by as
many, and a simulator of its own. Sizes end at 1,000: with 10,000 links the requests of one scrape alone, were
they all answered, would take 36 s of the 15.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.bench.tables import Asked, markdown, say
from tests.processes import exporter, get, get_json

COLUMNS = (
    "links | asked | requests | answered | refused, error 9 | blocked, error 4 | of all refused"
    " | worst window | most in flight"
)
SIZES = (100, 1_000)
LATENCY = 0.05
SCRAPE_INTERVAL = 15.0
SCRAPERS = 2
SECONDS = 120.0


@dataclass(frozen=True)
class Row:
    """Requests, by what the provider answered, and what its auditor saw."""

    links: int
    way: str
    requests: int
    answered: int
    refused: int
    blocked: int
    worst_window: int
    most_in_flight: int


def measure(asked: Asked) -> Iterator[Row]:
    """For each number of links a row for each way."""
    seconds = asked.seconds or SECONDS
    for size in asked.sizes or SIZES:
        say(f"{size} links, both ways at once, for {seconds:g} s")
        with ThreadPoolExecutor() as threads:
            acts = {"at scrape time": _ask_at_scrape, "smsc-exporter": _poll}
            yield from threads.map(lambda way: _run(size, seconds, *way), acts.items())  # noqa: B023 - over by then


def _run(links: int, seconds: float, way: str, act: Callable[[str, Path, int, float], None]) -> Row:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        arguments = ["--listen-address=127.0.0.1:0", f"--links={links}", f"--latency={LATENCY}"]
        with exporter("simulate", *arguments, cwd=folder, fresh=True) as simulator:
            url = simulator.expect(r"on (http://\S+)")[1]
            act(url, folder, links, seconds)
            audit = get_json(f"{url}/audit")
    ok, refused, blocked = (audit["answers"].get(answer, 0) for answer in ("ok", "9", "4"))
    worst, most = audit["worst_window"], audit["most_in_flight"]
    return Row(links, way, audit["requests"], ok, refused, blocked, worst, most)


def _ids(links: int) -> list[str]:
    return [str(100_001 + number) for number in range(links)]


def _ask_at_scrape(url: str, _: Path, links: int, seconds: float) -> None:
    async def main() -> None:
        async with aiohttp.ClientSession() as session:
            await asyncio.gather(*(scraper(session, number) for number in range(SCRAPERS)))

    async def scraper(session: aiohttp.ClientSession, number: int) -> None:
        late = number * SCRAPE_INTERVAL / SCRAPERS
        end = time.monotonic() + seconds
        await asyncio.sleep(late)
        while (start := time.monotonic()) < end:
            limit = asyncio.Semaphore(14)
            await asyncio.gather(*(ask(session, limit, link) for link in _ids(links)))
            await asyncio.sleep(max(0.0, start + SCRAPE_INTERVAL - time.monotonic()))

    async def ask(session: aiohttp.ClientSession, limit: asyncio.Semaphore, link: str) -> None:
        form = {"get": "1", "login": "demo", "psw": "demo", "id": link, "fmt": "3"}
        async with limit, session.post(f"{url}/sys/tinyurls.php", data=form) as response:
            await response.read()

    asyncio.run(main())


def _poll(url: str, folder: Path, links: int, seconds: float) -> None:
    account: dict[str, Any] = {"name": "bench", "login": "demo", "password": "demo", "base_url": url}
    account["links"] = [{"id": link} for link in _ids(links)]
    document = {"storage": {"url": "memory:"}, "accounts": [account]}
    (folder / "config.yaml").write_text(json.dumps(document))
    with exporter("--web.listen-address=127.0.0.1:0", cwd=folder, fresh=True) as running:
        metrics = running.expect(r"event=listening url=(\S+)")[1] + "/metrics"
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            get(metrics)
            time.sleep(min(left, SCRAPE_INTERVAL / SCRAPERS))
        running.stop()


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    return markdown(COLUMNS, map(_cells, rows))


def _cells(r: Row) -> list[str]:
    refused = (r.refused + r.blocked) / max(1, r.requests)
    counts = (r.requests, r.answered, r.refused, r.blocked)
    return [
        f"{r.links}",
        r.way,
        *map(str, counts),
        f"{refused:.0%}",
        f"{r.worst_window}",
        f"{r.most_in_flight}",
    ]
