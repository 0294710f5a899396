"""A guest on the embedded store's file, beside the exporter whose it is."""

from __future__ import annotations

import asyncio
import fcntl
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from exporter.errors import StorageError
from exporter.model import State
from exporter.rules import LINGER, SPAN
from exporter.store.backend import Denied, Pause, Scope
from exporter.store.sqlite import SqliteBackend
from exporter.store.sqlite_guest import SqliteGuest
from tests.unit.store.places import HOST, Place, attempt, denied, granted, held, scenario, settled, snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator


class Home(Place):
    """One file: exporters open it by ``open``, guests by ``visit``."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.boot = "this boot"

    def make(self) -> SqliteBackend:
        return SqliteBackend(self.path, self.clock, self.boot)

    async def visit(self) -> SqliteGuest:
        guest = SqliteGuest(self.path, self.clock, self.boot)
        self.kept = {kept.key: kept for kept in await guest.open(lambda kept: None)}
        self.opened.append(guest)
        return guest


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "exporter.db")


def tamper(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(statement)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Somebody else is just preparing the file."""
    with Path(f"{path}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# --- one ledger -------------------------------------------------------------------------------------------


@scenario
async def test_each_is_bound_by_what_the_other_sent(home: Home) -> None:
    service = await home.open()
    guest = await home.visit()
    for one in (service, guest, service):
        one.end(await granted(one, attempt()), login_failed=False)
        await settled(one)
    for one in (service, guest):
        answer = await denied(one, attempt())
        assert answer.scope is Scope.LINK
        assert answer.seconds == pytest.approx(SPAN)


@scenario
async def test_pauses_and_failed_logins_are_shared_both_ways(home: Home) -> None:
    service = await home.open()
    guest = await home.visit()
    service.hold(HOST, Pause(State.BLOCKED, 1800.0, 1))
    await settled(service)
    assert held(await denied(guest, attempt()), State.BLOCKED, 1800, 1)
    guest.hold(HOST, None)
    await settled(guest)
    for one in (service, guest, service, guest):
        one.end(await granted(one, attempt(proven=False)), login_failed=True)
        await settled(one)
        home.clock.advance(SPAN)
    for one in (service, guest):
        assert (await denied(one, attempt(proven=False))).scope is Scope.HOST


@scenario
async def test_the_guest_counts_by_the_services_clock(home: Home) -> None:
    """After a reboot the ledger's time runs ahead of the machine's."""
    await home.close(await home.open())
    home.clock.elapsed, home.boot = 5.0, "next boot"
    service = await home.open()
    guest = await home.visit()
    for _ in range(3):
        service.end(await granted(service, attempt()), login_failed=False)
    await settled(service)
    home.clock.advance(20)
    assert (await denied(guest, attempt())).seconds == pytest.approx(SPAN - 20)


@scenario
async def test_a_probe_is_known_as_one(home: Home) -> None:
    guest = await home.visit()
    assert not (await granted(guest, attempt())).probe
    guest.hold(attempt().secret, Pause(State.UNAUTHORIZED, 60.0, 1))
    home.clock.advance(61)
    assert (await granted(guest, attempt())).probe


# --- whose file it is -------------------------------------------------------------------------------------


@scenario
async def test_a_guest_makes_a_new_file_and_leaves_it_to_the_exporter_that_starts(home: Home) -> None:
    guest = await home.visit()
    await granted(guest, attempt(1))
    service = await home.open()
    for _ in range(2):
        await granted(service, attempt(1))
    assert (await denied(guest, attempt(1))).scope is Scope.LINK


@scenario
async def test_readings_are_kept_like_any_others(home: Home) -> None:
    guest = await home.visit()
    guest.keep(snapshot(7, read_at=home.clock.time()))
    await home.close(guest)
    await home.open()
    assert [(kept.reading.all_time, kept.total) for kept in home.kept.values()] == [(7, 7)]


@scenario
async def test_a_newer_reading_stays_and_no_total_falls(home: Home) -> None:
    service, guest = await home.open(), await home.visit()
    now = home.clock.time()
    service.keep(snapshot(20, total=30, read_at=now))
    await settled(service)
    guest.keep(snapshot(19, total=29, read_at=now - 5))
    guest.keep(snapshot(1, total=5, read_at=now - 5, name="other"))
    await home.visit()
    await settled(guest)
    await home.visit()
    assert {(kept.name, kept.reading.all_time, kept.total) for kept in home.kept.values()} == {
        ("spring-sale", 20, 30),
        ("other", 1, 5),
    }
    guest.keep(snapshot(12, total=22, read_at=now + 1))
    guest.keep(snapshot(3, total=3, read_at=now + 1, name="other", id="another link"))
    await settled(guest)
    await home.visit()
    assert {(kept.name, kept.reading.all_time, kept.total) for kept in home.kept.values()} == {
        ("spring-sale", 12, 30),
        ("other", 3, 3),
    }


@scenario
async def test_another_machines_file_is_refused(home: Home) -> None:
    await home.open()
    home.boot = "another machine"
    with pytest.raises(StorageError, match="in use by an exporter on another machine, or of another version"):
        await home.visit()


@scenario
async def test_an_older_versions_file_is_refused_while_that_runs(home: Home) -> None:
    await home.open()
    tamper(home.path, "PRAGMA user_version = 0")
    with pytest.raises(StorageError, match="of another version"):
        await home.visit()


@scenario
async def test_a_guest_waits_for_a_file_that_is_being_made(home: Home) -> None:
    with locked(home.path):
        visit = asyncio.create_task(home.visit())
        await asyncio.sleep(0.2)
    guest = await visit
    await granted(guest, attempt())


@scenario
async def test_an_exporter_waits_for_a_guest_that_is_making_the_file(home: Home) -> None:
    with locked(home.path):
        opening = asyncio.create_task(home.open())
        await asyncio.sleep(0.2)
    await granted(await opening, attempt())


# --- damage -----------------------------------------------------------------------------------------------


@scenario
async def test_a_file_whose_tables_are_not_ours_is_refused(home: Home) -> None:
    await home.open()
    tamper(home.path, "DROP TABLE failed_logins")
    with pytest.raises(
        StorageError, match=r"is damaged \(its tables are not those of this exporter\): start"
    ):
        await home.visit()
    assert not list(home.path.parent.glob("*.damaged-*"))


@scenario
async def test_a_guest_refuses_a_damaged_file_and_leaves_it_to_the_exporter(home: Home) -> None:
    home.path.write_bytes(b"damage" * 1000)
    with pytest.raises(StorageError, match=r"is damaged \(file is not a database\): start the exporter"):
        await SqliteGuest(home.path, home.clock, home.boot).open(lambda kept: None)
    assert home.path.read_bytes() == b"damage" * 1000
    await home.open()


@scenario
async def test_after_damage_a_guest_and_the_next_exporter_wait_too(home: Home) -> None:
    home.path.write_bytes(b"damage" * 1000)
    await home.close(await home.open())
    home.clock.advance(1)
    service, guest = await home.open(), await home.visit()
    for one in (service, guest):
        assert await denied(one, attempt()) == Denied(Scope.HOST, SPAN + LINGER - 1)
    home.clock.advance(SPAN + LINGER)
    await granted(guest, attempt())


# --- a file that can't be written for a while -------------------------------------------------------------


@scenario
async def test_a_transaction_of_the_other_is_waited_for(home: Home) -> None:
    service = await home.open()
    with closing(sqlite3.connect(home.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        claim = asyncio.create_task(service.claim(attempt()))
        await asyncio.sleep(0.2)
        assert not claim.done()
        other.execute("COMMIT")
    assert await claim
    assert service.up
    for _ in range(2):
        await granted(service, attempt())
    assert (await denied(service, attempt())).scope is Scope.LINK


@scenario
async def test_a_guest_is_granted_nothing_that_is_not_on_file(home: Home) -> None:
    guest = await home.visit()
    guest._file._db.execute("PRAGMA query_only = ON")
    with pytest.raises(StorageError, match="cannot be written: no request is sent that is not on file"):
        await guest.claim(attempt())
    guest.hold(HOST, Pause(State.BLOCKED, 1800.0, 1))
    with pytest.raises(StorageError, match="cannot be written: no request is sent that is not on file"):
        await guest.claim(attempt())


@scenario
async def test_what_a_guest_was_not_granted_is_no_attempt(home: Home) -> None:
    service, guest = await home.open(), await home.visit()
    guest._file._db.execute("PRAGMA query_only = ON")
    for link in range(4):
        with pytest.raises(StorageError, match="cannot be written"):
            await guest.claim(attempt(link, proven=False))
    guest._file._db.execute("PRAGMA query_only = OFF")
    await home.close(guest)
    home.clock.advance(1)
    await granted(service, attempt(5, proven=False))
