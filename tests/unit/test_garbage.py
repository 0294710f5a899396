"""The search for garbage, put off and taken up again, and kept away from what stays."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING
from weakref import ref

import pytest

from exporter.app import SETTLING
from exporter.garbage import settle, uncollected
from tests.applied import config_of, running
from tests.factories import make_link

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _thaw() -> Iterator[None]:
    yield
    gc.unfreeze()


class Cycle:
    """Refers to itself, so that only a search finds out that nobody else does."""

    def __init__(self) -> None:
        self.me = self


def searched(thing: object) -> bool:
    """Whether searches for garbage look at it."""
    return any(thing is other for other in gc.get_objects())


def test_it_is_off_meanwhile_and_on_again_at_the_end_of_the_outermost() -> None:
    assert gc.isenabled()
    with uncollected():
        with uncollected():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_what_is_there_is_left_out_of_searches_and_what_comes_later_is_not() -> None:
    before = Cycle()
    settle()
    after = Cycle()
    assert not searched(before)
    assert searched(after)


def test_garbage_is_freed_and_what_was_left_out_is_looked_at_again() -> None:
    cycle = Cycle()
    watched = ref(cycle)
    settle()
    del cycle
    gc.collect()
    assert watched() is not None
    settle()
    assert watched() is None


def test_links_are_left_out_from_the_start_and_after_each_reload() -> None:
    config = config_of(make_link("1", id="1"))

    async def main() -> None:
        async with running(config) as exporter:
            assert not searched(config.accounts[0].links[0])
            other = config_of(make_link("2", id="2"))
            assert searched(other.accounts[0].links[0])
            assert await exporter.reload(lambda: other) == ()
            assert not searched(other.accounts[0].links[0])

    asyncio.run(main())


def test_a_reload_leaves_no_garbage_behind_that_was_there_before() -> None:
    config = config_of(make_link())

    async def main() -> None:
        async with running(config) as exporter:
            watched = ref(Cycle())
            assert watched() is not None
            assert await exporter.reload(lambda: config) == ()
            assert watched() is None

    with uncollected():
        asyncio.run(main())


def test_what_was_left_out_and_became_garbage_is_found_after_some_reloads() -> None:
    config = config_of(make_link())

    async def main() -> None:
        async with running(config) as exporter:
            cycle = Cycle()
            watched = ref(cycle)
            await exporter.apply(config)
            del cycle
            gc.collect()
            assert watched() is not None
            for _ in range(SETTLING - 1):
                await exporter.apply(config)
            assert watched() is None

    asyncio.run(main())
