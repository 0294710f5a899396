"""An outage of ten minutes ends: in virtual time, all links of a small account are read again within 90 s."""

from __future__ import annotations

from itertools import product

import pytest

from tests.factories import make_account, make_links
from tests.unit.polling.world import Weather, World

FINE = Weather(way=(0.01, 0.05), work=(0.01, 0.1))
OUTAGES = {
    "refused connections": Weather(refused_connection=1.0),
    "a provider that hangs": FINE,  # the world's ``silent_until`` says for how long
    "a front proxy without its provider": Weather(bad_status=1.0, status=502),
    "a front proxy that waits in vain": Weather(work=(9.0, 9.5), bad_status=1.0, status=504),
    "half the requests fail": Weather(refused_connection=0.2, lost_answer=0.2, bad_status=0.2, status=502),
}
BEGINS, LASTS, RECOVERY = 90.0, 600.0, 90.0


def _world(outage: str, exporters: int, links: int, seed: int = 1) -> World:
    """Polls for a while, so that the login is verified, then meets the outage."""
    account = make_account(links=make_links(links))
    world = World([account], FINE, seed, exporters=exporters, alone=exporters == 1, unequal=False)

    def begin() -> None:
        world.weather = OUTAGES[outage]
        if "hangs" in outage:
            world.silent_until = BEGINS + LASTS

    def end() -> None:
        world.weather = FINE

    world.at(BEGINS, begin)
    world.at(BEGINS + LASTS, end)
    return world


@pytest.mark.parametrize("links", [1, 14, 100])
@pytest.mark.parametrize("exporters", [1, 3])
@pytest.mark.parametrize("outage", OUTAGES)
@pytest.mark.slow  # much is calculated in virtual time
def test_all_links_are_read_again_within_90_seconds(outage: str, exporters: int, links: int) -> None:
    world = _world(outage, exporters, links)
    # Requests that hang are answered as the outage ends: they were sent before.
    since = world.clock.time() + BEGINS + LASTS - world.accounts[0].timeout
    audit = world.run(until=BEGINS + LASTS + RECOVERY)
    assert set(audit.answers) > {"ok"}
    for site, link in product(world.sites, world.accounts[0].links):
        snapshot = site.snapshots.get(link)
        assert snapshot is not None
        assert snapshot.read_at > since, f"{link.name} was read {since - snapshot.read_at:.0f} s before"
    assert audit.worst_window <= 3
    assert audit.most_in_flight <= 14
