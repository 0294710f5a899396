"""What may happen to an exporter: signals while it starts, leftovers, a folder that is deleted."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest

from exporter.simulator import Settings, numbered_links
from tests.e2e.faults.machine import Page
from tests.processes import Program, exporter, until
from tests.providers import provider

ANY_PORT = "--web.listen-address=127.0.0.1:0"
LISTENING = r"event=listening url=(\S+)"
STARTS = 5
"""How often a start is caught early: on a busy machine a look may come late."""


def caught_early(running: Program) -> bool:
    """Waits until SIGHUP is caught; whether that was before the first heavy import."""
    proc, mask = Path(f"/proc/{running.process.pid}"), 1 << (signal.SIGHUP - 1)

    def catches() -> bool:
        status = (proc / "status").read_text()
        (caught,) = re.findall(r"^SigCgt:\s+(\w+)$", status, re.MULTILINE)
        return bool(int(caught, 16) & mask)

    until(catches, "a process that catches signals", pause=0.0)
    return "aiohttp" not in (proc / "maps").read_text()


def write_config(folder: Path, url: str, links: int = 1) -> list[tuple[str, str]]:
    """The default interval; returns the links' keys on the page."""
    ids = [link.id for link in numbered_links(links)]
    account = {"name": "main", "login": "demo", "password": "demo", "base_url": url}
    document = {"accounts": [{**account, "links": [{"id": number} for number in ids]}]}
    (folder / "config.yaml").write_text(json.dumps(document))
    return [("main", number) for number in ids]


@pytest.mark.slow  # measuring coverage would delay what it times
def test_hangups_during_the_start_end_nothing(tmp_path: Path) -> None:
    early = []
    with provider(Settings(links=numbered_links(1))) as (_, url):
        write_config(tmp_path, url)
        for _ in range(STARTS):
            with exporter(ANY_PORT, cwd=tmp_path, fresh=True) as running:
                early.append(caught_early(running))
                running.send(signal.SIGHUP)
                running.expect(LISTENING)
                running.expect("event=reloaded")
                assert running.stop() == 0
            if any(early):
                return
    raise AssertionError("signals are caught only after the imports")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_start_that_is_ended_ends_well(tmp_path: Path, number: signal.Signals) -> None:
    with provider(Settings(links=numbered_links(1))) as (_, url):
        write_config(tmp_path, url)
        for _ in range(STARTS):
            with exporter(ANY_PORT, cwd=tmp_path, fresh=True) as running:
                early = caught_early(running)
                assert running.stop(number) == 0
                assert "Traceback" not in running.output
            if early:
                return
    raise AssertionError("signals are caught only after the imports")


def test_a_folder_for_metrics_of_several_processes_is_not_used(tmp_path: Path) -> None:
    leftover = tmp_path / "leftover"
    leftover.mkdir()
    with provider(Settings(links=numbered_links(1))) as (_, url):
        keys = write_config(tmp_path, url)
        env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(leftover)}
        with exporter(ANY_PORT, cwd=tmp_path, env=env, fresh=True) as running:
            address = running.expect(LISTENING)[1]
            until(lambda: Page(address).read(keys) == 1, "a figure", patience=90)
            assert running.stop() == 0
    assert not list(leftover.iterdir())


def test_a_data_folder_that_is_deleted_is_noticed(tmp_path: Path) -> None:
    with provider(Settings(links=numbered_links(1))) as (_, url):
        keys = write_config(tmp_path, url)
        with exporter(ANY_PORT, cwd=tmp_path) as running:
            address = running.expect(LISTENING)[1]
            until(lambda: Page(address).read(keys) == 1, "a figure", patience=90)
            shutil.rmtree(tmp_path / "data")
            until(lambda: Page(address).value("smsc_exporter_storage_up") == 0, "storage down", patience=90)
            assert running.stop() == 0


@pytest.mark.parametrize(("links", "seconds"), [(14, 5), (200, 30)])
def test_first_figures_come_soon(tmp_path: Path, links: int, seconds: float) -> None:
    """Half as long again is allowed, for a busy machine."""
    with provider(Settings(links=numbered_links(links), latency="50ms")) as (_, url):
        keys = write_config(tmp_path, url, links)
        with exporter(ANY_PORT, cwd=tmp_path) as running:
            address = running.expect(LISTENING)[1]
            began = time.time()
            until(lambda: Page(address).read(keys) == links, "all figures", patience=120)
            page = Page(address)
            assert running.stop() == 0
    read_at = [page.figure("smsc_link_last_success_timestamp_seconds", key) for key in keys]
    assert max(moment or 0 for moment in read_at) - began < seconds * 1.5
