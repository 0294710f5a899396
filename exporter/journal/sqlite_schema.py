"""The tables of the journal's SQLite file, and whether a file that was found is one."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from exporter.errors import StorageError
from exporter.journal.sqlite_mark import owned
from exporter.storage_url import APPLICATION_ID

if TYPE_CHECKING:
    from pathlib import Path

VERSION = 3
"""The schema's version, as ``user_version`` in the file. Versions 1 and 2 kept no events."""

FORGET_READINGS = 30 * 86_400.0
"""Seconds after which the reading of a link that is no longer polled is deleted."""

COLUMNS = "account, name, kind, value, id, all_time, month, today, yesterday, previous_month, short_link"
"""The columns of ``readings`` that name a link and hold its figures."""

_COUNTS = ("all_time", "month", "today", "yesterday", "previous_month", "total")

_TABLES = f"""
    CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT, number INTEGER NOT NULL, kind INTEGER NOT NULL,
        at REAL NOT NULL CHECK (abs(at) < 1e12), lasting INTEGER NOT NULL CHECK (lasting IN (0, 1)),
        text TEXT NOT NULL, UNIQUE (number, kind)
    ) STRICT;
    CREATE TABLE readings (
        account TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL, value TEXT NOT NULL, id TEXT NOT NULL,
        {" ".join(f"{name} INTEGER NOT NULL CHECK ({name} >= 0)," for name in _COUNTS)}
        short_link TEXT NOT NULL, read_at REAL NOT NULL, at REAL, sent INTEGER NOT NULL,
        PRIMARY KEY (account, name)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE clock (
        only INTEGER PRIMARY KEY CHECK (only = 1), boot TEXT NOT NULL, unknown_until REAL NOT NULL,
        grave_until REAL NOT NULL
    ) STRICT;
    PRAGMA application_id = {APPLICATION_ID};
    PRAGMA user_version = {VERSION};
"""

SAVE = f"""
    INSERT INTO readings ({COLUMNS}, total, read_at, at, sent)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
            coalesce((SELECT id FROM events WHERE number = ? AND kind = 0), 0))
    ON CONFLICT DO UPDATE SET
        total = CASE WHEN (kind, value) = (excluded.kind, excluded.value) THEN max(total, excluded.total)
                ELSE excluded.total END,
        {", ".join(f"{name} = excluded.{name}" for name in COLUMNS.split(", ")[2:])},
        read_at = excluded.read_at, at = excluded.at, sent = excluded.sent
    WHERE excluded.sent >= sent
"""  # noqa: S608 - our own names
"""Saves a reading, unless there is one of a request that was sent later. The counter never falls."""


RAISE = "UPDATE readings SET total = max(total, ?) WHERE (account, name, kind, value) = (?, ?, ?, ?)"
"""Raises the counter of a reading that ``SAVE`` left as it was."""

_FIGURES = COLUMNS.partition("name, ")[2]

FIND = f"SELECT {_FIGURES}, total, read_at, at FROM readings WHERE (account, name) = (?, ?)"  # noqa: S608 - our own names
"""The reading of one link."""


class DamagedError(Exception):
    """The file is ours, and cannot be used any more."""


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
        owned(os.fstat(file), path)
        return os.pread(file, 100, 0)
    finally:
        os.close(file)


def make_folder(path: Path) -> None:
    """Makes the folder of the file, for us alone. Raises ``OSError``."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)


def make(path: Path) -> None:
    """Makes the file if it is not there, for us alone. Raises ``OSError``, also if it is a symbolic link."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(file, 0o600)
    finally:
        os.close(file)


def tidy(db: sqlite3.Connection, now: float, shortly: float, lasting: float) -> None:
    """Drops events from before ``shortly``, lasting ones from before ``lasting``, and old readings."""
    db.execute("DELETE FROM events WHERE at < ? AND NOT lasting", (shortly,))
    db.execute("DELETE FROM events WHERE at < ?", (lasting,))
    db.execute("DELETE FROM readings WHERE at < ?", (now - FORGET_READINGS,))
    db.execute("UPDATE clock SET unknown_until = 0 WHERE unknown_until < ?", (now,))
    db.execute("UPDATE clock SET grave_until = 0 WHERE grave_until < ?", (now,))


def create(db: sqlite3.Connection) -> None:
    """Makes the tables, before the file has a write-ahead log, so that its head shows that it is ours."""
    db.executescript(f"BEGIN IMMEDIATE; {_TABLES} COMMIT;")


def check(db: sqlite3.Connection) -> None:
    """Reads the whole file. Raises ``DamagedError`` if something in it is damaged."""
    (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise DamagedError(verdict)
    with closing(sqlite3.connect(":memory:")) as new:
        create(new)
        if _tables(db) != _tables(new):
            raise DamagedError("its tables are not those of this exporter")


def _tables(db: sqlite3.Connection) -> list[tuple[str, str]]:
    return db.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name").fetchall()


def set_aside(path: Path) -> str:
    """Renames the file and what belongs to it; returns its new name. Raises ``OSError``."""
    number = 1
    while os.path.lexists(aside := f"{path}.damaged-{number}"):
        number += 1
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            os.rename(f"{path}{suffix}", f"{aside}{suffix}")
    return aside
