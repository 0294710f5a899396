"""Restarts, as processes against the simulator: what was sent still counts, what was read is there again."""

from __future__ import annotations

import json
import re
import resource
import signal
import time
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from exporter.simulator import Settings, numbered_links
from tests.processes import exporter, get, until
from tests.providers import provider

if TYPE_CHECKING:
    from pathlib import Path

LISTENING = r"event=listening url=(\S+)"
ANY_PORT = "--web.listen-address=127.0.0.1:0"
LINKS = numbered_links(40)


def write_config(folder: Path, url: str, **account: Any) -> None:
    fields = {"name": "main", "login": "demo", "password": "demo", "max_concurrent_requests": 14, **account}
    links = [{"id": link.id} for link in LINKS]
    document = {"refresh_interval": "21s", "accounts": [{**fields, "base_url": url, "links": links}]}
    (folder / "config.yaml").write_text(json.dumps(document))


def figures(url: str) -> dict[str, str]:
    """Every click series that is served, with its value."""
    _, text = get(f"{url}/metrics")
    return dict(re.findall(r"^(smsc_link_clicks_\S+) (\S+)$", text, re.MULTILINE))


@pytest.mark.minutes
def test_twenty_kills_break_no_limit_and_lose_no_reading(tmp_path: Path) -> None:
    random = Random(1)
    with provider(Settings(links=LINKS, latency="0.02-0.6")) as (simulated, url):
        write_config(tmp_path, url)
        for _ in range(20):
            with exporter(ANY_PORT, cwd=tmp_path) as running:
                running.expect(LISTENING)
                time.sleep(random.uniform(0, 5))
                running.stop(signal.SIGKILL)
        with exporter(ANY_PORT, cwd=tmp_path) as running:
            address = running.expect(LISTENING)[1]
            until(
                lambda: get(f"{address}/metrics")[1].count("smsc_link_clicks_total{") == len(LINKS),
                "all links",
            )
            before = figures(address)
            time.sleep(1)  # a reading of the last moments before a kill may be lost
            running.stop(signal.SIGKILL)
        audit: dict[str, Any] = dict(simulated.audit())
    # The provider is gone now: whatever is served was kept.
    with exporter(ANY_PORT, cwd=tmp_path) as running:
        after = figures(running.expect(LISTENING)[1])
        assert running.stop() == 0
    assert len(before) == 6 * len(LINKS)
    assert after.keys() == before.keys()
    assert sum(after[series] == before[series] for series in before) > 0.9 * len(before)
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


def test_a_disk_that_fills_up_ends_nothing_and_is_written_to_again_when_it_has_room(tmp_path: Path) -> None:
    """No room is left for the process: what a full disk is to a file, the limit on its size is, too."""
    with provider(Settings(links=LINKS)) as (_, url):
        write_config(tmp_path, url)
        with exporter(ANY_PORT, cwd=tmp_path) as running:
            address = running.expect(LISTENING)[1]
            resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
            running.expect("event=storage_failed .*exporter.db reason=")
            assert "\nsmsc_exporter_storage_up 0.0\n" in get(f"{address}/metrics")[1]
            known = len(figures(address))
            until(lambda: len(figures(address)) > known, "another link")
            resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
            running.expect("event=storage_works_again")
            assert running.stop() == 0
    with exporter(ANY_PORT, cwd=tmp_path) as running:
        assert figures(running.expect(LISTENING)[1])
        assert running.stop() == 0


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
