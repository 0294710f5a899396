"""A process that records requests as fast as it may: ``python redis_writer.py URL CLAIMS WIDTH``.

It appends ``WIDTH`` requests at a time. When it has recorded ``CLAIMS`` of them it says ``done``. On a line
of input it learns the rest. Then it prints as JSON the events that bind, in the order in which it learnt of
them, how many it knew as it decided about each request, and what all that cost. It imports nothing of the
tests, so that it can run with a changed copy of the package.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from time import perf_counter, process_time

from exporter.clock import SystemClock
from exporter.errors import Outcome
from exporter.journal import Appended, Journal, StoredReading, journal_for
from exporter.limits import Answered, Dated, Request, Sent, Unknown
from exporter.limits.events import binds
from exporter.secret import SecretStr


class Writer:
    """A reader that keeps the order of the events that bind."""

    def __init__(self) -> None:
        self.order: list[int] = []
        self.decided: list[tuple[int, int]] = []
        self.asked = 0
        self.waits: list[float] = []

    def learn(self, news: Sequence[Dated]) -> None:
        self.order += [one.event.number for one in news if binds(one.event)]

    def assume(self, unknown: Unknown) -> None:
        raise AssertionError(unknown)

    def readings(self) -> Sequence[StoredReading]:
        return ()

    async def record(self, journal: Journal, width: int) -> None:
        """Records requests, asking again until they are on record, and then their ends."""
        requests = [Sent(Request("host", "login", "secret", ("id", str(n)), 10.0)) for n in range(width)]
        began, verdict = perf_counter(), Appended.BEHIND
        while verdict is Appended.BEHIND:
            self.asked += 1
            known = len(self.order)
            verdict = await journal.append(requests)
        assert verdict is Appended.YES, verdict
        self.waits.append(perf_counter() - began)
        self.decided.append((known, requests[0].number))
        self.order += [sent.number for sent in requests]
        for sent in requests:
            journal.note(Answered(sent.request, sent.number, Outcome.OK))


async def main(url: str, claims: int, width: int) -> None:
    journal, writer = journal_for(SecretStr(url), SystemClock()), Writer()
    history = await journal.open(writer)
    writer.learn(history.events)
    say("ready")
    await asyncio.to_thread(sys.stdin.readline)
    began, cpu = perf_counter(), process_time()
    for _ in range(claims // width):
        await writer.record(journal, width)
    took, cpu = perf_counter() - began, process_time() - cpu
    say("done")
    await asyncio.to_thread(sys.stdin.readline)
    while await journal.append(()) is not Appended.YES:
        pass
    waits = sorted(writer.waits)
    figures = {"took": took, "cpu": cpu, "asked": writer.asked, "wait": waits[len(waits) // 2]}
    say(json.dumps({"order": writer.order, "decided": writer.decided, **figures}))
    await journal.close()


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
