"""Servers as processes of their own, and a client that times what they answer."""

from __future__ import annotations

import contextlib
import http.client
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from time import perf_counter

from tests.bench.tables import say
from tests.processes import free_port, until

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


class Client:
    """One connection, kept where the server keeps it; ``times`` (milliseconds) with gzip and without."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port)
        self.times: dict[bool, list[float]] = {False: [], True: []}

    def get(self, path: str = "/metrics", *, gzipped: bool = False) -> bytes:
        """The body as it came."""
        start = perf_counter()
        self._connection.request("GET", path, headers={"Accept-Encoding": "gzip" if gzipped else "identity"})
        response = self._connection.getresponse()
        body = response.read()
        self.times[gzipped].append((perf_counter() - start) * 1000)
        assert response.status == 200, body[:200]
        return body

    def median(self, *, gzipped: bool) -> float:
        return median(self.times[gzipped])

    def forget(self) -> None:
        """The first exchanges: connecting, and pages made for the first time."""
        self.times = {False: [], True: []}


@contextlib.contextmanager
def page_server(way: str, links: int, provider: str = "") -> Iterator[tuple[Client, Callable[[], None]]]:
    """``tests.bench.server``: a client of it, and what changes one link in a hundred."""
    command = [sys.executable, "-m", "tests.bench.server", way, str(links), provider]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        said, told = process.stdout, process.stdin

        def change() -> None:
            print("change", file=told, flush=True)
            assert said.readline() == "changed\n"

        try:
            yield Client(int(said.readline())), change
        finally:
            process.stdin.close()
            process.wait()


@contextlib.contextmanager
def nginx(folder: Path) -> Iterator[Client | None]:
    """nginx on the files in ``folder``, which it sends compressed where there is one ending in ``.gz``."""
    if not shutil.which("nginx"):
        say("without nginx, which is not installed: apt-get install nginx-light")
        yield None
        return
    port = free_port()
    folder.chmod(0o755)
    (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, port=port))
    with subprocess.Popen(["nginx", "-c", folder / "nginx.conf"], stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: Client(port).get(), "nginx")
            yield Client(port)
        finally:
            process.terminate()
