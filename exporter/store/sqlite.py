"""The embedded store: one SQLite file for one exporter.

All SQL runs on one thread, off the event loop; what is asked meanwhile is written in one transaction. Commits
survive the process being killed (write-ahead log, ``synchronous = NORMAL``), not the machine losing power.

The ledger's time is the monotonic clock's plus ``ahead``, which is chosen when the file is opened: while the
machine has not been rebooted, so that time goes on as it went; otherwise so that nothing has passed since the
last thing recorded. It never runs ahead of what really passed, whatever became of the wall clock.
"""

from __future__ import annotations

import asyncio
import fcntl
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import structlog

from exporter.errors import StorageError
from exporter.rules import LINGER, SPAN
from exporter.store import ledger
from exporter.store.backend import Denied, Grant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from exporter.clock import Clock
    from exporter.model import Snapshot
    from exporter.store.backend import Attempt, Kept, Pause

    Statement = Callable[[sqlite3.Connection, float], object]

log = structlog.stdlib.get_logger(__name__)

FLUSH = 0.05
"""Seconds after which what nobody waits for is written : a kill loses what is not written."""

BUSY = 5.0
"""Seconds that one process's transaction waits for another's, which takes a few milliseconds."""

GUEST_STAYS, TRIES = 1.0, 20
"""Seconds for which one waits for another that is just preparing the file, and how often it looks."""

TIDY = 60.0
"""Seconds between two clean-ups."""

_DAMAGE = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class DamagedError(Exception):
    """The file is no database of ours that could be read."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A statement to be run, and who waits for its result."""

    statement: Statement
    waiter: asyncio.Future[object] | None = None


class SqliteBackend:
    """State in the file at ``path``, this process's alone. ``boot`` names the machine's present boot."""

    def __init__(self, path: Path, clock: Clock, boot: str | None = None) -> None:
        self.up = True
        self._path = path
        self._clock = clock
        self._boot = boot or present_boot()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="storage")
        self._asked: list[_Asked] = []
        self._writing = False
        self._timer: asyncio.TimerHandle | None = None
        self._ahead = 0.0
        self._tidied = 0.0

    # --- what the exporter asks ---------------------------------------------------------------------------

    async def open(self, changed: Callable[[Kept], None]) -> Iterable[Kept]:
        """Opens or makes the file. One that is damaged is set aside, never deleted.

        Raises ``StorageError`` if another process uses the file, if a newer version wrote it, or if it can be
        neither read nor made.
        """
        self._loop = asyncio.get_running_loop()
        try:
            return await self._loop.run_in_executor(self._thread, self._open)
        except StorageError:
            self._thread.shutdown()
            raise

    async def claim(self, attempt: Attempt) -> Grant | Denied:
        """Returns once the attempt is committed, or denied.

        While the file can't be written, attempts are granted: this process remembers them by itself.
        """
        waiter: asyncio.Future[object] = self._loop.create_future()
        self._asked.append(_Asked(lambda db, now: ledger.claim(db, now, attempt), waiter))
        self._write_soon()
        answer = await waiter
        return answer if isinstance(answer, (Grant, Denied)) else Grant(0, attempt)

    def end(self, grant: Grant, *, login_failed: bool) -> None:
        """Notes that the attempt ended."""
        at = self._now()
        self._later(lambda db, _: ledger.end(db, at, grant, login_failed=login_failed))

    def hold(self, key: str, pause: Pause | None) -> None:
        """Notes a pause, or its end."""
        at = self._now()
        self._later(lambda db, _: ledger.hold(db, at, key, pause))

    def keep(self, snapshot: Snapshot) -> None:
        """Notes a reading."""
        at = self._now() - max(0.0, self._clock.time() - snapshot.read_at)
        self._later(lambda db, _: ledger.keep(db, at, snapshot))

    async def close(self) -> None:
        """Writes what is left, and closes the file."""
        if self._timer is not None:
            self._timer.cancel()
        await self._loop.run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    # --- on the event loop --------------------------------------------------------------------------------

    def _now(self) -> float:
        return self._clock.monotonic() + self._ahead

    def _later(self, statement: Statement) -> None:
        """Has it written together with the next claim, or a little later."""
        self._asked.append(_Asked(statement))
        if self._timer is None:
            self._timer = self._loop.call_later(FLUSH, self._write_soon)

    def _write_soon(self) -> None:
        """Hands all that was asked to the thread, unless it is busy: then when it is done."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._writing:
            return
        self._writing = True
        asked, self._asked = self._asked, []
        writing = self._loop.run_in_executor(self._thread, self._write, asked)
        writing.add_done_callback(partial(self._written, asked))

    def _written(self, asked: list[_Asked], writing: asyncio.Future[list[object]]) -> None:
        self._writing = False
        for one, result in zip(asked, writing.result(), strict=True):
            if one.waiter is not None and not one.waiter.done():
                one.waiter.set_result(result)
        if self._asked:
            self._write_soon()

    # --- on the thread ------------------------------------------------------------------------------------

    def _open(self) -> Iterator[Kept]:
        self._lock()
        try:
            return self._connect_or_set_aside()
        except StorageError:
            self._lock_file.close()
            raise

    def _connect_or_set_aside(self) -> Iterator[Kept]:
        try:
            return self._connect(self._prepare)
        except DamagedError as damage:
            self._set_aside(str(damage))
        kept = self._connect(self._prepare)
        # What was sent in the last minute is not known any more: wait until it cannot matter.
        ledger.doubt(self._db, self._now(), SPAN + LINGER)
        return kept

    def _lock(self) -> None:
        """Takes the file for this process. A guest has it for a moment where no exporter runs."""
        for _ in range(TRIES):
            if self._locked():
                return
            time.sleep(GUEST_STAYS / TRIES)
        raise StorageError(
            f"{self._path} is in use by another process: one file serves one exporter,"
            " several share a redis:// storage"
        )

    def _locked(self) -> bool:
        """Whether the file is ours now."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock_file = Path(f"{self._path}.lock").open("w")  # noqa: SIM115 - held until close
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock_file.close()
            return False
        except OSError as error:
            raise StorageError(f"{self._path} cannot be used: {error.strerror}") from None
        return True

    def _connect(self, prepare: Callable[[], Iterator[Kept]], mode: str = "rwc") -> Iterator[Kept]:
        try:
            # The thread that opens it is the only one that uses it.
            self._db = sqlite3.connect(
                f"{self._path.absolute().as_uri()}?mode={mode}",
                uri=True,
                timeout=BUSY,
                isolation_level=None,
                check_same_thread=False,
            )
            return prepare()
        except (sqlite3.Error, StorageError, DamagedError) as error:
            with suppress(AttributeError):  # there is none yet
                self._db.close()
            if isinstance(error, StorageError):
                raise
            if isinstance(error, sqlite3.Error) and error.sqlite_errorcode & 0xFF not in _DAMAGE:
                raise StorageError(f"{self._path} cannot be used: {error}") from None
            raise DamagedError(str(error)) from None

    def _prepare(self) -> Iterator[Kept]:
        version = self._inspect()
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        ledger.migrate(self._db, version)
        if not ledger.intact(self._db):
            raise DamagedError("its tables are not those of this exporter")
        same_boot = self._set_clock()
        ledger.tidy(self._db, self._now())
        return self._kept(same_boot=same_boot)

    def _kept(self, *, same_boot: bool) -> Iterator[Kept]:
        """What was kept, all read: an iterator lets go of it at its end, which a task that waits does not."""
        return iter(list(ledger.kept(self._db, self._now(), self._clock.time(), same_boot=same_boot)))

    def _inspect(self) -> int:
        """The schema's version in the file, 0 if it is new."""
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if tables and application != ledger.APPLICATION:
            raise DamagedError("it is another program's database")
        if version > len(ledger.MIGRATIONS):
            raise StorageError(
                f"{self._path} was written by a newer smsc-exporter (schema {version}, this one knows"
                f" {len(ledger.MIGRATIONS)}): run that one, or name another file"
            )
        (verdict,) = self._db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise DamagedError(verdict)
        return int(version)

    def _set_clock(self) -> bool:
        """Chooses ``ahead``, and tells whether the machine is in the same boot as when last recorded."""
        same_boot, ahead, latest = self._read_clock()
        self._ahead = ahead if same_boot else latest - self._clock.monotonic()
        with self._transaction():  # a guest may be looking
            self._db.execute("DELETE FROM clock")
            self._db.execute("INSERT INTO clock VALUES (?, ?, ?)", (self._boot, self._ahead, self._now()))
        return same_boot

    def _read_clock(self) -> tuple[bool, float, float]:
        """Whether the clock in the file goes on, how far it is ahead of ours, and when it was last seen."""
        boot, ahead, latest = self._db.execute("SELECT * FROM clock").fetchone() or (None, 0.0, 0.0)
        return bool(boot == self._boot and self._clock.monotonic() + ahead >= latest), ahead, latest

    def _set_aside(self, damage: str) -> None:
        """Renames the file, and what belongs to it, so that a new one can be made in its place."""
        number = 1
        while (aside := Path(f"{self._path}.damaged-{number}")).exists():
            number += 1
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                Path(f"{self._path}{suffix}").rename(f"{aside}{suffix}")
        log.error("storage_damaged", file=str(self._path), reason=damage, kept_as=str(aside))

    def _write(self, asked: list[_Asked]) -> list[object]:
        try:
            with self._transaction():
                now = self._now()
                results = [one.statement(self._db, now) for one in asked]
                self._db.execute("UPDATE clock SET latest = ?", (now,))
                if now - self._tidied > TIDY:
                    ledger.tidy(self._db, now)
                    self._tidied = now
        except sqlite3.Error as error:
            self._tell(up=False, reason=str(error))
            return [None] * len(asked)
        self._tell(up=True)
        return results

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except sqlite3.Error:
            # A failed statement may have ended the transaction by itself.
            with suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise

    def _tell(self, *, up: bool, reason: str = "") -> None:
        """Says so once when writing begins to fail, and when it works again."""
        if up is not self.up:
            self.up = up
            if up:
                log.warning("storage_works_again", file=str(self._path))
            else:
                log.error("storage_failed", file=str(self._path), reason=reason)

    def _close(self) -> None:
        self._write(self._asked)
        self._db.close()
        self._lock_file.close()


def present_boot(path: Path = _BOOT) -> str:
    """The machine's present boot; where that can't be told, one of its own, so that nothing is trusted."""
    try:
        return path.read_text().strip()
    except OSError:
        return str(uuid4())
