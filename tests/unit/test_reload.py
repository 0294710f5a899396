"""A reload of many links takes a while, and scrapes and polls go on meanwhile: what they see and bring."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from exporter.slices import SLICE, in_slices
from tests.applied import config_of, running
from tests.factories import make_link, make_links, make_reading

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.app import Exporter
    from exporter.config import Config

MANY = 5 * SLICE


def labelled(label: str, count: int = MANY) -> Config:
    """So many links, the last of them at first, each with this label."""
    return config_of(*(replace(link, labels=(("of", label),)) for link in reversed(make_links(count))))


def page(exporter: Exporter) -> str:
    return b"".join(exporter._scrape.render("", ())[0]).decode()


async def switched(exporter: Exporter, config: Config, meanwhile: Callable[[int], None]) -> None:
    """Switches to ``config``, calling ``meanwhile`` with the turn's number in each turn of the loop."""
    switch = asyncio.ensure_future(exporter.apply(config))
    turn = 0
    while not switch.done():
        meanwhile(turn)
        turn += 1
        await asyncio.sleep(0)
    await switch


def test_a_page_is_all_of_the_old_configuration_or_all_of_the_new() -> None:
    seen: list[tuple[set[str], str, int]] = []

    async def main() -> None:
        async with running(labelled("old")) as exporter:

            def look(turn: int) -> None:
                text = page(exporter)
                configured = re.findall(r"^smsc_account_links.* (\S+)$", text, re.MULTILINE)
                seen.append(
                    (set(re.findall(r'of="(\w+)"', text)), *configured, text.count("smsc_link_info{"))
                )

            await switched(exporter, labelled("new", MANY - 1), look)
            look(-1)

    asyncio.run(main())
    old, new = ({"old"}, f"{MANY}.0", MANY), ({"new"}, f"{MANY - 1}.0", MANY - 1)
    changed = seen.index(new)
    assert seen == [old] * changed + [new] * (len(seen) - changed)
    assert changed >= MANY // SLICE  # others were let in while it was prepared,
    assert len(seen) - changed >= MANY // SLICE  # and while its links were taken to be polled


@pytest.mark.parametrize("turn", range(0, 16, 3))
def test_no_reading_that_comes_during_a_reload_is_lost(turn: int) -> None:
    """Whether its link was prepared by then or not, and whether it stays as it is or not."""
    places = range(0, MANY, 20)

    async def main() -> None:
        old = labelled("old").accounts[0].links
        new = tuple(link if n % 40 else replace(link, labels=(("of", "new"),)) for n, link in enumerate(old))
        async with running(config_of(*old)) as exporter:

            def read(now: int) -> None:
                for link in (old[place] for place in places if now == turn):
                    known = exporter.store.get(link)
                    assert known is not None
                    exporter.store.put(known.succeeded(make_reading(90 + turn, id=link.id or ""), 1e9))

            await switched(exporter, config_of(*new), read)
            text = page(exporter)
            assert text.count("\nsmsc_link_last_success_timestamp_seconds{") == len(places)
            for place in places:
                known = exporter.store.get(new[place])
                assert known is not None
                assert known.reading is not None
                assert (known.reading.all_time, known.link) == (90 + turn, new[place])

    asyncio.run(main())


def test_of_two_reloads_at_once_the_second_waits_for_the_first() -> None:
    async def main() -> None:
        async with running(labelled("old")) as exporter:
            await asyncio.gather(exporter.apply(labelled("first")), exporter.apply(labelled("second", 1)))
            assert re.findall(r'smsc_link_info.*of="(\w+)"', page(exporter)) == ["second"]

    asyncio.run(main())


def test_links_in_and_out_of_the_configuration_are_polled_or_not() -> None:
    async def main() -> None:
        links = (make_link("stays", id="1"), make_link("leaves", id="2"), make_link("comes", id="3"))
        async with running(config_of(*links[:2])) as exporter:
            await exporter.apply(config_of(links[0], links[2]))
            stays, leaves, comes = exporter.poller.next_polls(links)
            assert stays is not None
            assert comes is not None
            assert leaves in (None, float("inf"))

    asyncio.run(main())


def test_others_go_on_after_every_few_steps() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def main() -> None:
        going_on = asyncio.create_task(others())
        await in_slices(range(SLICE - 1))
        assert turns == 0
        await in_slices(range(3 * SLICE))
        assert turns == 3
        going_on.cancel()

    asyncio.run(main())
