"""What a machine can do to a real exporter and take back: no wrong figure, no limit broken, recovery."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import time
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from exporter.simulator import Provider, Settings, SimulatedLink
from tests.faults.machine import NEEDS_FAKETIME, NO_FAKETIME, Page, hurried, megabytes, stepped
from tests.processes import Program, exporter, until
from tests.providers import provider

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LINKS = tuple(
    SimulatedLink(str(1001 + number), f"https://shop.example/{number}", f"smsc.tips/{number}", rate=0)
    for number in range(20)
)
KEYS = [("main", link.id) for link in LINKS]
HURRY = 10.0
STALE_AFTER = 120
pytestmark = [pytest.mark.minutes, pytest.mark.skipif(NO_FAKETIME, reason=NEEDS_FAKETIME)]


@contextlib.contextmanager
def running(folder: Path, url: str, env: dict[str, str]) -> Iterator[tuple[Program, str]]:
    """The exporter with a reading of every link, and its URL."""
    links = [{"id": link.id} for link in LINKS]
    fields = {"name": "main", "login": "demo", "password": "demo", "base_url": url, "links": links}
    document = {"refresh_interval": "21s", "stale_after": f"{STALE_AFTER}s", "accounts": [fields]}
    (folder / "config.yaml").write_text(json.dumps(document))
    with exporter("--web.listen-address=127.0.0.1:0", cwd=folder, env=env) as process:
        address = process.expect(r"event=listening url=(\S+)")[1]
        until(lambda: Page(address).read(KEYS) == len(KEYS), "all figures")
        yield process, address
        assert process.stop() == 0


@contextlib.contextmanager
def hurrying(folder: Path) -> Iterator[tuple[Provider, Program, str]]:
    """A provider and the exporter, for both of which an interval passes in two seconds."""
    with provider(Settings(links=LINKS), HURRY) as (simulated, url):
        with running(folder, url, hurried(HURRY)) as (process, address):
            yield simulated, process, address
        audit: dict[str, Any] = dict(simulated.audit())
    assert audit["worst_window"] <= 3
    assert audit["most_in_flight"] <= 14
    assert "9" not in audit["answers"]


def limit(process: Program, resource: str) -> None:
    """Sets a limit of a running process: ``nofile=10``, or ``nofile=1024`` to lift it."""
    subprocess.run(["prlimit", f"--pid={process.process.pid}", f"--{resource}"], check=True)


def shows(url: str, figure: float) -> bool:
    return figures(url) == {figure}


def add_clicks(simulated: Provider, clicks: int) -> None:
    for link in LINKS:
        simulated.add_clicks(link.id, clicks)


def figures(url: str) -> set[float | None]:
    page = Page(url)
    return {page.all_time(*key) for key in KEYS}


def test_a_full_disk(tmp_path: Path) -> None:
    """Files may grow no further: polling goes on from memory, and what came meanwhile is kept afterwards."""
    with hurrying(tmp_path) as (simulated, process, address):
        limit(process, "fsize=4096:")
        process.expect("event=storage_failed")
        add_clicks(simulated, 7)
        until(lambda: figures(address) == {7.0}, "new figures without a disk")
        assert Page(address).value("smsc_exporter_storage_up") == 0
        limit(process, "fsize=unlimited:")
        process.expect("event=storage_works_again")
        until(lambda: Page(address).value("smsc_exporter_storage_up") == 1, "storage up")


def test_no_descriptors(tmp_path: Path) -> None:
    """Nothing can be opened: the provider cannot be reached and nobody can connect; then both can again."""
    with hurrying(tmp_path) as (simulated, process, address):
        before = cpu_seconds(process)
        limit(process, "nofile=3:")
        add_clicks(simulated, 7)
        simulated.faults = "cut"  # which closes the connections there are
        process.expect("event=link_failing")
        simulated.faults = ""
        process.expect("outcome=unreachable reason=.Too many open files")
        time.sleep(3)
        spent = cpu_seconds(process) - before
        limit(process, "nofile=1024:")
        until(lambda: figures(address) == {7.0}, "recovery", patience=120)
    assert spent < 2  # it does not spin while nothing can be accepted


def cpu_seconds(process: Program) -> float:
    with open(f"/proc/{process.process.pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_stopped_for_many_minutes(tmp_path: Path) -> None:
    """SIGSTOP, as a closed lid: what has gone stale meanwhile is withdrawn, and nothing is caught up."""
    with hurrying(tmp_path) as (simulated, process, address):
        simulated.faults = "http_503"
        process.send(signal.SIGSTOP)
        time.sleep(STALE_AFTER / HURRY + 1)
        process.send(signal.SIGCONT)
        assert figures(address) == {None}
        simulated.faults = ""
        until(lambda: figures(address) == {0.0}, "recovery", patience=120)


def test_a_clock_that_is_set(tmp_path: Path) -> None:
    """A month forward, then days back: no limit breaks, and reading goes on."""
    offset = tmp_path / "offset"
    offset.write_text("+0")
    with provider(Settings(links=LINKS)) as (simulated, url):
        with running(tmp_path, url, stepped(offset)) as (_, address):
            for clicks, step in enumerate(("+40d", "-2d")):
                offset.write_text(step)
                assert figures(address) <= {float(clicks), None}
                add_clicks(simulated, 1)
                until(partial(shows, address, clicks + 1.0), f"figures after {step}")
        audit: dict[str, Any] = dict(simulated.audit())
    assert audit["worst_window"] <= 3
    assert "9" not in audit["answers"]


def test_readers_that_stop_reading(tmp_path: Path) -> None:
    """Scrapes are asked for and never read: others get theirs, and memory stays as it is."""
    with hurrying(tmp_path) as (simulated, process, address):
        before = megabytes(process.process.pid, "VmRSS")
        with contextlib.ExitStack() as stack:
            for _ in range(30):
                stalled = stack.enter_context(socket.create_connection(("127.0.0.1", urlsplit(address).port)))
                stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
                stalled.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
            add_clicks(simulated, 7)
            until(lambda: figures(address) == {7.0}, "figures beside stalled readers")
            assert megabytes(process.process.pid, "VmRSS") - before < 50
