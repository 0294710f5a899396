"""What the embedded storage costs: an attempt that survives a kill, the file, and a restart with it.

Restarts are measured in seconds of CPU: they wait for nothing, so that on an idle machine they take as long.
"""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

from exporter.clock import Clock, SystemClock
from exporter.exposition.exposition import Exposition
from exporter.journal import Journal, journal_for
from exporter.limits import Ledger
from exporter.polling.recorder import Recorder
from exporter.secret import SecretStr
from exporter.snapshots import Snapshots
from tests.bench.stored import answer_to, prefill, request_for
from tests.bench.tables import SIZES, Asked, markdown, say
from tests.factories import make_account, make_links, show
from tests.processes import exporter, get

COLUMNS = (
    "links | wait for the attempt, µs | CPU per poll, µs | file, MB | restore to first page, CPU s"
    " | command to first scrape, CPU s"
)
CLAIMS = 2000
"""Requests that are recorded, one after the other."""


@dataclass(frozen=True)
class Row:
    """Times in microseconds per poll and in seconds of CPU, the file in megabytes."""

    links: int
    wait: float
    cpu: float
    file: float
    restore: float
    start: float


def measure(asked: Asked) -> Iterator[Row]:
    """A row for each number of links."""
    for size in asked.sizes or SIZES:
        say(f"{size} links in an SQLite file: written, polled, restored three times, started")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "exporter.db"
            wait, cpu = asyncio.run(_poll(path, size))
            megabytes = sum(part.stat().st_size for part in Path(folder).glob("exporter.db*")) / 1e6
            clock = SystemClock()
            url = f"sqlite:{path}"
            journals = [journal_for(SecretStr(url), clock) for _ in range(3)]
            restored = min(asyncio.run(restore(journal, clock, size)) for journal in journals)
            yield Row(size, wait, cpu, megabytes, restored, start(Path(folder), url, size))


async def _poll(path: Path, size: int) -> tuple[float, float]:
    """Reads links one after the other; how long each waits for its record, and the CPU of a poll."""
    links = make_links(size)
    await prefill(path, links)
    clock = SystemClock()
    recorder = Recorder(Ledger(), journal_for(SecretStr(f"sqlite:{path}"), clock), clock, lambda news: None)
    await recorder.open()
    waits = []
    cpu = process_time()
    asked = links[:CLAIMS]
    for link in asked:
        start = perf_counter()
        sent = recorder.begin(request_for(link))
        assert await recorder.record([sent])
        waits.append((perf_counter() - start) * 1e6)
        recorder.end(answer_to(sent, link))
    cpu = (process_time() - cpu) / len(asked) * 1e6
    await recorder.journal.close()
    return median(waits), cpu


async def restore(journal: Journal, clock: Clock, size: int) -> float:
    """From the journal to a first page with every link's figures, as the exporter does it (CPU seconds)."""
    exposition = Exposition(clock)
    snapshots = Snapshots(exposition.update)
    account = make_account(links=make_links(size))
    began = process_time()
    gc.disable()
    await Recorder(Ledger(), journal, clock, lambda news: None).open()
    stored = await journal.read(snapshots.missing(account.links))
    snapshots.swap(snapshots.build(account.links, stored or ()))
    show(exposition, [account], snapshots.all().values())
    gc.enable()
    page = b"".join(exposition.render(openmetrics=False))
    seconds = process_time() - began
    assert page.count(b"smsc_link_clicks_total{") == size
    await journal.close()
    return seconds


def start(folder: Path, storage: str, size: int) -> float:
    """From the command to the end of a first scrape with every link's figures (seconds of CPU)."""
    links = [{"id": link.id, "name": link.name} for link in make_links(size)]
    account = {"name": "main", "login": "x", "password": "x", "base_url": "http://127.0.0.1:9"}
    document = {"storage": {"url": storage}, "refresh_interval": "1d", "stale_after": "2d"}
    text = json.dumps({**document, "accounts": [{**account, "links": links}]}, indent=0)
    (folder / "config.yaml").write_text(text)
    began = _cpu_of_children()
    with exporter("--web.listen-address=127.0.0.1:0", cwd=folder, fresh=True) as running:
        page = get(running.expect(r"event=listening url=(\S+)")[1] + "/metrics")[1]
        assert page.count("smsc_link_clicks_total{") == size
        running.stop(signal.SIGKILL)
    return _cpu_of_children() - began


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    return markdown(COLUMNS, map(_cells, rows))


def _cells(r: Row) -> list[str]:
    return [
        f"{r.links}",
        f"{r.wait:.0f}",
        f"{r.cpu:.0f}",
        f"{r.file:.1f}",
        f"{r.restore:.2f}",
        f"{r.start:.2f}",
    ]
