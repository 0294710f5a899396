"""What the tests of backends share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.redis_servers import Server, redis_server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that don't ask for more than a place to keep things."""
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def server(running: Server) -> Server:
    """That server, empty."""
    running.look.flushall()
    return running
