"""The cached lines against prometheus_client's rendering of the same snapshots, and against the clock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.errors import Outcome
from exporter.exposition.exposition import Exposition
from exporter.exposition.slot import FAMILIES
from exporter.model import Account, Link, Snapshot
from tests.factories import MOSCOW, make_account, make_link, make_links, make_reading, show
from tests.oracle import Oracle, generate_openmetrics, parse_openmetrics
from tests.virtual import START, VirtualClock

CLICKS = [family.name for family in FAMILIES if "_clicks_" in family.name]
DAILY = {"smsc_link_clicks_today", "smsc_link_clicks_yesterday"}
MONTHLY = {"smsc_link_clicks_month", "smsc_link_clicks_previous_month"}


class Bench:
    """One account's exposition, with a clock to move."""

    def __init__(self, *links: Link, start: float = START, timezone: ZoneInfo = MOSCOW) -> None:
        self.clock = VirtualClock(start)
        self.account = make_account(links=links or (make_link(),), timezone=timezone)
        self.exposition = Exposition(self.clock)
        self.configure(*[Snapshot(link) for link in self.account.links])

    def configure(self, *snapshots: Snapshot) -> None:
        self.snapshots = {snapshot.link.name: snapshot for snapshot in snapshots}
        show(self.exposition, [self.account], snapshots)

    def read(self, name: str = "spring-sale", age: float = 0.0, **fields: Any) -> None:
        self._put(self.snapshots[name].succeeded(make_reading(**fields), self.clock.time() - age))

    def fail(self, name: str = "spring-sale", outcome: Outcome = Outcome.TIMEOUT) -> None:
        self._put(self.snapshots[name].ended(outcome))

    def _put(self, snapshot: Snapshot) -> None:
        self.snapshots[snapshot.link.name] = snapshot
        self.exposition.update(snapshot)

    def text(self, **how: Any) -> str:
        return b"".join(self.exposition.render(**{"openmetrics": False, **how})).decode()

    def values(self) -> dict[str, float]:
        """The value of each series of the only link."""
        return {s.name: s.value for family in parse_text(self.text()) for s in family.samples}

    def shown(self) -> set[str]:
        """Which click series are there."""
        return self.values().keys() & set(CLICKS)

    def assert_like_prometheus_client(self) -> None:
        registry = CollectorRegistry()
        registry.register(Oracle([self.account], list(self.snapshots.values()), self.clock.time()))
        assert self.text().encode() == generate_latest(registry)
        assert self.text(openmetrics=True).encode() + b"# EOF\n" == generate_openmetrics(registry)


def _moment(text: str, zone: ZoneInfo = MOSCOW) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def test_before_the_first_poll_only_the_info_is_there() -> None:
    bench = Bench()
    assert bench.values() == {"smsc_link_info": 1}
    assert 'smsc_link_info{account="main",id="145142",link="spring-sale"} 1.0\n' in bench.text()


def test_a_reading_shows_in_every_family() -> None:
    bench = Bench(make_link(labels=(("team", "growth"),)))
    bench.read()
    assert bench.values() == {
        "smsc_link_clicks_all_time": 7,
        "smsc_link_clicks_today": 1,
        "smsc_link_clicks_yesterday": 2,
        "smsc_link_clicks_month": 3,
        "smsc_link_clicks_previous_month": 4,
        "smsc_link_clicks_total": 7,
        "smsc_link_up": 1,
        "smsc_link_last_success_timestamp_seconds": START,
        "smsc_link_info": 1,
    }
    line = (
        'smsc_link_info{account="main",id="145142",link="spring-sale",short_link="smsc.tips/a",team="growth"}'
    )
    assert f"{line} 1.0\n" in bench.text()


def test_a_link_given_by_its_address_has_no_id_before_it_is_known() -> None:
    bench = Bench(make_link(url="https://mywebsite.ru"))
    assert 'smsc_link_info{account="main",link="spring-sale"} 1.0\n' in bench.text()


def test_a_failure_keeps_the_clicks_and_tells_its_outcome_while_it_lasts() -> None:
    bench = Bench()
    bench.read()
    bench.fail(outcome=Outcome.NOT_FOUND)
    assert bench.shown() == set(CLICKS)
    assert bench.values()["smsc_link_up"] == 0
    assert 'smsc_link_failing{account="main",link="spring-sale",outcome="not_found"} 1.0\n' in bench.text()
    bench.read()
    assert "smsc_link_failing" not in bench.values()


def test_the_counter_adds_up_rises_and_never_falls() -> None:
    bench = Bench()
    totals = []
    for all_time in (100, 110, 90, 95):
        bench.read(all_time=all_time)
        totals.append((bench.values()["smsc_link_clicks_all_time"], bench.values()["smsc_link_clicks_total"]))
    assert totals == [(100, 100), (110, 110), (90, 110), (95, 115)]


def test_a_short_link_made_anew_adds_nothing_to_the_counter() -> None:
    bench = Bench(make_link(url="https://mywebsite.ru"))
    bench.read(all_time=100, id="1")
    bench.read(all_time=5000, id="2")
    assert bench.values()["smsc_link_clicks_total"] == 100
    bench.read(all_time=5003, id="2")
    assert bench.values()["smsc_link_clicks_total"] == 103


# --- withheld values --------------------------------------------------------------------------------------


def test_past_stale_after_all_click_series_are_withdrawn() -> None:
    bench = Bench(make_link(stale_after=900.0))
    bench.read()
    bench.fail()
    bench.clock.advance(899)
    assert bench.shown() == set(CLICKS)
    bench.clock.advance(1)
    assert bench.shown() == set()
    assert bench.values()["smsc_link_up"] == 0
    assert bench.values()["smsc_link_last_success_timestamp_seconds"] == START
    bench.read()
    assert bench.shown() == set(CLICKS)


@pytest.mark.parametrize(
    ("zone", "before"),
    [
        ("Europe/Moscow", "2025-06-15T23:59:00"),
        ("UTC", "2025-06-15T23:59:00"),
        ("Asia/Kathmandu", "2025-06-15T23:59:00"),
        ("Europe/Berlin", "2025-03-29T23:59:00"),
        ("Europe/Berlin", "2025-10-25T23:59:00"),
        ("Africa/Cairo", "2025-04-24T23:59:00"),  # the clock goes from midnight straight to one
        ("Asia/Beirut", "2025-10-25T22:59:00"),  # and here from midnight back to eleven
        ("America/Havana", "2025-11-01T23:59:00"),  # the day that follows has its first hour twice
        ("America/Havana", "2025-11-02T23:59:00"),
    ],
)
def test_after_midnight_today_and_yesterday_are_withdrawn_until_the_next_reading(
    zone: str, before: str
) -> None:
    bench = Bench(start=_moment(before, ZoneInfo(zone)), timezone=ZoneInfo(zone))
    while datetime.fromtimestamp(bench.clock.time() + 1, ZoneInfo(zone)).day == int(before[8:10]):
        bench.clock.advance(1)
    bench.read()
    assert bench.shown() == set(CLICKS)
    bench.clock.advance(1)
    assert bench.shown() == set(CLICKS) - DAILY
    bench.clock.advance(10)
    bench.read()
    assert bench.shown() == set(CLICKS)


@pytest.mark.parametrize("before", ["2025-06-30T23:59:59", "2025-12-31T23:59:59", "2024-02-29T23:59:59"])
def test_after_the_months_end_the_months_are_withdrawn_too(before: str) -> None:
    bench = Bench(start=_moment(before))
    bench.read()
    assert bench.shown() == set(CLICKS)
    bench.clock.advance(1)
    assert bench.shown() == set(CLICKS) - DAILY - MONTHLY
    bench.clock.advance(899)
    assert bench.shown() == set()


def test_within_a_month_midnight_leaves_the_months() -> None:
    bench = Bench(start=_moment("2024-02-28T23:59:59"))
    bench.read()
    bench.clock.advance(1)
    assert bench.shown() == set(CLICKS) - DAILY


def test_a_reading_sent_in_the_first_seconds_of_a_day_may_be_of_the_day_before() -> None:
    bench = Bench(start=_moment("2025-06-16T00:00:04"))
    bench.read()
    assert bench.shown() == set(CLICKS) - DAILY
    bench.clock.advance(1)
    bench.read()
    assert bench.shown() == set(CLICKS)


def test_a_late_answer_is_as_old_as_its_request() -> None:
    bench = Bench(start=_moment("2025-06-16T00:00:08"))
    bench.read(age=9.0)
    assert bench.shown() == set(CLICKS) - DAILY


# --- a clock that is set ----------------------------------------------------------------------------------


def test_a_clock_set_back_never_makes_a_reading_younger() -> None:
    bench = Bench(make_link(stale_after=900.0))
    bench.read()
    bench.clock.advance(600)
    bench.clock.step(-3600)
    assert bench.values()["smsc_link_last_success_timestamp_seconds"] == pytest.approx(START - 3600)
    bench.clock.advance(299)
    assert bench.shown() == set(CLICKS)
    bench.clock.advance(1)
    assert bench.shown() == set()


def test_a_clock_set_back_over_midnight_withdraws_today_when_midnight_comes() -> None:
    bench = Bench(start=_moment("2025-06-16T00:01:00"))
    bench.read()
    bench.clock.step(-120)
    assert bench.shown() == set(CLICKS)
    bench.clock.advance(60)
    assert bench.shown() == set(CLICKS) - DAILY


def test_what_expires_earlier_than_queued_is_withdrawn_once() -> None:
    bench = Bench(make_link(stale_after=900.0))
    bench.read()
    bench.clock.step(-0.5)
    bench.read()
    bench.clock.advance(900)
    assert bench.shown() == set()
    bench.clock.advance(1)
    assert bench.shown() == set()
    assert len(bench.exposition._ends) == 1


@pytest.mark.parametrize("labels", [(), (("team", "growth"),)], ids=["same link", "other labels"])
def test_a_reload_does_not_forget_that_the_clock_was_set_back(labels: tuple[tuple[str, str], ...]) -> None:
    bench = Bench(make_link(stale_after=900.0))
    bench.read()
    bench.clock.step(-3600)
    bench.text()
    bench.configure(bench.snapshots["spring-sale"].under(make_link(stale_after=900.0, labels=labels)))
    bench.clock.advance(900)
    assert bench.shown() == set()


def test_a_reload_does_not_forget_how_far_the_clock_was_slewed() -> None:
    bench = Bench(make_link(stale_after=900.0))
    bench.read()
    bench.clock.step(-0.6)
    bench.configure(*bench.snapshots.values())
    bench.clock.step(-0.6)
    bench.clock.advance(900)
    assert bench.shown() == set()


def test_a_kept_reading_of_unknown_age_shows_nothing_and_its_counter_goes_on() -> None:
    bench = Bench()
    bench.configure(Snapshot(make_link(), make_reading(), 0.0, 107, None))
    assert bench.values() == {"smsc_link_info": 1}
    bench.read(all_time=10)
    assert bench.values()["smsc_link_clicks_total"] == 110


def test_a_clock_set_forward_withdraws_what_seems_too_old() -> None:
    bench = Bench()
    bench.read()
    bench.clock.step(3600)
    assert bench.shown() == set()
    bench.clock.step(-3600)
    bench.read()
    assert bench.shown() == set(CLICKS)


def test_a_clock_set_forward_and_back_again_is_as_it_was() -> None:
    bench = Bench(make_link(stale_after=900.0))
    bench.clock.step(3600)
    bench.read()
    bench.text()
    bench.clock.step(-3600)
    bench.clock.advance(899)
    assert bench.shown() == set(CLICKS)
    bench.clock.advance(1)
    assert bench.shown() == set()


def test_a_clock_set_back_leaves_links_without_a_reading_alone() -> None:
    bench = Bench()
    bench.clock.step(-3600)
    assert bench.values() == {"smsc_link_info": 1}


def test_a_failed_poll_does_not_forget_that_the_clock_was_set_back() -> None:
    bench = Bench(make_link(stale_after=900.0))
    bench.read()
    bench.clock.step(-3600)
    bench.text()
    bench.fail()
    bench.clock.advance(899)
    assert bench.shown() == set(CLICKS)
    bench.clock.advance(1)
    assert bench.shown() == set()


def test_a_clock_that_was_ahead_between_two_scrapes_makes_no_reading_younger() -> None:
    bench = Bench(make_link(stale_after=900.0))
    bench.clock.step(3600)
    bench.read()
    bench.clock.step(-3600)
    bench.clock.advance(900)
    assert bench.shown() == set()


def test_a_clock_that_is_slewed_a_little_changes_nothing() -> None:
    bench = Bench()
    bench.read()
    bench.clock.step(-0.5)
    assert bench.values()["smsc_link_last_success_timestamp_seconds"] == START


# --- many at once -----------------------------------------------------------------------------------------


def _many(count: int = 50) -> Bench:
    bench = Bench(*make_links(count), start=_moment("2025-06-15T23:59:30"))
    for name in bench.snapshots:
        bench.read(name)
    return bench


def _count(bench: Bench, family: str) -> int:
    """How many links have a line in the family as it is kept, whether or not it has expired meanwhile."""
    lines = bench.exposition._lines[[f.name for f in FAMILIES].index(family)]
    return b"".join(lines).count(b"\n")


def test_what_expires_in_one_moment_is_withdrawn_by_the_next_scrape() -> None:
    bench = _many()
    bench.clock.advance(60)
    assert _count(bench, "smsc_link_clicks_today") == 50
    assert "smsc_link_clicks_today{" not in bench.text()
    assert _count(bench, "smsc_link_clicks_today") == 0
    assert _count(bench, "smsc_link_clicks_all_time") == 50
    bench.assert_like_prometheus_client()


def test_after_the_clock_was_set_back_all_readings_move_along() -> None:
    bench = _many()
    now = bench.clock.time()
    bench.clock.step(-3600)
    assert [view.taken for view in bench.exposition.views()] == [pytest.approx(now - 3600)] * 50


def test_a_link_read_before_others_are_withdrawn_keeps_its_new_figures() -> None:
    bench = _many()
    bench.clock.advance(60)
    bench.read("link-40", today=5)
    bench.read("link-0", today=6)
    bench.assert_like_prometheus_client()
    assert _count(bench, "smsc_link_clicks_today") == 2


# --- configuration ----------------------------------------------------------------------------------------


def test_a_reload_takes_links_in_and_out_and_keeps_the_order() -> None:
    links = [make_link(name, id=name) for name in "abc"]
    bench = Bench(*links)
    for name in "abc":
        bench.read(name, id=name)
    bench.configure(bench.snapshots["c"], Snapshot(make_link("d", id="d")), bench.snapshots["a"])
    lines = [line for line in bench.text().splitlines() if line.startswith("smsc_link_info")]
    assert [line.split('id="')[1][0] for line in lines] == ["c", "d", "a"]
    assert bench.text().count("smsc_link_clicks_all_time{") == 2
    bench.assert_like_prometheus_client()
    bench.clock.advance(901)
    assert "smsc_link_clicks_all_time{" not in bench.text()


@pytest.mark.parametrize("prepared", [0, 1, 2], ids=["at first", "between two links", "in the end"])
@pytest.mark.parametrize("told", [False, True], ids=["unnoticed", "noticed by a reading"])
def test_a_clock_set_back_while_a_reload_is_prepared_makes_no_reading_younger(
    prepared: int, told: bool
) -> None:
    links = [make_link("a", id="a"), make_link("b", id="b")]
    bench = Bench(*links)
    for name in "ab":
        bench.read(name, id=name)

    def prepared_in_between() -> Iterator[Snapshot]:
        for n, snapshot in enumerate([*bench.snapshots.values(), None]):
            if n == prepared:
                bench.clock.step(-3600)
                if told:
                    bench.read("a", id="a")
            if snapshot is not None:
                yield snapshot

    bench.exposition.swap(bench.exposition.build([bench.account], prepared_in_between()))
    if told:
        bench.exposition.update(bench.snapshots["a"])
    bench.clock.advance(899)
    assert bench.text().count("smsc_link_clicks_all_time{") == 2
    bench.clock.advance(1)
    assert bench.text().count("smsc_link_clicks_all_time{") == 0


def test_a_link_that_is_shown_before_it_is_configured_comes_behind_the_others() -> None:
    bench = Bench(make_link("a", id="1"))
    bench.exposition.update(Snapshot(make_link("b", id="2")))
    lines = [line for line in bench.text().splitlines() if line.startswith("smsc_link_info")]
    assert [line.split('id="')[1][0] for line in lines] == ["1", "2"]


def test_a_reload_after_something_expired_does_not_bring_it_back() -> None:
    bench = Bench(make_link(stale_after=900.0))
    bench.read()
    bench.clock.advance(901)
    bench.configure(*bench.snapshots.values())
    assert bench.shown() == set()


def test_a_reload_with_another_time_zone_moves_the_end_of_the_day() -> None:
    bench = Bench(make_link(stale_after=3600.0), start=_moment("2025-06-15 16:45"))
    bench.read()
    bench.account = make_account(links=bench.account.links, timezone=ZoneInfo("Asia/Vladivostok"))
    bench.configure(*bench.snapshots.values())
    bench.clock.advance(899)
    assert bench.shown() & DAILY
    bench.clock.advance(1)
    assert not bench.shown() & DAILY


def test_the_queue_of_what_expires_stays_as_small_as_the_number_of_links() -> None:
    bench = Bench(make_link("a"), make_link("b", id="2"))
    for _ in range(2000):
        bench.clock.advance(60)
        bench.read("a")
        bench.read("b")
        bench.text()
    assert len(bench.exposition._ends) <= 4


def test_only_named_series_that_exist_are_rendered() -> None:
    bench = Bench()
    text = bench.text(names={"smsc_link_info", "smsc_link_up", "elsewhere"})
    assert "smsc_link_info{" in text
    assert "smsc_link_up" not in text
    assert text.count("# TYPE") == 1


# --- the oracle -------------------------------------------------------------------------------------------

_names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
_links = st.lists(
    st.builds(
        make_link,
        name=_names,
        id=st.integers(1, 10**9).map(str),
        labels=st.dictionaries(st.sampled_from(["aa", "team", "zone"]), _names, max_size=3).map(
            lambda labels: tuple(sorted(labels.items()))
        ),
        stale_after=st.sampled_from([60.0, 900.0, 86400.0, 40 * 86400.0]),
    ),
    max_size=6,
    unique_by=(lambda link: link.name, lambda link: link.id),
)
_counts = st.integers(0, 2**53)
_steps = st.lists(
    st.tuples(
        st.sampled_from(["read", "read", "read", "fail", "wait"]),
        st.integers(0, 5),
        st.sampled_from([0.0, 1.0, 59.0, 899.0, 900.0, 3600.0, 86400.0, 31 * 86400.0]),
        st.tuples(_counts, _counts, _counts, _counts, _counts),
        st.sampled_from(list(Outcome)[1:]),
    ),
    max_size=25,
)


@settings(max_examples=150, deadline=None)
@given(
    links=_links, steps=_steps, start=st.floats(1.7e9, 1.8e9), zone=st.sampled_from(["UTC", "Europe/Moscow"])
)
def test_the_bytes_are_those_of_prometheus_client(
    links: list[Link], steps: list[Any], start: float, zone: str
) -> None:
    bench = Bench(make_link("first", id="0"), *links, start=start, timezone=ZoneInfo(zone))
    names = list(bench.snapshots)
    for action, which, seconds, counts, outcome in steps:
        name = names[which % len(names)]
        if action == "wait":
            bench.clock.advance(seconds)
        elif action == "fail":
            bench.fail(name, outcome)
        else:
            figures = dict(
                zip(["all_time", "month", "today", "yesterday", "previous_month"], counts, strict=True)
            )
            bench.read(name, **figures, short_link=f'smsc.tips/"{which}\\')
        bench.assert_like_prometheus_client()


def test_both_formats_are_read_by_prometheus_clients_parsers() -> None:
    bench = Bench(make_link('q"uo\\te\n', labels=(("team", "рост"),)), make_link("b", id="2"))
    bench.read('q"uo\\te\n')
    bench.fail("b", Outcome.BLOCKED)
    text = {(s.name, *s.labels.items()): s.value for f in parse_text(bench.text()) for s in f.samples}
    openmetrics = {
        (s.name, *s.labels.items()): s.value
        for f in parse_openmetrics(bench.text(openmetrics=True) + "# EOF\n")
        for s in f.samples
    }
    assert text == openmetrics
    assert len(text) == 9 + 3
    assert {labels[2][1] for labels in text if labels[0] == "smsc_link_up"} == {'q"uo\\te\n', "b"}


def test_accounts_keep_their_own_time_zones() -> None:
    clock = VirtualClock(_moment("2025-06-15T23:59:00"))
    accounts: list[Account] = [
        make_account("moscow", (make_link(account="moscow"),)),
        make_account("utc", (make_link(account="utc"),), timezone=ZoneInfo("UTC")),
    ]
    exposition = Exposition(clock)
    snapshots = [
        replace(Snapshot(account.links[0]).succeeded(make_reading(), clock.time())) for account in accounts
    ]
    show(exposition, accounts, snapshots)
    clock.advance(60)
    text = b"".join(exposition.render(openmetrics=False)).decode()
    assert 'smsc_link_clicks_today{account="utc"' in text
    assert 'smsc_link_clicks_today{account="moscow"' not in text
