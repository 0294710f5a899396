"""The journal's SQLite file: what outlives a process, the clock, the names and modes of its files."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from math import inf
from pathlib import Path

import pytest

from exporter.errors import Outcome, StorageError
from exporter.journal import Appended
from exporter.journal.outbox import PACE
from exporter.journal.sqlite import present_boot
from exporter.limits.constants import REMEMBERED, REMEMBERED_SHORTLY, VERIFIED_TTL
from tests.unit.journal.places import SqlitePlace, Writer, answered, read, refused, scenario, sent

LINK = ("main", "link")


def rows(disk: SqlitePlace, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(disk.file)) as db:
        return db.execute(query).fetchall()


async def stored_at(disk: SqlitePlace) -> float:
    """The wall-clock time of the one reading on file, as the next start takes it."""
    writer = await disk.writer()
    (stored,) = await writer.read([LINK])
    await disk.close(writer)
    return stored.read_at


async def read_once(disk: SqlitePlace) -> None:
    writer = await disk.writer()
    writer.note(read(await writer.sent()))
    await disk.close(writer)


# --- what outlives the process ----------------------------------------------------------------------------


@scenario
async def test_what_was_granted_outlives_a_kill(disk: SqlitePlace) -> None:
    writer = await disk.writer()
    requests = [await writer.sent(link) for link in range(14)]
    await disk.crash(writer)
    assert (await disk.writer()).known == [request.number for request in requests]


@scenario
async def test_a_plain_end_is_written_soon(disk: SqlitePlace) -> None:
    writer = await disk.writer()
    request = await writer.sent()
    writer.note(answered(request))
    writer.note(read(request))  # the second waits with the first
    await asyncio.sleep(PACE * 10)
    await disk.crash(writer)
    assert (await disk.writer()).known == [request.number] * 2


@scenario
async def test_what_was_noted_is_written_at_the_end(disk: SqlitePlace) -> None:
    writer = await disk.writer()
    request = await writer.sent()
    writer.note(answered(request))
    await disk.close(writer)
    assert disk.mark == ["2", "light", "closed"]
    assert (await disk.writer()).known == [request.number] * 2


@scenario
async def test_who_asks_at_the_end_is_refused(disk: SqlitePlace) -> None:
    writer = await disk.writer()
    first = asyncio.ensure_future(writer.send(sent()))
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(disk.close(writer))
    await asyncio.sleep(0)
    assert await writer.send(sent(2)) is Appended.NO
    await closing
    assert await first in (Appended.YES, Appended.NO)
    assert await writer.send(sent(3)) is Appended.NO
    writer.note(answered(sent()))  # too late, and harmless


@scenario
async def test_what_counts_no_longer_is_dropped_and_what_counts_for_hours_stays(disk: SqlitePlace) -> None:
    writer = await disk.writer()
    request = await writer.sent()
    writer.note(refused(request))
    await writer.settled()
    disk.clock.advance(REMEMBERED_SHORTLY + 1)
    await writer.settled()
    assert rows(disk, "SELECT number, lasting FROM events") == [(request.number, 1)]
    disk.clock.advance(REMEMBERED - REMEMBERED_SHORTLY)
    await writer.settled()
    assert rows(disk, "SELECT * FROM events") == []
    await disk.close(writer)
    later = await disk.writer()
    assert (later.known, later.history.unknown) == ([], None)


@scenario
async def test_a_link_not_read_for_a_month_is_forgotten(disk: SqlitePlace) -> None:
    await read_once(disk)
    disk.clock.advance(29 * 86_400)
    assert await stored_at(disk)
    disk.clock.advance(2 * 86_400)
    writer = await disk.writer()
    assert await writer.read([LINK]) == []


@scenario
async def test_text_that_utf_8_cannot_hold_stops_nothing(disk: SqlitePlace) -> None:
    """The provider's JSON may hold half a character."""
    writer = await disk.writer()
    request = await writer.sent()
    writer.note(read(request, name="half \ud800"))
    assert await writer.send(sent(2)) is Appended.YES
    assert writer.journal.up


# --- the clock --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0])
def test_a_wall_clock_set_while_down_changes_no_age(disk: SqlitePlace, jump: float) -> None:
    @scenario
    async def run(disk: SqlitePlace) -> None:
        await read_once(disk)
        disk.clock.advance(10)
        disk.clock.step(jump)
        assert disk.clock.time() - await stored_at(disk) == pytest.approx(10)
        (first, _) = (await disk.writer()).history.events
        assert first.earliest == first.latest == pytest.approx(disk.clock.monotonic() - 10)

    run(disk=disk)


@scenario
async def test_logins_accepted_in_the_last_hour_are_taken_as_verified(disk: SqlitePlace) -> None:
    assert (await disk.writer()).history.verified_since == inf
    await disk.close(disk.opened[0])
    later = await disk.writer()
    assert later.history.verified_since == pytest.approx(disk.clock.monotonic() - VERIFIED_TTL)


@scenario
async def test_after_another_boot_no_time_has_passed_and_nothing_is_verified(disk: SqlitePlace) -> None:
    await read_once(disk)
    disk.reboot()
    later = await disk.writer()
    assert [dated.latest for dated in later.history.events] == [5.0, 5.0]
    assert [dated.earliest for dated in later.history.events] == [-inf, -inf]
    assert later.history.verified_since == inf
    assert later.history.unknown is None
    await disk.close(later)
    disk.clock.advance(7)
    assert [dated.latest for dated in (await disk.writer()).history.events] == [5.0, 5.0]


@scenario
async def test_after_another_boot_a_reading_is_as_old_as_the_wall_clock_says(disk: SqlitePlace) -> None:
    taken = disk.clock.time()
    await read_once(disk)
    disk.clock.offset += 4_600.0
    disk.reboot()
    assert await stored_at(disk) == pytest.approx(taken)


@scenario
async def test_after_another_boot_a_reading_is_at_least_as_old_as_the_boot(disk: SqlitePlace) -> None:
    await read_once(disk)
    wall = disk.clock.time()
    disk.reboot()
    disk.clock.elapsed = 500.0
    disk.clock.offset = wall - 500.0
    assert await stored_at(disk) == pytest.approx(wall - 500.0)


@scenario
async def test_after_another_boot_a_reading_from_the_future_has_no_known_age(disk: SqlitePlace) -> None:
    await read_once(disk)
    wall = disk.clock.time()
    disk.reboot()
    disk.clock.offset = wall - 3_600.0
    assert await stored_at(disk) == 0.0


def test_without_a_boots_name_nothing_is_trusted(tmp_path: Path) -> None:
    assert present_boot() == present_boot()
    nowhere = tmp_path / "boot_id"
    assert present_boot(nowhere) != present_boot(nowhere)


# --- whose file it is -------------------------------------------------------------------------------------


@scenario
async def test_the_files_are_for_us_alone(disk: SqlitePlace) -> None:
    await (await disk.writer()).sent()
    folder = disk.file.parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == dict.fromkeys(
        ["exporter.db", "exporter.db-wal", "exporter.db-shm", "exporter.db.lock"], 0o600
    )


@pytest.mark.parametrize("name", ["exporter.db", "exporter.db.lock"])
def test_a_symbolic_link_is_not_followed(disk: SqlitePlace, name: str) -> None:
    @scenario
    async def run(disk: SqlitePlace) -> None:
        disk.file.parent.mkdir()
        elsewhere = disk.file.parent.with_name("elsewhere")
        elsewhere.write_text("")
        (disk.file.parent / name).symlink_to(elsewhere)
        with pytest.raises(StorageError, match="cannot be used: Too many levels of symbolic links"):
            await disk.writer()
        assert elsewhere.read_text() == ""

    run(disk=disk)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("name", ["exporter.db", "exporter.db.lock"])
def test_a_file_of_another_user_is_refused(disk: SqlitePlace, name: str) -> None:
    @scenario
    async def run(disk: SqlitePlace) -> None:
        await read_once(disk)
        os.chown(disk.file.parent / name, 65534, 65534)
        with pytest.raises(StorageError, match="cannot be used: it belongs to another user"):
            await disk.writer()

    run(disk=disk)


@scenario
async def test_a_second_exporter_on_the_file_is_refused(disk: SqlitePlace) -> None:
    writer = await disk.writer()
    with pytest.raises(StorageError, match="is in use by another process: one file serves one exporter"):
        await disk.writer()
    await writer.sent()
    assert writer.journal.up


@scenario
async def test_a_folder_that_cannot_be_made_is_refused(disk: SqlitePlace) -> None:
    disk.file.parent.write_text("")
    with pytest.raises(StorageError, match="cannot be used: File exists"):
        await disk.writer()


@scenario
async def test_what_is_no_file_is_refused(disk: SqlitePlace) -> None:
    disk.file.mkdir(parents=True)
    with pytest.raises(StorageError, match="cannot be used: it is a folder"):
        await disk.writer()


@contextmanager
def unprivileged() -> Iterator[None]:
    """Root may write anywhere: whoever runs the tests, nobody does what is done here."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder.is_relative_to(tempfile.gettempdir()):
            folder.chmod(folder.stat().st_mode | 0o055)
    place = SqlitePlace(tmp_path)
    place.file = tmp_path / "exporter.db"
    tmp_path.chmod(0o555)

    async def run() -> None:
        with (
            unprivileged(),
            pytest.raises(StorageError, match=r"exporter.db cannot be used: Permission denied"),
        ):
            await Writer(place.make(), place.clock).open()

    asyncio.run(run())
    tmp_path.chmod(0o755)


# --- together ---------------------------------------------------------------------------------------------


@scenario
async def test_what_is_asked_while_the_thread_works_shares_one_transaction(disk: SqlitePlace) -> None:
    """All wait for one commit, so a guest that has the file holds them up once."""
    writer = await disk.writer()
    with closing(sqlite3.connect(disk.file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = [asyncio.ensure_future(writer.send(sent(link))) for link in range(10)]
        await asyncio.sleep(0.05)
        other.execute("ROLLBACK")
    assert await asyncio.gather(*waiting) == [Appended.YES] * 10
    assert rows(disk, "SELECT count(DISTINCT at), count(*) FROM events WHERE kind = 0") == [(1, 10)] or rows(
        disk, "SELECT count(*) FROM events"
    ) == [(10,)]


@pytest.mark.parametrize(
    ("outcome", "unclear", "weight"),
    [
        (Outcome.UNAUTHORIZED, False, "grave"),
        (Outcome.BLOCKED, False, "grave"),
        (Outcome.TIMEOUT, True, "grave"),
        (Outcome.THROTTLED, False, "light"),
    ],
)
def test_the_mark_says_whether_a_failed_login_counts(
    disk: SqlitePlace, outcome: Outcome, unclear: bool, weight: str
) -> None:
    @scenario
    async def run(disk: SqlitePlace) -> None:
        writer = await disk.writer()
        end = answered(await writer.sent(), outcome=outcome, unclear=unclear, binds=True, lasting=True)
        writer.note(end)
        await writer.settled()
        assert disk.mark == ["2", weight, "open"]
        disk.clock.advance(REMEMBERED)
        await writer.settled()
        assert disk.mark == ["2", "light", "open"]

    run(disk=disk)
