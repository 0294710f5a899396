"""How long a scrape takes over HTTP, beside nginx sending the same bytes from a file.

Each is a process of its own; one client asks them in turns, over one connection each, after one link in a
hundred has changed. With gzip, nginx sends a file that was compressed beforehand.
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

from tests.processes import free_port, until

if TYPE_CHECKING:
    from collections.abc import Iterator

_NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log stderr;
events {{}}
http {{
    access_log off; sendfile on; gzip_static on; default_type text/plain; root {folder};
    keepalive_requests 100000;
    client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
    uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
    server {{ listen 127.0.0.1:{port}; }}
}}
"""


@dataclass(frozen=True)
class Row:
    """Medians in milliseconds, of the whole exchange."""

    links: int
    kilobytes: float
    ours: float
    nginx: float
    ours_gzip: float
    nginx_gzip: float


class _Client:
    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port)
        self.times: dict[bool, list[float]] = {False: [], True: []}

    def get(self, path: str, *, gzipped: bool = False) -> bytes:
        start = perf_counter()
        self._connection.request("GET", path, headers={"Accept-Encoding": "gzip"} if gzipped else {})
        body = self._connection.getresponse().read()
        self.times[gzipped].append((perf_counter() - start) * 1000)
        return body


def measure(sizes: tuple[int, ...] = (100, 1_000, 10_000, 100_000)) -> Iterator[Row]:
    """A row for each number of links; none without nginx."""
    if not shutil.which("nginx"):
        print("  nginx is not installed: apt-get install nginx-light", file=sys.stderr)
        return
    for size in sizes:
        yield _compare(size)


def _compare(links: int) -> Row:
    with _served(links) as port, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours, change = _Client(port), _Client(port)
        page = ours.get("/metrics")
        (folder / "metrics").write_bytes(page)
        (folder / "metrics.gz").write_bytes(gzip.compress(page, 6))
        with _nginx(folder) as nginx_port:
            nginx = _Client(nginx_port)
            for _ in range(max(7, min(60, 200_000 // links))):
                for gzipped in (False, True):
                    change.get("/change")
                    ours.get("/metrics", gzipped=gzipped)
                    nginx.get("/metrics", gzipped=gzipped)
    medians = [median(client.times[gzipped]) for gzipped in (False, True) for client in (ours, nginx)]
    return Row(links, len(page) / 1000, *medians)


@contextlib.contextmanager
def _served(links: int) -> Iterator[int]:
    command = [sys.executable, "-m", "tests.bench.server", str(links)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield int(process.stdout.readline())
        process.communicate()


@contextlib.contextmanager
def _nginx(folder: Path) -> Iterator[int]:
    port = free_port()
    folder.chmod(0o755)
    (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, port=port))
    with subprocess.Popen(["nginx", "-c", folder / "nginx.conf"]) as process:
        until(lambda: _Client(port).get("/metrics"), "nginx")
        yield port
        process.terminate()


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    lines = [
        "| links | page, kB | scrape, ms | nginx, ms | times nginx | scrape gzipped, ms | over plain, ms"
        " | nginx gzipped, ms |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {r.links} | {r.kilobytes:.0f} | {r.ours:.2f} | {r.nginx:.2f} | {r.ours / r.nginx:.1f}"
        f" | {r.ours_gzip:.2f} | {r.ours_gzip - r.ours:+.2f} | {r.nginx_gzip:.2f} |"
        for r in rows
    ]
    return "\n".join(lines)
