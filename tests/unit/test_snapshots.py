"""What is known of links: which of two answers is kept, and what a reload carries over."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exporter.errors import Outcome
from exporter.journal import StoredReading
from exporter.model import MOST_CLICKS, Link, Reading, Snapshot
from exporter.snapshots import Snapshots
from tests.factories import make_link, make_reading

A = make_link("a", id="1")
B = make_link("b", id="2")
RENAMED = make_link("a", id="9")
READING = make_reading(10, id="1")


class Desk:
    """The snapshots of some links, and those that were said to have changed."""

    def __init__(self, *links: Link, stored: tuple[StoredReading, ...] = ()) -> None:
        self.changed: list[Snapshot] = []
        self.snapshots = Snapshots(self.changed.append)
        self.late = self.configure(*links, stored=stored)

    def configure(self, *links: Link, stored: tuple[StoredReading, ...] = ()) -> list[Snapshot]:
        return self.snapshots.swap(self.snapshots.build(links, stored))

    def poll(
        self, order: int, reading: Reading | None = None, outcome: Outcome = Outcome.OK, link: Link = A
    ) -> Snapshot:
        """A poll ended; what is known afterwards."""
        changed = self.snapshots.apply(link, order, outcome, reading, 1000.0 + order)
        assert changed is not None
        self.snapshots.put(changed[1])
        return self.of(link)

    def of(self, link: Link = A) -> Snapshot:
        snapshot = self.snapshots.get(link)
        assert snapshot is not None
        return snapshot


def test_nothing_is_known_of_a_new_link() -> None:
    desk = Desk(A)
    assert desk.of() == Snapshot(A)
    assert desk.snapshots.missing([A, B]) == [A.key, B.key]  # no figures yet
    assert desk.snapshots.get(B) is None
    assert desk.snapshots.get(RENAMED) is None
    assert desk.snapshots.all() == {A.key: Snapshot(A)}
    assert (desk.late, desk.changed) == ([], [])


def test_a_poll_gives_what_was_known_before_and_after() -> None:
    desk = Desk(A)
    changed = desk.snapshots.apply(A, 1, Outcome.OK, READING, 1000.0)
    assert changed == (Snapshot(A), Snapshot(A, READING, 1000.0, 10, Outcome.OK))
    assert desk.changed == []
    desk.snapshots.put(changed[1])
    assert desk.changed == [changed[1]]


def test_a_poll_of_a_link_that_has_left_changes_nothing() -> None:
    desk = Desk(A)
    assert desk.snapshots.apply(B, 1, Outcome.OK, READING, 1000.0) is None
    assert desk.snapshots.apply(RENAMED, 1, Outcome.OK, READING, 1000.0) is None


def test_an_answer_never_replaces_one_that_was_asked_for_later() -> None:
    desk = Desk(A)
    desk.poll(5, READING)
    late = desk.poll(3, make_reading(4, id="1"))
    assert (late.reading, late.read_at, late.outcome) == (READING, 1005.0, Outcome.OK)
    assert desk.poll(4, outcome=Outcome.TIMEOUT).outcome is Outcome.OK
    assert desk.poll(6, outcome=Outcome.TIMEOUT).outcome is Outcome.TIMEOUT


def test_a_reading_older_than_the_latest_failure_is_kept_and_the_failure_too() -> None:
    desk = Desk(A)
    desk.poll(5, outcome=Outcome.TIMEOUT)
    after = desk.poll(3, READING)
    assert (after.reading, after.outcome) == (READING, Outcome.TIMEOUT)


def test_a_link_that_stays_keeps_what_is_known_under_its_new_labels() -> None:
    desk = Desk(A)
    known = desk.poll(5, READING)
    labelled = replace(A, labels=(("team", "growth"),))
    assert desk.configure(labelled, B) == []
    assert desk.of(labelled) == replace(known, link=labelled)
    assert desk.poll(4, make_reading(4, id="1"), link=labelled).reading == READING


def test_a_link_that_left_and_came_back_is_new() -> None:
    desk = Desk(A)
    desk.poll(5, READING)
    desk.configure(B)
    desk.configure(A)
    assert desk.of() == Snapshot(A)
    assert desk.poll(1, READING).reading == READING


def test_the_counter_ends_where_whole_numbers_do() -> None:
    """A provider that goes from nothing to the most and back would make it too large for any storage."""
    snapshot = Snapshot(make_link("a"))
    for at in range(10):
        snapshot = snapshot.succeeded(make_reading(0 if at % 2 else MOST_CLICKS), at)
    assert snapshot.total == MOST_CLICKS


def test_a_name_given_to_another_target_keeps_its_counter() -> None:
    desk = Desk(A)
    desk.poll(5, READING)
    desk.configure(RENAMED)
    assert desk.of(RENAMED) == Snapshot(RENAMED, total=10, carried=True)
    assert desk.poll(6, make_reading(500, id="9"), link=RENAMED).total == 10
    assert desk.poll(7, make_reading(502, id="9"), link=RENAMED).total == 12


def test_a_name_that_moves_twice_before_it_is_read_keeps_its_counter_and_jumps_nowhere() -> None:
    desk = Desk(A)
    desk.poll(5, READING)
    desk.configure(RENAMED)
    third = make_link("a", id="33")
    desk.configure(third)
    assert desk.poll(6, make_reading(700, id="33"), link=third).total == 10


def test_a_name_that_was_never_read_counts_from_its_first_figure() -> None:
    desk = Desk(A)
    desk.configure(RENAMED)
    assert desk.poll(6, make_reading(500, id="9"), link=RENAMED).total == 500


def stored(link: Link, target: Link) -> StoredReading:
    return StoredReading(link.key, target.target, READING, 900.0, 110)


def test_a_start_goes_on_from_what_is_stored() -> None:
    desk = Desk(A, B, stored=(stored(A, A),))
    assert desk.of() == Snapshot(A, READING, 900.0, 110)
    assert desk.of(B) == Snapshot(B)
    assert desk.poll(1, make_reading(13, id="1")).total == 113


def test_what_is_stored_of_another_target_gives_the_counter_alone() -> None:
    desk = Desk(A, stored=(stored(A, RENAMED),))
    assert desk.of() == Snapshot(A, total=110, carried=True)


def test_what_is_known_already_is_newer_than_what_is_stored() -> None:
    desk = Desk(A)
    desk.poll(5, make_reading(20, id="1"))
    desk.configure(A, stored=(stored(A, A),))
    assert desk.of().total == 20


@pytest.mark.parametrize("outcome", [Outcome.OK, Outcome.TIMEOUT])
def test_what_comes_while_a_reload_is_prepared_is_late_and_not_lost(outcome: Outcome) -> None:
    desk = Desk(A, B)
    labelled = replace(A, labels=(("team", "growth"),))
    built = desk.snapshots.build([labelled, B], ())
    desk.poll(1, READING if outcome is Outcome.OK else None, outcome)
    (late,) = desk.snapshots.swap(built)
    assert late == desk.of(labelled)
    assert (late.link, late.outcome) == (labelled, outcome)


def test_what_comes_for_a_target_that_leaves_is_not_taken_over() -> None:
    desk = Desk(A)
    built = desk.snapshots.build([RENAMED], ())
    desk.poll(1, READING)
    assert desk.snapshots.swap(built) == []
    assert desk.of(RENAMED).reading is None


@pytest.mark.parametrize("failed", [False, True])
def test_what_a_journal_that_was_away_knows_is_taken_when_it_is_back(failed: bool) -> None:
    desk = Desk(A)
    if failed:
        desk.poll(1, outcome=Outcome.TIMEOUT)
    desk.configure(A, stored=(stored(A, A),))
    assert (desk.of().total, desk.of().reading) == (110, READING)
    assert desk.of().outcome is (Outcome.TIMEOUT if failed else None)
    assert desk.poll(2, make_reading(13, id="1")).total == 113
