"""The journal that keeps nothing beyond the process."""

from __future__ import annotations

from exporter.journal.journal import MOST_READINGS
from tests.factories import make_link
from tests.unit.journal.places import Place, read, scenario, sent

LINK = ("main", "link")


@scenario
async def test_a_start_counts_two_requests_for_each_link() -> None:
    writer = await Place().writer()
    assert writer.history.unknown is not None
    assert writer.history.unknown.attempts == 2


@scenario
async def test_it_keeps_a_bounded_number_of_readings() -> None:
    writer = await Place().writer()
    for number in range(MOST_READINGS + 1):
        writer.note(read(sent(), name=f"link-{number}"))
    stored = await writer.read([("main", "link-0"), ("main", "link-1")])
    assert [one.link for one in stored] == [("main", "link-1")]


@scenario
async def test_a_stored_reading_becomes_the_snapshot_of_its_link() -> None:
    writer = await Place().writer()
    writer.note(read(sent(), total=9))
    (stored,) = await writer.read([LINK])
    snapshot = stored.under(make_link("link", id="1"))
    assert (snapshot.key, snapshot.total, snapshot.read_at) == (LINK, 9, stored.read_at)
