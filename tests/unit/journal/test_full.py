"""The journal while its file cannot be written: ``serve`` goes on from memory, and nothing is lost after."""

from __future__ import annotations

import asyncio
import resource
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from exporter.journal import Appended
from exporter.limits.constants import REMEMBERED, REMEMBERED_SHORTLY
from exporter.limits.events import binds, encode
from tests.unit.journal.places import SOON, SqlitePlace, Writer, answered, read, refused, scenario, sent

LINK = ("main", "link")


@contextmanager
def full() -> Iterator[None]:
    """No file of this process can grow beyond the size of the mark, so that no commit succeeds."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


async def works_again(writer: Writer) -> None:
    """Nobody asks for anything meanwhile."""
    for _ in range(600):
        if writer.journal.up:
            return
        await asyncio.sleep(SOON / 2)
    raise AssertionError("it was never tried again")


def folder_gone(disk: SqlitePlace) -> None:
    shutil.rmtree(disk.file.parent)


def file_gone(disk: SqlitePlace) -> None:
    disk.file.unlink()


def log_gone(disk: SqlitePlace) -> None:
    disk.beside("-wal").unlink()


def replaced(disk: SqlitePlace) -> None:
    disk.file.unlink()
    disk.file.write_bytes(b"something else" * 100)


def damaged(disk: SqlitePlace) -> None:
    with closing(sqlite3.connect(disk.file)) as db, db:
        db.execute("DROP TABLE readings")
        db.execute("DROP TABLE events")


@scenario
async def test_it_is_said_once_and_written_again_by_itself(disk: SqlitePlace) -> None:
    writer = await disk.writer()
    with capture_logs() as logs:
        with full():
            for link in range(3):
                assert await writer.send(sent(link)) is Appended.YES
                assert not writer.journal.up
        await works_again(writer)
    assert [entry["event"] for entry in logs] == ["storage_failed", "storage_works_again"]
    assert logs[0]["reason"] == "disk I/O error"
    assert not writer.journal.fail_closed


@scenario
async def test_the_mark_says_lost_before_a_request_leaves(disk: SqlitePlace) -> None:
    writer = await disk.writer()
    with full():
        assert await writer.send(sent()) is Appended.YES
        assert disk.mark == ["0", "light", "lost"]
    await works_again(writer)
    assert disk.mark == ["1", "light", "open"]


@scenario
async def test_what_happened_meanwhile_is_on_file_afterwards(disk: SqlitePlace) -> None:
    writer = await disk.writer()
    before = await writer.sent()
    with full():
        first, second = await writer.sent(1), await writer.sent(2)
        writer.note(read(before, 3, total=3))
        writer.note(refused(first))
        await writer.settled()
        writer.note(read(second, 9, total=9, name="other"))
        await writer.settled()
    await works_again(writer)
    await disk.crash(writer)
    later = await disk.writer()
    assert later.history.unknown is None
    assert set(later.known) == {before.number, first.number, second.number}
    readings = await later.read([LINK, ("main", "other")])
    assert [stored.reading.all_time for stored in readings] == [3, 9]


@pytest.mark.parametrize("lose", [folder_gone, file_gone, log_gone, replaced, damaged])
def test_a_file_that_goes_away_under_us_is_made_again_with_all_that_counts(
    disk: SqlitePlace, lose: Any
) -> None:
    @scenario
    async def run(disk: SqlitePlace) -> None:
        writer = await disk.writer()
        before = await writer.sent()
        writer.note(read(before))
        await writer.settled()
        lose(disk)
        assert await writer.send(meanwhile := sent(2)) is Appended.YES
        assert not writer.journal.up
        await works_again(writer)
        after = await writer.sent(3)
        await disk.crash(writer)
        later = await disk.writer()
        assert later.history.unknown is None
        assert set(later.known) == {before.number, meanwhile.number, after.number}
        (stored,) = await later.read([LINK])
        assert stored.total == 7

    run(disk=disk)


@scenario
async def test_an_older_copy_in_its_place_gets_what_it_lacks(disk: SqlitePlace) -> None:
    writer = await disk.writer()
    first = await writer.sent()
    await disk.close(writer)
    older = disk.file.read_bytes()
    writer = await disk.writer()
    second = await writer.sent(2)
    for suffix in ("", "-wal", "-shm"):
        disk.beside(suffix).unlink()
    disk.file.write_bytes(older)
    third = await writer.sent(3)
    await works_again(writer)
    assert writer.news == []
    await disk.close(writer)
    assert (await disk.writer()).known == [first.number, second.number, third.number]


@pytest.mark.parametrize("grave", [False, True])
def test_a_kill_meanwhile_is_waited_out(disk: SqlitePlace, grave: bool) -> None:
    @scenario
    async def run(disk: SqlitePlace) -> None:
        writer = await disk.writer()
        with full():
            request = await writer.sent()
            if grave:
                writer.note(refused(request))
                await writer.settled()
            await asyncio.sleep(0)
        lost = disk.beside(".lock").read_text()
        await disk.crash(writer)
        disk.beside(".lock").write_text(lost)
        unknown = (await disk.writer()).history.unknown
        assert unknown is not None
        assert unknown.reason == "it lacks what was sent last"
        assert unknown.failed_logins == (4 if grave else 0)

    run(disk=disk)


@scenario
async def test_an_end_while_it_is_full_is_waited_out_too(disk: SqlitePlace) -> None:
    writer = await disk.writer()
    with full():
        await writer.sent()
        await disk.close(writer)
    assert disk.mark == ["0", "light", "lost"]
    assert (await disk.writer()).history.unknown is not None


@scenario
async def test_an_end_after_it_was_full_loses_nothing(disk: SqlitePlace) -> None:
    writer = await disk.writer()
    with full():
        request = await writer.sent()
    await disk.close(writer)
    later = await disk.writer()
    assert (later.known, later.history.unknown) == ([request.number], None)


@scenario
async def test_what_a_guest_appended_just_before_is_learnt_meanwhile(disk: SqlitePlace) -> None:
    writer, guest = await disk.writer(), await disk.another()
    theirs = await guest.sent()
    with full():
        assert await writer.send(sent(2)) is Appended.BEHIND
        assert writer.numbers == [theirs.number]
        assert await writer.send(sent(2)) is Appended.YES


@scenario
async def test_what_another_appended_is_learnt_while_requests_are_only_in_memory(disk: SqlitePlace) -> None:
    writer = await disk.writer()
    with full():
        await writer.sent()
    theirs = sent(2)
    with closing(sqlite3.connect(disk.file)) as db, db:
        row = (theirs.number, disk.clock.monotonic(), encode(theirs))
        db.execute("INSERT INTO events (number, kind, at, lasting, text) VALUES (?, 0, ?, 0, ?)", row)
    assert await writer.send(sent(3)) is Appended.BEHIND
    assert writer.numbers == [theirs.number]


@scenario
async def test_what_counts_no_longer_is_forgotten_meanwhile(disk: SqlitePlace) -> None:
    writer = await disk.writer()
    with full():
        writer.note(refused(await writer.sent()))
        await writer.settled()
        disk.clock.advance(REMEMBERED_SHORTLY + 1)
        await writer.settled()
    await works_again(writer)
    await disk.close(writer)
    (lasting,) = (await disk.writer()).history.events
    assert binds(lasting.event)


@scenario
async def test_a_folder_that_another_exporter_took_is_left_to_it(disk: SqlitePlace) -> None:
    writer = await disk.writer()
    folder_gone(disk)
    other = await disk.writer()
    await other.sent()
    assert await writer.send(sent(2)) is Appended.YES
    assert not writer.journal.up
    await asyncio.sleep(SOON * 2.5)
    assert not writer.journal.up
    await disk.close(other)
    await works_again(writer)
    assert len(writer.numbers) == 1


@scenario
async def test_a_full_disk_stops_the_start(disk: SqlitePlace) -> None:
    disk.file.parent.mkdir()
    with full(), pytest.raises(Exception, match=r"exporter\.db cannot be used: disk I/O error"):
        await Writer(disk.make(), disk.clock).open()
    assert (await disk.writer()).history.unknown is None


@scenario
async def test_readings_are_kept_in_memory_for_as_long_as_it_takes(disk: SqlitePlace) -> None:
    writer = await disk.writer()
    with full():
        writer.note(read(await writer.sent(), 5, total=5))
        await writer.settled()
        disk.clock.advance(REMEMBERED + 1)
        await writer.settled()
    await works_again(writer)
    (stored,) = await writer.read([LINK])
    assert stored.total == 5
    writer.note(answered(await writer.sent(2)))
