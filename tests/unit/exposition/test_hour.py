"""The clicks of the last hour: from two readings about an hour apart, or not at all."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.exposition.hour import NOTHING, clicks_of_hour, remember
from tests.factories import make_link
from tests.unit.exposition.test_exposition import Bench

MINUTE, HOUR = 60.0, 3600.0


def shown(readings: Iterable[tuple[float, int]]) -> list[int | None]:
    """The clicks of the last hour at each reading, given as its time and total."""
    past, found = NOTHING, []
    for at, total in readings:
        found.append(clicks_of_hour(past, at, total))
        past = remember(past, at, total)
        assert len(past) <= 2 * 17
    return found


@pytest.mark.parametrize("minutes", [1, 2, 5, 7, 10, 12, 15, 20, 30, 60])
def test_at_a_click_a_minute_an_hour_has_about_sixty(minutes: int) -> None:
    found = shown((n * minutes * MINUTE, n * minutes) for n in range(300 // minutes))
    first = next(n for n, clicks in enumerate(found) if clicks is not None)
    assert first * minutes in range(55, 71)
    assert None not in found[first:]
    assert all(55 <= clicks <= 75 for clicks in found[first:] if clicks is not None)
    if 60 % minutes == 0:
        assert all(58 <= clicks <= 62 for clicks in found[300 // minutes // 2 :] if clicks is not None)


@pytest.mark.parametrize("minutes", [40, 50, 90])
def test_readings_that_are_never_an_hour_apart_give_nothing(minutes: int) -> None:
    assert set(shown((n * minutes * MINUTE, n) for n in range(20))) == {None}


@given(st.lists(st.tuples(st.floats(0, 2 * HOUR), st.integers(0, 1000)), max_size=60))
def test_what_is_shown_was_counted_between_two_readings_about_an_hour_apart(
    steps: list[tuple[float, int]],
) -> None:
    readings = []
    at, total = 0.0, 0
    for later, clicks in steps:
        at, total = at + later, total + clicks
        readings.append((at, total))
    for place, found in enumerate(shown(readings)):
        now, total = readings[place]
        if found is not None:
            assert any(
                55 * MINUTE <= now - at <= 75 * MINUTE and total - before == found
                for at, before in readings[:place]
            )


def _last_hour(bench: Bench) -> int | None:
    return bench.exposition.views()[0].figures(bench.clock.time()).get("last_hour")


def _read_each_minute(bench: Bench, minutes: int, begin: int = 0) -> None:
    for n in range(minutes):
        bench.read(all_time=begin + n)
        bench.clock.advance(MINUTE)


def test_failed_polls_in_between_change_nothing() -> None:
    bench = Bench()
    _read_each_minute(bench, 10)
    for _ in range(50):
        bench.fail()
        bench.clock.advance(MINUTE)
    bench.read(all_time=500)
    assert _last_hour(bench) == 500


def test_a_corrected_count_takes_nothing_away() -> None:
    bench = Bench()
    bench.read(all_time=100)
    bench.read(all_time=40)
    bench.clock.advance(HOUR)
    bench.read(all_time=45)
    assert _last_hour(bench) == 5


@pytest.mark.parametrize("step", [-86_400.0, -600.0, 600.0, 86_400.0])
def test_a_clock_that_is_set_does_not_stretch_the_hour(step: float) -> None:
    bench = Bench()
    _read_each_minute(bench, 30)
    bench.clock.step(step)
    _read_each_minute(bench, 31, 30)
    assert _last_hour(bench) == 60


def test_a_reload_keeps_the_hour_of_a_link_and_forgets_that_of_another_target() -> None:
    bench = Bench()
    _read_each_minute(bench, 61)
    bench.configure(bench.snapshots["spring-sale"].under(make_link(labels=(("team", "growth"),))))
    assert _last_hour(bench) == 60
    bench.read(all_time=70)
    assert _last_hour(bench) == 70
    bench.configure(bench.snapshots["spring-sale"].under(make_link(id="2")))
    bench.read(all_time=80, id="2")
    assert _last_hour(bench) is None


def test_after_a_stop_of_an_hour_the_kept_reading_stands_for_it() -> None:
    bench = Bench()
    bench.read(all_time=10)
    kept = bench.snapshots["spring-sale"]
    bench.clock.advance(HOUR)
    bench = Bench(start=bench.clock.time())
    bench.configure(kept)
    bench.read(all_time=30)
    assert _last_hour(bench) == 20
