"""The whole exporter at full rate: refreshing, scrapes meanwhile, the longest stall, memory and the start.

The real exporter polls the real simulator, each a process of its own, with more links than it can keep up
with. It starts from a state file in which every link has a reading, as after a restart.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp

from exporter.clock import SystemClock
from exporter.model import Snapshot
from exporter.store.sqlite import SqliteBackend
from tests.factories import make_link, make_reading
from tests.processes import exporter, get, get_json

if TYPE_CHECKING:
    from collections.abc import Iterator

LATENCY = 0.1
CONCURRENCY = 14
SECONDS = 30


@dataclass(frozen=True)
class Row:
    """Times in milliseconds, but ``start`` in seconds; memory in megabytes; rates in polls a second.

    ``bare`` is the rate of a client that does nothing else.
    """

    links: int
    start: float
    memory: float
    rate: float
    bare: float
    cpu: float
    scrape: float
    stall: float
    worst_window: int
    most_in_flight: int


def measure(sizes: tuple[int, ...] = (1, 1_000, 10_000, 100_000)) -> Iterator[Row]:
    """A row for each number of links; the first, one link, is what the others' memory is counted from."""
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            yield _run(Path(folder), size)


def _run(home: Path, links: int) -> Row:
    asyncio.run(_prefill(home / "data" / "exporter.db", links))
    arguments = ["--listen-address=127.0.0.1:0", f"--links={links}", f"--latency={LATENCY}"]
    with exporter("simulate", *arguments, cwd=home) as simulator:
        provider = simulator.expect(r"on (http://\S+)")[1]
        (home / "config.yaml").write_text(json.dumps(_config(provider, links)))
        began = time.monotonic()
        with exporter("--web.listen-address=127.0.0.1:0", cwd=home) as running:
            url = running.expect(r"event=listening url=(\S+)")[1]
            assert get(f"{url}/metrics")[1].count("\nsmsc_link_clicks_total{") == links
            start = time.monotonic() - began
            row = _observe(url, provider, links, start)
            running.stop()
        simulator.stop()
        with exporter("simulate", *arguments, cwd=home) as another:
            bare = asyncio.run(_bare(another.expect(r"on (http://\S+)")[1], links))
    return replace(row, bare=bare)


async def _bare(provider: str, links: int) -> float:
    """Requests a second of a client that does nothing else, with the same concurrency."""
    turns = count()

    async def ask(session: aiohttp.ClientSession) -> None:
        for turn in turns:
            form = {"get": "1", "login": "demo", "psw": "demo", "id": str(100_001 + turn % links), "fmt": "3"}
            async with session.post(f"{provider}/sys/tinyurls.php", data=form) as response:
                await response.read()

    async with aiohttp.ClientSession() as session:
        asking = [asyncio.create_task(ask(session)) for _ in range(CONCURRENCY)]
        await asyncio.sleep(1)
        before = next(turns)
        await asyncio.sleep(SECONDS / 3)
        after = next(turns)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    return (after - before) / (SECONDS / 3)


async def _prefill(path: Path, links: int) -> None:
    """A state file with a reading of every link."""
    clock = SystemClock()
    backend = SqliteBackend(path, clock)
    await backend.open(lambda kept: None)
    for number in range(links):
        link = make_link(f"link-{number}", "bench", id=str(100_001 + number))
        backend.keep(Snapshot(link).succeeded(make_reading(id=link.id), clock.time()))
    await backend.close()


def _config(provider: str, links: int) -> dict[str, object]:
    account = {
        "name": "bench",
        "login": "demo",
        "password": "demo",
        "base_url": provider,
        "max_concurrent_requests": CONCURRENCY,
        "links": [{"id": str(100_001 + n), "name": f"link-{n}"} for n in range(links)],
    }
    return {"refresh_interval": "21s", "stale_after": "1h", "accounts": [account]}


def _observe(url: str, provider: str, links: int, start: float) -> Row:
    """What happens in ``SECONDS``, after the concurrency has climbed, with a scrape every second."""

    def counts() -> tuple[float, float, float]:
        return (
            time.monotonic(),
            _value(url, "smsc_api_requests_total", 'outcome="ok"'),
            _value(url, "process_cpu_seconds_total"),
        )

    time.sleep(15)
    before = counts()
    with_scrapes = [_timed(url, "/metrics") for _ in _seconds(SECONDS / 2)]
    middle = counts()  # what the prober costs is none of the polls' business
    prober = _Prober(url)
    with_scrapes += [_timed(url, "/metrics") for _ in _seconds(SECONDS / 2)]
    stall = prober.longest()
    late = counts()
    audit = get_json(f"{provider}/audit")
    seconds, polls, _ = (one - other for one, other in zip(late, before, strict=True))
    cpu = (middle[2] - before[2]) / max(1.0, middle[1] - before[1])
    return Row(
        links=links,
        start=start,
        memory=_value(url, "process_resident_memory_bytes") / 1e6,
        rate=polls / seconds,
        bare=0.0,
        cpu=cpu * 1000,
        scrape=median(with_scrapes),
        stall=stall,
        worst_window=audit["worst_window"],
        most_in_flight=audit["most_in_flight"],
    )


def _seconds(count: float) -> Iterator[int]:
    for second in range(int(count)):
        yield second
        time.sleep(1)


def _timed(url: str, path: str) -> float:
    start = time.perf_counter()
    get(url + path)
    return (time.perf_counter() - start) * 1000


class _Prober:
    """Asks for ``/-/healthy``, which does nothing, again and again: its longest wait is the loop's stall.

    The longest hundredth is left out: the machine's other programs stall things too.
    """

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url)
        self._waits: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._probe)
        self._thread.start()

    def _probe(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._address.port or 0)
        while not self._stop.wait(0.005):
            start = time.perf_counter()
            connection.request("GET", "/-/healthy")
            connection.getresponse().read()
            self._waits.append((time.perf_counter() - start) * 1000)

    def longest(self) -> float:
        self._stop.set()
        self._thread.join()
        return sorted(self._waits)[-1 - len(self._waits) // 100]


def _value(url: str, name: str, label: str = "") -> float:
    _, text = get(f"{url}/metrics?name[]={name}")
    found = re.search(rf"^{name}(?:{{[^}}]*{label}[^}}]*}})? (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    base, *rest = rows
    lines = [
        "| links | start to first scrape, s | memory, MB | per link, kB | polls/s | a bare client's"
        " | of the ceiling | CPU per poll, ms | scrape meanwhile, ms | longest stall, ms"
        " | worst window | most in flight |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    ceiling = CONCURRENCY / LATENCY
    for r in rest:
        per_link = (r.memory - base.memory) / r.links * 1000
        lines.append(
            f"| {r.links} | {r.start:.2f} | {r.memory:.0f} | {per_link:.1f} | {r.rate:.1f} | {r.bare:.1f}"
            f" | {r.rate / ceiling:.1%} | {r.cpu:.2f} | {r.scrape:.1f} | {r.stall:.1f}"
            f" | {r.worst_window} | {r.most_in_flight} |"
        )
    return "\n".join(lines)
