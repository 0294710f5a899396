"""What can go wrong on the way to the provider, at a real exporter: names, connections, certificates."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web

from exporter.simulator import Provider, Settings, SimulatedLink, create_app
from tests import needs
from tests.e2e.faults.machine import (
    Page,
    hurried,
)
from tests.e2e.faults.watch import Source, watched
from tests.processes import free_port, program, until

pytestmark = [
    pytest.mark.slow(1),
    needs.faketime,
    needs.namespace,  # names are looked up in a file of its own
]

SPEED = 20.0
STALE_AFTER = 3600
LINK = SimulatedLink("1001", "https://shop.example/", "smsc.tips/a", rate=0)
WAYS = dict.fromkeys(("name", "refused", "certificate", "plain"), "unreachable")


@contextlib.contextmanager
def serving(simulated: Provider, port: int, context: ssl.SSLContext | None = None) -> Iterator[None]:
    """The provider at a given port, over TLS or not, on a thread of its own."""
    loop, stop, serves = asyncio.new_event_loop(), asyncio.Event(), threading.Event()

    async def main() -> None:
        runner = web.AppRunner(create_app(simulated), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
        serves.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()))
    thread.start()
    serves.wait()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def hurried_provider(login: str) -> Provider:
    settings = Settings(links=(LINK,), accounts={login: "demo"})
    return Provider(settings, monotonic=lambda: time.monotonic() * SPEED)


def server_context(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    return context


def test_every_broken_way_and_its_repair(tmp_path: Path) -> None:
    """At first nothing gets through; then names resolve, ports answer and certificates are good."""
    trusted, stranger = trustme.CA(), trustme.CA()
    ports = {way: free_port() for way in WAYS}
    simulated = {way: hurried_provider(way) for way in WAYS}
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n")
    trusted.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    write_config(tmp_path, ports)
    # The servers that are good at last end after the exporter: what it asks meanwhile, they can answer.
    with contextlib.ExitStack() as mended, contextlib.ExitStack() as broken:
        broken.enter_context(serving(simulated["name"], ports["name"]))
        bad = server_context(stranger, "127.0.0.1")
        broken.enter_context(serving(simulated["certificate"], ports["certificate"], bad))
        broken.enter_context(serving(simulated["plain"], ports["plain"]))
        with under(hosts, tmp_path) as running:
            url = running.expect(r"event=listening url=(\S+)")[1]
            sources = {(way, "link"): Source(simulated[way], LINK.id, STALE_AFTER) for way in WAYS}
            with watched(running, url, sources, SPEED) as watch:
                until(lambda: unreachable(watch.page()) == len(WAYS), "accounts unreachable", pause=0.2)
                page = watch.page()
                assert {way: page.outcome(way, "link") for way in WAYS} == WAYS
                assert page.read(sources) == 0
                # Not even where somebody listened: no login goes to a stranger, or in the clear.
                assert {way: one.auditor.requests for way, one in simulated.items()} == dict.fromkeys(WAYS, 0)
                broken.close()
                hosts.write_text("127.0.0.1 localhost provider.example\n")
                good = server_context(trusted, "127.0.0.1")
                mended.enter_context(serving(simulated["name"], ports["name"]))
                mended.enter_context(serving(simulated["refused"], ports["refused"]))
                mended.enter_context(serving(simulated["certificate"], ports["certificate"], good))
                mended.enter_context(serving(simulated["plain"], ports["plain"], good))
                watch.recovers()
                assert watch.page().read(sources) == len(WAYS)
            assert running.stop() == 0


def under(hosts: Path, folder: Path) -> contextlib.AbstractContextManager[Any]:
    """The exporter, for which names stand in ``hosts``: a mount that nobody else sees."""
    script = 'mount --bind "$0" /etc/hosts && exec "$@"'
    command = [sys.executable, "-m", "exporter", "--web.listen-address=127.0.0.1:0"]
    env = {**hurried(SPEED), "SSL_CERT_FILE": str(folder / "ca.pem")}
    return program("unshare", "--mount", "sh", "-c", script, str(hosts), *command, cwd=folder, env=env)


def write_config(folder: Path, ports: dict[str, int]) -> None:
    bases = {
        "name": f"http://provider.example:{ports['name']}",
        "refused": f"http://127.0.0.1:{ports['refused']}",
        "certificate": f"https://127.0.0.1:{ports['certificate']}",
        "plain": f"https://127.0.0.1:{ports['plain']}",
    }
    links = [{"id": LINK.id, "name": "link"}]
    accounts = [
        {"name": way, "login": way, "password": "demo", "base_url": base, "timeout": "60s", "links": links}
        for way, base in bases.items()
    ]
    (folder / "config.yaml").write_text(json.dumps({"stale_after": f"{STALE_AFTER}s", "accounts": accounts}))


def unreachable(page: Page) -> float:
    return sum(page.value(f'smsc_account_state{{account="{way}",state="unreachable"}}') for way in WAYS)
