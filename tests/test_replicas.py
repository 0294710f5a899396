"""Several exporters on one login, sharing a real Redis: limits held together, one gone is not missed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from exporter.simulator import Settings, numbered_links
from tests.processes import Program, exporter, free_port, get, program, until
from tests.providers import provider

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.minutes,
    pytest.mark.skipif(
        not shutil.which("redis-server") and "CI" not in os.environ,
        reason="needs Debian's package: apt-get install redis-server",
    ),
]

LINKS = numbered_links(40)
INTERVAL = 21.0
QUIET = 61.0  # a Redis that has just been started may have forgotten what was sent
LISTENING = r"event=listening url=(\S+)"


@contextlib.contextmanager
def redis(folder: Path, port: int) -> Iterator[Program]:
    flags = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with program("redis-server", *flags, cwd=folder) as server:
        server.expect("Ready to accept connections")
        yield server


@contextlib.contextmanager
def replicas(folder: Path, count: int) -> Iterator[list[tuple[Program, str]]]:
    with contextlib.ExitStack() as stack:
        running = [
            stack.enter_context(exporter("--web.listen-address=127.0.0.1:0", cwd=folder))
            for _ in range(count)
        ]
        yield [(one, one.expect(LISTENING)[1]) for one in running]


def write_config(folder: Path, provider_url: str, port: int) -> None:
    links = [{"id": link.id} for link in LINKS]
    account = {"name": "main", "login": "demo", "password": "demo", "max_concurrent_requests": 14}
    document = {
        "refresh_interval": f"{INTERVAL:.0f}s",
        "storage": {"url": f"redis://127.0.0.1:{port}/0"},
        "accounts": [{**account, "base_url": provider_url, "links": links}],
    }
    (folder / "config.yaml").write_text(json.dumps(document))


def links_served(url: str) -> int:
    return get(f"{url}/metrics")[1].count("\nsmsc_link_clicks_total{")


def until_all_served(url: str, patience: float) -> None:
    until(lambda: links_served(url) == len(LINKS), "all links at every replica", patience)


def until_storage(url: str, up: int) -> None:
    """Waits until a replica has noticed; it serves all the while."""
    until(lambda: f"\nsmsc_exporter_storage_up {up}" in get(f"{url}/metrics")[1], f"storage_up {up}")
    assert links_served(url) == len(LINKS)


def oldest(url: str) -> float:
    """How old the oldest reading is that a replica serves, in seconds."""
    _, text = get(f"{url}/metrics")
    times = re.findall(r"^smsc_link_last_success_timestamp_seconds\S+ (\S+)$", text, re.MULTILINE)
    assert len(times) == len(LINKS)
    return time.time() - min(map(float, times))


def test_three_replicas_keep_the_limits_together_through_everything(tmp_path: Path) -> None:
    port = free_port()
    with provider(Settings(links=LINKS, latency="0.02-0.3")) as (simulated, url):
        write_config(tmp_path, url, port)
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(redis(tmp_path, port))
            time.sleep(QUIET)
            trio = stack.enter_context(replicas(tmp_path, 3))
            urls = [address for _, address in trio]
            for address in urls:
                until_all_served(address, 3 * INTERVAL)
            simulated.reset_audit()
            time.sleep(2 * INTERVAL)
            shared: dict[str, Any] = dict(simulated.audit())
            trio[0][0].stop(signal.SIGKILL)
            time.sleep(INTERVAL + 5)
            ages = [oldest(address) for address in urls[1:]]
            server.stop(signal.SIGKILL)
            for address in urls[1:]:
                until_storage(address, up=0)
            time.sleep(QUIET + 10)
            with redis(tmp_path, port):
                for address in urls[1:]:
                    until_storage(address, up=1)
                time.sleep(INTERVAL)
                assert [one.stop() for one, _ in trio[1:]] == [0, 0]
        audit: dict[str, Any] = dict(simulated.audit())
    assert 0.8 < shared["requests"] / (2 * len(LINKS)) < 1.3
    assert max(ages) < 2 * INTERVAL
    assert audit["worst_window"] <= 3
    assert audit["most_in_flight"] <= 14
    assert set(audit["answers"]) == {"ok"}
