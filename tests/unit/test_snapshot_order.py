"""What is known of links, in the order in which their requests were sent, and through reloads."""

from __future__ import annotations

from dataclasses import replace

from exporter.errors import Outcome
from exporter.journal import StoredReading
from exporter.model import Link, Snapshot
from exporter.snapshots import Snapshots
from tests.factories import make_link, make_reading

LINK = make_link()


def _snapshots(*links: Link) -> Snapshots:
    snapshots = Snapshots(lambda snapshot: None)
    snapshots.swap(snapshots.build(links or (LINK,), ()))
    return snapshots


def _read(snapshots: Snapshots, order: int, clicks: int, read_at: float = 0.0) -> None:
    changed = snapshots.apply(LINK, order, Outcome.OK, make_reading(clicks), read_at)
    assert changed is not None
    snapshots.put(changed[1])


def _fail(snapshots: Snapshots, order: int) -> None:
    changed = snapshots.apply(LINK, order, Outcome.TIMEOUT, None, 0.0)
    assert changed is not None
    snapshots.put(changed[1])


def _known(snapshots: Snapshots, link: Link = LINK) -> Snapshot:
    known = snapshots.get(link)
    assert known is not None
    return known


def test_of_two_readings_the_one_whose_request_was_sent_later_stays() -> None:
    snapshots = _snapshots()
    _read(snapshots, order=2, clicks=20, read_at=5.0)
    _read(snapshots, order=1, clicks=10, read_at=99.0)
    known = _known(snapshots)
    assert known.reading is not None
    assert (known.reading.all_time, known.read_at) == (20, 5.0)


def test_an_outcome_does_not_replace_that_of_a_request_sent_later() -> None:
    snapshots = _snapshots()
    _fail(snapshots, order=2)
    _read(snapshots, order=1, clicks=10)
    known = _known(snapshots)
    assert known.outcome is Outcome.TIMEOUT
    assert known.reading is not None  # there was none before
    _read(snapshots, order=3, clicks=11)
    assert _known(snapshots).outcome is Outcome.OK


def test_a_link_that_left_is_told_nothing() -> None:
    snapshots = _snapshots()
    other = make_link(id="9")
    assert snapshots.apply(other, 1, Outcome.OK, make_reading(), 0.0) is None
    assert snapshots.get(other) is None


def test_the_order_of_requests_is_forgotten_with_the_link() -> None:
    snapshots = _snapshots()
    _read(snapshots, order=5, clicks=20)
    snapshots.swap(snapshots.build((), ()))
    snapshots.swap(snapshots.build((LINK,), ()))
    _read(snapshots, order=1, clicks=3)
    assert _known(snapshots).reading == make_reading(3)


def test_what_came_while_another_configuration_was_being_built_is_kept() -> None:
    other = make_link("other", id="2")
    snapshots = _snapshots(LINK, other)
    built = snapshots.build((LINK, other), ())
    _read(snapshots, order=1, clicks=8)
    late = snapshots.swap(built)
    assert [snapshot.key for snapshot in late] == [LINK.key]
    assert snapshots.all()[LINK.key].reading == make_reading(8)


def test_a_name_that_is_given_to_another_link_keeps_its_counter() -> None:
    snapshots = _snapshots()
    _read(snapshots, order=1, clicks=8)
    total = _known(snapshots).total
    renamed = replace(LINK, id="9")
    snapshots.swap(snapshots.build((renamed,), ()))
    known = _known(snapshots, renamed)
    assert (known.reading, known.total, known.carried) == (None, total, True)


def test_a_stored_reading_is_taken_where_nothing_else_is_known() -> None:
    same = StoredReading(LINK.key, LINK.target, make_reading(5), 100.0, 6)
    snapshots = Snapshots(lambda snapshot: None)
    assert snapshots.missing([LINK]) == [LINK.key]
    snapshots.swap(snapshots.build([LINK], [same]))
    known = _known(snapshots)
    assert (known.reading, known.read_at, known.total) == (make_reading(5), 100.0, 6)
    assert snapshots.missing([LINK]) == []


def test_of_a_stored_reading_of_another_link_only_the_counter_is_kept() -> None:
    another = StoredReading(LINK.key, ("id", "9"), make_reading(5, id="9"), 100.0, 6)
    snapshots = Snapshots(lambda snapshot: None)
    snapshots.swap(snapshots.build([LINK], [another]))
    known = _known(snapshots)
    assert (known.reading, known.total, known.carried) == (None, 6, True)
