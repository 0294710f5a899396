"""Files of the embedded store that lost something, or tell what can't be: found, said, and waited out."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from exporter.errors import StorageError
from exporter.model import State
from exporter.rules import FAILED_LOGIN_SPAN, LINGER, SPAN
from exporter.store.backend import Denied, Grant, Pause, Scope
from exporter.store.sqlite import SqliteBackend
from exporter.store.sqlite_lock import Lock
from exporter.store.sqlite_schema import APPLICATION, MIGRATIONS
from tests.unit.store.places import HOST, Place, attempt, denied, granted, held, scenario, settled, snapshot

if TYPE_CHECKING:
    from exporter.store.backend import Backend

SHORT = Denied(Scope.HOST, SPAN + LINGER)
LONG = Denied(Scope.HOST, FAILED_LOGIN_SPAN)


class Disk(Place):
    """One file, whose process is killed by ``crash``: what was on the disk then is what there is."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.file = folder / "0" / "exporter.db"
        self.boot = "this boot"

    def make(self) -> SqliteBackend:
        return SqliteBackend(self.file, self.clock, self.boot)

    async def crash(self, backend: Backend) -> None:
        before = self.file.parent
        self.file = before.parent / f"{int(before.name) + 1}" / "exporter.db"
        shutil.copytree(before, self.file.parent)

    @property
    def aside(self) -> list[Path]:
        return sorted(self.file.parent.glob("*.damaged-?"))

    def beside(self, suffix: str) -> Path:
        return Path(f"{self.file}{suffix}")


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


def tamper(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA ignore_check_constraints = ON")
        db.execute(statement)


async def lived(disk: Disk, *, refused: bool = False) -> Backend:
    """A life in which something of everything was written."""
    backend = await disk.open()
    for link in range(20):
        grant = await granted(backend, attempt(link))
        backend.end(grant, login_failed=False)
        backend.keep(snapshot(7, read_at=disk.clock.time(), name=f"link-{link}"))
    if refused:
        backend.hold(HOST, Pause(State.BLOCKED, 7200.0, 3))
    backend.hold("other.example/x/y", Pause(State.THROTTLED, 60.0, 1))
    await settled(backend)
    return backend


# --- something is missing ---------------------------------------------------------------------------------


def emptied(disk: Disk) -> None:
    """Nothing is left of it but its name."""
    os.truncate(disk.file, 0)
    for suffix in ("-wal", "-shm"):
        disk.beside(suffix).unlink()


def log_cut(disk: Disk) -> None:
    os.truncate(disk.beside("-wal"), disk.beside("-wal").stat().st_size // 2)


def log_gone(disk: Disk) -> None:
    disk.beside("-wal").unlink()


def file_gone(disk: Disk) -> None:
    emptied(disk)
    disk.file.unlink()


@pytest.mark.parametrize("lose", [emptied, log_cut, log_gone, file_gone])
@pytest.mark.parametrize(("refused", "answer"), [(False, SHORT), (True, LONG)])
def test_what_is_missing_is_waited_out(disk: Disk, lose: Any, refused: bool, answer: Denied) -> None:
    @scenario
    async def run(disk: Disk) -> None:
        await disk.crash(await lived(disk, refused=refused))
        lose(disk)
        with capture_logs() as logs:
            backend = await disk.open()
        assert [(entry["event"], entry["seconds"]) for entry in logs] == [("storage_unsure", answer.seconds)]
        assert await denied(backend, attempt()) == answer
        await disk.crash(backend)  # and this is not forgotten
        backend = await disk.open()
        assert await denied(backend, attempt()) == answer
        disk.clock.advance(answer.seconds)
        await granted(backend, attempt())

    run(disk=disk)


@scenario
async def test_a_kill_that_lost_nothing_is_not_waited_for(disk: Disk) -> None:
    await disk.crash(await lived(disk))
    with capture_logs() as logs:
        await granted(await disk.open(), attempt())
    assert logs == []


@scenario
async def test_an_older_copy_of_the_file_is_waited_out(disk: Disk) -> None:
    await disk.close(await lived(disk))
    older = disk.file.read_bytes()
    await disk.close(await lived(disk))
    disk.file.write_bytes(older)
    with capture_logs() as logs:
        assert await denied(await disk.open(), attempt()) == SHORT
    assert logs[0]["reason"] == "it knows less than was last written to it"


@pytest.mark.parametrize("whose", ["", "not a mark", "1 light closed and more"])
def test_a_mark_that_tells_nothing_may_hide_anything(disk: Disk, whose: str) -> None:
    @scenario
    async def run(disk: Disk) -> None:
        await disk.close(await lived(disk))
        disk.beside(".lock").write_text(whose)
        assert await denied(await disk.open(), attempt()) == LONG

    run(disk=disk)


@scenario
async def test_a_file_without_its_mark_is_waited_for(disk: Disk) -> None:
    """As one that was copied from elsewhere."""
    await disk.close(await lived(disk))
    disk.beside(".lock").unlink()
    assert await denied(await disk.open(), attempt()) == SHORT


@scenario
async def test_after_the_machine_stopped_in_the_middle_a_window_is_waited_out(disk: Disk) -> None:
    """The last commits may not have reached the disk."""
    await disk.crash(await lived(disk))
    disk.boot, disk.clock.elapsed = "next boot", 5.0
    with capture_logs() as logs:
        assert await denied(await disk.open(), attempt()) == SHORT
    assert logs[0]["reason"] == "the machine stopped before the file was closed"


@scenario
async def test_after_a_reboot_a_file_that_was_closed_is_relied_on(disk: Disk) -> None:
    await disk.close(await lived(disk))
    disk.boot, disk.clock.elapsed = "next boot", 5.0
    await granted(await disk.open(), attempt())


@scenario
async def test_a_clock_that_went_back_in_one_boot_is_distrusted(disk: Disk) -> None:
    await disk.close(await lived(disk))
    disk.clock.elapsed -= 100
    with capture_logs() as logs:
        assert await denied(await disk.open(), attempt()) == SHORT
    assert logs[0]["reason"] == "the machine's clock went back"


@scenario
async def test_a_wait_is_never_cut_short_by_another(disk: Disk) -> None:
    await disk.crash(await lived(disk, refused=True))
    emptied(disk)
    await disk.close(await disk.open())
    disk.beside(".lock").write_text(f"{'9 light lost':<63}\n")
    assert await denied(await disk.open(), attempt()) == LONG


@scenario
async def test_the_wait_for_damage_is_noted_before_anything_else(disk: Disk) -> None:
    """No new file could be made, as on a full disk: the next start finds none, and waits all the same."""
    disk.file.parent.mkdir()
    disk.file.write_bytes(b"damage" * 1000)
    disk.beside(".damaged-1-wal").mkdir()
    (disk.beside(".damaged-1-wal") / "in the way").write_text("")
    disk.beside("-wal").write_text("")
    with pytest.raises(StorageError, match=r"exporter\.db cannot be used: "):
        await disk.make().open(lambda kept: None)
    assert not disk.file.exists()
    assert await denied(await disk.open(), attempt()) == SHORT


def test_a_disk_without_room_for_a_mark_stops_the_start(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "exporter.db")
    (tmp_path / "exporter.db.lock").symlink_to("/dev/null")  # nothing that is written there stays
    with pytest.raises(OSError, match="Invalid argument"):
        lock.take()


# --- what can't be ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE pauses SET state = 'polling'", "CHECK constraint failed in pauses"),
        ("UPDATE pauses SET count = -1", "CHECK constraint failed in pauses"),
        ("UPDATE pauses SET until = 1e11", "pauses.until lies in the future"),
        ("UPDATE clock SET latest = 9e999", "CHECK constraint failed in clock"),
        ("UPDATE clock SET batch = -1", "CHECK constraint failed in clock"),
        ("UPDATE attempts SET gone = 1e18", "CHECK constraint failed in attempts"),
        ("UPDATE attempts SET gone = 1e11", "attempts.gone lies in the future"),
        ("UPDATE attempts SET ended = 2", "CHECK constraint failed in attempts"),
        ("UPDATE asked SET at = 1e11", "asked.at lies in the future"),
        ("INSERT INTO failed_logins VALUES ('h', 1e11)", "failed_logins.at lies in the future"),
        ("UPDATE readings SET ledger_at = 1e11", "readings.ledger_at lies in the future"),
        ("UPDATE readings SET read_at = -9e999", "CHECK constraint failed in readings"),
        ("UPDATE readings SET total = -1", "CHECK constraint failed in readings"),
        ("UPDATE readings SET today = 1 << 62", "CHECK constraint failed in readings"),
        ("UPDATE readings SET short_link = CAST(x'ff' AS TEXT)", "Could not decode to UTF-8 column"),
    ],
)
def test_a_row_that_cannot_be_sets_the_file_aside(disk: Disk, statement: str, reason: str) -> None:
    @scenario
    async def run(disk: Disk) -> None:
        await disk.close(await lived(disk))
        tamper(disk.file, statement)
        with capture_logs() as logs:
            backend = await disk.open()
        assert logs[0]["event"] == "storage_damaged"
        assert logs[0]["reason"].startswith(reason)
        assert len(disk.aside) == 1
        assert await denied(backend, attempt()) == SHORT

    run(disk=disk)


@scenario
async def test_no_bit_that_flips_stops_a_start_or_a_claim(disk: Disk) -> None:
    random = Random(5)
    await disk.close(await lived(disk, refused=True))
    content = disk.file.read_bytes()
    written = [place for place, byte in enumerate(content) if byte]
    aside = 0
    for _ in range(60):
        damaged = bytearray(content)
        for place in random.choices(written, k=random.randint(1, 4)):
            damaged[place] ^= 1 << random.randrange(8)
        disk.file.write_bytes(damaged)
        backend = await disk.open()
        assert isinstance(await backend.claim(attempt()), (Grant, Denied))
        assert isinstance(await backend.claim(attempt(secret="other.example/x/y")), (Grant, Denied))
        await disk.close(backend)
        aside += len(disk.aside)
        shutil.rmtree(disk.file.parent)
        disk.file.parent.mkdir()
    assert aside > 20


# --- whose file it is -------------------------------------------------------------------------------------


@scenario
async def test_a_second_exporter_is_refused_whatever_name_it_has_for_the_file(disk: Disk) -> None:
    await disk.open()
    link = disk.file.parent.parent / "link.db"
    link.symlink_to(disk.file)
    file, disk.file = disk.file, link
    with pytest.raises(StorageError, match=f"{file} is in use by another process"):
        await disk.make().open(lambda kept: None)


@scenario
async def test_behind_a_link_it_is_the_file_that_is_set_aside(disk: Disk) -> None:
    disk.file.parent.mkdir()
    real = disk.file.parent.parent / "real.db"
    real.write_bytes(b"damage" * 1000)
    disk.file.symlink_to(real)
    await disk.open()
    assert disk.file.is_symlink()
    assert real.read_bytes().startswith(b"SQLite format 3")
    assert real.with_name("real.db.damaged-1").read_bytes() == b"damage" * 1000


# --- an older version's file ------------------------------------------------------------------------------


def older(path: Path, *changes: str) -> None:
    """A file as the first schema had it, with something of everything."""
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript(MIGRATIONS[0])
        for statement in (
            f"PRAGMA application_id = {APPLICATION}",
            "PRAGMA user_version = 1",
            "INSERT INTO clock VALUES ('this boot', 0.0, 900.0)",
            "INSERT INTO attempts VALUES (1, 'smscentre.com', 'smscentre.com/alex', 'id', '1', 890.0, 1, 1)",
            "INSERT INTO attempts VALUES (2, 'smscentre.com', 'smscentre.com/alex', 'id', '1', 891.0, 1, 1)",
            "INSERT INTO attempts VALUES (3, 'smscentre.com', 'smscentre.com/alex', 'id', '1', 892.0, 1, 1)",
            "INSERT INTO asked VALUES ('smscentre.com/alex', 'id', '1', 892.0)",
            "INSERT INTO failed_logins VALUES ('smscentre.com', 890.0)",
            "INSERT INTO pauses VALUES ('blocked.example', 'blocked', 2690.0, 1)",
            "INSERT INTO readings VALUES ('main', 'a', 'id', '1', '1', 9, 8, 1, 2, 3, 'goo.su/a', 9, 1, 890)",
            *changes,
        ):
            db.execute(statement)
    Path(f"{path}.lock").write_text("")


@scenario
async def test_an_older_versions_file_is_brought_forward(disk: Disk) -> None:
    older(disk.file)
    backend = await disk.open()
    assert [(kept.name, kept.reading.all_time, kept.total) for kept in disk.kept.values()] == [("a", 9, 9)]
    answer = await denied(backend, attempt(1))
    assert answer.scope is Scope.LINK
    assert answer.seconds == pytest.approx(SPAN - 10)
    blocked = await denied(backend, attempt(2, host="blocked.example", login="b", secret="b"))
    assert held(blocked, State.BLOCKED, 1790, 1)
    for _ in range(3):
        backend.end(await granted(backend, attempt(3, proven=False)), login_failed=True)
        await settled(backend)
        disk.clock.advance(SPAN)
    assert (await denied(backend, attempt(3, proven=False))).scope is Scope.HOST
    await disk.close(backend)
    await granted(await disk.open(), attempt(1))


@scenario
async def test_an_older_file_that_tells_what_cannot_be_is_set_aside(disk: Disk) -> None:
    older(disk.file, "UPDATE pauses SET state = 'asleep'")
    with capture_logs() as logs:
        assert await denied(await disk.open(), attempt()) == LONG
    assert logs[0]["reason"] == "CHECK constraint failed: state IN ('throttled', 'blocked', 'unauthorized')"
