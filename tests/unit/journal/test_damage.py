"""Files that lost something, are damaged, or are not ours: found, said, waited out or left alone."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest
from structlog.testing import capture_logs

from exporter.errors import StorageError
from exporter.journal import Appended
from exporter.journal.sqlite_mark import Lock, Mark, State
from exporter.limits.constants import FAILED_LOGIN_WINDOW
from tests.unit.journal.places import SqlitePlace, Writer, read, refused, scenario, sent

SHORT = 120.0


def tamper(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA ignore_check_constraints = ON")
        db.execute(statement)


async def lived(disk: SqlitePlace, *, grave: bool = False) -> Writer:
    """A life in which something of everything was written."""
    writer = await disk.writer()
    for link in range(20):
        request = await writer.sent(link)
        writer.note(refused(request) if grave else read(request, name=f"link-{link}"))
    await writer.settled()
    return writer


def emptied(disk: SqlitePlace) -> None:
    os.truncate(disk.file, 0)
    for suffix in ("-wal", "-shm"):
        disk.beside(suffix).unlink()


def log_cut(disk: SqlitePlace) -> None:
    os.truncate(disk.beside("-wal"), disk.beside("-wal").stat().st_size // 2)


def log_gone(disk: SqlitePlace) -> None:
    disk.beside("-wal").unlink()


def file_gone(disk: SqlitePlace) -> None:
    emptied(disk)
    disk.file.unlink()


# --- something is missing ---------------------------------------------------------------------------------


@pytest.mark.parametrize("lose", [emptied, log_cut, log_gone, file_gone])
@pytest.mark.parametrize("grave", [False, True])
def test_what_is_missing_is_waited_out(disk: SqlitePlace, lose: Any, grave: bool) -> None:
    @scenario
    async def run(disk: SqlitePlace) -> None:
        await disk.crash(await lived(disk, grave=grave))
        lose(disk)
        with capture_logs() as logs:
            writer = await disk.writer()
        unknown = writer.history.unknown
        assert unknown is not None
        assert [entry["event"] for entry in logs] == ["storage_unsure"]
        assert unknown.seconds == logs[0]["seconds"] >= SHORT
        assert unknown.failed_logins == (4 if grave else 0)
        await disk.crash(writer)  # the wait is not forgotten
        disk.clock.advance(100)
        later = (await disk.writer()).history.unknown
        assert later is not None
        assert later.seconds == pytest.approx(unknown.seconds - 100)
        assert later.failed_logins == unknown.failed_logins

    run(disk=disk)


@scenario
async def test_a_wait_ends(disk: SqlitePlace) -> None:
    await disk.crash(await lived(disk, grave=True))
    file_gone(disk)
    await disk.crash(await disk.writer())
    disk.clock.advance(186.0 + 10)
    unknown = (await disk.writer()).history.unknown
    assert unknown is not None
    assert (unknown.seconds, unknown.failed_logins) == (0.0, 4)
    await disk.close(disk.opened[-1])
    disk.clock.advance(FAILED_LOGIN_WINDOW)
    assert (await disk.writer()).history.unknown is None


@scenario
async def test_a_wait_starts_again_after_another_boot(disk: SqlitePlace) -> None:
    await disk.crash(await lived(disk, grave=True))
    file_gone(disk)
    await disk.close(await disk.writer())
    disk.reboot()
    unknown = (await disk.writer()).history.unknown
    assert unknown is not None
    assert (unknown.seconds, unknown.failed_logins) == (186.0, 4)


@scenario
async def test_the_longest_timeout_on_record_is_waited_out(disk: SqlitePlace) -> None:
    writer = await disk.writer()
    await writer.sent(timeout=200.0)
    await disk.crash(writer)
    disk.reboot()
    unknown = (await disk.writer()).history.unknown
    assert unknown is not None
    assert unknown.seconds == 5.0 + 200.0 + 60.0 + 61.0
    assert unknown.reason == "the machine stopped before the file was closed"


@scenario
async def test_a_kill_that_lost_nothing_is_not_waited_for(disk: SqlitePlace) -> None:
    await disk.crash(await lived(disk, grave=True))
    with capture_logs() as logs:
        assert (await disk.writer()).history.unknown is None
    assert logs == []


@scenario
async def test_an_older_copy_of_the_file_is_waited_out(disk: SqlitePlace) -> None:
    await disk.close(await lived(disk))
    older = disk.file.read_bytes()
    await disk.close(await lived(disk))
    disk.file.write_bytes(older)
    unknown = (await disk.writer()).history.unknown
    assert unknown is not None
    assert unknown.reason == "it knows less than was last written to it"


@pytest.mark.parametrize("mark", ["", "not a mark", "smsc-exporter 1 closed", "smsc-exporter x open - 0 0 0"])
def test_a_mark_that_cannot_be_read_may_hide_anything(disk: SqlitePlace, mark: str) -> None:
    @scenario
    async def run(disk: SqlitePlace) -> None:
        await disk.close(await lived(disk))
        disk.beside(".lock").write_text(mark)
        unknown = (await disk.writer()).history.unknown
        assert unknown is not None
        assert unknown.failed_logins == 4

    run(disk=disk)


@scenario
async def test_a_file_without_its_mark_is_waited_for(disk: SqlitePlace) -> None:
    """As one that was copied from elsewhere."""
    await disk.close(await lived(disk))
    disk.beside(".lock").unlink()
    unknown = (await disk.writer()).history.unknown
    assert unknown is not None
    assert unknown.failed_logins == 0


@scenario
async def test_a_clock_that_went_back_in_one_boot_is_distrusted(disk: SqlitePlace) -> None:
    await disk.close(await lived(disk))
    disk.clock.elapsed -= 100
    history = (await disk.writer()).history
    assert history.unknown is not None
    assert history.unknown.reason == "the machine's clock went back"
    assert {dated.latest for dated in history.events} == {disk.clock.monotonic()}


def test_a_mark_that_cannot_be_written_over_is_taken_away(tmp_path: Path) -> None:
    """Some file systems need room for that, too; an empty mark means the longest wait."""
    (tmp_path / "exporter.db").write_text("")
    (tmp_path / "exporter.db.lock").write_text(str(Mark(1)))
    lock = Lock(tmp_path / "exporter.db")
    assert lock.take()
    with open("/dev/full", "wb") as nowhere:
        os.dup2(nowhere.fileno(), lock._file)
    lock.write(Mark(2))
    lock.release()
    lock.release()


# --- what is damaged --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET at = 9e999",
        "UPDATE events SET lasting = 7",
        "UPDATE events SET text = 'no event'",
        "UPDATE events SET text = '[1]'",
        "UPDATE readings SET total = -1",
        "UPDATE readings SET figures = 'no figures'",
        "DROP TABLE readings",
    ],
)
def test_what_cannot_be_is_set_aside(disk: SqlitePlace, statement: str) -> None:
    @scenario
    async def run(disk: SqlitePlace) -> None:
        await disk.close(await lived(disk))
        tamper(disk.file, statement)
        with capture_logs() as logs:
            writer = await disk.writer()
        assert [entry["event"] for entry in logs] == ["storage_damaged", "storage_unsure"]
        assert logs[0]["kept_as"] == str(disk.beside(".damaged-1"))
        assert writer.known == []
        assert writer.history.unknown is not None
        assert await writer.send(sent()) is Appended.YES

    run(disk=disk)


@pytest.mark.parametrize("content", [b"damage" * 1000, b"SQLite format 3\0" + b"\xff" * 4080])
def test_a_file_whose_mark_says_that_it_was_ours_is_set_aside(disk: SqlitePlace, content: bytes) -> None:
    @scenario
    async def run(disk: SqlitePlace) -> None:
        await disk.close(await lived(disk))
        for number in (1, 2):
            disk.file.write_bytes(content)
            await disk.close(await disk.writer())
            assert disk.beside(f".damaged-{number}").read_bytes() == content
        assert disk.aside == ["exporter.db.damaged-1", "exporter.db.damaged-2"]

    run(disk=disk)


@scenario
async def test_a_truncated_file_is_set_aside(disk: SqlitePlace) -> None:
    await disk.close(await lived(disk))
    os.truncate(disk.file, disk.file.stat().st_size - 4096)
    assert (await disk.writer()).history.unknown is not None
    assert disk.aside == ["exporter.db.damaged-1"]


@pytest.mark.parametrize("seed", range(20))
def test_bytes_that_were_overwritten_never_stop_the_start(disk: SqlitePlace, seed: int) -> None:
    @scenario
    async def run(disk: SqlitePlace) -> None:
        await disk.close(await lived(disk))
        random, content = Random(seed), bytearray(disk.file.read_bytes())
        start = random.randrange(100, len(content) - 64)
        content[start : start + 64] = random.randbytes(64)
        disk.file.write_bytes(content)
        writer = await disk.writer()
        assert await writer.send(sent()) is Appended.YES
        assert writer.journal.up

    run(disk=disk)


@pytest.mark.parametrize("marked", [True, False])
def test_a_file_of_an_earlier_version_is_set_aside(disk: SqlitePlace, marked: bool) -> None:
    @scenario
    async def run(disk: SqlitePlace) -> None:
        disk.file.parent.mkdir()
        with closing(sqlite3.connect(disk.file)) as db:
            db.executescript(
                "PRAGMA application_id = 0x534D5343; PRAGMA user_version = 2; CREATE TABLE pauses (x)"
            )
        if marked:
            disk.beside(".lock").write_text(f"{Mark(7, State.CLOSED)}\n")
        with capture_logs() as logs:
            writer = await disk.writer()
        assert [entry["event"] for entry in logs] == ["storage_damaged", "storage_unsure"]
        assert logs[0]["reason"] == "an earlier version wrote it (schema 2)"
        assert writer.history.unknown is not None
        assert writer.history.unknown.failed_logins == 0
        assert disk.aside == ["exporter.db.damaged-1"]

    run(disk=disk)


@scenario
async def test_a_wait_for_damage_is_noted_before_a_new_file_is_made(disk: SqlitePlace) -> None:
    """Here no new file could be made: the next start finds none, and waits all the same."""
    disk.file.parent.mkdir()
    with closing(sqlite3.connect(disk.file)) as db:
        db.executescript("PRAGMA application_id = 0x534D5343; PRAGMA user_version = 1; CREATE TABLE t (x)")
    disk.beside("-wal").write_text("")
    disk.beside(".damaged-1-wal").mkdir()
    with pytest.raises(StorageError, match=r"exporter\.db cannot be used: Is a directory"):
        await disk.writer()
    assert not disk.file.exists()
    disk.beside("-wal").unlink()
    assert (await disk.writer()).history.unknown is not None


# --- what is not ours -------------------------------------------------------------------------------------


def their_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs (x)")


def their_text(path: Path) -> None:
    path.write_text("accounts: []\n")


@pytest.mark.parametrize("make", [their_database, their_text])
@pytest.mark.parametrize("mark", [None, "", "not a mark"])
def test_a_file_of_another_program_is_left_alone(disk: SqlitePlace, make: Any, mark: str | None) -> None:
    @scenario
    async def run(disk: SqlitePlace) -> None:
        disk.file.parent.mkdir()
        make(disk.file)
        if mark is not None:
            disk.beside(".lock").write_text(mark)
        before = {path: path.read_bytes() for path in disk.file.parent.iterdir()}
        for _ in range(2):
            with pytest.raises(StorageError, match=r"is not smsc-exporter's database: name another path in"):
                await disk.writer()
        assert {path: path.read_bytes() for path in disk.file.parent.iterdir()} == before

    run(disk=disk)


@scenario
async def test_a_newer_schema_is_refused_by_name(disk: SqlitePlace) -> None:
    await disk.close(await lived(disk))
    with closing(sqlite3.connect(disk.file)) as db:
        db.execute("PRAGMA user_version = 6")
    with pytest.raises(StorageError, match=r"exporter\.db was written by a newer smsc-exporter \(schema 6, "):
        await disk.writer()
    assert disk.aside == []


@scenario
async def test_an_empty_file_is_taken(disk: SqlitePlace) -> None:
    disk.file.parent.mkdir()
    disk.file.write_text("")
    writer = await disk.writer()
    assert await writer.send(sent()) is Appended.YES
    assert disk.aside == []
