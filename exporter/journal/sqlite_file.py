"""The journal's SQLite file: opened, written and closed by one thread. It holds no rule of the ledger.

Commits survive the process being killed (write-ahead log, ``synchronous = NORMAL``), not the machine losing
power; the mark beside the file tells the next start. What still counts is also kept in memory: while the file
cannot be written, ``serve`` goes on from there, and writes all of it as soon as that works.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager, suppress
from math import inf
from typing import TYPE_CHECKING, NamedTuple

import structlog

from exporter.errors import Outcome
from exporter.journal import sqlite_schema as schema
from exporter.journal.journal import Appended, History, StoredReading
from exporter.journal.sqlite_mark import UNREADABLE, Lock, Mark
from exporter.limits.constants import (
    FAILED_LOGIN_LIMIT,
    FAILED_LOGIN_WINDOW,
    LONGEST_PAUSE,
    REMEMBERED,
    REMEMBERED_SHORTLY,
    VERIFIED_TTL,
    longest_count,
)
from exporter.limits.events import Answered, Dated, Sent, Unknown, binds, decode, encode, lasting
from exporter.model import Reading

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from pathlib import Path

    from exporter.clock import Clock
    from exporter.limits.events import Event
    from exporter.model import LinkKey

log = structlog.stdlib.get_logger(__name__)

BUSY = 5.0
"""Seconds that a transaction waits for another process's, which takes a few milliseconds."""

TIDY = 60.0
"""Seconds between two clean-ups."""

DEFAULT_TIMEOUT = 60.0
"""The longest timeout to assume if none is on record, in seconds."""

_FAILED_LOGINS = frozenset({Outcome.UNAUTHORIZED, Outcome.BLOCKED})

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


class Noted(NamedTuple):
    """An event, when it was recorded, and the wall-clock time of our own reading that it brings."""

    event: Event
    at: float
    read_at: float = 0.0


class EventFile:
    """The file at ``path``. ``boot`` names the machine's boot. ``guest``: another process holds the lock."""

    def __init__(self, path: Path, clock: Clock, *, guest: bool, boot: str) -> None:
        self.path = path.parent.resolve() / path.name
        self.lock = Lock(self.path)
        self.up = True
        self._clock = clock
        self._guest = guest
        self._boot = boot
        self._db = sqlite3.connect(":memory:", check_same_thread=False)
        self._files: tuple[tuple[int, int], ...] = ()
        self._known: dict[tuple[int, bool], Noted] = {}
        self._unwritten: list[Noted] = []
        self._readings: dict[LinkKey, tuple[Answered, Noted]] = {}
        self._own: dict[int, float] = {}
        self._news: list[Dated] = []
        self._last = 0
        self._looked = self._tidied = clock.monotonic()
        self._failures_until = -inf
        self._opened = self._same_boot = False
        self._reason = ""
        self._unknown_until = self._grave_until = 0.0

    # --- opening ------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Opens or makes the file, as the process that has the lock; sets it aside if it is damaged.

        Raises ``StorageError``, ``OSError`` or ``sqlite3.Error``; to a guest also ``DamagedError``.
        """
        try:
            self._prepare()
        except schema.DamagedError as damage:
            if self._guest:
                raise
            self.disconnect()
            self._set_aside(str(damage))
            self._prepare()

    def _set_aside(self, damage: str) -> None:
        """If no new file can be made, the mark tells the next start that something is missing."""
        self.lock.found = self.lock.found or Mark(0, grave=False, lost=True)
        self.lock.write(self.lock.found)
        aside = schema.set_aside(self.path)
        log.error("storage_damaged", file=str(self.path), reason=damage, kept_as=aside)
        if not self._opened:
            self._known.clear()

    def _prepare(self) -> None:
        found = self.lock.found
        begun = os.path.lexists(self.path)
        exists = schema.judge(self.path, ours=found is not None and found is not UNREADABLE)
        if found is None:
            self.lock.found = Mark(0, grave=False, lost=begun, closed=True)
            self.lock.write(self.lock.found)
        with _damage_told():
            db = self._connect("rwc")
            self._set_up(db, exists=exists)
        self._files = self._identities()
        self._opened = True
        self.mark()

    def _set_up(self, db: sqlite3.Connection, *, exists: bool) -> None:
        if exists:
            schema.check(db)
        else:
            schema.create(db)
        db.execute("PRAGMA journal_mode = WAL")
        with _transaction(db):
            self._last = 0
            self._set_clock(db)
            self._look(db)
            self._judge_past(db)
            self._delete_old(db, self._clock.monotonic())
            last = self._insert(db, self._known.values())
        self._last = last

    def visit(self) -> bool:
        """Opens the file as a guest beside the lock's holder; returns whether that has prepared it.

        Raises as ``prepare`` does.
        """
        if not schema.judge(self.path, ours=False):
            return False
        db = self._connect("rw")
        row = db.execute("SELECT boot, unknown_until, grave_until FROM clock").fetchone()
        if row is None or row[0] != self._boot:
            self.disconnect()
            return False
        _, self._unknown_until, self._grave_until = row
        self._same_boot = True
        with _damage_told():
            self._look(db)
        self._files = self._identities()
        self._opened = True
        return True

    def _connect(self, mode: str) -> sqlite3.Connection:
        if mode == "rwc":
            schema.make(self.path)
        # The thread that opens it is the only one that uses it.
        self._db = sqlite3.connect(
            f"{self.path.as_uri()}?mode={mode}",
            uri=True,
            timeout=BUSY,
            isolation_level=None,
            check_same_thread=False,
        )
        self._db.execute(f"PRAGMA synchronous = {'FULL' if self._guest else 'NORMAL'}")
        return self._db

    def disconnect(self) -> None:
        """Closes the connection; twice does no harm."""
        self._db.close()

    # --- the past -----------------------------------------------------------------------------------------

    def _set_clock(self, db: sqlite3.Connection) -> None:
        """After another boot, everything on record counts as if it had happened just now."""
        now = self._clock.monotonic()
        row = db.execute("SELECT boot, unknown_until, grave_until FROM clock").fetchone()
        boot, unknown_until, grave_until = row or ("", 0.0, 0.0)
        (latest,) = db.execute("SELECT coalesce(max(at), 0) FROM events").fetchone()
        self._same_boot = boot == self._boot and latest <= now
        if self._same_boot:
            self._unknown_until = max(self._unknown_until, unknown_until)
            self._grave_until = max(self._grave_until, grave_until)
            return
        db.execute("UPDATE events SET at = ?", (now,))
        db.execute("UPDATE readings SET at = NULL")
        if boot == self._boot:
            self._reason = "the machine's clock went back"
        elif unknown_until:
            self._reason = "the wait before the machine was restarted had not ended"
            self._grave_until = now + FAILED_LOGIN_WINDOW if grave_until else 0.0

    def _judge_past(self, db: sqlite3.Connection) -> None:
        """Stores in the file how long nothing may leave, because it may lack something that was sent."""
        mark = self.lock.found or Mark(0, grave=False)
        reason = mark.missing(self._sequence(db), rebooted=not self._same_boot) or self._reason
        if reason and not self._opened:
            now = self._clock.monotonic()
            timeouts = [noted.event.request.timeout for noted in self._known.values()]
            timeout = max(timeouts, default=DEFAULT_TIMEOUT)
            self._unknown_until = max(self._unknown_until, now + longest_count(timeout))
            if mark.grave:
                self._grave_until = now + FAILED_LOGIN_WINDOW
            seconds = self._unknown_until - now
            log.warning("storage_unsure", file=str(self.path), reason=reason, seconds=seconds)
        self._reason = reason
        row = (self._boot, self._unknown_until, self._grave_until)
        db.execute("INSERT OR REPLACE INTO clock VALUES (1, ?, ?, ?)", row)

    def history(self, *, orphan: bool) -> History:
        """The events on record when the file was opened."""
        now = self._clock.monotonic()
        early = 0.0 if self._same_boot else -inf
        events = [Dated(one.event, one.at + early, one.at, orphan) for one in self._known.values()]
        since = now - VERIFIED_TTL if self._same_boot else inf
        return History(events, since, self._unknown(now))

    def _unknown(self, now: float) -> Unknown | None:
        seconds = max(0.0, self._unknown_until - now)
        failed = FAILED_LOGIN_LIMIT if now < self._grave_until else 0
        if not seconds and not failed:
            return None
        return Unknown(self._reason or "the file lacked something a while ago", seconds, failed)

    # --- writing ------------------------------------------------------------------------------------------

    def write(
        self, requests: Sequence[Sent], notes: Iterable[Noted], *, again: bool = False
    ) -> tuple[Appended, list[Dated]]:
        """Writes ends that were noted, and the requests unless another process appended what binds.

        Returns the answer and the news. ``again``: tries a file that could not be written before.
        """
        for noted in notes:
            self._note(noted)
        now = self._clock.monotonic()
        self._own.update((one.number, now) for one in requests)
        answer = self._write(requests, again=again)
        news, self._news = self._news, []
        return answer, news

    def _note(self, noted: Noted) -> None:
        self._remember(noted)
        if self.up or self._guest:
            self._unwritten.append(noted)
        _keep_reading(self._readings, noted)

    def _write(self, requests: Sequence[Sent], *, again: bool) -> Appended:
        if self.up or again or self._guest:
            try:
                return self._append(requests)
            except Exception as error:  # a broken file causes many kinds of errors
                self._failed(error)
        return self._append_in_memory(requests)

    def _append(self, requests: Sequence[Sent]) -> Appended:
        if not self.up and not self._guest:
            self._reopen()
        if self._guest and self._lost():
            raise OSError("the exporter that has it cannot write it")
        with _transaction(self._db):
            now = self._clock.monotonic()
            self._look(self._db)
            behind = any(binds(one.event) for one in self._news)
            sent = [] if behind else [Noted(one, now) for one in requests]
            last = self._insert(self._db, [*self._unwritten, *sent])
            if now - self._tidied > TIDY:
                self._delete_old(self._db, now)
        self._check_written()
        self._done(sent, last)
        return Appended.BEHIND if behind else Appended.YES

    def _check_written(self) -> None:
        """SQLite commits into a deleted file without an error. Raises ``OSError`` then."""
        if self._identities() != self._files:
            raise OSError("the file was replaced by another")
        if self._guest and self._lost():
            raise OSError("the exporter that has it cannot write it")

    def _done(self, sent: list[Noted], last: int) -> None:
        self._last = last
        for one in sent:
            self._remember(one)
        self._unwritten.clear()
        self._readings.clear()
        self.mark()
        if not self.up:
            self.up = True
            log.warning("storage_works_again", file=str(self.path))

    def _failed(self, error: Exception) -> None:
        """Logs the first failure."""
        if self.up:
            self.up = False
            log.error("storage_failed", file=str(self.path), reason=_reason(error))
        if not self._guest:
            self._unwritten.clear()  # ``_known`` is written once the file works again

    def _append_in_memory(self, requests: Sequence[Sent]) -> Appended:
        """Marks the file as lost before anything is sent that it lacks.

        A guest may have appended something before it saw the mark, so the file is read if possible.
        """
        if self._guest:
            return Appended.NO
        self.mark(lost=True)
        now = self._clock.monotonic()
        with suppress(Exception):
            self._look(self._db)
        if now - self._tidied > TIDY:
            self._forget(now)
        if any(binds(one.event) for one in self._news):
            return Appended.BEHIND
        for one in requests:
            self._remember(Noted(one, now))
        return Appended.YES

    def _reopen(self) -> None:
        """Opens the file again, or makes a new one, and writes all that still counts."""
        self.disconnect()
        schema.make_folder(self.path)
        if not self.lock.in_place():
            self.lock.release()
            if not self.lock.take():
                raise OSError("another process uses it")
        for noted in self._known.values():
            _keep_reading(self._readings, noted)
        self.prepare()

    def _lost(self) -> bool:
        return self.lock.look().lost

    def mark(self, *, lost: bool = False, closed: bool = False) -> None:
        """Writes the mark, if this process has the lock."""
        grave = self._clock.monotonic() < max(self._failures_until, self._grave_until)
        self.lock.found = Mark(self._last, grave, lost, closed and not lost)
        self.lock.write(self.lock.found)

    def close(self, notes: Iterable[Noted]) -> list[Dated]:
        """Writes what is left, and closes the file."""
        _, news = self.write((), notes, again=True)
        self.disconnect()
        self.mark(lost=not self.up, closed=True)
        self.lock.release()
        return news

    # --- rows ---------------------------------------------------------------------------------------------

    def _look(self, db: sqlite3.Connection) -> None:
        """Reads events appended since the last look. Those of other processes are news."""
        now = self._clock.monotonic()
        rows = db.execute("SELECT id, at, text FROM events WHERE id > ? ORDER BY id", (self._last,))
        for self._last, at, text in rows:
            event = decode(text)
            if _key(event) in self._known or event.number in self._own:
                continue
            self._remember(Noted(event, now if self._opened else at))
            if self._opened:
                self._news.append(Dated(event, self._looked, now))
        self._looked = now

    def _insert(self, db: sqlite3.Connection, events: Iterable[Noted]) -> int:
        """Adds events and readings; returns the id of the latest event, which counts once it is committed."""
        rows = [
            (one.event.number, _key(one.event)[1], one.at, lasting(one.event), _plain(encode(one.event)))
            for one in events
        ]
        db.executemany(
            "INSERT INTO events (number, kind, at, lasting, text) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (number, kind) DO NOTHING",
            rows,
        )
        for answer, noted in self._readings.values():
            self._save(db, answer, noted)
        return self._sequence(db)

    def _save(self, db: sqlite3.Connection, answer: Answered, noted: Noted) -> None:
        names = *answer.link, *answer.request.target
        figures = [getattr(answer.reading, name) for name in Reading.__slots__]
        row = [_plain(one) if isinstance(one, str) else one for one in (*names, *figures)]
        at = noted.at - answer.elapsed
        saved = db.execute(schema.SAVE, (*row, answer.total, noted.read_at, at, answer.number))
        if not saved.rowcount:
            db.execute(schema.RAISE, (answer.total, *row[:4]))

    def _sequence(self, db: sqlite3.Connection) -> int:
        """The id of the latest event there ever was."""
        row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
        return int(row[0]) if row else 0

    def _delete_old(self, db: sqlite3.Connection, now: float) -> None:
        self._forget(now)
        schema.tidy(db, now, now - REMEMBERED_SHORTLY, now - REMEMBERED)

    def _forget(self, now: float) -> None:
        self._tidied = now
        self._own = {number: at for number, at in self._own.items() if at >= now - REMEMBERED_SHORTLY}
        self._known = {
            key: one
            for key, one in self._known.items()
            if one.at >= now - (REMEMBERED if lasting(one.event) else REMEMBERED_SHORTLY)
        }

    def _remember(self, noted: Noted) -> None:
        self._known.setdefault(_key(noted.event), noted)
        event = noted.event
        if isinstance(event, Answered) and event.binds and (event.unclear or event.outcome in _FAILED_LOGINS):
            seconds = LONGEST_PAUSE if event.outcome is Outcome.BLOCKED else FAILED_LOGIN_WINDOW
            self._failures_until = max(self._failures_until, noted.at + seconds)

    def _identities(self) -> tuple[tuple[int, int], ...]:
        both = (os.stat(name) for name in (self.path, f"{self.path}-wal"))
        return tuple((status.st_dev, status.st_ino) for status in both)

    def read(self, links: Collection[LinkKey]) -> Iterator[StoredReading]:
        """The readings of these links, as far as the file can be read."""
        with suppress(sqlite3.Error):
            for link in links:
                row = self._db.execute(schema.FIND, link).fetchone()
                if row is not None:
                    kind, value, *figures, total, read_at, at = row
                    yield StoredReading(
                        link, (kind, value), Reading(*figures), self._read_at(read_at, at), total
                    )

    def _read_at(self, read_at: float, at: float | None) -> float:
        """When a reading was taken, as late as it can have been; 0 if the wall clock was set back since."""
        wall, now = self._clock.time(), self._clock.monotonic()
        if at is not None:
            return wall - (now - at)
        return min(read_at, wall - now) if read_at <= wall else 0.0


def _key(event: Event) -> tuple[int, bool]:
    return event.number, isinstance(event, Answered)


def _keep_reading(readings: dict[LinkKey, tuple[Answered, Noted]], noted: Noted) -> None:
    """Keeps the reading of an event of ours for the next write, in place of an earlier one of its link."""
    answer = noted.event
    if isinstance(answer, Answered) and answer.reading is not None and noted.read_at:
        readings[answer.link] = answer, noted


def _plain(text: str) -> str:
    """The text without characters that UTF-8 cannot hold."""
    return text.encode(errors="replace").decode()


def _reason(error: Exception) -> str:
    return str((isinstance(error, OSError) and error.strerror) or error)


@contextmanager
def _damage_told() -> Iterator[None]:
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
