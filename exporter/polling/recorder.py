"""How a request gets permission: the ledger decides, the journal records, and only then is it sent."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable, Iterable, Sequence

from exporter.clock import Clock
from exporter.journal import Appended, Journal, StoredReading
from exporter.limits import (
    MAX_IN_FLIGHT,
    SEND_BY,
    Answered,
    Dated,
    Denied,
    Ledger,
    Reason,
    Request,
    Sent,
    Unknown,
)
from exporter.model import Snapshot
from exporter.polling.constants import STORAGE_RETRY


class Recorder:
    """Keeps the ledger of this process in step with a journal that others may write.

    ``heard`` is called with what others appended, once the ledger knows it. ``known`` gives the latest
    snapshots. ``restored`` says that the journal's readings have been read: nothing is sent before, for
    counters must go on from there.
    """

    def __init__(
        self,
        ledger: Ledger,
        journal: Journal,
        clock: Clock,
        heard: Callable[[Sequence[Dated]], None],
        known: Callable[[], Iterable[Snapshot]] = tuple,
    ) -> None:
        self.ledger = ledger
        self.journal = journal
        self._clock = clock
        self._heard = heard
        self._known = known
        self.restored = True

    async def open(self) -> None:
        """Opens the journal and learns its history. Raises ``StorageError``.

        Configure the ledger first: the refusal of a login that is not configured holds nobody back.
        """
        history = await self.journal.open(self)
        self.restored = self.journal.up
        for dated in history.events:
            self.ledger.learn(dated)
        self.ledger.distrust(history.verified_since)
        if history.unknown is not None:
            self.assume(history.unknown)

    def learn(self, news: Sequence[Dated]) -> None:
        """Learns events that others appended."""
        for dated in news:
            self.ledger.learn(dated)
        self._heard(news)

    def assume(self, unknown: Unknown) -> None:
        """Waits and assumes the worst, because it is unknown what was sent before."""
        self.ledger.assume(unknown, self._clock.monotonic())

    def readings(self) -> Iterable[StoredReading]:
        """The latest readings of the configured links."""
        for one in self._known():
            if one.reading is not None:
                yield StoredReading(one.key, one.target, one.reading, one.read_at, one.total)

    # --- may it leave? ------------------------------------------------------------------------------------

    def check(self, request: Request, now: float, limit: int = MAX_IN_FLIGHT) -> Denied | None:
        """Why the request may not leave now; None if it may. See ``Ledger.check``."""
        return self._storage_denied(now) or self.ledger.check(request, now, limit)

    def check_login(self, request: Request, now: float) -> Denied | None:
        """Why no request of this login may leave now; None if one may."""
        return self._storage_denied(now) or self.ledger.check_login(request, now)

    def _storage_denied(self, now: float) -> Denied | None:
        """Where others use the journal, nothing is sent that is not on record."""
        if not self.restored or (self.journal.fail_closed and not self.journal.up):
            return Denied(now + STORAGE_RETRY, Reason.STORAGE_DOWN)
        return None

    # --- from its record to its end -----------------------------------------------------------------------

    def begin(self, request: Request) -> Sent:
        """Counts a request at once. Hand the result to ``record``, alone or with others."""
        sent = Sent(request)
        self.ledger.begin(sent, self._clock.monotonic())
        return sent

    async def record(self, batch: Sequence[Sent]) -> bool:
        """Records requests that were begun; returns whether they may be sent now, all or none.

        If not, they do not count: another process was faster, the journal failed, or it took too long.
        """
        asked_at = self._clock.monotonic()
        try:
            appended = await self.journal.append(batch)
        except CancelledError:
            self._cancel(batch)
            raise
        if appended is not Appended.YES:
            for sent in batch:
                self.ledger.withdraw(sent)
            return False
        if self._clock.monotonic() - asked_at > SEND_BY:
            self._cancel(batch)
            return False
        return True

    def _cancel(self, batch: Sequence[Sent]) -> None:
        """Ends requests that may be on record and will not be sent."""
        for sent in batch:
            self.end(Answered(sent.request, sent.number, None))

    def end(self, answer: Answered) -> None:
        """A request of this process ended."""
        self.journal.note(self.ledger.end(answer, self._clock.monotonic()))
