"""The embedded journal: one SQLite file for one ``serve``, and for guests beside it. It holds no rule.

Commits survive the process being killed (write-ahead log, ``synchronous = NORMAL``), not the machine losing
power; the mark beside the file tells the next start. While the file cannot be written, ``serve`` goes on from
memory, after the mark says so.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import TypeVar
from uuid import uuid4
from zlib import crc32

import structlog

from exporter.clock import Clock
from exporter.errors import Outcome, StorageError
from exporter.journal import sqlite_schema as schema
from exporter.journal.journal import History, StoredReading
from exporter.journal.outbox import Entry
from exporter.journal.shared import LostError, Written
from exporter.journal.sqlite_mark import UNREADABLE, Lock, Mark, State
from exporter.limits.constants import (
    FAILED_LOGIN_LIMIT,
    FAILED_LOGIN_WINDOW,
    LONGEST_PAUSE,
    LONGEST_TIMEOUT,
    VERIFIED_TTL,
    longest_count,
)
from exporter.limits.events import Answered, Dated, Event, Sent, Unknown, binds, decode, encode, lasting
from exporter.model import LinkKey

Row = tuple[int, float, Event]

T = TypeVar("T")

log = structlog.stdlib.get_logger(__name__)

LOOK = 2.0
"""Seconds after which the file is looked at if nothing is to be written: it may have been replaced."""

RETRY = 2.0
"""Seconds between two tries to write a file that could not be written."""

BUSY = 1.0
"""Seconds that a transaction waits for another process's, which takes milliseconds. An end waits too."""

PREPARED_WITHIN, TRIES = 1.0, 20
"""Seconds to wait for another process that is preparing the file, and how often to look."""

TIDY = 60.0
"""Seconds between two clean-ups."""

_BOOT = Path("/proc/sys/kernel/random/boot_id")

_ELSEWHERE = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
}
"""Errors with another cause than damage."""


class SqliteStore:
    """The file at ``path``. All SQL runs on one thread. ``boot`` names the machine's present boot.

    ``guest``: for a command that works beside ``serve``. It writes the mark only if it is alone.
    """

    most = 1_000_000

    def __init__(
        self, path: Path, clock: Clock, *, guest: bool = False, boot: str | None = None, retry: float = RETRY
    ) -> None:
        self.fail_closed = guest
        self.look = LOOK
        self._path = path.parent.resolve() / path.name
        self.name = str(self._path)
        self._clock = clock
        self._guest = guest
        self._boot = f"{crc32((boot or present_boot()).encode()):08x}"
        self._retry = retry
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._lock = Lock(self._path)
        self._db = sqlite3.connect(":memory:", check_same_thread=False)
        self._files: tuple[tuple[int, int], ...] = ()
        self._last = 0
        self._looked = self._tidied = clock.monotonic()
        self._mark = Mark()
        self._reason = "the file lacked something a while ago"

    def pause(self, tries: int) -> float:
        """Always the same, so that a disk that has room again is found soon."""
        return self._retry

    async def _call(self, function: Callable[..., T], *arguments: object) -> T:
        """Runs it on the thread. A broken file causes many kinds of errors: all mean ``LostError``."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)
        except StorageError:
            raise
        except Exception as error:
            raise LostError(str((isinstance(error, OSError) and error.strerror) or error)) from None

    # --- opening ------------------------------------------------------------------------------------------

    async def enter(self, *, again: bool, missed: bool) -> History | None:
        """Opens or makes the file. One of ours that is damaged is set aside, never deleted.

        Raises ``StorageError`` at the start if another process uses the file, or if it is not ours or cannot
        be used; later ``LostError``.
        """
        if not again:
            return await self._call(self._start)
        return await self._call(self._check if self._guest else self._reopen)

    def _start(self) -> History:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return self._own_or_visit()
        except schema.DamagedError as damage:
            reason = f"is damaged ({damage}): start the exporter, which sets it aside"
        except (OSError, sqlite3.Error) as error:
            reason = f"cannot be used: {getattr(error, 'strerror', None) or error}"
        except StorageError:
            self._disconnect()
            self._lock.release(unused=True)
            raise
        self._disconnect()
        self._lock.release()
        raise StorageError(f"{self._path} {reason}")

    def _own_or_visit(self) -> History:
        """Takes the lock and prepares the file, or joins its holder as a guest."""
        for _ in range(TRIES):
            if self._lock.take():
                history = self._prepared(again=False)
                self._write_mark(State.CLOSED if self._guest else State.OPEN, durable=True)
                if self._guest:
                    self._lock.release()
                return history
            if self._guest and (joined := self._visit()) is not None:
                return joined
            time.sleep(PREPARED_WITHIN / TRIES)
        if self._guest:
            hint = "an exporter on another machine, or of another version: ask there"
        else:
            hint = "another process: one file serves one exporter, several share a redis:// storage"
        raise StorageError(f"{self._path} is in use by {hint}")

    def _visit(self) -> History | None:
        """Opens the file beside the lock's holder; None if that has not prepared it yet."""
        mark = self._lock.look()
        if mark.boot != self._boot or not schema.judge(self._path, ours=False):
            return None
        self._connect("rw")
        with _damage_named():
            rows = self._news()
        self._mark, self._last = mark, rows[-1][0] if rows else 0
        self._files = self._identities()
        return self._history(rows, same_boot=True, orphan=False)

    def _prepared(self, *, again: bool) -> History:
        """Opens or makes the file as the lock's holder; sets it aside if it is damaged."""
        try:
            return self._prepare(again=again)
        except schema.DamagedError as damage:
            if self._guest:
                raise
            self._set_aside(str(damage))
            return self._prepare(again=again)

    def _set_aside(self, damage: str) -> None:
        """If no new file can be made, the mark tells the next start that something is missing."""
        self._disconnect()
        self._lock.write(replace(self._lock.found or Mark(), state=State.LOST))
        log.error("storage_damaged", storage=self.name, reason=damage, kept_as=schema.set_aside(self._path))

    def _prepare(self, *, again: bool) -> History:
        mark, begun = self._lock.found, os.path.lexists(self._path)
        exists = schema.judge(self._path, ours=mark is not None and mark is not UNREADABLE)
        if mark is None:
            mark = Mark(state=State.LOST if begun else State.CLOSED)
            self._lock.write(mark)
        with _damage_named():
            schema.make(self._path)
            self._set_up(exists=exists)
            with _transaction(self._db):
                same_boot, reason = self._set_clock(mark)
                rows = self._news(since=0)
                self._tidy()
            self._last = self._sequence()
        self._files = self._identities()
        if again:
            self._write_mark(State.LOST)  # until all is written that the file lacks
            return self._history(rows, same_boot=True, orphan=False)
        self._judge_past(mark, reason or mark.missing(self._last, rebooted=not same_boot), rows, same_boot)
        return self._history(rows, same_boot=same_boot, orphan=True)

    def _set_up(self, *, exists: bool) -> None:
        db = self._connect("rwc")
        if exists:
            schema.check(db)
        else:
            schema.create(db)
        db.execute("PRAGMA journal_mode = WAL")

    def _reopen(self) -> History:
        """Opens the file again, or makes a new one. Nothing may be sent while another exporter has it."""
        self._disconnect()
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self._lock.in_place():
            self._lock.release()
            self.fail_closed = not self._lock.take()
            if self.fail_closed:
                raise StorageError("another process uses it")
        return self._prepared(again=True)

    def _connect(self, mode: str) -> sqlite3.Connection:
        # The thread that opens it is the only one that uses it.
        self._db = sqlite3.connect(
            f"{self._path.as_uri()}?mode={mode}",
            uri=True,
            timeout=BUSY,
            isolation_level=None,
            check_same_thread=False,
        )
        self._db.execute(f"PRAGMA synchronous = {'FULL' if self._guest else 'NORMAL'}")
        return self._db

    def _disconnect(self) -> None:
        self._db.close()

    # --- the past -----------------------------------------------------------------------------------------

    def _set_clock(self, mark: Mark) -> tuple[bool, str]:
        """After another boot, everything on record counts as if it had happened just now.

        Returns whether the boot is the same, and why its clock cannot be trusted if it is.
        """
        now = self._clock.monotonic()
        (latest,) = self._db.execute("SELECT coalesce(max(at), 0) FROM events").fetchone()
        same_boot = mark.boot == self._boot
        if same_boot and latest <= now:
            return True, ""
        self._db.execute("UPDATE events SET at = ?", (now,))
        self._db.execute("UPDATE readings SET at = NULL")
        return False, "the machine's clock went back" if same_boot else ""

    def _judge_past(self, mark: Mark, reason: str, rows: Sequence[Row], same_boot: bool) -> None:
        """Decides how long nothing may leave, because the file may lack something that was sent."""
        now = self._clock.monotonic()
        self._mark = mark if same_boot else Mark()
        if reason:
            self._reason = reason
            timeout = max((event.request.timeout for _, _, event in rows), default=LONGEST_TIMEOUT)
            failed = max(mark.failures_until, mark.assumed_until) > (now if same_boot else -inf)
            self._mark = Mark(
                unknown_until=max(self._mark.unknown_until, now + longest_count(timeout)),
                assumed_until=now + FAILED_LOGIN_WINDOW if failed else -inf,
            )
        self._note_failures((event, at) for _, at, event in rows)

    def _history(self, rows: Iterable[Row], *, same_boot: bool, orphan: bool) -> History:
        now = self._clock.monotonic()
        early = 0.0 if same_boot else -inf
        events = [Dated(event, at + early, at, orphan) for _, at, event in rows]
        seconds = max(0.0, self._mark.unknown_until - now)
        failed = FAILED_LOGIN_LIMIT if now < self._mark.assumed_until else 0
        unknown = Unknown(self._reason, seconds, failed) if seconds or failed else None
        return History(events, now - VERIFIED_TTL if same_boot else inf, unknown)

    # --- writing ------------------------------------------------------------------------------------------

    async def write(self, entries: Sequence[Entry], requests: Collection[Sent]) -> Written:
        """One transaction: reads the news, and appends."""
        return await self._call(self._write, entries, requests)

    def _write(self, entries: Sequence[Entry], requests: Collection[Sent]) -> Written:
        self._check()
        now = self._clock.monotonic()
        with _transaction(self._db):
            rows = self._news()
            recorded = not any(binds(event) for _, _, event in rows)
            events = [(entry.event, entry.at) for entry in entries if entry.event is not None]
            self._insert([*events, *((sent, now) for sent in requests if recorded)])
            self._save(entries)
            last = self._sequence()
            if now - self._tidied > TIDY:
                self._tidy()
        self._check()
        self._last = last
        self._note_failures([*events, *((event, now) for _, _, event in rows)])
        self._write_mark(State.OPEN)
        return Written(recorded, self._dated(rows))

    async def write_alone(self, entries: Sequence[Entry], requests: Collection[Sent]) -> Written:
        """Marks the file as lost, and reads it if possible: a guest may have appended before it saw that."""
        return await self._call(self._write_alone, entries, requests)

    def _write_alone(self, entries: Sequence[Entry], requests: Collection[Sent]) -> Written:
        self._note_failures((entry.event, entry.at) for entry in entries if entry.event is not None)
        self._write_mark(State.LOST)
        own, rows = {sent.number for sent in requests}, []
        with suppress(Exception):
            rows = self._news()
            self._last = rows[-1][0] if rows else self._last
        theirs = [row for row in rows if row[2].number not in own]
        return Written(not any(binds(event) for _, _, event in theirs), self._dated(theirs))

    def _check(self) -> None:
        """SQLite commits into a deleted file without an error. Raises ``OSError`` then."""
        if self._identities() != self._files:
            raise OSError("the file was replaced by another")
        if self._guest and self._lock.look().state is State.LOST:
            raise OSError("the exporter that has it cannot write it")

    def _identities(self) -> tuple[tuple[int, int], ...]:
        both = (os.stat(name) for name in (self._path, f"{self._path}-wal"))
        return tuple((status.st_dev, status.st_ino) for status in both)

    def _write_mark(self, state: State, *, durable: bool = False) -> None:
        """Writes the mark, if this process has the lock."""
        now, mark = self._clock.monotonic(), self._mark
        self._mark = Mark(
            self._last,
            state,
            self._boot,
            *(
                time if time > now else -inf
                for time in (mark.failures_until, mark.unknown_until, mark.assumed_until)
            ),
        )
        self._lock.write(self._mark, durable=durable)

    def _note_failures(self, events: Iterable[tuple[Event, float]]) -> None:
        """Notes until when failed logins and blocks count."""
        until = max((_failure_counts_until(event, at) for event, at in events), default=-inf)
        self._mark = replace(self._mark, failures_until=max(self._mark.failures_until, until))

    async def close(self) -> None:
        """Closes the file. Without a lock there is nothing to mark."""
        with suppress(LostError):
            await self._call(self._close)
        self._thread.shutdown(wait=False)

    def _close(self) -> None:
        self._disconnect()
        lost = self._lock.found is not None and self._lock.found.state is State.LOST
        self._write_mark(State.LOST if lost else State.CLOSED)
        self._lock.release()

    # --- rows ---------------------------------------------------------------------------------------------

    def _news(self, since: int | None = None) -> list[Row]:
        """Events appended since the last write."""
        since = self._last if since is None else since
        rows = self._db.execute("SELECT id, at, text FROM events WHERE id > ? ORDER BY id", (since,))
        return [(number, at, decode(text)) for number, at, text in rows]

    def _dated(self, rows: Iterable[Row]) -> list[Dated]:
        now, looked = self._clock.monotonic(), self._looked
        self._looked = now
        return [Dated(event, looked, now) for _, _, event in rows]

    def _insert(self, events: Iterable[tuple[Event, float]]) -> None:
        rows = [
            (event.number, isinstance(event, Answered), at, lasting(event), encode(event))
            for event, at in events
        ]
        self._db.executemany(schema.APPEND, rows)

    def _save(self, entries: Iterable[Entry]) -> None:
        readings = [(entry.reading, entry.sent_at) for entry in entries if entry.reading is not None]
        rows = [(encode(one.link), *one.texts, one.total, one.read_at, at) for one, at in readings]
        self._db.executemany(schema.SAVE, rows)

    def _sequence(self) -> int:
        """The id of the latest event there ever was."""
        row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
        return int(row[0]) if row else 0

    def _tidy(self) -> None:
        self._tidied = self._clock.monotonic()
        schema.tidy(self._db, self._tidied)

    async def read(self, links: Sequence[LinkKey]) -> list[StoredReading]:
        """The readings of these links."""
        return await self._call(lambda: list(self._read(links)))

    def _read(self, links: Iterable[LinkKey]) -> Iterator[StoredReading]:
        for link in links:
            row = self._db.execute(schema.FIND, (encode(link),)).fetchone()
            try:
                if row is not None:
                    target, figures, total, read_at, at = row
                    yield StoredReading.parse(link, target, figures, self._read_at(read_at, at), total)
            except ValueError as error:
                log.warning("storage_not_understood", link=link, reason=str(error))

    def _read_at(self, read_at: float, at: float | None) -> float:
        """When a reading was sent, as late as that can have been; 0 if the wall clock was set back since."""
        wall, now = self._clock.time(), self._clock.monotonic()
        if at is not None:
            return wall - (now - at)
        return min(read_at, wall - now) if read_at <= wall else 0.0


def present_boot(path: Path = _BOOT) -> str:
    """The id of the machine's boot. Without one, a new id, so that every start counts as a new boot."""
    try:
        return path.read_text().strip()
    except OSError:
        return str(uuid4())


def _failure_counts_until(event: Event, at: float) -> float:
    """Until when an end counts as a failed login or a block; ``-inf`` if it is neither."""
    if not isinstance(event, Answered) or not event.binds:
        return -inf
    if event.outcome is Outcome.BLOCKED:
        return at + LONGEST_PAUSE
    return at + FAILED_LOGIN_WINDOW if event.unclear or event.outcome is Outcome.UNAUTHORIZED else -inf


@contextmanager
def _damage_named() -> Iterator[None]:
    """Turns the errors that damage causes, such as bad text or a failing statement, into one."""
    try:
        yield
    except (sqlite3.Error, ValueError) as error:
        if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF in _ELSEWHERE:
            raise
        raise schema.DamagedError(str(error)) from None


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except Exception:
        with suppress(sqlite3.Error):  # a failed statement may have ended the transaction by itself
            db.execute("ROLLBACK")
        raise
