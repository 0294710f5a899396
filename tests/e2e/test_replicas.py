"""Several exporters on one login, sharing a real Redis: limits held together, one gone is not missed,
and nothing sent that Redis has not recorded.

The judge is the simulated provider's auditor, which knows nothing of exporters and of Redis.
"""

from __future__ import annotations

import contextlib
import json
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from exporter.journal.redis_script import READINGS
from exporter.limits.constants import longest_count
from exporter.simulator import Provider, Settings, numbered_links
from tests import needs
from tests.e2e.faults.machine import hurried, stepped, without_jemalloc
from tests.processes import Program, exporter, free_port, get, until
from tests.providers import provider
from tests.redis_servers import redis_server
from tests.unit.journal.proxy import relay

Hurry = Callable[[], dict[str, str] | None]

pytestmark = needs.redis

INTERVAL = 21.0
SPEED = 4.0
"""How fast clocks run where they are hurried."""
LISTENING = r"event=listening url=(\S+)"


class Replica:
    """One of several, in a folder of its own; ``url`` is where it is scraped.

    ``hurry`` makes the environment of each of its lives.
    """

    def __init__(self, folder: Path, stack: contextlib.ExitStack, links: int, hurry: Hurry) -> None:
        self._folder = folder
        self._hurry = hurry
        self._stack = stack
        self._links = links
        self.start()

    def start(self) -> None:
        self._program: Program = self._stack.enter_context(
            exporter("--web.listen-address=127.0.0.1:0", cwd=self._folder, env=self._hurry())
        )
        self.url = self._program.expect(LISTENING)[1]

    def kill(self) -> None:
        self._program.stop(signal.SIGKILL)

    def stop(self) -> int:
        return self._program.stop()

    def scrape(self) -> str:
        """Its page; figures of all links are there, whatever has become of others."""
        page = get(f"{self.url}/metrics")[1]
        assert page.count("\nsmsc_link_clicks_total{") == self._links
        return page

    def ages(self) -> list[float]:
        """How old the figures are that it serves, in seconds."""
        found = re.findall(
            r"^smsc_link_last_success_timestamp_seconds\S+ (\S+)$", self.scrape(), re.MULTILINE
        )
        return [time.time() - float(at) for at in found]

    def sent(self) -> float:
        """How many requests it has sent since it was started."""
        return sum(map(float, re.findall(r"^smsc_api_requests_total\S+ (\S+)$", self.scrape(), re.MULTILINE)))

    def figures(self) -> dict[str, float]:
        """Each link's counter and the provider's own figure, which only ever rise here."""
        found = re.findall(r"^(smsc_link_clicks_(?:total|all_time)\S+) (\S+)$", self.scrape(), re.MULTILINE)
        return {series: float(value) for series, value in found}

    def storage(self, up: int) -> bool:
        return f"\nsmsc_exporter_storage_up {up}" in self.scrape()

    def filled(self) -> bool:
        return get(f"{self.url}/metrics")[1].count("\nsmsc_link_clicks_total{") == self._links


def write_config(folder: Path, provider_url: str, storage: str, links: int = 1, **account: Any) -> None:
    folder.mkdir(exist_ok=True)
    names = [{"id": link.id} for link in numbered_links(links)]
    fields = {"name": "main", "login": "demo", "password": "demo", "max_concurrent_requests": 14, **account}
    document = {
        "refresh_interval": f"{INTERVAL:.0f}s",
        "storage": {"url": storage},
        "accounts": [{**fields, "base_url": provider_url, "links": names}],
    }
    (folder / "config.yaml").write_text(json.dumps(document))


@contextlib.contextmanager
def trio(
    folder: Path,
    provider_url: str,
    storages: list[str],
    links: int,
    hurry: Hurry = lambda: None,
    **account: Any,
) -> Iterator[list[Replica]]:
    """Three replicas that serve every link."""
    with contextlib.ExitStack() as stack:
        replicas = []
        for number, storage in enumerate(storages):
            write_config(folder / str(number), provider_url, storage, links, **account)
            replicas.append(Replica(folder / str(number), stack, links, hurry))
        for replica in replicas:
            until(replica.filled, "all links at every replica", 120)
        yield replicas


def requests(simulated: Provider) -> float:
    return float(str(simulated.audit()["requests"]))


def assert_no_breach(simulated: Provider) -> None:
    audit: dict[str, Any] = dict(simulated.audit())
    assert audit["worst_window"] <= 3
    assert audit["most_in_flight"] <= 14
    assert set(audit["answers"]) == {"ok"}


@pytest.mark.slow(3)
@pytest.mark.timeout(600)
def test_twenty_kills_within_a_minute(tmp_path: Path) -> None:
    """Two are killed again and again, and the third polls on.

    One that starts counts all it finds as sent just now, and so asks for little in its first minute.
    """
    random, links = Random(1), 40
    with (
        provider(Settings(links=numbered_links(links), latency="0.02-0.3")) as (simulated, url),
        redis_server(tmp_path) as server,
    ):
        server.age()
        storages = [server.url.get_secret_value()] * 3
        with trio(tmp_path, url, storages, links) as replicas:
            began, sent, oldest, untouched = time.monotonic(), requests(simulated), 0.0, 0
            for _ in range(20):
                victim = random.choice(replicas[:2])
                time.sleep(random.uniform(0, 2))
                victim.kill()
                time.sleep(random.uniform(0, 1))
                oldest = max(oldest, *(max(each.ages()) for each in replicas if each is not victim))
                victim.start()
                # All is there that others have read, mostly before it asks for anything.
                untouched += victim.sent() == 0
            intervals = (time.monotonic() - began) / INTERVAL
            polls = (requests(simulated) - sent) / links
            assert [each.stop() for each in replicas] == [0, 0, 0]
        assert_no_breach(simulated)
    assert untouched > 10
    # What a killed exporter had in flight counts for its link for over two minutes.
    assert 0.5 < polls / intervals < 1.3
    assert oldest < 6 * INTERVAL


class Figures:
    """What each replica serves, look by look: all of it, and nothing below what was served before."""

    def __init__(self, replicas: list[Replica]) -> None:
        self._replicas = replicas
        self._served = [each.figures() for each in replicas]

    def look(self) -> None:
        for number, each in enumerate(self._replicas):
            before, self._served[number] = self._served[number], each.figures()
            assert before.keys() == self._served[number].keys()
            fallen = {series for series, value in before.items() if self._served[number][series] < value}
            assert not fallen

    def until(self, ready: Callable[[], Any], what: str, patience: float = 60) -> None:
        """Looks until something comes about."""

        def look() -> Any:
            self.look()
            return ready()

        until(look, what, patience, pause=0.5)


def state_of(replica: Replica) -> str:
    (state,) = re.findall(r'^smsc_account_state.*state="(\w+)"\} 1.0$', replica.scrape(), re.MULTILINE)
    return str(state)


@needs.faketime
@pytest.mark.slow(2)  # after an empty Redis nothing is sent for some three minutes, by hurried clocks
def test_redis_is_killed_and_comes_back_empty(tmp_path: Path) -> None:
    links, since = 20, time.time()
    with (
        provider(Settings(links=numbered_links(links), latency="0.02-0.3"), SPEED) as (simulated, url),
        redis_server(tmp_path, env=without_jemalloc(hurried(SPEED))) as server,
    ):
        server.age()
        storages = [server.url.get_secret_value()] * 3
        with trio(tmp_path, url, storages, links, lambda: hurried(SPEED, since), timeout="4s") as replicas:
            server.kill()
            for each in replicas:
                until(lambda: each.storage(0), "a lost storage")  # noqa: B023 - called at once
                until(lambda: state_of(each) == "waiting", "an account that waits")  # noqa: B023 - called at once
            sent = requests(simulated)
            time.sleep(INTERVAL / SPEED)
            assert requests(simulated) == sent, "requests that nobody recorded"
            server.start()
            for each in replicas:
                until(lambda: each.storage(1), "a storage")  # noqa: B023 - called at once
            # One that starts now is told what the others knew before.
            until(lambda: server.look.hlen(READINGS) == links, "all readings put back")
            replicas[0].kill()
            replicas[0].start()
            replicas[0].scrape()
            until(lambda: requests(simulated) > sent + links, "polls in company again", 300)
            assert all(each.storage(1) for each in replicas)
        assert_no_breach(simulated)


@pytest.mark.slow(5)  # nothing is sent for some three minutes
@pytest.mark.timeout(600)
def test_redis_is_flushed_while_three_poll(tmp_path: Path) -> None:
    """Nobody loses a connection; what was sent is gone from the record."""
    links = 20
    with (
        provider(Settings(links=numbered_links(links), latency="0.02-0.3")) as (simulated, url),
        redis_server(tmp_path) as server,
    ):
        server.age()
        storages = [server.url.get_secret_value()] * 3
        with trio(tmp_path, url, storages, links, timeout="1s") as replicas:
            figures = Figures(replicas)
            server.look.flushall()
            flushed = time.monotonic()
            figures.until(lambda: {state_of(each) for each in replicas} == {"waiting"}, "accounts that wait")
            figures.until(lambda: server.look.hlen(READINGS) == links, "all readings put back")
            sent = requests(simulated)
            replicas[0].kill()
            replicas[0].start()
            figures.look()  # the one that has just started serves what was put back
            figures.until(lambda: requests(simulated) > sent, "a request", 300)
            waited = time.monotonic() - flushed
            figures.until(lambda: requests(simulated) > sent + 2 * links, "polls in company again", 120)
            assert all(each.storage(1) for each in replicas)
        assert_no_breach(simulated)
    # A process that has died meanwhile may have sent requests just before: what was flushed counted them.
    assert waited > longest_count(timeout=1.0) - 1


@needs.faketime
@pytest.mark.slow(3)
@pytest.mark.parametrize("step", [3600, -3600])
def test_the_clock_of_redis_steps_while_three_poll(tmp_path: Path, step: int) -> None:
    """Nobody but a start reads it: polling goes on, and the start trusts it no further than it may."""
    links, offset = 20, tmp_path / "offset"
    offset.write_text("+0")
    with (
        provider(Settings(links=numbered_links(links), latency="0.02-0.3")) as (simulated, url),
        redis_server(tmp_path, env=without_jemalloc(stepped(offset))) as server,
    ):
        server.age()
        storages = [server.url.get_secret_value()] * 3
        with trio(tmp_path, url, storages, links) as replicas:
            figures, sent = Figures(replicas), requests(simulated)
            offset.write_text(f"{step:+}")
            figures.until(lambda: requests(simulated) > sent + links, "polls after the step")
            replicas[0].kill()
            replicas[0].start()
            figures.look()
            figures.until(lambda: state_of(replicas[0]) == "polling", "a start that is done", 200)
            figures.until(lambda: requests(simulated) > sent + 3 * links, "polls in company again", 180)
            assert all(each.storage(1) for each in replicas)
            for each in replicas[1:]:  # whoever is due first polls: beside them it may never be its turn
                each.stop()
            until(lambda: replicas[0].sent() > 0, "polls of the one that has started", 120)
        assert_no_breach(simulated)


@pytest.mark.slow(3)
def test_one_is_cut_off_from_redis_and_the_others_are_not(tmp_path: Path) -> None:
    """With answers so slow, and so many links, that each takes as much as it may."""
    links = 80
    with (
        provider(Settings(links=numbered_links(links), latency="3-4.5")) as (simulated, url),
        redis_server(tmp_path) as server,
        relay(server.port) as proxy,
    ):
        server.age()
        direct, through = server.url.get_secret_value(), proxy.url.get_secret_value()
        with trio(tmp_path, url, [direct, direct, through], links, timeout="5s") as replicas:
            *others, cut_off = replicas
            proxy.cut = True
            until(lambda: cut_off.storage(0), "a lost storage")
            until(lambda: state_of(cut_off) == "waiting", "an account that waits")
            time.sleep(5)  # what it sent before ends
            alone, before = cut_off.sent(), [each.sent() for each in others]
            until(
                lambda: all(each.sent() > sent + 5 for each, sent in zip(others, before, strict=True)),
                "polls with Redis meanwhile",
            )
            assert cut_off.sent() == alone
            assert all(each.storage(1) for each in others)
            proxy.cut = False
            until(lambda: cut_off.storage(1), "a storage")
            until(lambda: cut_off.sent() > alone, "polls in company again", 120)
        assert_no_breach(simulated)


@pytest.mark.slow(3)
def test_a_wrong_password_over_ten_restarts_costs_four_logins_at_most(tmp_path: Path) -> None:
    with (
        provider(Settings(links=numbered_links(1))) as (simulated, url),
        redis_server(tmp_path) as server,
    ):
        server.age()
        write_config(tmp_path, url, server.url.get_secret_value(), password="wrong")
        for life in range(10):
            with exporter("--web.listen-address=127.0.0.1:0", cwd=tmp_path) as running:
                address = running.expect(LISTENING)[1]
                until(
                    lambda: 'state="unauthorized"} 1.0' in get(f"{address}/metrics")[1],  # noqa: B023 - called at once
                    "a refused login",
                )
                running.stop([signal.SIGKILL, signal.SIGTERM][life % 2])
        audit: dict[str, Any] = dict(simulated.audit())
    assert 1 <= audit["worst_failed_logins"] <= 4


def test_without_redis_no_start_tries_a_password(tmp_path: Path) -> None:
    """Nothing would outlive such a start that could count what it costs."""
    with provider(Settings(links=numbered_links(1))) as (simulated, url):
        write_config(tmp_path, url, f"redis://127.0.0.1:{free_port()}", password="wrong")
        for life in range(5):
            with exporter("--web.listen-address=127.0.0.1:0", cwd=tmp_path) as running:
                address = running.expect(LISTENING)[1]
                page = get(f"{address}/metrics")[1]
                assert 'smsc_account_state{account="main",state="waiting"} 1.0' in page
                assert "smsc_exporter_storage_up 0.0" in page
                running.stop([signal.SIGKILL, signal.SIGTERM][life % 2])
        assert requests(simulated) == 0


def test_the_end_comes_in_time_though_redis_and_the_provider_hang(tmp_path: Path) -> None:
    """The command line's promise is five seconds; what was read last cannot be written any more."""
    with (
        provider(Settings(links=numbered_links(40), latency="0.2-20")) as (simulated, url),
        redis_server(tmp_path) as server,
    ):
        server.age()
        write_config(tmp_path, url, server.url.get_secret_value(), 40)
        with exporter("--web.listen-address=127.0.0.1:0", cwd=tmp_path) as running:
            running.expect(LISTENING)
            until(lambda: simulated.audit()["in_flight"], "a request in flight")
            server.freeze()
            asked = time.monotonic()
            assert running.stop() == 0
            assert time.monotonic() - asked < 5
            server.thaw()
