"""The exporter put together, where a process of its own is not needed."""

from __future__ import annotations

import asyncio
import os
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from exporter.app import Exporter
from exporter.clock import SystemClock
from exporter.config import Config, load
from exporter.journal import Appended, History, MemoryJournal, StoredReading
from exporter.limits import Answered, Sent
from exporter.model import Link, LinkKey
from exporter.provider.client import open_session
from exporter.threads import Threads, stuck
from tests.applied import config_of, running
from tests.factories import make_link, make_links, make_reading

MANY = 40


class Meddler(SystemClock):
    """A clock that runs ``act`` on the event loop when a thread reads it for the time numbered ``turn``.

    The thread that prepares a reload reads the clock for each link, and waits until ``act`` is done.
    """

    def __init__(self, turn: int, act: Callable[[], None]) -> None:
        self.reads = 0
        self.loop: asyncio.AbstractEventLoop | None = None
        self._turn = turn
        self._act = act

    def time(self) -> float:
        if self.loop is not None and threading.current_thread() is not threading.main_thread():
            if self.reads == self._turn:
                asyncio.run_coroutine_threadsafe(self._run(), self.loop).result(60)
            self.reads += 1
        return super().time()

    async def _run(self) -> None:
        self._act()


def labelled(label: str, count: int = MANY) -> Config:
    """So many links, the last of them at first, each with this label."""
    return config_of(*(replace(link, labels=(("of", label),)) for link in reversed(make_links(count))))


def page(exporter: Exporter) -> str:
    return b"".join(exporter.scrape.render("", ())[0]).decode()


def shown(exporter: Exporter) -> tuple[set[str], str, int]:
    """The labels of the links on the page, the number of links configured, and of links shown."""
    text = page(exporter)
    (configured,) = re.findall(r"^smsc_account_links.* (\S+)$", text, re.MULTILINE)
    return set(re.findall(r'of="(\w+)"', text)), configured, text.count("smsc_link_info{")


@pytest.mark.parametrize("turn", [0, MANY // 2, MANY - 1])
def test_a_page_is_all_of_the_old_configuration_or_all_of_the_new(turn: int) -> None:
    seen: list[tuple[set[str], str, int]] = []

    async def main() -> None:
        clock = Meddler(turn, lambda: seen.append(shown(exporter)))
        async with running(labelled("old"), clock) as exporter:
            clock.loop = asyncio.get_running_loop()
            await exporter.apply(labelled("new", MANY - 1))
            seen.append(shown(exporter))

    asyncio.run(main())
    assert seen == [({"old"}, f"{MANY}.0", MANY), ({"new"}, f"{MANY - 1}.0", MANY - 1)]


def test_the_name_of_a_link_file_may_hold_any_bytes(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "accounts: [{name: main, login: alex, password: hunter2, link_files: ['*.csv']}]"
    )
    for number, name in enumerate((b"a\xff.csv", b"b\xfe\x1b[2J\n.csv", "ё.csv".encode())):
        Path(os.fsdecode(bytes(tmp_path) + b"/" + name)).write_text(f"id\n{number}\n")

    async def main() -> str:
        async with running(load(tmp_path / "config.yaml", {})) as exporter:
            return page(exporter)

    text = asyncio.run(main())
    for shown in (r"a\\udcff.csv", r"b\\udcfe\\x1b[2J\\n.csv", "ё.csv"):
        assert f'link_file_last_load_successful{{account="main",file="{shown}"}} 1.0' in text


@pytest.mark.parametrize("turn", range(0, MANY, 13))
def test_no_reading_that_comes_during_a_reload_is_lost(turn: int) -> None:
    """Whether its link was prepared by then or not, and whether it stays as it is or not."""
    places = range(0, MANY, 5)
    old = labelled("old").accounts[0].links
    new = tuple(link if n % 10 else replace(link, labels=(("of", "new"),)) for n, link in enumerate(old))

    async def main() -> None:
        def read() -> None:
            for link in (old[place] for place in places):
                known = exporter.snapshots.get(link)
                assert known is not None
                exporter.snapshots.put(known.succeeded(make_reading(90, id=link.id or ""), clock.time()))

        clock = Meddler(turn, read)
        async with running(config_of(*old), clock) as exporter:
            clock.loop = asyncio.get_running_loop()
            await exporter.apply(config_of(*new))
            text = page(exporter)
            assert text.count("\nsmsc_link_last_success_timestamp_seconds{") == len(places)
            for place in places:
                known = exporter.snapshots.get(new[place])
                assert known is not None
                assert known.reading is not None
                assert (known.reading.all_time, known.link) == (90, new[place])

    asyncio.run(main())


def test_links_in_and_out_of_the_configuration_are_polled_or_not() -> None:
    async def main() -> None:
        links = (make_link("stays", id="1"), make_link("leaves", id="2"), make_link("comes", id="3"))
        async with running(config_of(*links[:2])) as exporter:
            before = exporter.poller.next_polls(links)[0]
            await exporter.apply(config_of(links[0], links[2]))
            stays, leaves, comes = exporter.poller.next_polls(links)
            assert stays == pytest.approx(before, abs=1)
            assert comes is not None
            assert leaves is None

    asyncio.run(main())


def test_an_exporter_that_stops_is_not_ready() -> None:
    async def main() -> None:
        async with running(labelled("old", 1)) as exporter:
            assert exporter._not_ready() is None
        assert exporter._not_ready() == "stopping"

    asyncio.run(main())


def test_the_end_does_not_wait_for_a_thread_that_is_stuck() -> None:
    threads, release = Threads(1, "page"), threading.Event()
    threads.submit(release.wait)
    waiting = threads.submit(release.wait)
    threads.shutdown(wait=True)
    assert waiting.cancelled()
    assert stuck(patience=0.01)
    release.set()
    assert not stuck(patience=60)


class Away(MemoryJournal):
    """A journal that others write too, and that can be out of reach."""

    def __init__(self, stored: StoredReading) -> None:
        self.up = self.fail_closed = True
        self.broken = False
        self._stored = stored

    async def open(self, reader: object) -> History:
        return History()

    async def append(self, requests: Sequence[Sent]) -> Appended:
        return Appended.YES if self.up else Appended.NO

    def note(self, answer: Answered) -> None:
        pass

    async def read(  # type: ignore[override]  # as a shared journal may be away
        self, links: Collection[LinkKey]
    ) -> list[StoredReading] | None:
        if self.broken:
            raise RuntimeError("a bug")
        return [self._stored] * (self._stored.link in links) if self.up else None

    async def close(self) -> None:
        pass


@asynccontextmanager
async def away(*links: Link) -> AsyncIterator[tuple[Exporter, Away]]:
    """An exporter whose journal is lost once it has begun; it knows a total of ``link-1``."""
    late = links[1]
    stored = StoredReading(late.key, late.target, make_reading(5, id=late.id or ""), time.time(), 70)
    async with open_session() as session:
        journal = Away(stored)
        exporter = Exporter(session, journal, SystemClock())
        await exporter.start(config_of(links[0]))
        journal.up = False
        await exporter.apply(config_of(*links))
        yield exporter, journal
        await exporter.close()


def test_a_link_that_comes_while_the_journal_is_away_is_not_polled_before_its_total_is_known() -> None:
    async def main() -> None:
        async with away(*make_links(2)) as (exporter, journal):
            assert not exporter.recorder.restored
            journal.up = True
            async with asyncio.timeout(60):
                while not exporter.recorder.restored:  # noqa: ASYNC110 - the exporter looks by itself
                    await asyncio.sleep(0.01)
            assert re.search(r'smsc_link_clicks_total\{.*link="link-1".* 70', page(exporter))

    asyncio.run(main())


def test_an_error_of_ours_on_the_way_back_is_not_health() -> None:
    async def main() -> None:
        async with away(*make_links(2)) as (exporter, journal):
            assert exporter.broken() is None
            journal.up, journal.broken = True, True
            async with asyncio.timeout(60):
                while exporter.broken() is None:  # noqa: ASYNC110 - the exporter looks by itself
                    await asyncio.sleep(0.01)
            assert "a bug" in (exporter.broken() or "")

    asyncio.run(main())


def test_what_could_not_be_applied_is_not_what_is_restored_later() -> None:
    async def main() -> None:
        async with away(*make_links(2)) as (exporter, journal):
            broken = replace(labelled("bad"), accounts=(None,))  # type: ignore[arg-type] # it has to fail
            with pytest.raises(AttributeError):
                await exporter.apply(broken)
            journal.up = True
            async with asyncio.timeout(60):
                while not exporter.recorder.restored:  # noqa: ASYNC110 - the exporter looks by itself
                    await asyncio.sleep(0.01)
            assert page(exporter).count("smsc_link_info{") == 2

    asyncio.run(main())
