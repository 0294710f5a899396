"""What one process keeps of the events that still count."""

from __future__ import annotations

from exporter.journal.kept import Kept
from exporter.limits import Dated
from exporter.limits.constants import REMEMBERED, REMEMBERED_SHORTLY
from tests.unit.journal.places import answered, refused, sent


def test_what_counts_no_longer_is_forgotten() -> None:
    kept = Kept()
    one, two, three = refused(sent(1)), answered(sent(2)), sent(3)
    kept.add(one, 0)
    kept.add(two, 1)
    kept.add(three, 2)
    assert [kept.knows(event) for event in (one, two, three)] == [True] * 3
    kept.add(sent(4), REMEMBERED_SHORTLY + 1.5)
    assert [kept.knows(event) for event in (one, two, three)] == [True, False, True]
    kept.add(sent(5), REMEMBERED + 1)
    assert [kept.knows(event) for event in (one, two, three)] == [False] * 3


def test_the_end_of_a_request_makes_its_beginning_known_and_not_the_other_way_round() -> None:
    kept, one = Kept(), sent()
    kept.add(one, 0)
    assert not kept.knows(answered(one))
    kept.add(answered(one), 0)
    assert kept.knows(one)
    assert kept.knows(answered(one))
    assert [entry.event for entry in kept.missing(0, [Dated(one, 0, 0)])] == [answered(one)]
    assert kept.missing(0, [Dated(answered(one), 0, 0)]) == []
