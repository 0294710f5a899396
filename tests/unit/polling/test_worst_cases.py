"""Worlds in which each limit is reached, and broken if one rule is missing: see ``tests.broken``."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from exporter.limits.constants import SEND_BY
from tests.factories import make_account, make_links
from tests.unit.polling.world import Weather, World

FAST = Weather(way=(0.001, 0.01), work=(0.01, 0.02))
SLOW = Weather(way=(0.1, 0.5), work=(2.0, 8.0))
MIRRORS = tuple(f"https://www{n}.smscentre.com" for n in range(3))
pytestmark = [pytest.mark.slow, pytest.mark.parametrize("exporters", [1, 3])]


def _world(exporters: int, weather: Weather, links: int = 30, seed: int = 1, **account: Any) -> World:
    """One account that asks for as much as it may."""
    fields: dict[str, Any] = {"max_concurrent_requests": 14, "fallback_urls": MIRRORS, **account}
    one = make_account(links=make_links(links, interval=21.0), **fields)
    return World([one], weather, seed, exporters=exporters, alone=exporters == 1)


def _restarts(world: World, every: float, until: float) -> None:
    for number in range(1, int(until / every)):
        world.at(number * every, partial(world.restart, number % world.exporters))


def test_failures_at_every_mirror_and_restarts(exporters: int) -> None:
    world = _world(exporters, Weather(way=(0.001, 0.05), work=(0.05, 0.5), bad_status=0.6))
    _restarts(world, every=37, until=400)
    assert world.run(until=400).worst_window == 3


def test_a_provider_that_works_on_what_was_given_up(exporters: int) -> None:
    world = _world(exporters, Weather(way=(0.001, 0.05), work=(1.5, 2.5)), links=200)
    world.at(150, partial(_hang, world, 200))
    world.at(165, world.restart)
    audit = world.run(until=400)
    assert audit.most_in_flight == 14
    assert audit.worst_window <= 3


def _hang(world: World, seconds: float) -> None:
    world.silent_until = world.now + seconds


def test_a_journal_whose_replies_come_minutes_late(exporters: int) -> None:
    world = _world(exporters, Weather(way=(0.001, 0.05), work=(0.05, 0.5), bad_status=0.5), links=3)
    world.log.lost_replies, world.log.reply_delay = 0.05, 200.0
    assert world.run(until=3600).worst_window == 3


def test_answers_that_overtake_each_other(exporters: int) -> None:
    world = _world(exporters, Weather(way=(0.001, 0.05), work=(0.05, 0.5), stuck=0.3), timeout=60.0)
    audit = world.run(until=900)
    assert audit.worst_step_back <= SEND_BY
    assert audit.worst_window <= 3


def test_nobody_asks_once_somebody_has_learnt_of_a_block(exporters: int) -> None:
    """Three accounts of one host; where there are three exporters, each has one of them."""
    accounts = [make_account(f"a{n}", make_links(80, f"a{n}", 21.0)) for n in range(3)]
    world = World(accounts, FAST, exporters=exporters, alone=exporters == 1)
    world.at(1, partial(_share_out, world))
    world.at(60, partial(_block, world))
    audit = world.run(until=300)
    assert audit.answers["blocked"]
    assert audit.sent_while_blocked == 0


async def _share_out(world: World) -> None:
    for number, site in enumerate(world.sites):
        await site.reload(world.accounts[number :: world.exporters])


def _block(world: World) -> None:
    world.blocked = True


def _crowd(exporters: int, weather: Weather, seed: int = 1) -> World:
    """Twelve accounts of one host."""
    accounts = [make_account(f"a{n}", make_links(1, f"a{n}", 21.0)) for n in range(12)]
    return World(accounts, weather, seed, exporters=exporters, alone=exporters == 1)


def _refuse_all(world: World) -> None:
    world.wrong_secrets = {"secret"}


def test_all_accepted_logins_are_refused_at_once(exporters: int) -> None:
    world = _crowd(exporters, FAST)
    world.at(300, partial(_refuse_all, world))
    audit = world.run(until=4000)
    assert audit.answers["ok"] > 100
    assert audit.worst_failed_logins == 4


@pytest.mark.parametrize("seed", [3, 5])
def test_all_accepted_logins_are_refused_while_many_are_under_way(exporters: int, seed: int) -> None:
    world = _crowd(exporters, SLOW, seed)
    world.at(300, partial(_refuse_all, world))
    world.at(1000, world.restart)
    audit = world.run(until=2300)
    assert audit.in_the_air
    assert audit.worst_failed_logins <= max(4, audit.in_the_air)


def test_wrong_passwords_from_the_start_and_restarts(exporters: int) -> None:
    world = _crowd(exporters, FAST)
    _refuse_all(world)
    _restarts(world, every=300, until=4000)
    assert world.run(until=4000).worst_failed_logins == 4
