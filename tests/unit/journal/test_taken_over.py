"""The folder is deleted under a running exporter, and another exporter begins there."""

from __future__ import annotations

import asyncio
import shutil

from exporter.journal import Appended
from tests.unit.journal.places import SOON, SqlitePlace, Writer, scenario, sent


async def _until(writer: Writer, verdict: Appended) -> None:
    async with asyncio.timeout(10):
        while await writer.send(sent(5)) is not verdict:  # noqa: ASYNC110 - the test asks
            await asyncio.sleep(SOON)


@scenario
async def test_of_two_exporters_at_one_path_one_sends(disk: SqlitePlace) -> None:
    before = await disk.writer()
    await before.sent()
    shutil.rmtree(disk.file.parent)
    other = await disk.writer()
    await other.sent(2)
    await _until(before, Appended.NO)
    assert before.journal.fail_closed
    assert await other.send(sent(3)) is Appended.YES
    await disk.close(other)
    await _until(before, Appended.YES)
    assert not before.journal.fail_closed
    assert before.numbers, "it knows what the other sent meanwhile"
