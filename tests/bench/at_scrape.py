"""What becomes of asking the provider at scrape time, as json_exporter does, beside polling in between.

Two Prometheis scrape every 15 s, each scrape asking for every link, fourteen at a time; the simulator answers
as the provider's page says. Beside it the exporter, with the same links and scraped by as many.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.processes import exporter, get, get_json

LATENCY = 0.05
LINKS = 100
SCRAPE_INTERVAL = 15.0
SCRAPERS = 2
SECONDS = 120.0


@dataclass(frozen=True)
class Row:
    """Requests in ``SECONDS``, by what the provider answered, and what its auditor saw."""

    way: str
    requests: int
    answered: int
    refused: int
    blocked: int
    worst_window: int
    most_in_flight: int


def measure() -> list[Row]:
    """One row for each way."""
    return [_run("at scrape time", _ask_at_scrape), _run("smsc-exporter", _poll)]


def _run(way: str, act: Any) -> Row:
    print(f"  {way}: {SECONDS:.0f} s", file=sys.stderr)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        arguments = ["--listen-address=127.0.0.1:0", f"--links={LINKS}", f"--latency={LATENCY}"]
        with exporter("simulate", *arguments, cwd=folder) as simulator:
            url = simulator.expect(r"on (http://\S+)")[1]
            act(url, folder)
            audit = get_json(f"{url}/audit")
    answers = audit["answers"]
    return Row(
        way,
        audit["requests"],
        answers.get("ok", 0),
        answers.get("9", 0),
        answers.get("4", 0),
        audit["worst_window"],
        audit["most_in_flight"],
    )


def _ids() -> list[str]:
    return [str(100_001 + number) for number in range(LINKS)]


def _ask_at_scrape(url: str, _: Path) -> None:
    async def main() -> None:
        async with aiohttp.ClientSession() as session:
            await asyncio.gather(*(scraper(session, number) for number in range(SCRAPERS)))

    async def scraper(session: aiohttp.ClientSession, number: int) -> None:
        await asyncio.sleep(number * SCRAPE_INTERVAL / SCRAPERS)
        end = time.monotonic() + SECONDS - number * SCRAPE_INTERVAL / SCRAPERS
        while (start := time.monotonic()) < end:
            limit = asyncio.Semaphore(14)
            await asyncio.gather(*(ask(session, limit, link) for link in _ids()))
            await asyncio.sleep(max(0.0, start + SCRAPE_INTERVAL - time.monotonic()))

    async def ask(session: aiohttp.ClientSession, limit: asyncio.Semaphore, link: str) -> None:
        form = {"get": "1", "login": "demo", "psw": "demo", "id": link, "fmt": "3"}
        async with limit, session.post(f"{url}/sys/tinyurls.php", data=form) as response:
            await response.read()

    asyncio.run(main())


def _poll(url: str, folder: Path) -> None:
    account: dict[str, Any] = {"name": "bench", "login": "demo", "password": "demo", "base_url": url}
    account["links"] = [{"id": link} for link in _ids()]
    document = {"storage": {"url": "memory:"}, "accounts": [account]}
    (folder / "config.yaml").write_text(json.dumps(document))
    with exporter("--web.listen-address=127.0.0.1:0", cwd=folder) as running:
        metrics = running.expect(r"event=listening url=(\S+)")[1] + "/metrics"
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            get(metrics)
            time.sleep(SCRAPE_INTERVAL / SCRAPERS)
        running.stop()


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    lines = [
        "| asked | requests | answered | refused, error 9 | blocked, error 4"
        " | worst window | most in flight |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {r.way} | {r.requests} | {r.answered} | {r.refused} | {r.blocked}"
        f" | {r.worst_window} | {r.most_in_flight} |"
        for r in rows
    ]
    return "\n".join(lines)
