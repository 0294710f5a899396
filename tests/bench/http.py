"""How long a scrape takes over HTTP, beside prometheus_client's two ways, and nginx sending the same bytes.

Each is a process of its own; one client asks them in turns after one link in a hundred has changed, plain and
gzipped. prometheus_client serves by its own server. nginx sends a file, which was compressed beforehand.
"""

from __future__ import annotations

import contextlib
import gzip
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.serving import Client, nginx, page_server
from tests.bench.tables import SIZES, Asked, figure, markdown, say, times

COLUMNS = (
    "links | sent | kB | scrape, ms | gzip adds, ms | over objects, ms | times faster"
    " | over a collector, ms | times faster | nginx, ms | times nginx"
)
WAYS = ("ours", "objects", "collector")


@dataclass(frozen=True)
class Row:
    """One size, plain or gzipped: medians in milliseconds, of the whole exchange. Without nginx, None."""

    links: int
    gzipped: bool
    kilobytes: float
    ours: float
    plain: float
    objects: float
    collector: float
    nginx: float | None


def measure(asked: Asked) -> Iterator[Row]:
    """Two rows for each number of links."""
    for size in asked.sizes or SIZES:
        turns = max(3, min(30, 100_000 // size))
        say(f"{size} links: {turns} scrapes of each kind, after the pages are made")
        yield from _compare(size, turns)


def _compare(links: int, turns: int) -> Iterator[Row]:
    with contextlib.ExitStack() as stack:
        servers = {way: stack.enter_context(page_server(way, links)) for way in WAYS}
        clients = {way: client for way, (client, _) in servers.items()}
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sizes = _save(folder, clients["ours"])
        if (file_server := stack.enter_context(nginx(folder))) is not None:
            clients["nginx"] = file_server
        for turn in range(-1, turns):  # the first does not count
            for gzipped in (False, True):
                for _, change in servers.values():
                    change()
                for client in clients.values():
                    client.get(gzipped=gzipped)
            if turn < 0:
                for client in clients.values():
                    client.forget()
        for gzipped in (False, True):
            yield _row(links, sizes[gzipped], clients, gzipped=gzipped)


def _save(folder: Path, ours: Client) -> dict[bool, float]:
    """The page as files for nginx; how large ours is, plain and gzipped (kilobytes)."""
    page = ours.get()
    (folder / "metrics").write_bytes(page)
    (folder / "metrics.gz").write_bytes(gzip.compress(page, 6))
    return {False: len(page) / 1000, True: len(ours.get(gzipped=True)) / 1000}


def _row(links: int, kilobytes: float, clients: dict[str, Client], *, gzipped: bool) -> Row:
    medians = {way: client.median(gzipped=gzipped) for way, client in clients.items()}
    return Row(
        links,
        gzipped,
        kilobytes,
        ours=medians["ours"],
        plain=clients["ours"].median(gzipped=False),
        objects=medians["objects"],
        collector=medians["collector"],
        nginx=medians.get("nginx"),
    )


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    return markdown(COLUMNS, map(_cells, rows))


def _cells(r: Row) -> list[str]:
    return [
        f"{r.links}",
        "gzipped" if r.gzipped else "plain",
        f"{r.kilobytes:.0f}",
        f"{r.ours:.2f}",
        figure(r.ours - r.plain if r.gzipped else None, "+.2f"),
        f"{r.objects:.1f}",
        times(r.objects / r.ours),
        f"{r.collector:.1f}",
        times(r.collector / r.ours),
        figure(r.nginx, ".2f"),
        figure(r.nginx and r.ours / r.nginx, ".1f"),
    ]
