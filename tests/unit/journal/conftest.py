"""The places in which the tests of the contract keep events, and what the tests of journals share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.redis_servers import Server, redis_server
from tests.unit.journal.places import Place, SqlitePlace
from tests.unit.journal.redis_places import RedisPlace

PLACES = ["memory", "sqlite"]
"""Every place must pass ``test_contract``."""


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A place of each kind."""
    return Place() if request.param == "memory" else SqlitePlace(tmp_path)


@pytest.fixture
def disk(tmp_path: Path) -> SqlitePlace:
    """One SQLite file."""
    return SqlitePlace(tmp_path)


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that do no harm to it."""
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_place(shared_redis: Server) -> RedisPlace:
    """That server, empty, and taken as one that has forgotten nothing."""
    shared_redis.look.flushall()
    place = RedisPlace(shared_redis)
    place.mature()
    return place


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[Server]:
    """A server of the test's own, to be killed, frozen or filled up."""
    with redis_server(tmp_path) as server:
        yield server


@pytest.fixture
def own_place(own_redis: Server) -> RedisPlace:
    """That server, taken as one that has forgotten nothing."""
    place = RedisPlace(own_redis)
    place.mature()
    return place
