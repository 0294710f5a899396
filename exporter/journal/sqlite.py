"""The embedded journal: one SQLite file for one ``serve``, and for guests beside it.

All SQL runs on one thread, off the event loop. Calls that come while it works share the next transaction.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from exporter.journal.journal import Appended
from exporter.journal.sqlite_file import EventFile, Noted
from exporter.journal.sqlite_opening import open_file
from exporter.limits.events import binds

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from exporter.clock import Clock
    from exporter.journal.journal import History, Reader, StoredReading
    from exporter.limits import Answered, Dated, Sent
    from exporter.model import LinkKey

    Claim = tuple[Sequence[Sent], asyncio.Future[Appended]]
    Written = tuple[Appended, list[Dated]]

FLUSH = 0.05
"""Seconds after which an end that does not bind is written. A kill loses what is not written yet."""

RETRY = 2.0
"""Seconds between two tries to write a file that could not be written."""

_BOOT = Path("/proc/sys/kernel/random/boot_id")


class SqliteJournal:
    """Events in the file at ``path``. ``boot`` names the machine's present boot.

    ``retry`` is the time between two tries to write a file that could not be written.

    ``guest``: for a command that works beside ``serve``, and records nothing in memory only.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        guest: bool = False,
        boot: str | None = None,
        retry: float = RETRY,
    ) -> None:
        self.fail_closed = guest
        self._clock = clock
        self._file = EventFile(path, clock, guest=guest, boot=boot or present_boot())
        self._guest = guest
        self._retry = retry
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._claims: list[Claim] = []
        self._notes: list[Noted] = []
        self._writing: asyncio.Future[Written] | None = None
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._retry_timer: asyncio.TimerHandle | None = None

    @property
    def up(self) -> bool:
        """Whether the file can be written at present."""
        return self._file.up

    async def open(self, reader: Reader) -> History:
        """Opens or makes the file. One of ours that is damaged is set aside, never deleted.

        Raises ``StorageError`` if another process uses the file, if it is not ours or of a newer version, or
        if it can be neither read nor made.
        """
        self._loop = asyncio.get_running_loop()
        self._reader = reader
        try:
            return await self._loop.run_in_executor(self._thread, open_file, self._file, self._guest)
        except BaseException:
            self._thread.shutdown(wait=False)
            raise

    async def append(self, requests: Sequence[Sent]) -> Appended:
        """Returns once the requests are committed or refused; see ``Journal``."""
        if self._closed:
            return Appended.NO
        waiter: asyncio.Future[Appended] = self._loop.create_future()
        self._claims.append((requests, waiter))
        self._write_soon()
        return await waiter

    def note(self, answer: Answered) -> None:
        """Writes an end with the next requests, or a little later; at once if it binds."""
        read_at = self._clock.time() - answer.elapsed
        self._notes.append(Noted(answer, self._clock.monotonic(), read_at))
        if answer.binds:
            self._write_soon()
        elif self._timer is None and not self._closed:
            self._timer = self._loop.call_later(FLUSH, self._write_soon)

    async def read(self, links: Collection[LinkKey]) -> Iterable[StoredReading]:
        """The latest readings of these links, including those noted before."""
        await self.append(())
        return await self._loop.run_in_executor(self._thread, lambda: list(self._file.read(links)))

    async def close(self) -> None:
        """Writes what is left, and closes the file. Callers of ``append`` that still wait get ``NO``."""
        self._closed = True
        for timer in (self._timer, self._retry_timer):
            if timer is not None:
                timer.cancel()
        if self._writing is not None:
            await asyncio.wait([self._writing])
        self._answer(self._claims, Appended.NO)
        notes, self._notes = self._notes, []
        news = await self._loop.run_in_executor(self._thread, self._file.close, notes)
        self._thread.shutdown()
        self._learn(news)

    # --- on the event loop --------------------------------------------------------------------------------

    def _write_soon(self, *, again: bool = False) -> None:
        """Hands everything that waits to the thread; if the thread is busy, ``_written`` does so later."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._writing is not None or self._closed:
            return
        claims, self._claims = self._claims, []
        notes, self._notes = self._notes, []
        requests = [one for claim, _ in claims for one in claim]
        write = partial(self._file.write, requests, notes, again=again)
        self._writing = self._loop.run_in_executor(self._thread, write)
        self._writing.add_done_callback(partial(self._written, claims))

    def _written(self, claims: list[Claim], writing: asyncio.Future[Written]) -> None:
        self._writing = None
        answer, news = writing.result()
        self._learn(news)
        self._answer(claims, answer)
        if not self.up and self._retry_timer is None and not self._closed:
            self._retry_timer = self._loop.call_later(self._retry, self._try_again)
        if self._claims or self._notes:
            self._write_soon()

    def _learn(self, news: list[Dated]) -> None:
        """Hands news over. Requests that wait were decided without it, and have to be decided again."""
        if any(binds(dated.event) for dated in news):
            claims, self._claims = self._claims, []
            self._answer(claims, Appended.BEHIND)
        if news:
            self._reader.learn(news)

    def _answer(self, claims: list[Claim], answer: Appended) -> None:
        for _, waiter in claims:
            if not waiter.done():
                waiter.set_result(answer)

    def _try_again(self) -> None:
        """Tries whether the file can be written, though there is nothing new to write."""
        self._retry_timer = None
        self._write_soon(again=True)


def present_boot(path: Path = _BOOT) -> str:
    """The id of the machine's boot. Without one, a new id, so that every start counts as a new boot."""
    try:
        return path.read_text().strip()
    except OSError:
        return str(uuid4())
