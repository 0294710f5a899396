"""Several exporters on one login, sharing a real Redis: limits held together, one gone is not missed."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import time
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from exporter.simulator import Settings, numbered_links
from tests.processes import Program, exporter, get, until
from tests.providers import provider
from tests.store.proxy import relay
from tests.store.servers import NEEDED, redis_server

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import SecretStr

    from exporter.simulator import Provider

pytestmark = NEEDED

LINKS = numbered_links(40)
INTERVAL = 21.0
LISTENING = r"event=listening url=(\S+)"


class Trio:
    """Three replicas in one folder; ``urls`` are where they are scraped."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack, random: Random) -> None:
        self._folder = folder
        self._stack = stack
        self._random = random
        self._programs = [self._begin() for _ in range(3)]
        self.urls = [one.expect(LISTENING)[1] for one in self._programs]

    def _begin(self) -> Program:
        return self._stack.enter_context(exporter("--web.listen-address=127.0.0.1:0", cwd=self._folder))

    def kill_one(self, among: list[int]) -> list[str]:
        """Kills one of them at some moment; returns where the others are."""
        time.sleep(self._random.uniform(0, 1))
        self._victim = self._random.choice(among)
        self._programs[self._victim].stop(signal.SIGKILL)
        return [url for number, url in enumerate(self.urls) if number != self._victim]

    def restart(self) -> str:
        """Starts it again, a while later; returns where it is."""
        time.sleep(self._random.uniform(0, 2))
        self._programs[self._victim] = self._begin()
        self.urls[self._victim] = self._programs[self._victim].expect(LISTENING)[1]
        return self.urls[self._victim]

    def stop(self) -> list[int]:
        return [one.stop() for one in self._programs]


def write_config(folder: Path, provider_url: str, storage: SecretStr) -> None:
    links = [{"id": link.id} for link in LINKS]
    account = {"name": "main", "login": "demo", "password": "demo", "max_concurrent_requests": 14}
    document = {
        "refresh_interval": f"{INTERVAL:.0f}s",
        "storage": {"url": storage.get_secret_value()},
        "accounts": [{**account, "base_url": provider_url, "links": links}],
    }
    (folder / "config.yaml").write_text(json.dumps(document))


def ages(url: str) -> list[float]:
    """How old each link's figures are that a replica serves, in seconds; nothing of one without figures."""
    text = get(f"{url}/metrics")[1]
    times = re.findall(r"^smsc_link_last_success_timestamp_seconds\S+ (\S+)$", text, re.MULTILINE)
    assert text.count("\nsmsc_link_clicks_total{") == len(times)
    return [time.time() - float(at) for at in times]


def requests(simulated: Provider) -> float:
    return float(str(simulated.audit()["requests"]))


def until_storage(url: str, up: int) -> None:
    """Waits until a replica has noticed; it serves all the while."""
    until(lambda: f"\nsmsc_exporter_storage_up {up}" in get(f"{url}/metrics")[1], f"storage_up {up}")
    assert len(ages(url)) == len(LINKS)


@pytest.mark.minutes  # without Redis a replica keeps silent for a minute: in less, nothing is seen of after
def test_twenty_kills_of_three_replicas_and_one_of_their_redis_break_no_limit(tmp_path: Path) -> None:
    random = Random(1)
    with contextlib.ExitStack() as stack:
        simulated, url = stack.enter_context(provider(Settings(links=LINKS, latency="0.02-0.3")))
        server = stack.enter_context(redis_server(tmp_path))
        # A server that has just begun is met with a minute's silence, so this one looks old.
        proxy = stack.enter_context(relay(server.port))
        proxy.old = True
        write_config(tmp_path, url, proxy.url)
        trio = Trio(tmp_path, stack, random)
        for address in trio.urls:
            until(lambda: len(ages(address)) == len(LINKS), "all links at every replica")  # noqa: B023

        began, sent, oldest = time.monotonic(), requests(simulated), 0.0
        for _ in range(14):
            served = [ages(address) for address in [*trio.kill_one([0, 1, 2]), trio.restart()]]
            assert [len(links) for links in served] == [len(LINKS)] * 3
            oldest = max(oldest, *map(max, served))
        intervals = (time.monotonic() - began) / INTERVAL
        polls = (requests(simulated) - sent) / len(LINKS)

        server.kill()
        proxy.old = False
        until_storage(trio.urls[0], up=0)
        # One that starts now knows nothing: the first one, left alone, serves what all of them knew.
        for _ in range(3):
            trio.kill_one([1, 2])
            trio.restart()
            assert len(ages(trio.urls[0])) == len(LINKS)
        sent = requests(simulated)
        until(lambda: requests(simulated) > sent + 3, "polls by itself, after a minute", 120)

        server.start()
        until_storage(trio.urls[0], up=1)
        sent = requests(simulated)
        for _ in range(3):
            trio.kill_one([1, 2])
            assert len(ages(trio.urls[0])) == len(LINKS)
            trio.restart()
        until(lambda: requests(simulated) > sent + 3, "polls in company again")
        assert trio.stop() == [0, 0, 0]
        audit: dict[str, Any] = dict(simulated.audit())
    assert 0.7 < polls / intervals < 1.3
    assert oldest < 2 * INTERVAL + 5
    assert audit["worst_window"] <= 3
    assert audit["most_in_flight"] <= 14
    assert set(audit["answers"]) == {"ok"}


def test_the_end_comes_in_time_though_redis_and_the_provider_hang(tmp_path: Path) -> None:
    """The command line's promise is five seconds; what was read last cannot be written any more."""
    with contextlib.ExitStack() as stack:
        simulated, url = stack.enter_context(provider(Settings(links=LINKS, latency="0.2-20")))
        server = stack.enter_context(redis_server(tmp_path))
        proxy = stack.enter_context(relay(server.port))
        proxy.old = True
        write_config(tmp_path, url, proxy.url)
        running = stack.enter_context(exporter("--web.listen-address=127.0.0.1:0", cwd=tmp_path))
        running.expect(LISTENING)
        until(lambda: simulated.audit()["in_flight"], "a request in flight")
        server.freeze()
        asked = time.monotonic()
        assert running.stop() == 0
        assert time.monotonic() - asked < 5
        server.thaw()
