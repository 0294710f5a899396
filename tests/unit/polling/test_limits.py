"""The promises of pacing, in virtual time, judged by what arrives at a simulated provider."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.model import Account
from exporter.secret import SecretStr
from tests.factories import make_account, make_links
from tests.unit.polling.world import Audit, Weather, World

_rare = st.sampled_from([0.0, 0.0, 0.02, 0.2, 0.6])
_weathers = st.builds(
    Weather,
    way=st.sampled_from([(0.001, 0.01), (0.001, 2.0), (0.1, 6.0)]),
    work=st.sampled_from([(0.01, 0.1), (0.01, 2.0), (1.0, 15.0)]),
    stuck=_rare,
    refused_connection=_rare,
    lost_answer=_rare,
    bad_status=_rare,
    retry_after=_rare,
    malformed=_rare,
    not_found=_rare,
    odd_code=_rare,
    foreign=_rare,
)
_bounds = st.sampled_from([None, None, (21.0, 60.0), (21.0, 3600.0), (30.0, 300.0)])
_accounts = st.builds(
    lambda name, links, interval, bounds, most, urls: make_account(
        f"a{name}",
        tuple(
            replace(link, bounds=bounds and (min(bounds[0], interval), max(bounds[1], interval)))
            for link in make_links(links, f"a{name}", interval)
        ),
        max_concurrent_requests=most,
        fallback_urls=tuple(f"https://www{n}.smscentre.com" for n in range(urls)),
    ),
    name=st.integers(0, 999),
    links=st.integers(1, 60),
    interval=st.sampled_from([21.0, 21.0, 30.0, 60.0, 300.0]),
    bounds=_bounds,
    most=st.integers(1, 14),
    urls=st.integers(0, 3),
)
_account_lists = st.lists(_accounts, min_size=1, max_size=5, unique_by=lambda account: account.name)


def _assert_limits(audit: Audit) -> None:
    assert audit.polls
    assert audit.worst_window <= 3
    assert audit.most_in_flight <= 14
    assert audit.worst_failed_logins <= 4


def _schedule_reloads(world: World, accounts: list[Account], times: list[float]) -> None:
    """Reloads that drop half the links, or whole accounts, rename and re-time others, and bring all back."""

    async def reload() -> None:
        kept = [account for account in accounts if world.random.random() < 0.8]
        await world.reload([_shaken(world, account) for account in kept])

    for time in times:
        world.at(time, reload)


def _shaken(world: World, account: Account) -> Account:
    links = [
        replace(
            link,
            name=f"{link.name}x",
            refresh_interval=world.random.choice([21.0, 60.0]),
            bounds=world.random.choice([None, (21.0, 600.0)]),
        )
        for link in account.links
        if world.random.random() < 0.5
    ]
    secret = world.random.choice(["secret", "secret", "other", "wrong"])
    credentials = replace(account.credentials, password=SecretStr(secret))
    most = world.random.randint(1, 14)
    return replace(account, links=tuple(links), credentials=credentials, max_concurrent_requests=most)


_places = st.sampled_from(["one exporter", "one exporter restarted", "three exporters", "three restarted"])


def _world(
    place: str, accounts: list[Account], weather: Weather, seed: int, restarts: list[float], slow: bool
) -> World:
    """One exporter with a journal of its own, or three that share one, restarted at these moments."""
    exporters = 3 if place.startswith("three") else 1
    world = World(accounts, weather, seed, exporters=exporters, alone=exporters == 1)
    if exporters > 1 and slow:
        world.log.latency, world.log.lost_replies = (0.001, 0.3), 0.02
    if place.endswith("restarted"):
        for number, time in enumerate(restarts):
            world.at(time, partial(world.restart, number % exporters))
    return world


@settings(max_examples=10, deadline=None)
@given(
    place=_places,
    accounts=_account_lists,
    weather=_weathers,
    seed=st.integers(0, 2**32),
    reloads=st.lists(st.floats(1, 400), max_size=5),
    restarts=st.lists(st.floats(1, 500), min_size=1, max_size=8),
    freezes=st.lists(st.floats(1, 500), max_size=3),
    slow=st.booleans(),
)
@pytest.mark.slow  # much is calculated in virtual time
def test_never_a_fourth_request_in_a_minute_and_never_a_fifteenth_at_once(
    place: str,
    accounts: list[Account],
    weather: Weather,
    seed: int,
    reloads: list[float],
    restarts: list[float],
    freezes: list[float],
    slow: bool,
) -> None:
    world = _world(place, accounts, weather, seed, restarts, slow)
    _schedule_reloads(world, accounts, reloads)
    for time in freezes:
        world.at(time, partial(_freeze, world))
    world.at(501, lambda: world.reload(accounts))
    _assert_limits(world.run(until=600))


def _freeze(world: World) -> None:
    """The provider answers nobody for a while, and works on everything that comes."""
    world.frozen_until = world.now + world.random.uniform(1, 50)


@settings(max_examples=10, deadline=None)
@given(
    place=_places,
    accounts=_account_lists,
    weather=_weathers,
    seed=st.integers(0, 2**32),
    wrong=st.lists(st.booleans(), min_size=5, max_size=5),
    reloads=st.lists(st.floats(1, 5000), max_size=5),
    restarts=st.lists(st.floats(1, 5000), min_size=1, max_size=5),
)
@pytest.mark.slow  # much is calculated in virtual time
def test_never_a_fifth_failed_login_in_half_an_hour(
    place: str,
    accounts: list[Account],
    weather: Weather,
    seed: int,
    wrong: list[bool],
    reloads: list[float],
    restarts: list[float],
) -> None:
    """Some accounts have a wrong password from the start; reloads bring others, right and wrong."""
    few = [replace(account, links=account.links[:3]) for account in accounts]
    world = _world(place, few, weather, seed, restarts, slow=False)
    world.wrong_secrets = {"wrong"}
    world.wrong_logins = {
        account.login_key for account, is_wrong in zip(few, wrong, strict=False) if is_wrong
    }
    _schedule_reloads(world, few, reloads)
    audit = world.run(until=5400)
    assert audit.worst_failed_logins <= 4
    assert audit.worst_window <= 3


@pytest.mark.parametrize("in_flight", [1, 4])
def test_a_login_revoked_in_mid_flight_costs_no_more_than_was_in_flight(in_flight: int) -> None:
    account = make_account(links=make_links(200, interval=21.0), max_concurrent_requests=in_flight)
    world = World([account], Weather(way=(0.01, 0.1), work=(0.5, 1.0)))
    world.at(300, lambda: world.wrong_logins.add(account.login_key))
    audit = world.run(until=4 * 3600)
    assert audit.answers["ok"] > 200
    assert 1 <= audit.worst_failed_logins <= in_flight


@pytest.mark.slow  # much is calculated in virtual time
def test_hundreds_of_links_for_half_an_hour_with_everything_going_wrong() -> None:
    accounts = [
        make_account("big", make_links(200, "big", 60.0), max_concurrent_requests=14),
        make_account("small", make_links(50, "small", 21.0), max_concurrent_requests=4),
    ]
    locked_out = [
        make_account(f"locked-out-{n}", make_links(1, f"locked-out-{n}"), base_url="https://smsc.example")
        for n in range(6)
    ]
    weather = Weather(
        way=(0.001, 0.3), work=(0.02, 0.3), stuck=0.01, lost_answer=0.01, bad_status=0.01, foreign=0.003
    )
    world = World([*accounts, *locked_out], weather)
    world.wrong_logins = {account.login_key for account in locked_out}
    audit = world.run(until=1800)
    _assert_limits(audit)
    assert audit.worst_failed_logins == 4
    assert len(audit.arrivals) >= 250 + 4
    assert {"ok", "throttled", "timeout", "unreachable", "http_error", "malformed"} <= set(audit.answers)


def test_each_link_is_read_once_an_interval_and_evenly() -> None:
    account = make_account(links=make_links(100, interval=60.0))
    world = World([account], Weather(way=(0.001, 0.01), work=(0.01, 0.05)))
    audit = world.run(until=660)
    seconds = [sum(second <= at < second + 1 for at in audit.arrived_at) for second in range(60, 660)]
    assert max(seconds) <= 4
    assert all(11 <= polls <= 12 for polls in audit.polls.values())
    assert audit.worst_gap < 91  # the first readings come at once, the others at regular moments


@pytest.mark.parametrize("links", [200, 1000])
@pytest.mark.slow  # much is calculated in virtual time
def test_under_overload_no_link_starves(links: int) -> None:
    """One request takes 0.2 s, two at a time: ten a second. Clicked alike, all get the same share of that."""
    account = make_account(links=make_links(links, interval=21.0), max_concurrent_requests=2)
    world = World([account], Weather(way=(0.0, 0.0), work=(0.2, 0.2)), unequal=False)
    audit = world.run(until=links / 10 * 5)
    assert len(audit.polls) == links
    assert audit.worst_gap < links / 10 * 1.5 + 42


@pytest.mark.slow  # much is calculated in virtual time
def test_however_unequal_under_overload_every_link_gets_half_of_an_equal_share() -> None:
    """One a second for 400 links: equal turns would take 400 s, longer than they may get old."""
    links = tuple(replace(link, stale_after=300.0) for link in make_links(400, interval=21.0))
    account = make_account(links=links, max_concurrent_requests=2)
    audit = World([account], Weather(way=(0.0, 0.0), work=(2.0, 2.0))).run(until=4000)
    assert len(audit.polls) == 400
    assert audit.worst_gap < 2 * 400 * 1.1
    assert max(audit.polls.values()) > 4 * min(audit.polls.values())


@pytest.mark.slow  # much is calculated in virtual time
def test_a_slow_link_is_not_starved_by_impatient_ones() -> None:
    impatient = make_links(80, interval=21.0)
    patient = replace(make_links(81, interval=600.0)[-1], name="patient")
    account = make_account(links=(*impatient, patient), max_concurrent_requests=1)
    audit = World([account], Weather(way=(0.0, 0.0), work=(1.0, 1.0))).run(until=3600)
    assert audit.polls["patient"] >= 5
