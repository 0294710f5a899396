"""Restarts, as processes against the simulator: what was sent still counts, what was read is there again."""

from __future__ import annotations

import json
import re
import resource
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

from exporter.simulator import Settings, numbered_links
from tests.processes import Program, exporter, get, until
from tests.providers import provider

LISTENING = r"event=listening url=(\S+)"
ANY_PORT = "--web.listen-address=127.0.0.1:0"
LINKS = numbered_links(40)


def write_config(folder: Path, url: str, **account: Any) -> None:
    fields = {"name": "main", "login": "demo", "password": "demo", "max_concurrent_requests": 14, **account}
    links = [{"id": link.id} for link in LINKS]
    document = {"refresh_interval": "21s", "accounts": [{**fields, "base_url": url, "links": links}]}
    (folder / "config.yaml").write_text(json.dumps(document))


@dataclass(frozen=True)
class Known:
    """What is served of a link: when it was read, and each click series."""

    read_at: float
    clicks: dict[str, float]

    @property
    def all_time(self) -> float:
        return self.clicks["all_time"]

    def is_served_as(self, later: Known, newest: int) -> bool:
        """Whether ``later`` is the same reading, or was taken since, when the provider had that many."""
        if abs(later.read_at - self.read_at) < 0.01:
            return later.clicks == self.clicks
        return later.read_at > self.read_at and self.all_time <= later.all_time <= newest


def known(url: str) -> dict[str, Known]:
    """What is served of each link that was read."""
    _, text = get(f"{url}/metrics")
    moments = re.findall(r'^smsc_link_last_success\S+link="(\w+)"\S* (\S+)$', text, re.MULTILINE)
    clicks: dict[str, dict[str, float]] = {link: {} for link, _ in moments}
    for series, link, value in re.findall(
        r'^smsc_link_clicks_(\w+)\S+link="(\w+)"\S* (\S+)$', text, re.MULTILINE
    ):
        clicks[link][series] = float(value)
    return {link: Known(float(moment), clicks[link]) for link, moment in moments}


@pytest.mark.slow(2)
def test_twenty_kills_break_no_limit_and_lose_no_reading(tmp_path: Path) -> None:
    random = Random(1)
    with provider(Settings(links=LINKS, latency="0.02-0.6")) as (simulated, url):
        write_config(tmp_path, url)
        for _ in range(20):
            with exporter(ANY_PORT, cwd=tmp_path) as running:
                running.expect(LISTENING)
                # A link keeps its place in the interval, and so three a minute by itself: so one is asked for
                # in each life. What this says first is the figures, or that it has to wait.
                with exporter("get", LINKS[0].id, cwd=tmp_path) as guest:
                    guest.expect(".")
                    time.sleep(random.uniform(1, 6))
                    guest.stop(signal.SIGKILL)
                running.stop(signal.SIGKILL)
        with exporter(ANY_PORT, cwd=tmp_path) as running:
            address = running.expect(LISTENING)[1]
            until(
                lambda: get(f"{address}/metrics")[1].count("smsc_link_clicks_total{") == len(LINKS),
                "all links",
            )
            before = known(address)
            time.sleep(1)  # a reading of the last moments before a kill may be lost
            running.stop(signal.SIGKILL)
        audit: dict[str, Any] = dict(simulated.audit())
        newest = {link.id: simulated.figures(link.id).cnt for link in LINKS}
    # The provider is gone now: whatever is served was kept.
    with exporter(ANY_PORT, cwd=tmp_path) as running:
        after = known(running.expect(LISTENING)[1])
        assert running.stop() == 0
    assert before.keys() == after.keys() == newest.keys()
    assert {len(one.clicks) for one in before.values()} == {6}
    for link, one in before.items():
        assert one.is_served_as(after[link], newest[link]), (link, one, after[link])
    assert audit["duration_seconds"] > 60
    assert audit["worst_window"] <= 3
    assert audit["most_in_flight"] <= 14
    assert set(audit["answers"]) == {"ok"}


def test_a_wrong_password_over_ten_restarts_costs_four_logins_at_most(tmp_path: Path) -> None:
    with provider(Settings(links=LINKS)) as (simulated, url):
        write_config(tmp_path, url, password="wrong")
        for life in range(10):
            with exporter(ANY_PORT, cwd=tmp_path) as running:
                running.expect("state=unauthorized")
                running.stop([signal.SIGKILL, signal.SIGTERM][life % 2])
        audit: dict[str, Any] = dict(simulated.audit())
    assert 1 <= audit["worst_failed_logins"] <= 4


def test_new_passwords_over_ten_restarts_cost_four_logins_at_most(tmp_path: Path) -> None:
    with provider(Settings(links=LINKS)) as (simulated, url):
        for life in range(10):
            write_config(tmp_path, url, password=f"guess {life}")
            with exporter(ANY_PORT, "--log.level=debug", cwd=tmp_path) as running:
                running.expect("state=unauthorized|event=denied")
                running.stop([signal.SIGKILL, signal.SIGTERM][life % 2])
        audit: dict[str, Any] = dict(simulated.audit())
    assert audit["worst_failed_logins"] == 4


def room(running: Program, size: int = resource.RLIM_INFINITY) -> None:
    """What a full disk is to a file, a limit on its size is, too."""
    resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


FULL = 4096


def test_a_disk_that_fills_up_ends_nothing_and_is_written_to_again_by_itself(tmp_path: Path) -> None:
    with provider(Settings(links=LINKS)) as (simulated, url):
        write_config(tmp_path, url)
        with exporter(ANY_PORT, cwd=tmp_path) as running:
            address = running.expect(LISTENING)[1]
            room(running, FULL)
            running.expect("event=storage_failed .*exporter.db reason=")
            assert "\nsmsc_exporter_storage_up 0.0\n" in get(f"{address}/metrics")[1]
            already = len(known(address))
            until(lambda: len(known(address)) > already, "another link")
            # Nothing is asked for any more, and so nothing to be written, but the file is.
            simulated.faults = "error_4"
            running.expect("state=blocked")
            before = known(address)
            room(running)
            running.expect("event=storage_works_again")
            running.stop(signal.SIGKILL)
        sent = simulated.audit()["requests"]
        with exporter(ANY_PORT, "--log.level=debug", cwd=tmp_path) as running:
            address = running.expect(LISTENING)[1]
            assert known(address).keys() == before.keys()
            running.expect("state=blocked")
            assert running.stop() == 0
        assert simulated.audit()["requests"] == sent


def test_a_kill_while_the_disk_is_full_is_waited_out(tmp_path: Path) -> None:
    with provider(Settings(links=LINKS)) as (simulated, url):
        write_config(tmp_path, url)
        with exporter(ANY_PORT, cwd=tmp_path) as running:
            address = running.expect(LISTENING)[1]
            room(running, FULL)
            running.expect("event=storage_failed")
            already = len(known(address))
            until(lambda: len(known(address)) > already, "a link that was read since")
            running.stop(signal.SIGKILL)
        sent = simulated.audit()["requests"]
        with exporter(ANY_PORT, "--log.level=debug", cwd=tmp_path) as running:
            running.expect('event=storage_unsure .*reason="it lacks what was sent last" seconds=')
            running.expect("state=waiting")
            assert running.stop() == 0
        assert simulated.audit()["requests"] == sent


def test_a_second_exporter_on_the_same_file_refuses_to_start(tmp_path: Path) -> None:
    with provider(Settings(links=LINKS)) as (_, url):
        write_config(tmp_path, url)
        with exporter(ANY_PORT, cwd=tmp_path) as first:
            first.expect(LISTENING)
            with exporter(ANY_PORT, cwd=tmp_path) as second:
                second.expect(r"data/exporter\.db is in use by another process")
                assert second.process.wait(60) == 1
                second.stop()
            assert first.stop() == 0
