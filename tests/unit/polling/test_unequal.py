"""Links that are not clicked alike: shares, places in the line, and intervals that follow the clicks."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import inf
from random import Random
from typing import TYPE_CHECKING

import pytest

from exporter.config.intervals import LONGEST_WAIT
from exporter.polling import Pacing, Planner, Ticket
from exporter.polling.line import PATIENCE, Line
from exporter.polling.schedule import Turn, phase
from exporter.polling.shares import MEMORY, Clicks, Shares
from tests.factories import make_account, make_link, make_links, make_reading
from tests.unit.polling.unequal import (
    DAY,
    HOUR,
    Crowd,
    Demand,
    Simulation,
    adaptive,
    best,
    make_crowd,
    overloaded,
)

if TYPE_CHECKING:
    from exporter.model import Account, Link, Reading

LINKS, BUDGET = 500, 100
SETTLE, MEASURE = 2 * HOUR, 3 * HOUR


# --- the whole of it: how many clicks go unseen -----------------------------------------------------------


@pytest.mark.parametrize(("kind", "near"), [("zipf", 1.05), ("lognormal", 1.12), ("campaigns", 1.2)])
@pytest.mark.uncovered  # much is calculated in virtual time
def test_with_five_times_too_many_links_nearly_as_few_clicks_go_unseen_as_can_be(
    kind: Crowd, near: float
) -> None:
    crowd = make_crowd(kind, LINKS, Random(3))
    account, seconds = overloaded(LINKS, BUDGET)
    least = best(crowd, BUDGET / 60, (60.0, inf), DAY + SETTLE, DAY + SETTLE + MEASURE)
    equal, unequal = (
        Simulation(account, crowd, seconds, learning=learning).run(SETTLE, MEASURE)
        for learning in (False, True)
    )
    assert least < unequal.unseen < near * least
    assert unequal.unseen < 0.7 * equal.unseen
    assert unequal.polls == pytest.approx(equal.polls, rel=0.01)
    # nothing is withdrawn as stale for the sake of other links
    assert equal.worst_gap == pytest.approx(300, abs=5)
    assert unequal.worst_gap < account.links[0].stale_after - 60


@pytest.mark.parametrize("kind", ["zipf", "lognormal"])
@pytest.mark.uncovered  # much is calculated in virtual time
def test_adaptive_intervals_ask_no_more_than_equal_ones_and_miss_few_clicks(kind: Crowd) -> None:
    bounds = (21.0, 1800.0)
    account = adaptive(LINKS, BUDGET, bounds)
    crowd = make_crowd(kind, LINKS, Random(3))
    least = best(crowd, BUDGET / 60, bounds, DAY + SETTLE, DAY + SETTLE + MEASURE)
    outcome = Simulation(account, crowd, 0.1, learning=True).run(SETTLE, MEASURE)
    assert 0.95 * least < outcome.unseen < 1.1 * least
    assert outcome.polls == pytest.approx(BUDGET / 60 * MEASURE, rel=0.03)
    assert outcome.worst_gap < LONGEST_WAIT * bounds[1]


@pytest.mark.uncovered  # much is calculated in virtual time
def test_links_that_are_alike_take_equal_turns_from_the_first_one_on() -> None:
    account, seconds = overloaded(count := 50, budget := 30)
    account = replace(account, links=tuple(replace(link, stale_after=DAY) for link in account.links))
    crowd = [Demand(1 / HOUR)] * count
    outcome = Simulation(account, crowd, seconds, learning=True).run(HOUR, HOUR)
    assert outcome.worst_gap < 3 * 60 * count / budget


@pytest.mark.uncovered  # much is calculated in virtual time
def test_a_poll_that_fails_under_overload_makes_no_link_wait_as_if_it_had_been_read() -> None:
    account, seconds = overloaded(LINKS, BUDGET)
    outcome = Simulation(
        account, make_crowd("zipf", LINKS, Random(3)), seconds, learning=True, failing=0.02
    ).run(SETTLE, MEASURE)
    assert outcome.worst_gap < account.links[0].stale_after


@pytest.mark.uncovered  # much is calculated in virtual time
def test_quiet_links_take_equal_turns_as_soon_as_busy_ones_have_left() -> None:
    account, seconds = overloaded(LINKS, BUDGET)
    account = replace(account, links=tuple(replace(link, stale_after=DAY) for link in account.links))
    busy = [link.name for link in account.links[:50]]
    crowd = [Demand(10.0 if link.name in busy else 0.1 / HOUR) for link in account.links]
    simulation = Simulation(account, crowd, seconds, learning=True)
    simulation.run(SETTLE, HOUR)
    left = simulation.without(busy)
    outcome = simulation.run(0.0, MEASURE)
    assert outcome.worst_gap < 3 * 60 * len(left.links) / BUDGET


# --- what the clicks say ----------------------------------------------------------------------------------


def _rate(clicks: Clicks) -> float:
    weight = clicks.weight
    assert weight is not None
    return weight * weight - 0.5 / MEMORY


def test_the_first_reading_tells_of_today_and_yesterday() -> None:
    clicks = Clicks()
    assert clicks.weight is None
    assert clicks.learn(make_reading(9999, today=60, yesterday=12), at=5.0)
    assert _rate(clicks) == pytest.approx(2 / HOUR)


def test_later_ones_tell_of_the_last_hours() -> None:
    clicks = Clicks()
    clicks.learn(make_reading(0, today=0, yesterday=0), at=0.0)
    for minute in range(1, 6 * 60):
        clicks.learn(make_reading(10 * minute), at=60.0 * minute)
    assert _rate(clicks) == pytest.approx(10 / 60, rel=0.2)
    clicks.learn(make_reading(10 * 359), at=5 * DAY)
    assert 0 <= _rate(clicks) < 0.01 / HOUR
    assert clicks.weight


def test_a_fall_is_no_click_and_another_short_link_begins_anew() -> None:
    clicks = Clicks()
    clicks.learn(make_reading(1000, today=0, yesterday=0), at=0.0)
    clicks.learn(make_reading(10, today=0, yesterday=0), at=HOUR)
    assert _rate(clicks) == pytest.approx(0)
    clicks.learn(make_reading(5, id="2", today=72, yesterday=0), at=HOUR + 30)
    assert _rate(clicks) == pytest.approx(2 / HOUR)


@pytest.mark.parametrize("at", [99.0, 100.0, 100.5])
def test_the_same_reading_told_again_changes_nothing(at: float) -> None:
    clicks = Clicks()
    clicks.learn(make_reading(5, today=72), at=100.0)
    before = clicks.weight
    assert not clicks.learn(make_reading(500), at=at)
    assert clicks.weight == before


# --- shares -----------------------------------------------------------------------------------------------


def _turns(links: tuple[Link, ...], today: tuple[int, ...]) -> tuple[Shares, list[Turn]]:
    turns = [Turn(link, 0.0) for link in links]
    shares = Shares({turn.link.target: turn for turn in turns})
    for turn, clicks in zip(turns, today, strict=True):
        turn.wanted = True
        shares.learn(turn, make_reading(clicks, today=clicks, yesterday=0), 0.0)
    for _ in range(50):
        shares.balance()
    return shares, turns


def test_four_times_the_clicks_twice_the_share() -> None:
    shares, (one, four, zero) = _turns(make_links(3), (10_000, 40_000, 0))
    assert shares.share(four) / shares.share(one) == pytest.approx(2, rel=0.01)
    assert sum(map(shares.share, (one, four, zero))) == pytest.approx(3)
    assert 0 < shares.share(zero) < 0.05
    assert shares.share(Turn(make_link(), 0.0)) == 1


def test_links_that_left_have_no_part_in_what_is_equal() -> None:
    shares, (one, four) = _turns(make_links(2), (10_000, 40_000))
    four.wanted = False
    shares.balance()
    assert shares.share(one) == pytest.approx(1)


def test_intervals_between_bounds_cost_as_much_in_sum_as_equal_ones() -> None:
    links = tuple(replace(link, bounds=(21.0, 200.0)) for link in make_links(5, interval=60.0))
    shares, turns = _turns(links, (1_000_000, 40_000, 10_000, 5000, 0))
    intervals = [shares.interval(turn) for turn in turns]
    assert intervals == sorted(intervals)
    assert (intervals[0], intervals[-1]) == (21, 200)
    assert sum(1 / interval for interval in intervals) == pytest.approx(5 / 60, rel=0.15)  # in steps
    assert intervals[2] / intervals[1] == pytest.approx(2)


def _alike(count: int, asked: float) -> tuple[Shares, list[Turn]]:
    """Adaptive links with the same clicks, asked for every so many seconds."""
    link = make_link(refresh_interval=asked, bounds=(21.0, 1800.0))
    turns = [Turn(link, phase(n, "login")) for n in range(count)]
    shares = Shares({("id", f"{n}"): turn for n, turn in enumerate(turns)})
    for turn in turns:
        turn.wanted = True
        turn.clicks.learn(make_reading(), 0.0)
    shares.balance()
    return shares, turns


@pytest.mark.parametrize("asked", [60.0, 70.0, 100.0, 300.0])
def test_links_that_are_alike_have_no_more_requests_than_asked_for_by_rounding(asked: float) -> None:
    """Intervals have steps: all on the same one would be up to a sixth off."""
    shares, turns = _alike(200, asked)
    assert sum(asked / shares.interval(turn) for turn in turns) == pytest.approx(200, rel=0.03)


def test_links_of_one_interval_have_their_moments_all_over_it() -> None:
    """Those that are alike have one of two intervals: which one says nothing of when."""
    shares, turns = _alike(600, 50.0)
    moments: dict[float, list[float]] = {}
    for turn in turns:
        moments.setdefault(shares.interval(turn), []).append(turn.phase)
    assert len(moments) == 2
    for phases in moments.values():
        quarters = [sum(quarter <= 4 * one < quarter + 1 for one in phases) for quarter in range(4)]
        assert max(quarters) < 1.2 * min(quarters)


def test_links_without_bounds_keep_their_interval_beside_those_with() -> None:
    links = (make_link("own", id="9", refresh_interval=77.0), *make_links(2))
    links = (links[0], *(replace(link, bounds=(21.0, 600.0)) for link in links[1:]))
    shares, turns = _turns(links, (0, 40_000, 10_000))
    own, four, one = (shares.interval(turn) for turn in turns)
    assert own == 77
    assert 1 / four + 1 / one == pytest.approx(2 / 60, rel=0.2)  # in steps
    assert one / four == pytest.approx(2)


def test_before_anything_is_known_all_are_equal() -> None:
    link = replace(make_link(refresh_interval=60.0), bounds=(21.0, 600.0))
    shares = Shares({})
    assert shares.interval(Turn(link, 0.0)) == 60
    shares.balance()
    assert shares.interval(Turn(link, 0.0)) == 60


# --- the line ---------------------------------------------------------------------------------------------


class Queue:
    """A line where everything is due at all times, served a number of times."""

    def __init__(self, shares: dict[str, float], stale_after: float = 1e9) -> None:
        self.line = Line()
        self.now = 0.0
        self.shares = shares
        self.served: list[str] = []
        for name in shares:
            turn = Turn(make_link(name, stale_after=stale_after), 0.0)
            turn.wanted = True
            self.line.put(turn, self.now)
            self._done(turn)

    def _done(self, turn: Turn) -> None:
        self.line.place(turn, self.shares[turn.link.name], self.now)
        self.line.put(turn, self.now)

    def serve(self, times: int) -> None:
        for _ in range(times):
            turn = self.line.first(self.now)
            assert turn is not None
            self.line.take(turn)
            self.served.append(turn.link.name)
            self.now += 1
            self._done(turn)


def test_each_is_served_as_often_as_its_share_asks_for_and_evenly() -> None:
    queue = Queue({"a": 4.0, "b": 2.0, "c": 1.0, "d": 1.0})
    queue.serve(800)
    assert {name: queue.served.count(name) for name in "abcd"} == pytest.approx(
        {"a": 400, "b": 200, "c": 100, "d": 100}, abs=2
    )
    places = [index for index, name in enumerate(queue.served) if name == "c"]
    assert {later - sooner for sooner, later in pairwise(places)} <= {7, 8, 9}


def test_who_has_waited_too_long_goes_ahead_but_only_every_second_time() -> None:
    queue = Queue({"a": 1.0, **{f"quiet-{n}": 1e-6 for n in range(10)}}, stale_after=50.0)
    queue.serve(1000)
    assert queue.served.count("a") == pytest.approx(
        770, abs=30
    )  # each of ten once in 50 times 0.8, and a bit
    queue = Queue({"a": 1.0, **{f"quiet-{n}": 1e-6 for n in range(100)}}, stale_after=50.0)
    queue.serve(1000)
    assert queue.served.count("a") == pytest.approx(500, abs=50)
    assert min(queue.served.count(f"quiet-{n}") for n in range(100)) >= 4


def _line(**latest: float) -> Line:
    """Turns by name, of which each has a reading that grew too old then; ``inf``: none at all."""
    line = Line()
    for name, at in latest.items():
        turn = Turn(make_link(name, stale_after=1000.0), 0.0)
        turn.wanted = True
        if at < inf:
            line.know(turn, at - PATIENCE * 1000.0)
        line.put(turn, 0.0)
    return line


def _order(line: Line, now: float) -> list[str]:
    served = []
    while (turn := line.first(now)) is not None:
        line.take(turn)
        served.append(turn.link.name)
    return served


def test_new_ones_go_first_but_take_half_of_the_turns_from_those_that_have_waited_too_long() -> None:
    line = _line(young=500.0, new=inf, older=-10.0, newer=inf, old=-5.0, newest=inf)
    assert _order(line, 0.0) == ["older", "new", "old", "newer", "newest", "young"]


def test_what_is_known_of_a_turn_in_line_counts_at_once() -> None:
    line = _line(new=inf, other=inf)
    turn = line.first(0.0)
    assert turn is not None
    line.know(turn, 0.0)
    assert _order(line, 0.0) == ["other", "new"]


@pytest.mark.parametrize(("longer", "order"), [(0.0, ["b", "a"]), (-500.0, ["a", "b"])])
def test_how_old_a_reading_may_grow_can_change_in_line(longer: float, order: list[str]) -> None:
    line = _line(b=200.0, a=300.0)
    assert line.first(0.0) is not None
    (turn,) = (turn for turn in line._standing if turn.link.name == "a")
    line.bear(turn, longer)
    assert _order(line, 250.0) == order


def test_a_turn_that_moves_or_leaves_is_not_served_at_its_old_place() -> None:
    line = Line()
    turn = Turn(make_link(), 0.0)
    line.put(turn, 1.0)
    assert line.next_due() == inf  # it is not wanted
    turn.wanted = True
    line.put(turn, 1.0)
    line.put(turn, 5.0)
    assert line.first(4.0) is None
    assert (line.next_due(), line.earliest_due()) == (5.0, 5.0)
    assert line.first(5.0) is turn
    assert (line.next_due(), line.earliest_due()) == (inf, 5.0)
    line.drop(turn)
    assert line.first(9.0) is None
    assert line.earliest_due() == inf


def test_a_line_that_is_served_for_ever_stays_as_short_as_it_is() -> None:
    queue = Queue({f"{n}": 10.0 ** (n % 4) for n in range(50)})
    queue.serve(20_000)
    assert len(queue.line._by_age) + len(queue.line._by_place) + len(queue.line._waiting) < 1000


def test_of_very_many_that_are_due_at_once_some_join_at_each_look_and_none_is_left_out() -> None:
    line = Line()
    turns = [Turn(make_link(f"{n}"), 0.0) for n in range(1000)]
    for due, turn in enumerate(turns):
        turn.wanted = True
        line.put(turn, float(due))
    joined: list[int] = []
    served: set[Turn] = set()
    while (turn_now := line.first(1000.0)) is not None:
        joined.append(len(line._standing))
        assert line.earliest_due() == min(turn.due for turn in set(turns) - served)
        line.take(turn_now)
        served.add(turn_now)
    assert joined[:2] == [100, 199]
    assert max(joined) <= 1000
    assert served == set(turns)


# --- the planner ------------------------------------------------------------------------------------------


class Player:
    """Polls by hand; ``clicks`` are a link's clicks a second."""

    def __init__(self, account: Account, clicks: dict[str, float]) -> None:
        self.pacing = Pacing(wall_offset=0.0, random=Random(1))
        self.pacing.configure([account], 0.0)
        self.clicks = clicks
        self.now = 0.0

    @property
    def planner(self) -> Planner:
        return self.pacing.active[0]

    def send(self) -> Ticket:
        while not isinstance(step := self.planner.next(self.now), Ticket):
            assert step < inf
            self.now = step
        return step

    def reading(self, link: Link, at: float) -> Reading:
        clicks = int(self.clicks[link.name] * (at + 36 * HOUR))
        return make_reading(clicks, today=clicks, yesterday=0)

    def poll(self) -> Ticket:
        ticket = self.send()
        self.planner.learn(ticket.link, self.reading(ticket.link, self.now), ticket.sent_at)
        self.planner.finish(ticket, self.now, None)
        return ticket

    def until(self, end: float) -> dict[str, list[float]]:
        sent: dict[str, list[float]] = {name: [] for name in self.clicks}
        while self.now < end:
            sent[(ticket := self.poll()).link.name].append(ticket.sent_at)
        return sent


def _adaptive(count: int, bounds: tuple[float, float]) -> Account:
    links = tuple(replace(link, bounds=bounds) for link in make_links(count))
    return make_account(links=links, max_concurrent_requests=1)


def test_intervals_follow_the_clicks_and_keep_their_bounds() -> None:
    clicks = {"link-0": 10.0, "link-1": 0.1, "link-2": 0.025, "link-3": 0.0, "link-4": 0.0}
    sent = Player(_adaptive(5, (30.0, 500.0)), clicks).until(6 * HOUR)
    gaps = {
        name: [later - sooner for sooner, later in pairwise(times) if sooner > HOUR]
        for name, times in sent.items()
    }
    assert gaps["link-0"] == pytest.approx([30.0] * len(gaps["link-0"]))
    assert gaps["link-3"] == pytest.approx([500.0] * len(gaps["link-3"]))
    assert sum(gaps["link-2"]) / len(gaps["link-2"]) == pytest.approx(
        2 * sum(gaps["link-1"]) / len(gaps["link-1"]), rel=0.15
    )


@pytest.mark.uncovered  # much is calculated in virtual time
def test_where_intervals_change_a_wait_is_half_shorter_or_longer_at_most() -> None:
    random, names, bounds = Random(1), [f"link-{n}" for n in range(20)], (30.0, 500.0)
    player = Player(_adaptive(20, bounds), dict.fromkeys(names, 0.0))
    sent: dict[str, list[float]] = {name: [] for name in names}
    for hour in range(1, 100):
        player.clicks |= {name: 10 ** random.uniform(-4, 1) for name in random.sample(names, 5)}
        for name, times in player.until(hour * HOUR).items():
            sent[name] += times
    gaps = [later - sooner for times in sent.values() for sooner, later in pairwise(times)]
    assert bounds[0] / 2 <= min(gaps) < bounds[0]
    assert bounds[1] < max(gaps) < LONGEST_WAIT * bounds[1]


def test_links_keep_moments_of_their_own_while_their_interval_stays() -> None:
    """Those that were all read at once, after an outage say, do not stay together."""
    names = [f"link-{n}" for n in range(20)]
    player = Player(_adaptive(20, (21.0, 300.0)), {name: 10.0 if name == "link-0" else 0.0 for name in names})
    player.until(HOUR)
    player.now += HOUR
    after = player.until(4 * HOUR)
    last = sorted(after[name][-1] for name in names)
    assert max(later - sooner for sooner, later in pairwise(last)) < 21


def test_what_others_read_is_not_read_again_before_the_next_regular_moment() -> None:
    account = _adaptive(2, (21.0, 300.0))
    player = Player(account, {"link-0": 1.0, "link-1": 0.1})
    sent = player.until(2 * HOUR)
    ticket = player.send()
    interval = 2 * ticket.apart
    assert 21 < interval < 300
    assert ticket.sent_at - sent[ticket.link.name][-1] == pytest.approx(interval)
    player.planner.deny(ticket, player.now, 5.0, link_alone=True)
    while (again := player.poll()).link is not ticket.link:
        pass
    assert again.sent_at == pytest.approx(ticket.sent_at + interval)


def test_a_denial_places_a_link_like_a_reading() -> None:
    """Else a link that another exporter always reads first would stand ahead of all for ever."""
    account = make_account(links=make_links(2, interval=30.0), max_concurrent_requests=1)
    player = Player(account, {"link-0": 0.0, "link-1": 0.0})
    player.now = HOUR
    denied = player.send()
    player.planner.deny(denied, player.now, 100.0, link_alone=True)
    read = player.poll()
    player.now += 200
    assert player.poll().link is read.link  # it was due first
    assert player.poll().link is denied.link


@pytest.mark.uncovered  # much is calculated in virtual time
def test_two_replicas_share_an_adaptive_account_as_one_would_read_it_alone() -> None:
    """What is claimed is claimed for both: the other is denied, and learns from the reading."""
    clicks = {f"link-{n}": 0.5 / (n + 1) for n in range(10)}
    replicas = [Player(_adaptive(10, (21.0, 300.0)), clicks) for _ in range(2)]
    alone = Player(_adaptive(10, (21.0, 300.0)), clicks).until(6 * HOUR)
    shared: dict[str, list[float]] = {name: [] for name in clicks}
    while (player := min(replicas, key=lambda player: player.now)).now < 6 * HOUR:
        step = player.planner.next(player.now)
        if isinstance(step, Ticket):
            _claim(player, step, shared[step.link.name])
            player.now += 0.2
        else:
            player.now = step
    for name, times in shared.items():
        assert len(times) == pytest.approx(len(alone[name]), rel=0.1)


def _claim(player: Player, ticket: Ticket, times: list[float]) -> None:
    """Sends the request, unless the other replica asked so lately that it is denied."""
    free_at = times[-1] + ticket.apart if times else 0.0
    if player.now >= free_at:
        times.append(player.now)
    player.planner.learn(ticket.link, player.reading(ticket.link, times[-1]), times[-1])
    if times[-1] == player.now:
        player.planner.finish(ticket, player.now, None)
    else:
        player.planner.deny(ticket, player.now, free_at - player.now, link_alone=True)


@pytest.mark.uncovered  # much is calculated in virtual time
def test_with_restarts_at_bad_moments_every_link_is_read_in_time_all_the_same() -> None:
    """Five times as many links as can be read in an interval, and each start begins with the same of them."""
    account, cost = overloaded(500, 100)
    read: dict[str, float] = {}
    now = 0.0
    for life in range(1, 60):
        planner = _started(account, now, read)
        while now < life * 120:
            step = planner.next(now)
            if isinstance(step, Ticket):
                now += cost
                read[step.link.name] = step.sent_at
                planner.learn(step.link, make_reading(), step.sent_at)
                planner.finish(step, now, None)
            else:
                now = min(step, life * 120.0)
    assert len(read) == 500
    assert now - min(read.values()) < account.links[0].stale_after


def _started(account: Account, now: float, read: dict[str, float]) -> Planner:
    pacing = Pacing(wall_offset=0.0, random=Random(1))
    pacing.configure([account], now)
    planner = pacing.active[0]
    for link in account.links:
        if link.name in read:
            planner.learn(link, make_reading(), read[link.name])
    return planner


def test_a_shorter_stale_after_takes_effect_at_once() -> None:
    account = make_account(links=(make_link("link-0", stale_after=HOUR),))
    player = Player(account, {"link-0": 1.0})
    player.poll()
    (turn,) = player.planner._turns.values()
    before = turn.latest
    shorter = replace(account, links=(replace(account.links[0], stale_after=HOUR / 2),))
    player.pacing.configure([shorter], player.now)
    assert before - turn.latest == pytest.approx(PATIENCE * HOUR / 2)


def test_new_bounds_take_effect_at_once() -> None:
    account = _adaptive(1, (21.0, 300.0))
    slow = replace(account, links=(replace(account.links[0], refresh_interval=HOUR, bounds=(HOUR, HOUR)),))
    player = Player(slow, {"link-0": 1.0})
    player.poll()
    player.poll()
    player.pacing.configure([account], player.now)
    before = player.now
    assert player.poll().sent_at - before <= 61
    assert player.poll().sent_at - before <= 3 * 61


def test_readings_of_links_that_left_are_no_matter() -> None:
    player = Player(make_account(links=make_links(1)), {})
    player.planner.learn(make_link(id="gone"), make_reading(), 0.0)
    assert player.planner.status(0.0, 0.0).lag == 0


def test_lag_is_that_of_the_most_overdue_link_in_line() -> None:
    player = Player(make_account(links=make_links(50)), {f"link-{n}": float(n) for n in range(50)})
    player.until(HOUR)
    player.now += 600
    player.poll()
    assert 500 < player.planner.status(player.now, 0.0).lag <= 600
