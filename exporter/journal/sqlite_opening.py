"""Opens the journal's file for ``serve`` or a guest, or explains why that cannot be done."""

from __future__ import annotations

import sqlite3
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from exporter.errors import StorageError
from exporter.journal.sqlite_schema import DamagedError, make_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter.journal.journal import History
    from exporter.journal.sqlite_file import EventFile

PREPARED_WITHIN, TRIES = 1.0, 20
"""Seconds to wait for another process that is preparing the file, and how often to look."""


def open_file(file: EventFile, guest: bool) -> History:
    """Opens or makes the file. A guest holds the lock only for a moment. Raises ``StorageError``."""
    with _refused(file):
        make_folder(file.path)
        visits = _enter(file, guest=guest)
        if guest and not visits:
            file.mark(closed=True)
            file.lock.release()
        return file.history(orphan=not visits)


def _enter(file: EventFile, *, guest: bool) -> bool:
    """Takes the lock and prepares the file, or joins its holder as a guest; returns whether it joined."""
    for _ in range(TRIES):
        if file.lock.take():
            file.prepare()
            return False
        if guest and file.visit():
            return True
        time.sleep(PREPARED_WITHIN / TRIES)
    if guest:
        hint = "an exporter on another machine, or of another version: ask there"
    else:
        hint = "another process: one file serves one exporter, several share a redis:// storage"
    raise StorageError(f"{file.path} is in use by {hint}")


@contextmanager
def _refused(file: EventFile) -> Iterator[None]:
    """On any error, closes the file and raises a ``StorageError`` that explains it."""
    try:
        yield
    except (StorageError, DamagedError, OSError, sqlite3.Error) as error:
        file.disconnect()
        file.lock.release(unused=isinstance(error, StorageError))
        raise _told(file, error) from None


def _told(file: EventFile, error: Exception) -> StorageError:
    if isinstance(error, StorageError):
        return error
    if isinstance(error, DamagedError):
        return StorageError(f"{file.path} is damaged ({error}): start the exporter, which sets it aside")
    return StorageError(f"{file.path} cannot be used: {getattr(error, 'strerror', None) or error}")
