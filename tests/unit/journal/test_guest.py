"""Commands that work beside ``serve`` on its file, or alone."""

from __future__ import annotations

import asyncio
import fcntl
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from exporter.errors import StorageError
from exporter.journal import Appended
from exporter.journal.sqlite_mark import Mark, State
from tests.unit.journal.places import SqlitePlace, answered, read, refused, scenario, sent
from tests.unit.journal.test_full import full, works_again


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Somebody else is just preparing the file."""
    with Path(f"{path}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@scenario
async def test_beside_an_exporter_nobody_is_an_orphan(disk: SqlitePlace) -> None:
    service = await disk.writer()
    request = await service.sent()
    guest = await disk.another()
    assert guest.known == [request.number]
    assert not guest.history.events[0].orphan
    assert guest.history.unknown is None
    assert guest.journal.fail_closed


@scenario
async def test_alone_it_finds_what_an_exporter_left(disk: SqlitePlace) -> None:
    service = await disk.writer()
    request = await service.sent()
    await disk.close(service)
    guest = await disk.another()
    assert guest.history.events[0].orphan
    assert await guest.send(mine := sent(2)) is Appended.YES
    service = await disk.writer()  # the guest let the file go at once
    assert service.known == [request.number, mine.number]


@scenario
async def test_where_nothing_ever_was_it_makes_the_file(disk: SqlitePlace) -> None:
    guest = await disk.another()
    assert guest.history.unknown is None
    assert await guest.send(request := sent()) is Appended.YES
    assert disk.mark == ["0", "light", "closed"]
    await disk.close(guest)
    disk.reboot()
    service = await disk.writer()
    assert (service.known, service.history.unknown) == ([request.number], None)


@scenario
async def test_what_it_is_told_is_waited_out_by_the_exporter_too(disk: SqlitePlace) -> None:
    service = await disk.writer()
    service.note(refused(await service.sent()))
    await disk.close(service)
    disk.file.unlink()
    guest = await disk.another()
    assert guest.history.unknown is not None
    service = await disk.writer()
    assert service.history.unknown is not None
    assert service.history.unknown.failed_logins == 4
    visitor = await disk.another()
    assert visitor.history.unknown is not None
    assert visitor.history.unknown.failed_logins == 4


@scenario
async def test_it_sends_nothing_while_the_exporter_cannot_write(disk: SqlitePlace) -> None:
    service, guest = await disk.writer(), await disk.another()
    with full():
        await service.sent()
    assert await guest.send(sent(2)) is Appended.NO
    assert not guest.journal.up
    await works_again(service)
    await works_again(guest)
    assert len(guest.numbers) == 1
    assert await guest.send(sent(2)) is Appended.YES


@scenario
async def test_it_sends_nothing_while_it_cannot_write_itself(disk: SqlitePlace) -> None:
    guest = await disk.another()
    with full():
        assert await guest.send(sent()) is Appended.NO
        guest.note(answered(early := sent(3)))
        await asyncio.sleep(0.2)
    await works_again(guest)
    assert await guest.send(request := sent(2)) is Appended.YES
    known = (await disk.writer()).known
    assert known[-1] == request.number
    assert early.number in known


@scenario
async def test_it_does_not_write_the_mark_of_an_exporter(disk: SqlitePlace) -> None:
    service, guest = await disk.writer(), await disk.another()
    await guest.sent()
    await disk.close(guest)
    assert disk.mark == ["0", "light", "open"]
    await service.settled()


@scenario
async def test_a_file_that_was_replaced_takes_nothing(disk: SqlitePlace) -> None:
    guest = await disk.another()
    disk.file.rename(disk.beside(".moved"))
    assert await guest.send(sent()) is Appended.NO
    disk.beside(".moved").rename(disk.file)
    await works_again(guest)
    assert await guest.send(sent()) is Appended.YES


@scenario
async def test_a_mark_that_becomes_lost_during_the_commit_is_noticed(disk: SqlitePlace) -> None:
    """The exporter may have sent something that no file knows, before it could see the guest's request."""
    guest = await disk.another()
    with closing(sqlite3.connect(disk.file, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")

        def lose() -> None:
            time.sleep(0.3)
            disk.beside(".lock").write_text(str(Mark(state=State.LOST)))
            other.execute("COMMIT")

        thread = threading.Thread(target=lose)
        thread.start()
        assert await guest.send(sent()) is Appended.NO
        thread.join()


@scenario
async def test_a_file_of_another_boot_is_refused_while_somebody_has_it(disk: SqlitePlace) -> None:
    await disk.writer()
    disk.reboot()
    with pytest.raises(StorageError, match="in use by an exporter on another machine, or of another version"):
        await disk.another()


@scenario
async def test_it_waits_while_somebody_prepares_the_file(disk: SqlitePlace) -> None:
    disk.file.parent.mkdir()
    with locked(disk.file), pytest.raises(StorageError, match="is in use by an exporter on another machine"):
        await disk.another()


@pytest.mark.parametrize("beside", [True, False])
def test_it_sets_no_file_aside(disk: SqlitePlace, beside: bool) -> None:
    @scenario
    async def run(disk: SqlitePlace) -> None:
        service = await disk.writer()
        service.note(read(await service.sent()))
        await service.settled()
        if not beside:
            await disk.close(service)
        with closing(sqlite3.connect(disk.file)) as db, db:
            db.execute("UPDATE events SET text = 'no event'")
        with pytest.raises(StorageError, match=r"is damaged \(.*\): start the exporter, which sets it aside"):
            await disk.another()
        assert disk.aside == []

    run(disk=disk)
