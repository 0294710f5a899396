"""Links that are not clicked alike: weights, places in the queue, and intervals that follow the clicks."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import inf
from random import Random

import pytest

from exporter.config.links import LONGEST_WAIT
from exporter.errors import Outcome
from exporter.model import Account, Link, Reading
from exporter.polling.planner import Poll
from exporter.polling.queue import PATIENCE, LinkSchedule, PollQueue, phase
from exporter.polling.weights import MEMORY, ClickRate, Weights
from tests.factories import make_account, make_link, make_links, make_reading
from tests.unit.polling.unequal import (
    DAY,
    HOUR,
    Crowd,
    Demand,
    Desk,
    Simulation,
    adaptive,
    best,
    make_crowd,
    overloaded,
)

LINKS, BUDGET = 250, 50
SETTLE, MEASURE = 2 * HOUR, 3 * HOUR


# --- the whole of it: how many clicks go unseen -----------------------------------------------------------


@pytest.mark.parametrize(("kind", "near"), [("zipf", 1.05), ("lognormal", 1.12), ("campaigns", 1.2)])
@pytest.mark.slow  # much is calculated in virtual time
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
@pytest.mark.slow  # much is calculated in virtual time
def test_adaptive_intervals_ask_no_more_than_equal_ones_and_miss_few_clicks(kind: Crowd) -> None:
    bounds = (21.0, 1800.0)
    account = adaptive(LINKS, BUDGET, bounds)
    crowd = make_crowd(kind, LINKS, Random(3))
    least = best(crowd, BUDGET / 60, bounds, DAY + SETTLE, DAY + SETTLE + MEASURE)
    outcome = Simulation(account, crowd, 0.1, learning=True).run(SETTLE, MEASURE)
    assert 0.95 * least < outcome.unseen < 1.1 * least
    assert outcome.polls == pytest.approx(BUDGET / 60 * MEASURE, rel=0.03)
    assert outcome.worst_gap < LONGEST_WAIT * bounds[1]


@pytest.mark.slow  # much is calculated in virtual time
def test_links_that_are_alike_take_equal_turns_from_the_first_one_on() -> None:
    account, seconds = overloaded(count := 50, budget := 30)
    account = replace(account, links=tuple(replace(link, stale_after=DAY) for link in account.links))
    crowd = [Demand(1 / HOUR)] * count
    outcome = Simulation(account, crowd, seconds, learning=True).run(HOUR, HOUR)
    assert outcome.worst_gap < 3 * 60 * count / budget


@pytest.mark.slow  # much is calculated in virtual time
def test_a_poll_that_fails_under_overload_makes_no_link_wait_as_if_it_had_been_read() -> None:
    account, seconds = overloaded(LINKS, BUDGET)
    outcome = Simulation(
        account, make_crowd("zipf", LINKS, Random(3)), seconds, learning=True, failing=0.02
    ).run(SETTLE, MEASURE)
    assert outcome.worst_gap < account.links[0].stale_after


@pytest.mark.slow  # much is calculated in virtual time
def test_quiet_links_take_equal_turns_as_soon_as_busy_ones_have_left() -> None:
    account, seconds = overloaded(LINKS, BUDGET)
    account = replace(account, links=tuple(replace(link, stale_after=DAY) for link in account.links))
    busy = [link.name for link in account.links[: LINKS // 10]]
    crowd = [Demand(10.0 if link.name in busy else 0.1 / HOUR) for link in account.links]
    simulation = Simulation(account, crowd, seconds, learning=True)
    simulation.run(SETTLE, HOUR)
    left = simulation.without(busy)
    outcome = simulation.run(0.0, MEASURE)
    assert outcome.worst_gap < 3 * 60 * len(left.links) / BUDGET


# --- what the clicks say ----------------------------------------------------------------------------------


def _rate(clicks: ClickRate) -> float:
    weight = clicks.weight
    assert weight is not None
    return weight * weight - 0.5 / MEMORY


def test_the_first_reading_tells_of_today_and_yesterday() -> None:
    clicks = ClickRate()
    assert clicks.weight is None
    assert clicks.learn(make_reading(9999, today=60, yesterday=12), at=5.0)
    assert _rate(clicks) == pytest.approx(2 / HOUR)


def test_later_ones_tell_of_the_last_hours() -> None:
    clicks = ClickRate()
    clicks.learn(make_reading(0, today=0, yesterday=0), at=0.0)
    for minute in range(1, 6 * 60):
        clicks.learn(make_reading(10 * minute), at=60.0 * minute)
    assert _rate(clicks) == pytest.approx(10 / 60, rel=0.2)
    clicks.learn(make_reading(10 * 359), at=5 * DAY)
    assert 0 <= _rate(clicks) < 0.01 / HOUR
    assert clicks.weight


def test_a_fall_is_no_click_and_another_short_link_begins_anew() -> None:
    clicks = ClickRate()
    clicks.learn(make_reading(1000, today=0, yesterday=0), at=0.0)
    clicks.learn(make_reading(10, today=0, yesterday=0), at=HOUR)
    assert _rate(clicks) == pytest.approx(0)
    clicks.learn(make_reading(5, id="2", today=72, yesterday=0), at=HOUR + 30)
    assert _rate(clicks) == pytest.approx(2 / HOUR)


@pytest.mark.parametrize("at", [99.0, 100.0, 100.5])
def test_the_same_reading_told_again_changes_nothing(at: float) -> None:
    clicks = ClickRate()
    clicks.learn(make_reading(5, today=72), at=100.0)
    before = clicks.weight
    assert not clicks.learn(make_reading(500), at=at)
    assert clicks.weight == before


# --- weights ----------------------------------------------------------------------------------------------


def _learnt(links: tuple[Link, ...], today: tuple[int, ...]) -> tuple[Weights, list[LinkSchedule]]:
    schedules = [LinkSchedule(link, 0.0) for link in links]
    weights = Weights({schedule.link.target: schedule for schedule in schedules})
    for schedule, clicks in zip(schedules, today, strict=True):
        schedule.wanted = True
        weights.learn(schedule, make_reading(clicks, today=clicks, yesterday=0), 0.0)
    for _ in range(50):
        weights.balance()
    return weights, schedules


def test_four_times_the_clicks_get_twice_the_share() -> None:
    weights, (one, four, zero) = _learnt(make_links(3), (10_000, 40_000, 0))
    assert weights.share(four) / weights.share(one) == pytest.approx(2, rel=0.01)
    assert sum(map(weights.share, (one, four, zero))) == pytest.approx(3)
    assert 0 < weights.share(zero) < 0.05
    assert weights.share(LinkSchedule(make_link(), 0.0)) == 1


def test_links_that_left_do_not_count_in_the_average() -> None:
    weights, (one, four) = _learnt(make_links(2), (10_000, 40_000))
    four.wanted = False
    weights.balance()
    assert weights.share(one) == pytest.approx(1)


def test_intervals_between_bounds_cost_as_much_in_sum_as_equal_ones() -> None:
    links = tuple(replace(link, bounds=(21.0, 200.0)) for link in make_links(5, interval=60.0))
    weights, schedules = _learnt(links, (1_000_000, 40_000, 10_000, 5000, 0))
    intervals = [weights.interval(schedule) for schedule in schedules]
    assert intervals == sorted(intervals)
    assert (intervals[0], intervals[-1]) == (21, 200)
    assert sum(1 / interval for interval in intervals) == pytest.approx(5 / 60, rel=0.15)  # in steps
    assert intervals[2] / intervals[1] == pytest.approx(2)


def _alike(count: int, asked: float) -> tuple[Weights, list[LinkSchedule]]:
    """Adaptive links with the same clicks, asked for every so many seconds."""
    link = make_link(refresh_interval=asked, bounds=(21.0, 1800.0))
    schedules = [LinkSchedule(link, phase(n, "login")) for n in range(count)]
    weights = Weights({("id", f"{n}"): schedule for n, schedule in enumerate(schedules)})
    for schedule in schedules:
        schedule.wanted = True
        schedule.clicks.learn(make_reading(), 0.0)
    weights.balance()
    return weights, schedules


@pytest.mark.parametrize("asked", [60.0, 70.0, 100.0, 300.0])
def test_links_that_are_alike_have_no_more_requests_than_asked_for_by_rounding(asked: float) -> None:
    """Intervals have steps: all on the same one would be up to a sixth off."""
    weights, schedules = _alike(200, asked)
    assert sum(asked / weights.interval(schedule) for schedule in schedules) == pytest.approx(200, rel=0.03)


def test_links_of_one_interval_have_their_moments_all_over_it() -> None:
    """Those that are alike have one of two intervals: which one says nothing of when."""
    weights, schedules = _alike(600, 50.0)
    moments: dict[float, list[float]] = {}
    for schedule in schedules:
        moments.setdefault(weights.interval(schedule), []).append(schedule.phase)
    assert len(moments) == 2
    for phases in moments.values():
        quarters = [sum(quarter <= 4 * one < quarter + 1 for one in phases) for quarter in range(4)]
        assert max(quarters) < 1.2 * min(quarters)


def test_links_without_bounds_keep_their_interval_beside_those_with() -> None:
    links = (make_link("own", id="9", refresh_interval=77.0), *make_links(2))
    links = (links[0], *(replace(link, bounds=(21.0, 600.0)) for link in links[1:]))
    weights, schedules = _learnt(links, (0, 40_000, 10_000))
    own, four, one = (weights.interval(schedule) for schedule in schedules)
    assert own == 77
    assert 1 / four + 1 / one == pytest.approx(2 / 60, rel=0.2)  # in steps
    assert one / four == pytest.approx(2)


def test_before_anything_is_known_all_are_equal() -> None:
    link = replace(make_link(refresh_interval=60.0), bounds=(21.0, 600.0))
    weights = Weights({})
    assert weights.interval(LinkSchedule(link, 0.0)) == 60
    weights.balance()
    assert weights.interval(LinkSchedule(link, 0.0)) == 60


# --- the queue ----------------------------------------------------------------------------------------------


class Busy:
    """A queue where everything is due at all times, served a number of times."""

    def __init__(self, weights: dict[str, float], stale_after: float = 1e9) -> None:
        self.queue = PollQueue()
        self.now = 0.0
        self.weights = weights
        self.served: list[str] = []
        for name in weights:
            schedule = LinkSchedule(make_link(name, stale_after=stale_after), 0.0)
            schedule.wanted = True
            self.queue.put(schedule, self.now)
            self._done(schedule)

    def _done(self, schedule: LinkSchedule) -> None:
        self.queue.place(schedule, self.weights[schedule.link.name], self.now)
        self.queue.put(schedule, self.now)

    def serve(self, times: int) -> None:
        for _ in range(times):
            schedule = self.queue.first(self.now)
            assert schedule is not None
            self.queue.take(schedule)
            self.served.append(schedule.link.name)
            self.now += 1
            self._done(schedule)


def test_each_link_is_served_as_often_as_its_weight_says_and_evenly() -> None:
    busy = Busy({"a": 4.0, "b": 2.0, "c": 1.0, "d": 1.0})
    busy.serve(800)
    assert {name: busy.served.count(name) for name in "abcd"} == pytest.approx(
        {"a": 400, "b": 200, "c": 100, "d": 100}, abs=2
    )
    places = [index for index, name in enumerate(busy.served) if name == "c"]
    assert {later - sooner for sooner, later in pairwise(places)} <= {7, 8, 9}


def test_a_link_that_waited_too_long_goes_ahead_but_only_every_second_time() -> None:
    busy = Busy({"a": 1.0, **{f"quiet-{n}": 1e-6 for n in range(10)}}, stale_after=50.0)
    busy.serve(1000)
    assert busy.served.count("a") == pytest.approx(770, abs=30)  # each of ten once in 50 times 0.8, and a bit
    busy = Busy({"a": 1.0, **{f"quiet-{n}": 1e-6 for n in range(100)}}, stale_after=50.0)
    busy.serve(1000)
    assert busy.served.count("a") == pytest.approx(500, abs=50)
    assert min(busy.served.count(f"quiet-{n}") for n in range(100)) >= 4


def _queue(**latest: float) -> PollQueue:
    """Schedules by name, each with a reading that grew too old at that time; ``inf``: with none."""
    queue = PollQueue()
    for name, at in latest.items():
        schedule = LinkSchedule(make_link(name, stale_after=1000.0), 0.0)
        schedule.wanted = True
        if at < inf:
            queue.seed(schedule, at - PATIENCE * 1000.0)
        queue.put(schedule, 0.0)
    return queue


def _order(queue: PollQueue, now: float) -> list[str]:
    served = []
    while (schedule := queue.first(now)) is not None:
        queue.take(schedule)
        served.append(schedule.link.name)
    return served


def test_new_links_go_first_but_those_that_waited_too_long_go_every_second_time() -> None:
    queue = _queue(young=500.0, new=inf, older=-10.0, newer=inf, old=-5.0, newest=inf)
    assert _order(queue, 0.0) == ["older", "new", "old", "newer", "newest", "young"]


def test_a_reading_of_a_link_that_is_ready_counts_at_once() -> None:
    queue = _queue(new=inf, other=inf)
    schedule = queue.first(0.0)
    assert schedule is not None
    queue.seed(schedule, 0.0)
    assert _order(queue, 0.0) == ["other", "new"]


@pytest.mark.parametrize(("longer", "order"), [(0.0, ["b", "a"]), (-500.0, ["a", "b"])])
def test_how_old_a_reading_may_grow_can_change_in_queue(longer: float, order: list[str]) -> None:
    queue = _queue(b=200.0, a=300.0)
    assert queue.first(0.0) is not None
    (schedule,) = (schedule for schedule in queue._ready if schedule.link.name == "a")
    queue.stale_after_changed(schedule, longer)
    assert _order(queue, 250.0) == order


def test_a_link_that_moves_or_leaves_is_not_served_at_its_old_place() -> None:
    queue = PollQueue()
    schedule = LinkSchedule(make_link(), 0.0)
    queue.put(schedule, 1.0)
    assert queue.next_due() == inf  # it is not wanted
    schedule.wanted = True
    queue.put(schedule, 1.0)
    queue.put(schedule, 5.0)
    assert queue.first(4.0) is None
    assert (queue.next_due(), queue.earliest_due()) == (5.0, 5.0)
    assert queue.first(5.0) is schedule
    assert (queue.next_due(), queue.earliest_due()) == (inf, 5.0)
    queue.drop(schedule)
    assert queue.first(9.0) is None
    assert queue.earliest_due() == inf


def test_a_queue_that_is_served_for_ever_stays_short() -> None:
    busy = Busy({f"{n}": 10.0 ** (n % 4) for n in range(50)})
    busy.serve(20_000)
    assert len(busy.queue._by_age) + len(busy.queue._by_place) + len(busy.queue._waiting) < 1000


def test_of_very_many_that_are_due_at_once_some_become_ready_at_each_look_and_none_is_left_out() -> None:
    queue = PollQueue()
    schedules = [LinkSchedule(make_link(f"{n}"), 0.0) for n in range(1000)]
    for due, schedule in enumerate(schedules):
        schedule.wanted = True
        queue.put(schedule, float(due))
    joined: list[int] = []
    served: set[LinkSchedule] = set()
    while (ready := queue.first(1000.0)) is not None:
        joined.append(len(queue._ready))
        assert queue.earliest_due() == min(schedule.due for schedule in set(schedules) - served)
        queue.take(ready)
        served.add(ready)
    assert joined[:2] == [100, 199]
    assert max(joined) <= 1000
    assert served == set(schedules)


# --- the planner ------------------------------------------------------------------------------------------


class Player(Desk):
    """Polls by hand; ``clicks`` are a link's clicks a second."""

    def __init__(self, account: Account, clicks: dict[str, float]) -> None:
        super().__init__(account, 0.0)
        self.clicks = clicks

    def send(self) -> Poll:
        while not isinstance(step := self.planner.next(self.now), Poll):
            assert step < inf
            self.now = step
        return step

    def reading(self, link: Link, at: float) -> Reading:
        clicks = int(self.clicks[link.name] * (at + 36 * HOUR))
        return make_reading(clicks, today=clicks, yesterday=0)

    def poll(self) -> Poll:
        poll = self.send()
        self.finish(poll, self.reading(poll.link, self.now))
        return poll

    def lose(self, poll: Poll) -> None:
        """Another process was faster."""
        self.recorder.ledger.withdraw(poll.sent)
        self.planner.put_back(poll)
        self.planner.on_sent_elsewhere(poll.link.target, self.now)

    def hear(self, link: Link, reading: Reading, sent_at: float) -> None:
        """Another process read the link."""
        self.planner.on_answered_elsewhere(link.target, Outcome.OK, reading, sent_at, self.now)

    def until(self, end: float) -> dict[str, list[float]]:
        sent: dict[str, list[float]] = {name: [] for name in self.clicks}
        while self.now < end:
            sent[(poll := self.poll()).link.name].append(poll.sent_at)
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


@pytest.mark.slow  # much is calculated in virtual time
def test_where_intervals_change_a_wait_is_half_shorter_or_longer_at_most() -> None:
    random, names, bounds = Random(1), [f"link-{n}" for n in range(20)], (30.0, 500.0)
    player = Player(_adaptive(20, bounds), dict.fromkeys(names, 0.0))
    sent: dict[str, list[float]] = {name: [] for name in names}
    for hour in range(1, 30):
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


def test_what_another_process_reads_is_not_read_again_before_the_next_regular_moment() -> None:
    account = _adaptive(2, (21.0, 300.0))
    player = Player(account, {"link-0": 1.0, "link-1": 0.1})
    sent = player.until(2 * HOUR)
    poll = player.send()
    interval = poll.schedule.interval
    assert 21 < interval < 300
    assert poll.sent_at - sent[poll.link.name][-1] == pytest.approx(interval)
    player.lose(poll)
    while (again := player.poll()).link is not poll.link:
        pass
    assert again.sent_at == pytest.approx(poll.sent_at + interval)


def test_a_reading_of_another_process_places_a_link_like_one_of_our_own() -> None:
    """Else a link that another exporter always reads first would go ahead of all others for ever."""
    account = make_account(links=make_links(2, interval=30.0), max_concurrent_requests=1)
    player = Player(account, {"link-0": 0.0, "link-1": 0.0})
    player.now = HOUR
    lost = player.send()
    player.lose(lost)
    player.hear(lost.link, player.reading(lost.link, player.now), player.now)
    read = player.poll()
    player.now += 200
    assert {player.poll().link, player.poll().link} == {read.link, lost.link}
    player.now += 200
    assert {player.poll().link, player.poll().link} == {read.link, lost.link}


@pytest.mark.slow  # much is calculated in virtual time
def test_two_replicas_share_an_adaptive_account_as_one_would_read_it_alone() -> None:
    """What one sends, the other hears of, and learns from its reading."""
    clicks = {f"link-{n}": 0.5 / (n + 1) for n in range(10)}
    one, other = replicas = [Player(_adaptive(10, (21.0, 300.0)), clicks) for _ in range(2)]
    alone = Player(_adaptive(10, (21.0, 300.0)), clicks).until(6 * HOUR)
    shared: dict[str, list[float]] = {name: [] for name in clicks}
    while (player := min(replicas, key=lambda player: player.now)).now < 6 * HOUR:
        step = player.planner.next(player.now)
        if isinstance(step, Poll):
            shared[step.link.name].append(player.now)
            _read_for_both(player, other if player is one else one, step)
            player.now += 0.2
        else:
            player.now = step
    for name, times in shared.items():
        assert len(times) == pytest.approx(len(alone[name]), rel=0.1)


def _read_for_both(player: Player, other: Player, poll: Poll) -> None:
    reading = player.reading(poll.link, poll.sent_at)
    player.finish(poll, reading)
    other.planner.on_sent_elsewhere(poll.link.target, other.now)
    other.hear(poll.link, reading, poll.sent_at)


@pytest.mark.slow  # much is calculated in virtual time
def test_with_restarts_at_bad_moments_every_link_is_read_in_time_all_the_same() -> None:
    """Five times as many links as can be read in an interval, and each start begins with the same of them."""
    account, cost = overloaded(500, 100)
    read: dict[str, float] = {}
    now = 0.0

    def known(link: Link) -> tuple[Reading, float] | None:
        return (make_reading(), read[link.name]) if link.name in read else None

    for life in range(1, 60):
        desk = Desk(account, now, known=known)
        while now < life * 120:
            step = desk.planner.next(now)
            if isinstance(step, Poll):
                now += cost
                read[step.link.name] = step.sent_at
                desk.now = now
                desk.finish(step, make_reading())
            else:
                now = min(step, life * 120.0)
    assert len(read) == 500
    assert now - min(read.values()) < account.links[0].stale_after


def test_a_shorter_stale_after_takes_effect_at_once() -> None:
    account = make_account(links=(make_link("link-0", stale_after=HOUR),))
    player = Player(account, {"link-0": 1.0})
    player.poll()
    (schedule,) = player.planner._schedules.values()
    before = schedule.latest
    shorter = replace(account, links=(replace(account.links[0], stale_after=HOUR / 2),))
    player.configure(shorter)
    assert before - schedule.latest == pytest.approx(PATIENCE * HOUR / 2)


def test_new_bounds_take_effect_at_once() -> None:
    account = _adaptive(1, (21.0, 300.0))
    slow = replace(account, links=(replace(account.links[0], refresh_interval=HOUR, bounds=(HOUR, HOUR)),))
    player = Player(slow, {"link-0": 1.0})
    player.poll()
    player.poll()
    player.configure(account)
    before = player.now
    assert player.poll().sent_at - before <= 61
    assert player.poll().sent_at - before <= 3 * 61


def test_readings_of_links_that_left_change_nothing() -> None:
    player = Player(make_account(links=make_links(1)), {})
    player.hear(make_link(id="gone"), make_reading(), 0.0)
    assert player.planner.status(0.0, 0.0).lag == 0


def test_lag_is_that_of_the_most_overdue_link_in_queue() -> None:
    player = Player(make_account(links=make_links(50)), {f"link-{n}": float(n) for n in range(50)})
    player.until(HOUR)
    player.now += 600
    player.poll()
    assert 500 < player.planner.status(player.now, 0.0).lag <= 600
