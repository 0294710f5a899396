"""The tables of the journal's SQLite file, and whether a file that was found is one."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG

from exporter.errors import StorageError
from exporter.journal.journal import FORGET_READINGS
from exporter.journal.sqlite_mark import UNREADABLE, Lock, owned
from exporter.limits.constants import REMEMBERED, REMEMBERED_SHORTLY

VERSION = 5
"""The schema's version, as ``user_version`` in the file."""

APPLICATION_ID = 0x534D5343
"""What marks a SQLite file as ours: "SMSC" (SQLite's file format, section 1.3, offset 68)."""

_TABLES = f"""
    CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT, number INTEGER NOT NULL, kind INTEGER NOT NULL,
        at REAL NOT NULL CHECK (abs(at) < 1e12), lasting INTEGER NOT NULL CHECK (lasting IN (0, 1)),
        text TEXT NOT NULL, UNIQUE (number, kind)
    ) STRICT;
    CREATE TABLE readings (
        link TEXT PRIMARY KEY, target TEXT NOT NULL CHECK (json_valid(target)),
        figures TEXT NOT NULL CHECK (json_valid(figures)), total INTEGER NOT NULL CHECK (total >= 0),
        read_at REAL NOT NULL, at REAL
    ) STRICT, WITHOUT ROWID;
    PRAGMA application_id = {APPLICATION_ID};
    PRAGMA user_version = {VERSION};
"""

APPEND = """
    INSERT INTO events (number, kind, at, lasting, text) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (number, kind) DO NOTHING
"""

SAVE = """
    INSERT INTO readings VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
        total = iif(target = excluded.target, max(total, excluded.total),
                    iif(coalesce(excluded.at >= at, TRUE), excluded.total, total)),
        target = iif(coalesce(excluded.at >= at, TRUE), excluded.target, target),
        figures = iif(coalesce(excluded.at >= at, TRUE), excluded.figures, figures),
        read_at = iif(coalesce(excluded.at >= at, TRUE), excluded.read_at, read_at),
        at = max(excluded.at, coalesce(at, excluded.at))
"""
"""Saves a reading, unless there is one of a request that was sent later. The counter never falls."""

FIND = "SELECT target, figures, total, read_at, at FROM readings WHERE link = ?"
"""The reading of one link."""


class DamagedError(Exception):
    """The file is ours, and cannot be used any more."""


def refusal(path: Path) -> str | None:
    """Why ``serve``, run by the file's owner, would refuse it; None if it uses, makes or sets it aside."""
    lock = Lock(path)
    try:
        judge(path, ours=lock.path.is_file() and lock.look() is not UNREADABLE)
    except DamagedError:
        return None
    except StorageError as error:
        return str(error)
    except OSError as error:
        return f"this file cannot be used ({error.strerror}): name another path"
    return None


def judge(path: Path, *, ours: bool) -> bool:
    """Whether there is a file with something in it that can be ours. ``ours``: its mark says that it was.

    Raises ``DamagedError`` if it was ours and is not a database of this version, ``StorageError`` if it must
    be left alone, ``OSError`` if it cannot be read.
    """
    head = _head(path)
    application = int.from_bytes(head[68:72], "big")
    if not head:
        return False
    if not head.startswith(b"SQLite format 3\0") or application != APPLICATION_ID:
        if ours:
            raise DamagedError("file is not a database of smsc-exporter")
        raise StorageError(f"{path} is not smsc-exporter's database: name another path in storage.url")
    version = int.from_bytes(head[60:64], "big")
    if version > VERSION:
        raise StorageError(
            f"{path} was written by a newer smsc-exporter (schema {version}, this one knows {VERSION}):"
            " run that one, or name another path in storage.url"
        )
    if version < VERSION:
        raise DamagedError(f"an earlier version wrote it (schema {version})")
    return True


def _head(path: Path) -> bytes:
    """The first 100 bytes of the file, none if it is not there. Raises ``OSError``."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return b""
    try:
        if not S_ISREG(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, "it is a folder, a device or a pipe")
        return os.pread(file, 100, 0)
    finally:
        os.close(file)


def make(path: Path) -> None:
    """Makes the file if it is not there, for us alone. Raises ``OSError``, also for a link."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        owned(os.fstat(file), path)
        os.fchmod(file, 0o600)
    finally:
        os.close(file)


def tidy(db: sqlite3.Connection, now: float) -> None:
    """Drops events that do not count any more, and old readings."""
    db.execute("DELETE FROM events WHERE at < ? AND NOT lasting", (now - REMEMBERED_SHORTLY,))
    db.execute("DELETE FROM events WHERE at < ?", (now - REMEMBERED,))
    db.execute("DELETE FROM readings WHERE at < ?", (now - FORGET_READINGS,))


def create(db: sqlite3.Connection) -> None:
    """Makes the tables, before the file has a write-ahead log, so that its head shows that it is ours."""
    db.executescript(f"BEGIN IMMEDIATE; {_TABLES} COMMIT;")


def check(db: sqlite3.Connection) -> None:
    """Reads the whole file. Raises ``DamagedError`` if something in it is damaged."""
    (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise DamagedError(verdict)


def set_aside(path: Path) -> str:
    """Renames the file and what belongs to it; returns its new name. Raises ``OSError``."""
    number = 1
    while os.path.lexists(aside := f"{path}.damaged-{number}"):
        number += 1
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            os.rename(f"{path}{suffix}", f"{aside}{suffix}")
    return aside
