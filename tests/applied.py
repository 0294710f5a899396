"""An exporter of its own process' event loop, given one configuration after another; nobody listens."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from pydantic import SecretStr

from exporter.app import Exporter
from exporter.clock import SystemClock
from exporter.config import Config
from exporter.config.config import Frame
from exporter.provider.client import open_session
from tests.factories import make_account

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from exporter.model import Link

NOWHERE = "http://127.0.0.1:9"
MEMORY = SecretStr("memory:")


def config_of(*links: Link) -> Config:
    """One account, whose provider is not there."""
    account = make_account(links=links, base_url=NOWHERE)
    return Config((account,), MEMORY, (), (), Frame((), MEMORY, ()))


@asynccontextmanager
async def running(config: Config) -> AsyncIterator[Exporter]:
    """The exporter, once it has taken the configuration."""
    async with open_session() as session:
        exporter = Exporter(session, MEMORY, SystemClock())
        await exporter.store.open()
        await exporter.apply(config)
        yield exporter
        await exporter.close()
