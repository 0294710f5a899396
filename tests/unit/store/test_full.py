"""The embedded store while its file can't be written: the same rules in memory, and nothing is lost after."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from exporter.model import State
from exporter.rules import FAILED_LOGIN_SPAN, LINGER, SPAN
from exporter.store.backend import Denied, Pause, Scope
from exporter.store.sqlite import SqliteBackend
from exporter.store.sqlite_lock import Lock, Mark
from tests.unit.store.places import HOST, attempt, denied, granted, held, scenario, settled, snapshot
from tests.unit.store.test_damage import Disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from exporter.store.backend import Backend


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


def connection(backend: Backend) -> sqlite3.Connection:
    assert isinstance(backend, SqliteBackend)
    return backend._file._db


@contextmanager
def full(backend: Backend) -> Iterator[None]:
    """Nothing can be written meanwhile."""
    connection(backend).execute("PRAGMA query_only = ON")
    yield
    connection(backend).execute("PRAGMA query_only = OFF")


async def works_again(backend: Backend) -> None:
    """Nobody asks for anything meanwhile."""
    for _ in range(600):
        if backend.up:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it was never tried again")


async def sent(backend: Backend, times: int, link: int = 1) -> None:
    for _ in range(times):
        backend.end(await granted(backend, attempt(link)), login_failed=False)
    await settled(backend)


@scenario
async def test_it_is_told_once_and_written_to_again_by_itself(disk: Disk) -> None:
    backend = await disk.open()
    with capture_logs() as logs:
        with full(backend):
            await sent(backend, 2)
            assert not backend.up
        await works_again(backend)
    assert [entry["event"] for entry in logs] == ["storage_failed", "storage_works_again"]
    assert logs[0]["reason"] == "attempt to write a readonly database"


@scenario
async def test_the_rules_hold_meanwhile_with_what_the_file_knows(disk: Disk) -> None:
    backend = await disk.open()
    await sent(backend, 2)
    backend.hold("other.example", Pause(State.BLOCKED, 1800.0, 1))
    await settled(backend)
    with full(backend):
        await sent(backend, 1)
        assert (await denied(backend, attempt())).scope is Scope.LINK
        answer = await denied(backend, attempt(host="other.example"))
        assert held(answer, State.BLOCKED, 1800, 1)


@scenario
async def test_a_wait_that_stands_in_the_file_is_kept_meanwhile(disk: Disk) -> None:
    disk.file.parent.mkdir()
    disk.file.write_bytes(b"damage" * 1000)
    backend = await disk.open()
    with full(backend):
        assert await denied(backend, attempt()) == Denied(Scope.HOST, SPAN + LINGER)


@scenario
async def test_what_happened_meanwhile_is_on_file_afterwards(disk: Disk) -> None:
    backend = await disk.open()
    before = await granted(backend, attempt(1))
    backend.hold("lifted.example", Pause(State.BLOCKED, 1800.0, 1))
    await settled(backend)
    with full(backend):
        await sent(backend, 2, link=1)
        backend.end(before, login_failed=False)
        for link in range(4):
            backend.end(await granted(backend, attempt(10 + link, proven=False)), login_failed=True)
            await settled(backend)
        backend.hold("blocked.example", Pause(State.BLOCKED, 1800.0, 2))
        backend.hold("lifted.example", None)
        backend.keep(snapshot(7, read_at=disk.clock.time()))
        await settled(backend)
    await works_again(backend)
    await disk.crash(backend)
    backend = await disk.open()
    assert [kept.reading.all_time for kept in disk.kept.values()] == [7]
    assert (await denied(backend, attempt(1))).seconds == pytest.approx(SPAN)
    assert (await denied(backend, attempt(20, proven=False))).seconds == pytest.approx(FAILED_LOGIN_SPAN)
    blocked = await denied(backend, attempt(host="blocked.example"))
    assert held(blocked, State.BLOCKED, 1800, 2)
    await granted(backend, attempt(2, host="lifted.example"))


@scenario
async def test_what_the_other_process_wrote_meanwhile_stays(disk: Disk) -> None:
    backend = await disk.open()
    with full(backend):
        await sent(backend, 1)
        with closing(sqlite3.connect(disk.file)) as guest, guest:
            row = (1, HOST, f"{HOST}/alex", "id", "1", disk.clock.boottime(), 1, 1)
            guest.execute(
                "INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ? - 1000 + (SELECT latest FROM clock), ?, ?)",
                row,
            )
        await sent(backend, 1)
    await works_again(backend)
    assert (await denied(backend, attempt())).scope is Scope.LINK


@pytest.mark.parametrize("refused", [False, True])
def test_a_kill_meanwhile_is_waited_out(disk: Disk, refused: bool) -> None:
    @scenario
    async def run(disk: Disk) -> None:
        backend = await disk.open()
        with full(backend):
            await sent(backend, 3)
            if refused:
                backend.hold(HOST, Pause(State.BLOCKED, 1800.0, 1))
                await asyncio.sleep(0.2)
            await disk.crash(backend)
        answer = await denied(await disk.open(), attempt())
        assert answer == Denied(Scope.HOST, FAILED_LOGIN_SPAN if refused else SPAN + LINGER)

    run(disk=disk)


@scenario
async def test_an_end_while_it_is_full_is_waited_out_too(disk: Disk) -> None:
    backend = await disk.open()
    connection(backend).execute("PRAGMA query_only = ON")
    await sent(backend, 3)
    await disk.close(backend)
    assert await denied(await disk.open(), attempt()) == Denied(Scope.HOST, SPAN + LINGER)


@scenario
async def test_an_end_after_it_was_full_loses_nothing(disk: Disk) -> None:
    backend = await disk.open()
    with full(backend):
        await sent(backend, 3)
    await disk.close(backend)
    assert (await denied(await disk.open(), attempt())).scope is Scope.LINK


@scenario
async def test_a_file_that_cannot_be_read_either_is_doubted(disk: Disk) -> None:
    backend = await disk.open()
    with closing(sqlite3.connect(disk.file)) as other, other:
        other.execute("DROP TABLE attempts")
    assert await denied(backend, attempt()) == Denied(Scope.HOST, SPAN + LINGER)
    assert not backend.up


@scenario
async def test_whatever_happens_a_claim_is_answered(disk: Disk) -> None:
    """A statement that can be run nowhere, here as no database takes such a text."""
    backend = await disk.open()
    with capture_logs() as logs:
        answer = await denied(backend, attempt(target=("id", "\ud800")))
    assert answer == Denied(Scope.HOST, SPAN)
    assert [entry["event"] for entry in logs] == ["storage_failed", "storage_crashed"]
    await works_again(backend)
    await granted(backend, attempt())


def test_a_mark_that_cannot_be_written_over_is_taken_away(tmp_path: Path) -> None:
    """Some file systems need room for that, too; an empty mark means the longest wait."""
    lock = Lock(tmp_path / "exporter.db")
    assert lock.take()
    with open("/dev/full", "wb") as nowhere:
        os.dup2(nowhere.fileno(), lock._file)
    lock.write(Mark(1, grave=False))
    lock.release()
