"""Three processes that record requests at the same time agree on one order."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from exporter.journal.redis_script import EVENTS
from exporter.limits.events import binds, decode
from tests import needs
from tests.redis_servers import Server
from tests.unit.journal.redis_places import RedisPlace
from tests.unit.journal.redis_writers import ROOT, write

pytestmark = needs.redis

WRITERS, CLAIMS = 3, 60


def recorded(server: Server) -> list[int]:
    """The events that bind, in the order of the stream."""
    texts = [fields[b"e"].decode() for _, fields in server.look.xrange(EVENTS)]
    return [event.number for event in map(decode, filter(None, texts)) if binds(event)]


def known_less(order: list[int], told: list[dict[str, Any]]) -> int:
    """How many requests were recorded by somebody who did not know all that bound before them."""
    decided = [each for one in told for each in one["decided"]]
    assert {number for _, number in decided} == set(order)
    return sum(order.index(number) != known for known, number in decided)


def test_nobody_records_a_request_without_knowing_of_all_that_binds_before_it(own_place: RedisPlace) -> None:
    told = write(own_place.server, WRITERS, CLAIMS)
    order = recorded(own_place.server)
    assert len(order) == WRITERS * CLAIMS
    assert [one["order"] for one in told] == [order] * WRITERS
    assert known_less(order, told) == 0
    assert sum(one["asked"] for one in told) > WRITERS * CLAIMS  # they did meet


@pytest.mark.slow
def test_without_the_condition_in_the_script_somebody_does(own_place: RedisPlace, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(ROOT / "exporter", changed / "exporter")
    script = changed / "exporter" / "journal" / "redis_script.py"
    text = script.read_text()
    assert text.count("verdict = 'behind'") == 1
    script.write_text(text.replace("verdict = 'behind'", "verdict = 'yes'"))
    told = write(own_place.server, WRITERS, CLAIMS, package=changed)
    assert known_less(recorded(own_place.server), told) > 0
