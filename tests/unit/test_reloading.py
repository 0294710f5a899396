"""Reloads: one at a time, as few as possible, and what becomes of errors."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from exporter.config import Config, LinkFile
from exporter.errors import ConfigError, Fault
from exporter.reloading import Loaded, Loader, Reloader
from exporter.secret import SecretStr
from tests.applied import config_of
from tests.factories import make_links
from tests.unit.webconfig.door import ALICE, Keys

OLD, NEW = Loaded(config_of(*make_links(1))), Loaded(config_of(*make_links(2)))
RELOADED = {"event": "reloaded", "log_level": "info", "accounts": 1, "links": 2}


def refuse(in_force: Loaded) -> Loaded:
    raise ConfigError([Fault("config.yaml", 1, 2, "accounts", "is missing: add it")])


def crash(in_force: Loaded) -> Loaded:
    raise ZeroDivisionError


class Desk:
    """A reloader with what it calls."""

    def __init__(self, load: Callable[[Loaded], Loaded]) -> None:
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


def logs_of(loaded: Loaded) -> list[Any]:
    """What is logged when a reload brings this configuration, but for the first line."""
    desk = Desk(lambda old: loaded)
    assert desk.reload() == ()
    assert desk.logs[0]["event"] == "reloaded"
    return desk.logs[1:]


def changed(**fields: Any) -> Loaded:
    """The new configuration with these fields."""
    return Loaded(replace(NEW.config, **fields))


def test_a_reload_is_applied_and_becomes_the_one_in_force() -> None:
    given: list[Loaded] = []

    def load(in_force: Loaded) -> Loaded:
        given.append(in_force)
        return NEW

    desk = Desk(load)
    assert desk.reload() == ()
    assert desk.logs == [RELOADED]
    assert (desk.applied, desk.failures, desk.reloader.in_force) == ([NEW.config], 0, NEW)
    desk.reload()
    assert given == [OLD, NEW]


def test_errors_keep_the_old_configuration_and_are_returned_and_logged() -> None:
    desk = Desk(refuse)
    error = "config.yaml:1:2: accounts: is missing: add it"
    assert desk.reload() == (error,)
    assert desk.logs == [{"event": "reload_failed", "log_level": "error", "error": error}]
    assert (desk.applied, desk.failures, desk.reloader.in_force) == ([], 1, OLD)


def test_a_reload_that_crashes_keeps_the_old_configuration() -> None:
    desk = Desk(crash)
    error = "the reload ended with a ZeroDivisionError: the log says more"
    assert desk.reload() == (error,)
    assert [entry["event"] for entry in desk.logs] == ["reload_crashed", "reload_failed"]
    assert (desk.failures, desk.reloader.in_force) == (1, OLD)


def test_reloads_asked_for_meanwhile_are_one_that_begins_when_the_first_has_ended() -> None:
    steps: list[str] = []
    begun, may_end = threading.Event(), threading.Event()

    def load(in_force: Loaded) -> Loaded:
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

    def load(in_force: Loaded) -> Loaded:
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
        assert desk.applied == [NEW.config] * 2
        assert impatient.cancelled()

    asyncio.run(main())


@pytest.mark.parametrize(("load", "stays"), [(lambda in_force: NEW, True), (refuse, False), (crash, False)])
def test_nothing_searches_for_garbage_while_a_thread_loads(
    load: Callable[[Loaded], Loaded], stays: bool
) -> None:
    """What a success leaves is not searched later either; what a failure leaves is garbage."""
    searched: list[bool] = []

    def looked(in_force: Loaded) -> Loaded:
        searched.append(gc.isenabled())
        return load(in_force)

    gc.unfreeze()
    try:
        Desk(looked).reload()
        assert searched == [False]
        assert gc.isenabled()
        assert (gc.get_freeze_count() > 0) is stays
    finally:
        gc.unfreeze()


def test_another_storage_is_said_to_take_effect_later() -> None:
    (told,) = logs_of(changed(storage_url=SecretStr("redis://:hunter2@127.0.0.1")))
    assert told["event"] == "storage_unchanged"
    assert "hunter2" not in str(told)


def test_warnings_are_logged_once() -> None:
    warning = Fault("config.yaml", 3, 1, "accounts[0]", "asks for much")
    warned = changed(warnings=(warning,))
    (told,) = logs_of(warned)
    assert told == {"event": "config_warning", "log_level": "warning", "warning": str(warning)}
    desk = Desk(lambda in_force: warned)
    desk.reload()
    desk.reload()
    assert desk.logs == [RELOADED]


def test_errors_of_a_link_file_are_logged_once_and_not_without_end() -> None:
    faults = tuple(Fault("a.csv", line, 1, "id", "is missing: add it") for line in range(2, 25))
    files = (LinkFile("main", "a.csv", faults=faults), LinkFile("main", "b.csv"))
    refused = changed(link_files=files)
    told = logs_of(refused)
    names = {"event": "link_file_refused", "log_level": "error", "account": "main", "file": "a.csv"}
    assert told[0] == {**names, "error": "a.csv:2:1: id: is missing: add it"}
    assert (len(told), told[-1]) == (21, {**names, "more_errors": 3})
    desk = Desk(lambda in_force: refused)
    desk.reload()
    desk.reload()
    assert desk.logs == [RELOADED]


def test_a_link_file_that_was_corrected_is_said_once() -> None:
    faults = (Fault("a.csv", 2, 1, "id", "is missing: add it"),)
    loads = [changed(link_files=(LinkFile("main", "a.csv", faults=now),)) for now in (faults, (), ())]
    desk = Desk(lambda in_force: loads.pop(0))
    desk.reload()
    desk.reload()
    recovered = {"event": "link_file_recovered", "log_level": "info", "account": "main", "file": "a.csv"}
    assert desk.logs == [RELOADED, recovered]
    desk.reload()
    assert desk.logs == [RELOADED]


def test_errors_of_a_reload_are_not_logged_without_end() -> None:
    faults = [Fault("config.yaml", line, 1, "id", "is missing: add it") for line in range(1, 25)]

    def load(in_force: Loaded) -> Loaded:
        raise ConfigError(faults)

    desk = Desk(load)
    desk.reload()
    assert (len(desk.logs), desk.logs[-1]) == (
        21,
        {"event": "reload_failed", "log_level": "error", "more_errors": 4},
    )


def test_the_name_of_a_link_file_is_logged_on_one_line() -> None:
    name = "a\udcff\x1b[2J\r.csv"
    files = (LinkFile("main", name, faults=(Fault(name, 1, 1, "", f"{name} has it: remove it"),)),)
    (told,) = logs_of(changed(link_files=files))
    shown = r"a\udcff\x1b[2J\r.csv"
    assert (told["file"], told["error"]) == (shown, f"{shown}:1:1: {shown} has it: remove it")


# --- the configuration and the web configuration together ---------------------------------------------------

CONFIG = "storage: {url: 'memory:'}\naccounts: [{name: main, login: a, password: b, links: [{id: 1}]}]\n"


class Files:
    """Both configurations in a folder, as they are in force."""

    def __init__(self, folder: Path, web: str) -> None:
        self.path, self.web = folder / "config.yaml", folder / "web.yaml"
        self.path.write_text(CONFIG)
        self.web.write_text(web)
        self.loader = Loader(self.path, {}, str(self.web))
        self.in_force = self.loader.load()

    def reload(self) -> set[str]:
        """Reloads; returns the names of the web's users."""
        self.in_force = self.loader.load(self.in_force)
        assert self.in_force.web
        return {*self.in_force.web.users}


def users(*names: str) -> str:
    return "basic_auth_users:\n" + "".join(f"  {name}: {ALICE}\n" for name in names)


@pytest.mark.parametrize("wrong", [(), ("config",), ("web",), ("config", "web")], ids=repr)
def test_a_load_gives_both_files_or_the_errors_of_both(tmp_path: Path, wrong: tuple[str, ...]) -> None:
    files = Files(tmp_path, users("alice"))
    files.path.write_text(CONFIG + ("acounts: []\n" if "config" in wrong else ""))
    files.web.write_text(users("bob") + ("rate_limits: {}\n" if "web" in wrong else ""))
    if not wrong:
        assert files.reload() == {"bob"}
        return
    with pytest.raises(ConfigError) as caught:
        files.reload()
    assert {fault.path for fault in caught.value.faults} == {
        {"config": "acounts", "web": "rate_limits"}[name] for name in wrong
    }
    files.path.write_text(CONFIG)
    files.web.write_text(users("bob"))
    assert files.reload() == {"bob"}


@pytest.mark.parametrize("begin", [True, False])
def test_tls_cannot_come_or_go_while_the_exporter_runs(tmp_path: Path, begin: bool) -> None:
    keys = Keys(tmp_path)
    with_tls, without = keys.config(rest=users("alice")).read_text(), users("bob")
    files = Files(tmp_path, with_tls if begin else without)
    files.web.write_text(without if begin else with_tls)
    with pytest.raises(ConfigError) as caught:
        files.reload()
    verb = "removed" if begin else "added"
    assert str(caught.value) == (
        f"{files.web}: tls_server_config: cannot be {verb} while the exporter runs: restart it"
    )


def test_warnings_of_the_web_configuration_are_among_those_of_a_load(tmp_path: Path) -> None:
    (warning,) = Files(tmp_path, users("alice")).in_force.warnings
    assert "passwords are sent unencrypted" in str(warning)
