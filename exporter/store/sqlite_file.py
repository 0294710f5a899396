"""The embedded store's file: opened, written and closed by one thread.

Commits survive the process being killed (write-ahead log, ``synchronous = NORMAL``), not the machine losing
power.

The ledger's time is the machine's since its boot plus ``ahead``, which is chosen when the file is opened:
while the machine has not been rebooted, so that time goes on as it went; otherwise so that nothing has passed
since the last thing recorded. It never runs ahead of what really passed, whatever became of the wall clock.

While the file can't be written, a copy in memory takes its place, by the same rules, and is brought back as
soon as it can be. A mark beside the file says so meanwhile: who starts where that did not come about waits.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import structlog

from exporter.errors import StorageError
from exporter.rules import SPAN
from exporter.store import ledger, sqlite_schema
from exporter.store.backend import Denied, Scope
from exporter.store.sqlite_lock import Lock, Mark
from exporter.store.sqlite_schema import DamagedError
from exporter.store.sqlite_spare import Spare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from exporter.clock import Clock
    from exporter.store.backend import Kept

    Statement = Callable[[sqlite3.Connection, float], object]

log = structlog.stdlib.get_logger(__name__)

BUSY = 5.0
"""Seconds that one process's transaction waits for another's, which takes a few milliseconds."""

GUEST_STAYS, TRIES = 1.0, 20
"""Seconds for which one waits for another that is just preparing the file, and how often it looks."""

TIDY = 60.0
"""Seconds between two clean-ups."""

_ELSEWHERE = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
}
"""What goes wrong with a file that is not the file's fault."""

_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Time:
    """The clock in the file: of which boot, how far ahead of the machine's, when last seen, how often."""

    boot: str
    ahead: float
    latest: float
    batch: int


class LedgerFile:
    """The file at ``path``, whose links are followed: by whatever name, it is one file with one lock."""

    def __init__(self, path: Path, clock: Clock, boot: str | None = None) -> None:
        self.up = True
        self.path = Path(os.path.realpath(path))
        self._clock = clock
        self._boot = boot or present_boot()
        self._ahead = 0.0
        self._tidied = 0.0
        self._spare: Spare | None = None
        self._lock = Lock(self.path)
        self._mark = Mark(0, grave=False)

    def now(self) -> float:
        """The ledger's time."""
        return self._clock.boottime() + self._ahead

    # --- opening ------------------------------------------------------------------------------------------

    def open(self) -> Iterator[Kept]:
        """Opens or makes the file; what was kept in it. Raises ``StorageError``."""
        self._take_lock()
        try:
            return self._connect_or_set_aside()
        except StorageError:
            self._lock.release()
            raise

    def _connect_or_set_aside(self) -> Iterator[Kept]:
        try:
            return self._connect(self._prepare)
        except DamagedError as damage:
            self._set_aside(str(damage))
        return self._connect(self._prepare)

    def _take_lock(self) -> None:
        """Takes the file for this process. A guest has it for a moment where no exporter runs."""
        for _ in range(TRIES):
            if self._locked():
                return
            time.sleep(GUEST_STAYS / TRIES)
        raise StorageError(
            f"{self.path} is in use by another process: one file serves one exporter,"
            " several share a redis:// storage"
        )

    def _locked(self) -> bool:
        """Whether the file is ours now."""
        with self._reachable():
            return self._lock.take()

    @contextmanager
    def _reachable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(f"{self.path} cannot be used: {error.strerror}") from None

    def _connect(self, prepare: Callable[[], Iterator[Kept]], mode: str = "rwc") -> Iterator[Kept]:
        try:
            # The thread that opens it is the only one that uses it.
            self._db = sqlite3.connect(
                f"{self.path.as_uri()}?mode={mode}",
                uri=True,
                timeout=BUSY,
                isolation_level=None,
                check_same_thread=False,
            )
            return prepare()
        except (sqlite3.Error, ValueError, StorageError, DamagedError) as error:
            with suppress(AttributeError):  # there is none yet
                self._db.close()
            if isinstance(error, (StorageError, DamagedError)):
                raise
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _ELSEWHERE:
                raise StorageError(f"{self.path} cannot be used: {error}") from None
            # Damage shows in many ways, as text that is none, or a statement that fails.
            raise DamagedError(str(error)) from None

    def _prepare(self) -> Iterator[Kept]:
        version = self._inspect()
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        sqlite_schema.migrate(self._db, version)
        sqlite_schema.check_tables(self._db)
        goes_on = self._set_clock(version)
        ledger.tidy(self._db, self.now())
        return self._kept(same_boot=goes_on)

    def _kept(self, *, same_boot: bool) -> Iterator[Kept]:
        """What was kept, all read: an iterator lets go of it at its end, which a task that waits does not."""
        return iter(list(ledger.kept(self._db, self.now(), self._clock.time(), same_boot=same_boot)))

    def _inspect(self) -> int:
        """The schema's version in the file, 0 if it is new."""
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if tables and application != sqlite_schema.APPLICATION:
            raise DamagedError("it is another program's database")
        if version > len(sqlite_schema.MIGRATIONS):
            raise StorageError(
                f"{self.path} was written by a newer smsc-exporter (schema {version}, this one knows"
                f" {len(sqlite_schema.MIGRATIONS)}): run that one, or name another file"
            )
        sqlite_schema.check_whole(self._db)
        return int(version)

    # --- time, and what may be unknown --------------------------------------------------------------------

    def _set_clock(self, version: int) -> bool:
        """Chooses ``ahead``, and tells whether the machine is in the same boot as when last recorded."""
        found = self._read_clock()
        goes_on = self._goes_on(found)
        self._ahead = found.ahead if goes_on else found.latest - self._clock.boottime()
        sqlite_schema.check_times(self._db, self.now())
        seconds = self._doubt(version, found, goes_on=goes_on)
        row = (self._boot, self._ahead, self.now(), found.batch)
        with _transaction(self._db):  # a guest may be looking
            self._db.execute("INSERT OR REPLACE INTO clock VALUES (1, ?, ?, ?, ?)", row)
            if seconds:
                ledger.doubt(self._db, self.now(), seconds)
            mark = _next_mark(self._db, self.now())
        self._note(mark)
        return goes_on

    def _read_clock(self) -> Time:
        row = self._db.execute("SELECT boot, ahead, latest, batch FROM clock").fetchone()
        return Time(*row) if row else Time("", 0.0, 0.0, 0)

    def _goes_on(self, found: Time) -> bool:
        """Whether the clock in the file goes on: the machine is in the same boot."""
        return found.boot == self._boot and self._clock.boottime() + found.ahead >= found.latest

    def _doubt(self, version: int, found: Time, *, goes_on: bool) -> float:
        """Seconds for which nothing may leave, as the file may not know all that was sent."""
        mark = self._lock.found
        if mark is None or version == 1:  # nothing was before; or a version that left no marks
            return 0.0
        rebooted = found.boot != self._boot
        reason = mark.lacks(found.batch, rebooted=rebooted)
        if not rebooted and not goes_on:
            reason = reason or "the machine's clock went back"
        if not reason:
            return 0.0
        log.warning("storage_unsure", file=str(self.path), reason=reason, seconds=mark.seconds)
        return mark.seconds

    def _set_aside(self, damage: str) -> None:
        """Renames the file, and what belongs to it, so that a new one can be made in its place.

        Should it not come to that, the mark still tells the next start what a new file does not know.
        """
        with self._reachable():
            aside = self._rename()
        log.error("storage_damaged", file=str(self.path), reason=damage, kept_as=str(aside))

    def _rename(self) -> Path:
        number = 1
        while (aside := Path(f"{self.path}.damaged-{number}")).exists():
            number += 1
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                Path(f"{self.path}{suffix}").rename(f"{aside}{suffix}")
        return aside

    # --- writing ------------------------------------------------------------------------------------------

    def write(self, asked: list[Statement], *, again: bool = False) -> list[object]:
        """Runs the statements in one transaction, on the file or its copy; what each of them gave.

        ``again``: tries the file, though it could not be written before. Whatever happens, every statement
        gets its answer: where it can't be run, the denial of a claim.
        """
        try:
            return self._write_where_it_works(asked, again=again)
        except Exception:
            log.exception("storage_crashed")
            return [Denied(Scope.HOST, SPAN)] * len(asked)

    def _write_where_it_works(self, asked: list[Statement], *, again: bool) -> list[object]:
        if self._spare is None or again:
            try:
                return self._write_file(asked)
            except Exception as error:  # what is wrong with a file shows in many ways
                self._tell(up=False, reason=str(error))
        if self._spare is None:
            self._spare = Spare(self._db, self.now(), self._mark.seconds)
        results, mark = self._run(self._spare.db, asked)
        self._note(replace(mark, lost=True))
        return results

    def _write_file(self, asked: list[Statement]) -> list[object]:
        """The same, with what was written to the copy before. Raises ``sqlite3.Error``."""
        missed = [self._spare.bring_back] if self._spare is not None else []
        results, mark = self._run(self._db, [*missed, *asked])
        self._note(mark)
        if self._spare is not None:
            self._spare.db.close()
            self._spare = None
        self._tell(up=True)
        return results[len(missed) :]

    def _run(self, db: sqlite3.Connection, asked: list[Statement]) -> tuple[list[object], Mark]:
        with _transaction(db):
            now = self.now()
            results = [statement(db, now) for statement in asked]
            if now - self._tidied > TIDY:
                ledger.tidy(db, now)
                self._tidied = now
            return results, _next_mark(db, now)

    def _note(self, mark: Mark) -> None:
        """Notes how far the file came, before anything leaves that was granted."""
        self._mark = mark
        self._lock.write(mark)

    def _tell(self, *, up: bool, reason: str = "") -> None:
        """Says so once when writing begins to fail, and when it works again."""
        if up is not self.up:
            self.up = up
            if up:
                log.warning("storage_works_again", file=str(self.path))
            else:
                log.error("storage_failed", file=str(self.path), reason=reason)

    def close(self, asked: list[Statement]) -> None:
        """Writes what is left, and lets the file go."""
        self.write(asked, again=True)
        self._db.close()
        self._let_go()

    def _let_go(self) -> None:
        self._lock.write(replace(self._mark, clean=True))
        self._lock.release()


def _next_mark(db: sqlite3.Connection, now: float) -> Mark:
    return Mark(ledger.count(db, now), ledger.grave(db, now))


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except Exception:
        # A failed statement may have ended the transaction by itself.
        with suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise


def present_boot(path: Path = _BOOT) -> str:
    """The machine's present boot; where that can't be told, one of its own, so that nothing is trusted."""
    try:
        return path.read_text().strip()
    except OSError:
        return str(uuid4())
