"""A guest on the embedded store's file: it asks within the same limits while an exporter has the file.

The exporter keeps the lock. A guest writes its attempts into the same tables, each claim in a transaction of
its own, so that each of the two is bound by what the other sent. Where no exporter runs, a guest prepares the
file as one would, and lets it go at once: an exporter that starts meanwhile finds it free.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from exporter.errors import StorageError
from exporter.store import sqlite_schema
from exporter.store.backend import Grant
from exporter.store.sqlite import SqliteBackend
from exporter.store.sqlite_file import GUEST_STAYS, TRIES, LedgerFile
from exporter.store.sqlite_schema import DamagedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter.store.backend import Attempt, Denied, Kept


class _NotReadyError(StorageError):
    """Whoever has the lock has not prepared the file, or not for this machine."""


class GuestFile(LedgerFile):
    """The same file, beside the exporter whose it is. A guest sets no file aside, and changes no clock."""

    def open(self) -> Iterator[Kept]:
        """The same, for a guest."""
        try:
            return self._enter()
        except DamagedError as damage:
            raise StorageError(
                f"{self.path} is damaged ({damage}): start the exporter, which sets it aside"
            ) from None

    def _enter(self) -> Iterator[Kept]:
        for _ in range(TRIES):
            if self._locked():
                return self._prepare_and_let_go()
            with suppress(_NotReadyError):
                return self._visit()
            time.sleep(GUEST_STAYS / TRIES)
        raise StorageError(
            f"{self.path} is in use by an exporter on another machine, or of another version: ask there"
        )

    def _prepare_and_let_go(self) -> Iterator[Kept]:
        try:
            kept = self._connect(self._prepare)
        except (StorageError, DamagedError):
            self._lock.release()
            raise
        self._let_go()
        return kept

    def _visit(self) -> Iterator[Kept]:
        if not self.path.exists():
            raise _NotReadyError
        return self._connect(self._join, mode="rw")

    def _join(self) -> Iterator[Kept]:
        if self._inspect() != len(sqlite_schema.MIGRATIONS):
            raise _NotReadyError
        sqlite_schema.check_tables(self._db)
        found = self._read_clock()
        if not self._goes_on(found):
            raise _NotReadyError
        self._ahead = found.ahead
        sqlite_schema.check_times(self._db, self.now())
        return self._kept(same_boot=True)


class SqliteGuest(SqliteBackend):
    """The same store, for a guest."""

    File = GuestFile

    async def claim(self, attempt: Attempt) -> Grant | Denied:
        """The same; but a guest is granted nothing that is not on file: nobody else would know of it.

        Raises ``StorageError`` if the file can't be written.
        """
        answer = await super().claim(attempt)
        if not self.up:
            if isinstance(answer, Grant):
                self.end(answer, login_failed=False)
            raise StorageError(f"{self._file.path} cannot be written: no request is sent that is not on file")
        return answer
