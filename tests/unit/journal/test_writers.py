"""Several writers on one file: all see one order, and no claim passes an event that binds unseen."""

from __future__ import annotations

import asyncio
import multiprocessing
import sqlite3
from contextlib import closing
from multiprocessing.queues import Queue
from pathlib import Path
from random import Random

import pytest

from exporter.clock import SystemClock
from exporter.journal import Appended, Journal, journal_for
from exporter.limits import Sent
from exporter.limits.events import Event, binds, decode
from exporter.secret import SecretStr
from tests.unit.journal.places import Writer, read, refused, sent

CLAIMS = 15

Report = tuple[list[tuple[int, bool]], list[tuple[list[int], int]]]
"""What a writer learnt, in its order; and each batch it was granted, with how much it knew as it asked."""


def _journal(path: Path, *, guest: bool = False) -> Journal:
    return journal_for(SecretStr(f"sqlite:{path}"), SystemClock(), guest=guest)


def _key(event: Event) -> tuple[int, bool]:
    return event.number, isinstance(event, Sent)


async def _write(path: Path, seed: int, guest: bool) -> Report:
    random = Random(seed)
    writer = await Writer(_journal(path, guest=guest), SystemClock()).open()
    granted: list[tuple[list[int], int]] = []
    known = [_key(dated.event) for dated in writer.history.events]
    while len(granted) < CLAIMS:
        batch = [sent(random.randrange(100)) for _ in range(random.randint(1, 3))]
        learnt = len(known) + len(writer.news)  # what the decision was made by
        if await writer.send(*batch) is Appended.YES:
            granted.append(([one.number for one in batch], learnt))
            writer.note(read(batch[0]) if random.random() < 0.5 else refused(batch[0]))
        await asyncio.sleep(random.choice([0.0, 0.0, 0.003]))
    await writer.journal.close()
    return known + [_key(dated.event) for dated in writer.news], granted


def _process(path: Path, seed: int, guest: bool, reports: Queue[Report]) -> None:
    reports.put(asyncio.run(_write(path, seed, guest)))


def _judge(order: list[tuple[int, bool]], binding: set[tuple[int, bool]], report: Report) -> None:
    """``order`` is that of the file; the news of a writer comes in it, and no grant passes what binds."""
    learnt, granted = report
    place = {key: index for index, key in enumerate(order)}
    places = [place[key] for key in learnt]
    assert places == sorted(places)
    own = {number for batch, _ in granted for number in batch}
    others = [place[key] for key in order if key in binding and key[0] not in own]
    for batch, heard in granted:
        seen = {place[key] for key in learnt[:heard]}
        first = place[batch[0], True]
        assert [place[number, True] for number in batch] == list(range(first, first + len(batch)))
        assert all(one in seen for one in others if one < first)


@pytest.mark.parametrize("seed", range(2))
def test_no_claim_is_granted_past_an_event_that_binds(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "exporter.db"
    context = multiprocessing.get_context("fork")
    reports: Queue[Report] = context.Queue()
    processes = [
        context.Process(target=_process, args=(path, 10 * seed + n, True, reports)) for n in range(3)
    ]
    for process in processes:
        process.start()
    keeper = Writer(_journal(path), SystemClock())

    async def run() -> list[Report]:
        await keeper.open()
        found = [await asyncio.to_thread(reports.get, timeout=100) for _ in processes]
        await keeper.send()
        for process in processes:
            process.join()
        return found

    async def whole() -> tuple[list[Report], list[Event]]:
        found = await run()
        with closing(sqlite3.connect(path)) as db:
            events = [decode(text) for (text,) in db.execute("SELECT text FROM events ORDER BY id")]
        await keeper.journal.close()
        return found, events

    found, events = asyncio.run(whole())
    order = [_key(event) for event in events]
    binding = {_key(event) for event in events if binds(event)}
    known = [_key(dated.event) for dated in [*keeper.history.events, *keeper.news]]
    assert known == order
    for report in found:
        _judge(order, binding, report)
