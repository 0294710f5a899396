"""The embedded store: what survives, what time means to it, and what becomes of files that are no good."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import tempfile
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from exporter.errors import StorageError
from exporter.model import Snapshot, State
from exporter.rules import FAILED_LOGIN_SPAN, LINGER, SPAN
from exporter.store import Attempt, Denied, Grant, Pause, Scope
from exporter.store.sqlite import FLUSH, SqliteBackend
from exporter.store.sqlite_file import present_boot
from exporter.store.sqlite_schema import MIGRATIONS
from tests.factories import make_link, make_reading
from tests.virtual import START, VirtualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from exporter.store.backend import Kept

LINK = make_link()
ATTEMPT = Attempt("smscentre.com", "l", "l#s", ("id", "1"), apart=0.0, lasts=70.0, proven=True)


class Machine:
    """A machine with a clock and a disk, on which the store is opened again and again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = VirtualClock()
        self.boot = "first"

    def reboot(self, uptime: float = 5.0) -> None:
        """The monotonic clock begins anew; the wall clock goes on."""
        wall = self.clock.time()
        self.boot += "+"
        self.clock.elapsed, self.clock.slept = uptime, 0.0
        self.clock.offset = wall - uptime

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[SqliteBackend]:
        backend = SqliteBackend(self.path, self.clock, self.boot)
        self.kept = list(await backend.open(lambda kept: None))
        try:
            yield backend
        finally:
            await backend.close()

    def run(self, *steps: Callable[[SqliteBackend], Awaitable[Any]]) -> list[Any]:
        """Opens the store, takes the steps, and closes it."""

        async def main() -> list[Any]:
            async with self.opened() as backend:
                return [await step(backend) for step in steps]

        return asyncio.run(main())

    def crash(self, *steps: Callable[[SqliteBackend], Awaitable[Any]]) -> list[Any]:
        """The same, but what was not committed when the last step was done is lost."""

        async def main() -> list[Any]:
            async with self.opened() as backend:
                results = [await step(backend) for step in steps]
                backend._asked.clear()
                return results

        return asyncio.run(main())

    def restored(self) -> list[Kept]:
        self.run()
        return self.kept


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "data" / "exporter.db")


async def claim(backend: SqliteBackend) -> Grant | Denied:
    return await backend.claim(ATTEMPT)


async def read(backend: SqliteBackend) -> None:
    backend.keep(Snapshot(LINK).succeeded(make_reading(), backend._clock.time()))


async def claim_and_end(backend: SqliteBackend) -> None:
    grant = await backend.claim(ATTEMPT)
    assert isinstance(grant, Grant)
    backend.end(grant, login_failed=False)


def denied(answer: object) -> Denied:
    assert isinstance(answer, Denied)
    return answer


# --- what survives ----------------------------------------------------------------------------------------


def test_attempts_are_remembered_through_a_crash(machine: Machine) -> None:
    machine.crash(claim, claim, claim)
    machine.clock.advance(1)
    answer = denied(machine.run(claim)[0])
    assert answer.scope is Scope.LINK
    assert answer.seconds == pytest.approx(70 - 1 + SPAN)


def test_attempts_that_ended_count_from_their_end(machine: Machine) -> None:
    machine.run(claim_and_end, claim_and_end, claim_and_end)
    machine.clock.advance(20)
    assert denied(machine.run(claim)[0]).seconds == pytest.approx(SPAN - 20)
    machine.clock.advance(SPAN - 20)
    assert isinstance(machine.run(claim)[0], Grant)


def test_readings_are_kept_with_their_counter(machine: Machine) -> None:
    machine.run(read)
    machine.clock.advance(300)
    (kept,) = machine.restored()
    assert (kept.key, kept.target, kept.reading, kept.total) == (LINK.key, LINK.target, make_reading(), 7)
    assert kept.read_at == pytest.approx(START)


def test_a_snapshot_without_a_reading_keeps_nothing(machine: Machine) -> None:
    async def keep(backend: SqliteBackend) -> None:
        backend.keep(Snapshot(LINK))

    machine.run(keep)
    assert machine.restored() == []


def test_a_link_not_read_for_a_month_is_forgotten(machine: Machine) -> None:
    machine.run(read)
    machine.clock.advance(29 * 86_400)
    assert len(machine.restored()) == 1
    machine.clock.advance(2 * 86_400)
    machine.restored()
    assert machine.restored() == []


def test_pauses_hold_on_after_a_restart(machine: Machine) -> None:
    async def pause(backend: SqliteBackend) -> None:
        backend.hold(ATTEMPT.secret, Pause(State.UNAUTHORIZED, 1800.0, 1))

    machine.run(pause)
    machine.clock.advance(600)
    answer = denied(machine.run(claim)[0])
    assert answer.scope is Scope.LOGIN
    assert answer.pause
    assert (answer.pause.state, answer.pause.count) == (State.UNAUTHORIZED, 1)
    assert answer.pause.seconds == answer.seconds == pytest.approx(1200.0)


# --- the clock --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jump", [-86_400.0, -3_600.0, 3_600.0, 86_400.0])
def test_a_wall_clock_set_while_down_changes_no_window_and_no_age(machine: Machine, jump: float) -> None:
    machine.run(claim_and_end, claim_and_end, claim_and_end, read)
    machine.clock.advance(10)
    machine.clock.step(jump)
    assert denied(machine.run(claim)[0]).seconds == pytest.approx(SPAN - 10)
    (kept,) = machine.kept
    assert machine.clock.time() - kept.read_at == pytest.approx(10)


def test_the_hours_that_the_machine_sleeps_count(machine: Machine) -> None:
    machine.run(claim_and_end, claim_and_end, claim_and_end, read)
    machine.clock.sleep(5 * 3600)
    assert isinstance(machine.run(claim)[0], Grant)
    assert machine.kept[0].read_at == pytest.approx(START)


def test_after_a_reboot_a_window_is_waited_out(machine: Machine) -> None:
    """Nobody knows how long the machine was off: the wall clock may say anything."""
    machine.run(claim_and_end, claim_and_end, claim_and_end)
    machine.clock.advance(3600)
    machine.reboot()
    assert denied(machine.run(claim)[0]).seconds == pytest.approx(SPAN, abs=0.1)


def test_after_a_reboot_a_reading_is_as_old_as_the_wall_clock_says(machine: Machine) -> None:
    machine.run(read)
    machine.clock.advance(3600)
    machine.reboot()
    assert machine.restored()[0].read_at == pytest.approx(START)


def test_after_a_reboot_a_reading_from_the_future_has_no_known_age(machine: Machine) -> None:
    machine.run(read)
    machine.reboot()
    machine.clock.step(-60)
    assert machine.restored()[0].read_at == 0.0


def test_a_second_start_in_the_same_boot_goes_on_in_time(machine: Machine) -> None:
    machine.clock.advance(500)
    machine.run(claim_and_end)
    machine.reboot()
    machine.run(claim_and_end)
    machine.clock.advance(30)
    machine.run(claim_and_end)
    assert denied(machine.run(claim)[0]).seconds == pytest.approx(SPAN - 30, abs=0.1)


def test_without_a_boots_name_nothing_is_trusted(machine: Machine) -> None:
    """Where the system does not tell it, each start counts as a reboot."""
    assert present_boot() == present_boot()
    nowhere = machine.path / "boot_id"
    assert present_boot(nowhere) != present_boot(nowhere)


# --- damage -----------------------------------------------------------------------------------------------


def _aside(machine: Machine) -> list[str]:
    return sorted(path.name for path in machine.path.parent.glob("*.damaged-*"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"not a database at all" * 100, "file is not a database"),
        (b"SQLite format 3\0" + b"\xff" * 4080, "file is not a database"),
    ],
)
def test_what_is_no_database_is_set_aside(machine: Machine, content: bytes, reason: str) -> None:
    machine.path.parent.mkdir()
    machine.path.write_bytes(content)
    with capture_logs() as logs:
        answer = denied(machine.run(claim)[0])
    assert [entry["reason"] for entry in logs] == [reason, "it lacks what was sent last"]
    assert _aside(machine) == ["exporter.db.damaged-1"]
    assert (machine.path.parent / "exporter.db.damaged-1").read_bytes() == content
    assert answer == Denied(Scope.HOST, SPAN + LINGER)
    machine.path.write_bytes(content)
    machine.run()
    assert _aside(machine) == ["exporter.db.damaged-1", "exporter.db.damaged-2"]


def test_a_truncated_file_is_set_aside(machine: Machine) -> None:
    machine.run(read, *[claim] * 3)
    os.truncate(machine.path, machine.path.stat().st_size - 4096)
    machine.run()
    assert _aside(machine) == ["exporter.db.damaged-1"]


def test_pages_that_were_overwritten_are_found(machine: Machine) -> None:
    machine.run(read)
    content = bytearray(machine.path.read_bytes())
    content[4096 * 4 :] = b"\x5a" * len(content[4096 * 4 :])
    machine.path.write_bytes(content)
    machine.run()
    assert _aside(machine) == ["exporter.db.damaged-1"]


def test_another_programs_database_is_set_aside(machine: Machine) -> None:
    machine.path.parent.mkdir()
    with sqlite3.connect(machine.path) as db:
        db.execute("CREATE TABLE theirs (x)")
    db.close()
    machine.run()
    assert _aside(machine) == ["exporter.db.damaged-1"]


@pytest.mark.parametrize(
    "change",
    [
        "DROP TABLE clock",
        "ALTER TABLE readings ADD COLUMN clicks INTEGER",
        "ALTER TABLE asked RENAME at TO moment",
    ],
)
def test_a_schema_that_is_not_ours_is_set_aside(machine: Machine, change: str) -> None:
    machine.run(read)
    with sqlite3.connect(machine.path) as db:
        db.execute(change)
    db.close()
    with capture_logs() as logs:
        machine.run()
    assert logs[0]["reason"] == "its tables are not those of this exporter"
    assert _aside(machine) == ["exporter.db.damaged-1"]


def test_after_damage_claims_wait_until_the_past_cannot_matter(machine: Machine) -> None:
    machine.path.parent.mkdir()
    machine.path.write_bytes(b"damage" * 1000)

    async def wait(backend: SqliteBackend) -> None:
        machine.clock.advance(SPAN + LINGER)

    _, _, answer = machine.run(claim, wait, claim)
    assert isinstance(answer, Grant)


def test_a_newer_schema_is_refused_by_name(machine: Machine) -> None:
    machine.run()
    with sqlite3.connect(machine.path) as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.close()
    with pytest.raises(StorageError, match=r"exporter\.db was written by a newer smsc-exporter \(schema 3, "):
        machine.run()
    assert _aside(machine) == []


def test_a_second_process_on_the_file_is_refused(machine: Machine) -> None:
    async def open_again(backend: SqliteBackend) -> None:
        other = SqliteBackend(machine.path, machine.clock, machine.boot)
        with pytest.raises(StorageError, match="is in use by another process: one file serves one exporter"):
            await other.open(lambda kept: None)

    machine.run(open_again)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be used: File exists"):
        Machine(tmp_path / "file" / "exporter.db").run()


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


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder that can be reached without rights."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder.is_relative_to(tempfile.gettempdir()):
            folder.chmod(folder.stat().st_mode | 0o055)
    return tmp_path


def test_a_folder_without_permission_is_refused(shared: Path) -> None:
    machine = Machine(shared / "exporter.db")
    machine.run(read)
    shared.chmod(0o555)
    with unprivileged(), pytest.raises(StorageError, match=r"exporter.db cannot be used: Permission denied"):
        machine.run()
    shared.chmod(0o755)
    assert len(machine.restored()) == 1


def test_a_file_that_may_only_be_read_is_refused(shared: Path) -> None:
    machine = Machine(shared / "exporter.db")
    machine.run(read)
    shared.chmod(0o777)
    (shared / "exporter.db.lock").chmod(0o666)
    machine.path.chmod(0o444)
    with unprivileged(), pytest.raises(StorageError, match="attempt to write a readonly database"):
        machine.run()
    assert len(machine.restored()) == 1


def test_a_file_that_cannot_be_opened_is_refused(machine: Machine) -> None:
    machine.path.mkdir(parents=True)
    with pytest.raises(StorageError, match="cannot be used: unable to open database file"):
        machine.run()


# --- size and speed ---------------------------------------------------------------------------------------


def test_what_counts_no_longer_is_dropped_while_it_runs(machine: Machine) -> None:
    async def year(backend: SqliteBackend) -> tuple[int, ...]:
        for hour in range(24 * 40):
            machine.clock.advance(3600)
            grant = await backend.claim(Attempt("h", "l", "s", ("id", str(hour)), 0.0, 70.0, proven=False))
            assert isinstance(grant, Grant)
            backend.end(grant, login_failed=hour % 2 == 0)
        counts = (
            "SELECT count(*) FROM attempts",
            "SELECT count(*) FROM failed_logins",
            "SELECT count(*) FROM asked",
        )
        return tuple(backend._file._db.execute(count).fetchone()[0] for count in counts)

    attempts, failed_logins, asked = machine.run(year)[0]
    assert attempts <= 2
    assert failed_logins <= 2
    assert asked <= 24 * 31


def test_what_nobody_waits_for_is_written_soon(machine: Machine) -> None:
    async def wait(backend: SqliteBackend) -> None:
        await asyncio.sleep(2 * FLUSH)

    machine.crash(read, wait)
    assert len(machine.restored()) == 1


def test_claims_that_come_together_share_a_transaction(machine: Machine) -> None:
    async def together(backend: SqliteBackend) -> list[Grant | Denied]:
        attempts = [Attempt("h", "l", "s", ("id", str(n)), 0.0, 70.0, proven=True) for n in range(10)]
        return list(await asyncio.gather(*map(backend.claim, attempts)))

    (answers,) = machine.run(together)
    assert len({answer.number for answer in answers}) == 10


def test_a_link_somebody_has_just_asked_for_is_left_alone(machine: Machine) -> None:
    regular = replace(ATTEMPT, apart=30.0)

    async def claim_regular(backend: SqliteBackend) -> Grant | Denied:
        return await backend.claim(regular)

    machine.run(claim_and_end)
    machine.clock.advance(10)
    answer = denied(machine.run(claim_regular)[0])
    assert answer.scope is Scope.LINK
    assert answer.seconds == pytest.approx(20)


def test_fourteen_in_flight_are_enough_whoever_sent_them(machine: Machine) -> None:
    async def fill(backend: SqliteBackend) -> Grant | Denied:
        for n in range(14):
            assert isinstance(await backend.claim(replace(ATTEMPT, target=("id", str(n)))), Grant)
        return await backend.claim(replace(ATTEMPT, target=("id", "x")))

    answer = denied(machine.crash(fill)[0])
    assert answer == Denied(Scope.LOGIN, 70.0)
    machine.clock.advance(30)
    assert denied(machine.run(claim)[0]).seconds == pytest.approx(40)


def test_a_throttled_pause_ends_by_itself_and_a_block_lets_one_probe_through(machine: Machine) -> None:
    async def pause(backend: SqliteBackend) -> None:
        backend.hold(ATTEMPT.secret, Pause(State.THROTTLED, 60.0, 1))
        backend.hold(ATTEMPT.host, Pause(State.BLOCKED, 60.0, 1))

    async def lift(backend: SqliteBackend) -> None:
        backend.hold(ATTEMPT.host, None)

    machine.run(pause)
    assert denied(machine.run(claim)[0]).scope is Scope.HOST
    machine.clock.advance(60)
    probe, other = machine.run(claim, claim)
    assert isinstance(probe, Grant)
    assert denied(other).pause == Pause(State.BLOCKED, 70.0, 1)
    machine.run(lift)
    assert isinstance(machine.run(claim)[0], Grant)


def test_a_claim_nobody_waits_for_any_more_does_no_harm(machine: Machine) -> None:
    async def give_up(backend: SqliteBackend) -> Grant | Denied:
        abandoned = asyncio.ensure_future(backend.claim(ATTEMPT))
        await asyncio.sleep(0)
        abandoned.cancel()
        return await backend.claim(ATTEMPT)

    assert isinstance(machine.run(give_up)[0], Grant)


def test_failed_logins_are_counted_over_restarts(machine: Machine) -> None:
    attempt = Attempt("h", "l", "s", ("id", "1"), 0.0, 70.0, proven=False)

    async def fail(backend: SqliteBackend) -> Grant | Denied:
        grant = await backend.claim(attempt)
        if isinstance(grant, Grant):
            backend.end(grant, login_failed=True)
        machine.clock.advance(100)
        return grant

    answers = [machine.run(fail)[0] for _ in range(6)]
    assert [type(answer) for answer in answers] == [Grant] * 4 + [Denied] * 2
    assert denied(answers[4]).scope is Scope.HOST
    assert denied(answers[4]).seconds == pytest.approx(FAILED_LOGIN_SPAN - 400)
