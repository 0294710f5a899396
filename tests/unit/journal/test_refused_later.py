"""A storage that is away at the start, and refuses us when it can be reached."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

from structlog.testing import capture_logs

from exporter.clock import SystemClock
from exporter.errors import StorageError
from exporter.journal import History, SharedJournal, StoredReading
from exporter.journal.outbox import Entry
from exporter.journal.shared import LostError, Written
from exporter.limits import Sent
from exporter.model import LinkKey
from tests.unit.journal.places import Writer


class Reluctant:
    """Away at first, then refuses us a few times, then lets us in."""

    name, fail_closed, look, most = "a storage", True, 1.0, 100

    def __init__(self) -> None:
        self.answers: list[Exception] = [LostError("away"), *[StorageError("wrong password")] * 3]

    def pause(self, tries: int) -> float:
        return 0.01

    async def enter(self, *, again: bool, missed: bool) -> History | None:
        if self.answers:
            raise self.answers.pop(0)
        return History()

    async def write(self, entries: Sequence[Entry], requests: Collection[Sent]) -> Written:
        return Written(recorded=True, news=())

    async def write_alone(self, entries: Sequence[Entry], requests: Collection[Sent]) -> Written:
        raise LostError("never")

    async def read(self, links: Sequence[LinkKey]) -> list[StoredReading]:
        return []

    async def close(self) -> None:
        pass


def test_a_refusal_that_comes_later_is_said_once_and_tried_again() -> None:
    async def main() -> list[tuple[object, bool]]:
        writer = Writer(SharedJournal(Reluctant(), SystemClock()), SystemClock())
        with capture_logs() as logs:
            await writer.open()
            async with asyncio.timeout(5):
                while not writer.journal.up:  # noqa: ASYNC110 - what is awaited happens in another process
                    await asyncio.sleep(0.01)
        await writer.journal.close()
        errors = [line for line in logs if line["log_level"] == "error"]
        return [(line["reason"], bool(line.get("exc_info"))) for line in errors]

    assert asyncio.run(main()) == [("away", False), ("wrong password", False)]
