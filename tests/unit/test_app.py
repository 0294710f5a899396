"""The exporter put together, where a process of its own is not needed."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from pydantic import SecretStr
from structlog.testing import capture_logs

from exporter.app import Exporter
from exporter.clock import SystemClock
from exporter.errors import ConfigError
from exporter.provider.client import open_session
from exporter.threads import Threads, stuck

if TYPE_CHECKING:
    from exporter.config import Config


def test_a_reload_that_crashes_leaves_the_exporter_running() -> None:
    def load() -> Config:
        raise ZeroDivisionError

    async def main() -> None:
        async with open_session() as session:
            exporter = Exporter(session, SecretStr("memory:"), SystemClock())
            await exporter.store.open()
            with capture_logs() as logs:
                faults = await exporter.reload(load)
            assert faults == ("the reload broke on a ZeroDivisionError: the log says more",)
            assert [entry["event"] for entry in logs] == ["reload_crashed"]
            registry = exporter.telemetry.registry
            assert registry.get_sample_value("smsc_exporter_config_last_reload_successful") == 0
            assert exporter._not_ready() is None
            await exporter.close()
            assert exporter._not_ready() == "stopping"

    asyncio.run(main())


def test_reloads_run_one_after_the_other() -> None:
    steps: list[str] = []
    first_begun, first_may_end = threading.Event(), threading.Event()

    def first() -> Config:
        steps.append("first begins")
        first_begun.set()
        first_may_end.wait(60)
        steps.append("first ends")
        raise ConfigError([])

    def second() -> Config:
        steps.append("second begins")
        first_may_end.set()  # were it let in too early, it would end the first
        raise ConfigError([])

    async def main() -> None:
        async with open_session() as session:
            exporter = Exporter(session, SecretStr("memory:"), SystemClock())
            reloads = [asyncio.create_task(exporter.reload(load)) for load in (first, second)]
            await asyncio.to_thread(first_begun.wait, 60)
            await asyncio.sleep(0.1)  # the second would begin by now
            first_may_end.set()
            await asyncio.gather(*reloads)
            await exporter.close()

    asyncio.run(main())
    assert steps == ["first begins", "first ends", "second begins"]


def test_the_end_does_not_wait_for_a_thread_that_is_stuck() -> None:
    threads, release = Threads(1, "page"), threading.Event()
    threads.submit(release.wait)
    waiting = threads.submit(release.wait)
    threads.shutdown(wait=True)
    assert waiting.cancelled()
    assert stuck(patience=0.01)
    release.set()
    assert not stuck(patience=60)
