"""Reloads: one at a time, as few as possible, and what becomes of errors."""

from __future__ import annotations

import asyncio
import gc
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from exporter.config import LinkFile
from exporter.errors import ConfigError, Fault
from exporter.reloading import Reloader
from tests.applied import config_of
from tests.factories import make_links

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.config import Config

OLD, NEW = config_of(*make_links(1)), config_of(*make_links(2))
RELOADED = {"event": "reloaded", "log_level": "info", "accounts": 1, "links": 2}


def refuse(config: Config) -> Config:
    raise ConfigError([Fault("config.yaml", 1, 2, "accounts", "is missing: add it")])


def crash(config: Config) -> Config:
    raise ZeroDivisionError


class Desk:
    """A reloader with what it calls."""

    def __init__(self, load: Callable[[Config], Config]) -> None:
        self.applied: list[Config] = []
        self.failures = 0
        self.logs: list[Any] = []
        self.reloader = Reloader(load, self._apply, self._failed, OLD)

    async def _apply(self, config: Config) -> None:
        self.applied.append(config)

    def _failed(self) -> None:
        self.failures += 1

    def reload(self) -> tuple[str, ...]:
        with capture_logs() as logs:
            errors = asyncio.run(self.reloader.reload())
        self.logs = list(logs)
        return errors


def logs_of(config: Config) -> list[Any]:
    """What is logged when a reload brings this configuration, but for the first line."""
    desk = Desk(lambda old: config)
    assert desk.reload() == ()
    assert desk.logs[0]["event"] == "reloaded"
    return desk.logs[1:]


def test_a_reload_is_applied_and_becomes_the_one_in_force() -> None:
    given: list[Config] = []

    def load(config: Config) -> Config:
        given.append(config)
        return NEW

    desk = Desk(load)
    assert desk.reload() == ()
    assert desk.logs == [RELOADED]
    assert (desk.applied, desk.failures, desk.reloader.config) == ([NEW], 0, NEW)
    desk.reload()
    assert given == [OLD, NEW]


def test_errors_keep_the_old_configuration_and_are_returned_and_logged() -> None:
    desk = Desk(refuse)
    error = "config.yaml:1:2: accounts: is missing: add it"
    assert desk.reload() == (error,)
    assert desk.logs == [{"event": "reload_failed", "log_level": "error", "error": error}]
    assert (desk.applied, desk.failures, desk.reloader.config) == ([], 1, OLD)


def test_a_reload_that_crashes_keeps_the_old_configuration() -> None:
    desk = Desk(crash)
    error = "the reload ended with a ZeroDivisionError: the log says more"
    assert desk.reload() == (error,)
    assert [entry["event"] for entry in desk.logs] == ["reload_crashed", "reload_failed"]
    assert (desk.failures, desk.reloader.config) == (1, OLD)


def test_reloads_asked_for_meanwhile_are_one_that_begins_when_the_first_has_ended() -> None:
    steps: list[str] = []
    begun, may_end = threading.Event(), threading.Event()

    def load(config: Config) -> Config:
        steps.append("begins")
        begun.set()
        may_end.wait(60)
        steps.append("ends")
        return NEW

    async def main() -> None:
        reload = Desk(load).reloader.reload
        first = asyncio.create_task(reload())
        await asyncio.to_thread(begun.wait, 60)
        others = [asyncio.create_task(reload()) for _ in range(5)]
        await asyncio.sleep(0.05)  # a second one would begin by now
        assert steps == ["begins"]
        may_end.set()
        assert await asyncio.gather(first, *others) == [()] * 6

    asyncio.run(main())
    assert steps == ["begins", "ends"] * 2


def test_whoever_asked_may_leave_and_the_reload_goes_on() -> None:
    begun, may_end = threading.Event(), threading.Event()

    def load(config: Config) -> Config:
        begun.set()
        may_end.wait(60)
        return NEW

    async def main() -> None:
        desk = Desk(load)
        impatient = asyncio.create_task(desk.reloader.reload())
        await asyncio.to_thread(begun.wait, 60)
        patient = asyncio.create_task(desk.reloader.reload())
        impatient.cancel()
        may_end.set()
        await patient
        assert desk.applied == [NEW, NEW]
        assert impatient.cancelled()

    asyncio.run(main())


@pytest.mark.parametrize("load", [lambda config: NEW, refuse, crash])
def test_nothing_searches_for_garbage_while_a_thread_loads(load: Callable[[Config], Config]) -> None:
    searched: list[bool] = []

    def looked(config: Config) -> Config:
        searched.append(gc.isenabled())
        return load(config)

    gc.unfreeze()
    try:
        Desk(looked).reload()
        assert searched == [False]
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()


def test_another_storage_is_said_to_take_effect_later() -> None:
    (told,) = logs_of(replace(NEW, storage_url=SecretStr("redis://:hunter2@127.0.0.1")))
    assert told["event"] == "storage_unchanged"
    assert "hunter2" not in str(told)


def test_warnings_are_logged_once() -> None:
    warning = Fault("config.yaml", 3, 1, "accounts[0]", "asks for much")
    warned = replace(NEW, warnings=(warning,))
    (told,) = logs_of(warned)
    assert told == {"event": "config_warning", "log_level": "warning", "warning": str(warning)}
    desk = Desk(lambda config: warned)
    desk.reload()
    desk.reload()
    assert desk.logs == [RELOADED]


def test_errors_of_a_link_file_are_logged_once_and_not_without_end() -> None:
    faults = tuple(Fault("a.csv", line, 1, "id", "is missing: add it") for line in range(2, 25))
    files = (LinkFile("main", "a.csv", (), faults=faults), LinkFile("main", "b.csv", ()))
    refused = replace(NEW, link_files=files)
    told = logs_of(refused)
    names = {"event": "link_file_refused", "log_level": "error", "account": "main", "file": "a.csv"}
    assert told[0] == {**names, "error": "a.csv:2:1: id: is missing: add it"}
    assert (len(told), told[-1]) == (21, {**names, "more_errors": 3})
    desk = Desk(lambda config: refused)
    desk.reload()
    desk.reload()
    assert desk.logs == [RELOADED]
