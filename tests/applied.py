"""An exporter in the test's own event loop, given one configuration after another; nobody listens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from exporter.app import Exporter
from exporter.clock import Clock, SystemClock
from exporter.config import Config
from exporter.journal import MemoryJournal
from exporter.model import Link
from exporter.provider.client import open_session
from exporter.secret import SecretStr
from tests.factories import make_account

NOWHERE = "http://127.0.0.1:9"


def config_of(*links: Link) -> Config:
    """One account, whose provider is not there."""
    return Config((make_account(links=links, base_url=NOWHERE),), SecretStr("memory:"), ())


@asynccontextmanager
async def running(config: Config, clock: Clock | None = None) -> AsyncIterator[Exporter]:
    """The exporter, once it has taken the configuration. It does not poll."""
    clock = clock or SystemClock()
    async with open_session() as session:
        exporter = Exporter(session, MemoryJournal(clock), clock)
        await exporter.recorder.open()
        await exporter.apply(config)
        yield exporter
        await exporter.close()
