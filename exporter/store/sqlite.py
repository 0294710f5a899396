"""The embedded store: one SQLite file for one exporter.

All SQL runs on one thread, off the event loop; what is asked meanwhile is written in one transaction.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from exporter.errors import StorageError
from exporter.store import ledger
from exporter.store.sqlite_file import LedgerFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from exporter.clock import Clock
    from exporter.model import Snapshot
    from exporter.store.backend import Attempt, Denied, Grant, Kept, Pause
    from exporter.store.sqlite_file import Statement

FLUSH = 0.05
"""Seconds after which what nobody waits for is written : a kill loses what is not written."""

RETRY = 2.0
"""Seconds between two tries to write a file that could not be written."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A statement to be run, and who waits for its result."""

    statement: Statement
    waiter: asyncio.Future[Any] | None = None


class SqliteBackend:
    """State in the file at ``path``, this process's alone. ``boot`` names the machine's present boot."""

    File: type[LedgerFile] = LedgerFile

    def __init__(self, path: Path, clock: Clock, boot: str | None = None) -> None:
        self._file = self.File(path, clock, boot)
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="storage")
        self._asked: list[_Asked] = []
        self._writing = False
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._retry_timer: asyncio.TimerHandle | None = None

    @property
    def up(self) -> bool:
        """Whether the file can be written at present."""
        return self._file.up

    # --- what the exporter asks ---------------------------------------------------------------------------

    async def open(self, changed: Callable[[Kept], None]) -> Iterable[Kept]:
        """Opens or makes the file. One that is damaged is set aside, never deleted.

        Raises ``StorageError`` if another process uses the file, if a newer version wrote it, or if it can be
        neither read nor made.
        """
        self._loop = asyncio.get_running_loop()
        try:
            return await self._loop.run_in_executor(self._thread, self._file.open)
        except StorageError:
            self._thread.shutdown()
            raise

    async def claim(self, attempt: Attempt) -> Grant | Denied:
        """Returns once the attempt is committed, or denied.

        While the file can't be written, the copy in memory answers.
        """
        waiter: asyncio.Future[Any] = self._loop.create_future()
        self._asked.append(_Asked(lambda db, now: ledger.claim(db, now, attempt), waiter))
        self._write_soon()
        answer: Grant | Denied = await waiter
        return answer

    def end(self, grant: Grant, *, login_failed: bool) -> None:
        """Notes that the attempt ended."""
        at = self._file.now()
        self._later(lambda db, _: ledger.end(db, at, grant, login_failed=login_failed))

    def hold(self, key: str, pause: Pause | None) -> None:
        """Notes a pause, or its end."""
        at = self._file.now()
        self._later(lambda db, _: ledger.hold(db, at, key, pause))

    def keep(self, snapshot: Snapshot) -> None:
        """Notes a reading."""
        at = self._file.now() - max(0.0, self._clock.time() - snapshot.read_at)
        self._later(lambda db, _: ledger.keep(db, at, snapshot))

    async def close(self) -> None:
        """Writes what is left, and closes the file."""
        self._closed = True
        for timer in (self._timer, self._retry_timer):
            if timer is not None:
                timer.cancel()
        left = [one.statement for one in self._asked]
        await self._loop.run_in_executor(self._thread, self._file.close, left)
        self._thread.shutdown()

    # --- on the event loop --------------------------------------------------------------------------------

    def _later(self, statement: Statement) -> None:
        """Has it written together with the next claim, or a little later."""
        self._asked.append(_Asked(statement))
        if self._timer is None:
            self._timer = self._loop.call_later(FLUSH, self._write_soon)

    def _write_soon(self, *, again: bool = False) -> None:
        """Hands all that was asked to the thread, unless it is busy: then when it is done."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._writing or self._closed:
            return
        self._writing = True
        asked, self._asked = self._asked, []
        statements = [one.statement for one in asked]
        writing = self._loop.run_in_executor(self._thread, partial(self._file.write, statements, again=again))
        writing.add_done_callback(partial(self._written, asked))

    def _written(self, asked: list[_Asked], writing: asyncio.Future[list[object]]) -> None:
        self._writing = False
        for one, result in zip(asked, writing.result(), strict=True):
            if one.waiter is not None and not one.waiter.done():
                one.waiter.set_result(result)
        if not self.up and self._retry_timer is None:
            self._retry_timer = self._loop.call_later(RETRY, self._try_again)
        if self._asked:
            self._write_soon()

    def _try_again(self) -> None:
        """Has it tried whether the file can be written, though there be nothing new to write."""
        self._retry_timer = None
        self._write_soon(again=True)
