"""What a machine can do to a real exporter and take back: no wrong figure, no limit broken, recovery."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import pytest

from exporter.simulator import Provider, Settings, SimulatedLink
from tests import needs
from tests.e2e.faults.machine import (
    Page,
    hurried,
    stepped,
)
from tests.e2e.faults.watch import MOST_GROWTH, Source, Watch, watched
from tests.factories import MOSCOW
from tests.processes import Program, exporter, free_port, program, until
from tests.providers import provider

LINKS = tuple(
    SimulatedLink(str(1001 + number), f"https://shop.example/{number}", f"smsc.tips/{number}", rate=0)
    for number in range(20)
)
KEYS = [("main", link.id) for link in LINKS]
HURRY = 10.0
STALE_AFTER = 120
ANY_PORT = "--web.listen-address=127.0.0.1:0"
LISTENING = r"event=listening url=(\S+)"
CROWD = 5000
READERS = 30
PAGES_IN_MEMORY = 15.0
"""Megabytes: less than a page for each reader, far less than the fifty that each asks for."""
DAY = 86_400
OF_THE_DAY = {"smsc_link_clicks_today", "smsc_link_clicks_yesterday"}
OF_THE_MONTH = {"smsc_link_clicks_month", "smsc_link_clicks_previous_month"}
pytestmark = [pytest.mark.slow(1), needs.faketime]


def write_config(
    folder: Path, url: str, stale_after: str = f"{STALE_AFTER}s", crowd: int = 0, refresh: str = "21s"
) -> None:
    """Twenty links, and a ``crowd`` of others with long names that are on every page and never read."""
    both = {"login": "demo", "password": "demo"}
    accounts = [{"name": "main", **both, "base_url": url, "links": [{"id": link.id} for link in LINKS]}]
    if crowd:
        links = [{"id": str(number), "name": f"{number:01000}"} for number in range(crowd)]
        nowhere = f"http://127.0.0.1:{free_port()}"
        accounts.append({"name": "crowd", **both, "base_url": nowhere, "links": links})
    document = {"refresh_interval": refresh, "stale_after": stale_after, "accounts": accounts}
    (folder / "config.yaml").write_text(json.dumps(document))


@contextlib.contextmanager
def watching(
    process: Program,
    address: str,
    simulated: Provider,
    speed: float,
    stale_after: float = STALE_AFTER,
    most_growth: float = MOST_GROWTH,
) -> Iterator[Watch]:
    """The exporter with a reading of every link, held to its promises."""
    sources = {key: Source(simulated, key[1], stale_after) for key in KEYS}
    until(lambda: Page(address).read(KEYS) == len(KEYS), "all figures")
    with watched(process, address, sources, speed, most_growth) as watch:
        yield watch
    assert "9" not in simulated.auditor.answers


@contextlib.contextmanager
def hurrying(
    folder: Path,
    *before: str,
    crowd: int = 0,
    most_growth: float = MOST_GROWTH,
    refresh: str = "21s",
    latency: str = "0",
) -> Iterator[tuple[Provider, Watch]]:
    """A provider and the exporter, for both of which an interval passes in two seconds.

    ``before`` is what the exporter's command is an argument of.
    """
    command = [*before, sys.executable, "-m", "exporter", ANY_PORT]
    with provider(Settings(links=LINKS, latency=latency), HURRY) as (simulated, url):
        write_config(folder, url, crowd=crowd, refresh=refresh)
        with program(*command, cwd=folder, env=hurried(HURRY)) as process:
            address = process.expect(LISTENING)[1]
            with watching(process, address, simulated, HURRY, most_growth=most_growth) as watch:
                yield simulated, watch
            assert process.stop() == 0


def limit(process: Program, resource: str) -> None:
    """Sets a limit of a running process: ``nofile=10``, or ``nofile=1024`` to lift it."""
    subprocess.run(["prlimit", f"--pid={process.process.pid}", f"--{resource}"], check=True)


def assert_polls_without_a_disk(watch: Watch) -> None:
    """New figures are served from memory, and the page says that they are not kept."""
    watch.add_clicks(7)
    until(watch.newest, "new figures without a disk")
    assert watch.page().value("smsc_exporter_storage_up") == 0


def assert_writes_again(watch: Watch) -> None:
    watch.program.expect("event=storage_works_again")
    until(lambda: watch.page().value("smsc_exporter_storage_up") == 1, "storage up")


def test_files_that_may_grow_no_further(tmp_path: Path) -> None:
    """Polling goes on from memory, and what came meanwhile is kept afterwards."""
    with hurrying(tmp_path) as (_, watch):
        limit(watch.program, "fsize=4096:")
        watch.program.expect("event=storage_failed")
        assert_polls_without_a_disk(watch)
        limit(watch.program, "fsize=unlimited:")
        assert_writes_again(watch)
        watch.recovers()


@needs.namespace
def test_a_disk_without_room(tmp_path: Path) -> None:
    """A file system of its own that somebody else fills to the last byte, and clears again."""
    disk = tmp_path / "data"
    disk.mkdir()
    mounted = 'mount -t tmpfs -o size=16m none "$0" && exec "$@"'
    with hurrying(tmp_path, "unshare", "--mount", "sh", "-c", mounted, str(disk)) as (_, watch):
        # The mount is seen by the exporter alone, and by those who look through its eyes.
        seen = Path(f"/proc/{watch.program.process.pid}/root{disk}")
        assert (seen / "exporter.db").exists()
        fill(seen / "ballast")
        watch.program.expect(r"event=storage_failed .*reason=.*full")
        assert_polls_without_a_disk(watch)
        (seen / "ballast").unlink()
        assert_writes_again(watch)
        watch.recovers()


def fill(ballast: Path) -> None:
    """Writes until nothing more fits, not even a byte."""
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 16, 4096, 1):
            with pytest.raises(OSError, match="No space left"):
                write_on(file, bytes(size))
    assert shutil.disk_usage(ballast.parent).free == 0


def write_on(file: BinaryIO, data: bytes) -> None:
    while file.write(data):
        pass


def test_no_descriptors(tmp_path: Path) -> None:
    """Nothing can be opened: the provider cannot be reached and nobody can connect; then both can again."""
    with hurrying(tmp_path) as (simulated, watch), contextlib.ExitStack() as stack:
        before = cpu_seconds(watch.program)
        limit(watch.program, "nofile=3:")
        address = ("127.0.0.1", urlsplit(watch.url).port)
        knocking = [stack.enter_context(socket.create_connection(address, timeout=60)) for _ in range(3)]
        watch.add_clicks(7)
        simulated.faults = "cut"  # which closes the connections there are, sooner or later all
        watch.program.expect("outcome=unreachable reason=.Too many open files")
        simulated.faults = ""
        time.sleep(3)
        spent = cpu_seconds(watch.program) - before
        limit(watch.program, "nofile=1024:")
        for client in knocking:
            client.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200 ")
        watch.recovers()
    assert spent < 2  # it does not spin while nothing can be accepted


def cpu_seconds(process: Program) -> float:
    with open(f"/proc/{process.process.pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_stopped_for_many_minutes(tmp_path: Path) -> None:
    """SIGSTOP, as a closed lid: what has gone stale meanwhile is withdrawn, and nothing is caught up."""
    with hurrying(tmp_path, refresh="1m", latency="0.1") as (simulated, watch):
        watch.program.send(signal.SIGSTOP)
        time.sleep(STALE_AFTER / HURRY + 1)
        before = Counter(simulated.auditor.links)
        watch.program.send(signal.SIGCONT)
        assert watch.read() == 0
        time.sleep(60 / HURRY)
        asked = Counter(simulated.auditor.links) - before
        assert max(asked.values()) <= 2  # in a minute of the exporter's, as ever
        watch.recovers()


def test_killed_and_started_again(tmp_path: Path) -> None:
    """SIGKILL: the next process serves at once what was kept, and reads on."""
    since = time.time()
    with provider(Settings(links=LINKS), HURRY) as (simulated, url):
        write_config(tmp_path, url)
        for life in range(2):
            with exporter(ANY_PORT, cwd=tmp_path, env=hurried(HURRY, since)) as process:
                address = process.expect(LISTENING)[1]
                assert Page(address).read(KEYS) in ({len(KEYS)} if life else range(len(KEYS) + 1))
                with watching(process, address, simulated, HURRY) as watch:
                    watch.recovers()
                time.sleep(1)  # a reading of the last moments before a kill may be lost
                process.stop(signal.SIGKILL)


def test_a_clock_that_is_set(tmp_path: Path) -> None:
    """To the next day, the next month, and days back: what has ended is withheld, and reading goes on."""
    now = datetime.now(MOSCOW)
    noon = now.replace(day=15, hour=12)
    offset = tmp_path / "offset"

    def set_to(moment: datetime) -> None:
        offset.write_text(f"{(moment - now).total_seconds():+.0f}")

    set_to(noon)
    with provider(Settings(links=LINKS)) as (simulated, url):
        write_config(tmp_path, url, stale_after="60d")
        with exporter(ANY_PORT, cwd=tmp_path, env=stepped(offset)) as process:
            address = process.expect(LISTENING)[1]
            with watching(process, address, simulated, 1.0, stale_after=60 * DAY) as watch:
                assert_withheld(watch, set())
                set_to(noon + timedelta(days=1))
                assert_withheld(watch, OF_THE_DAY)
                set_to(noon + timedelta(days=31))
                assert_withheld(watch, OF_THE_DAY | OF_THE_MONTH)
                watch.add_clicks(1)
                until(watch.newest, "figures after the clock was set forward")
                assert_withheld(watch, set())
                set_to(noon - timedelta(days=2))
                watch.recovers()
                assert_withheld(watch, set())
            assert process.stop() == 0


def assert_withheld(watch: Watch, families: set[str]) -> None:
    """Of some links these are not shown, of no link others."""
    watch.page()
    assert watch.withheld == families


def test_readers_that_stop_reading(tmp_path: Path) -> None:
    """Scrapes are asked for and never read: others get theirs, and no page waits in memory for its reader."""
    with hurrying(tmp_path, crowd=CROWD, most_growth=PAGES_IN_MEMORY) as (_, watch):
        assert len(watch.page().text) * READERS > 3 * PAGES_IN_MEMORY * 1e6
        with contextlib.ExitStack() as stack:
            for _ in range(READERS):
                stalled = stack.enter_context(
                    socket.create_connection(("127.0.0.1", urlsplit(watch.url).port))
                )
                stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
                stalled.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
            watch.add_clicks(7)
            until(watch.newest, "figures beside stalled readers", pause=0.5)
            watch.recovers()
