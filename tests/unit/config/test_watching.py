"""Watching link files: in the exporter, and as a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from exporter.config import Config, load
from exporter.config.watching import Watcher
from exporter.simulator import Settings, numbered_links
from tests.processes import exporter, get, replace, until
from tests.providers import provider

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from structlog.typing import EventDict

ANY_PORT = "--web.listen-address=127.0.0.1:0"
LISTENING = r"event=listening url=(\S+)"
SUCCESSFUL = "smsc_exporter_link_file_last_load_successful"


class Looks:
    """Lets a watcher look when the test says so: its sleep ends after each call."""

    def __init__(self, switch: Callable[[Config], None]) -> None:
        self._begin = asyncio.Semaphore(0)
        self._sleeps = asyncio.Semaphore(0)
        self._switch = switch
        self.watcher = Watcher(self._take, self._sleep)

    async def _take(self, config: Config) -> None:
        self._switch(config)

    async def _sleep(self, seconds: float) -> None:
        assert seconds > 0
        self._sleeps.release()
        await self._begin.acquire()

    async def follow(self, config: Config) -> None:
        self.watcher.follow(config)
        await self._sleeps.acquire()

    async def look(self, times: int = 2) -> list[EventDict]:
        """What was logged in so many looks."""
        with capture_logs() as logs:
            for _ in range(times):
                self._begin.release()
                await self._sleeps.acquire()
        return [dict(entry) for entry in logs]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    account = {"name": "main", "login": "demo", "password": "demo", "link_files": ["*.csv"]}
    (tmp_path / "config.yaml").write_text(json.dumps({"storage": {"url": "memory:"}, "accounts": [account]}))
    (tmp_path / "a.csv").write_text("id\n1\n")
    return tmp_path


def load_from(folder: Path) -> Config:
    return load(folder / "config.yaml", {})


def test_what_is_told_of_a_file(folder: Path) -> None:
    taken: list[Config] = []
    names = {"account": "main", "file": "a.csv"}
    loaded = {"event": "link_file_loaded", "log_level": "info", **names}

    async def main() -> None:
        looks = Looks(taken.append)
        await looks.follow(load_from(folder))
        assert await looks.look() == []
        (folder / "a.csv").write_text("id\n1\n2\n")
        assert await looks.look() == [{**loaded, "links": 2}]
        (folder / "a.csv").write_text("id\n" + "a b\n" * 22)
        told = await looks.look()
        refused = {"event": "link_file_refused", "log_level": "error", **names}
        message = "id: holds a space: write the id as the provider shows it, such as 145142"
        assert told[0] == {**refused, "fault": f"{folder}/a.csv:2:1: {message}"}
        assert (len(told), told[-1]) == (21, {**refused, "more_faults": 2})
        (folder / "a.csv").touch()  # the same faults again
        assert await looks.look() == []
        (folder / "a.csv").write_text("id\n" + "".join(f"{n}\n" for n in range(10_000)))
        told = await looks.look()
        assert [entry["event"] for entry in told] == ["link_file_loaded", "config_warning"]
        (folder / "a.csv").unlink()
        assert await looks.look() == [{"event": "link_file_gone", "log_level": "info", **names}]
        await looks.watcher.close()

    asyncio.run(main())
    assert [len(config.accounts[0].links) for config in taken] == [2, 2, 2, 10_000, 0]


def test_another_configuration_ends_the_watching_of_the_former(folder: Path) -> None:
    taken: list[Config] = []

    async def main() -> None:
        looks = Looks(taken.append)
        await looks.follow(load_from(folder))
        (folder / "a.csv").write_text("id\n2\n")
        await looks.look(1)
        document = json.loads((folder / "config.yaml").read_text())
        document["accounts"][0]["link_files"] = ["b.csv"]
        (folder / "config.yaml").write_text(json.dumps(document))
        await looks.follow(load_from(folder))
        await looks.look(3)
        assert taken == []
        (folder / "b.csv").write_text("id\n3\n")
        await looks.look()
        await looks.watcher.close()

    asyncio.run(main())
    assert [config.accounts[0].links[0].name for config in taken] == ["3"]


def test_watching_goes_on_after_a_crash(folder: Path) -> None:
    taken: list[Config] = []

    def switch(config: Config) -> None:
        taken.append(config)
        if len(taken) == 1:
            raise ZeroDivisionError

    async def main() -> None:
        looks = Looks(switch)
        await looks.follow(load_from(folder))
        (folder / "a.csv").write_text("id\n2\n")
        told = await looks.look()
        assert [entry["event"] for entry in told] == ["link_file_loaded", "watching_crashed"]
        await looks.look(1)
        await looks.watcher.close()

    asyncio.run(main())
    assert [config.accounts[0].links[0].name for config in taken] == ["2", "2"]


def test_closing_what_watches_nothing() -> None:
    asyncio.run(Looks(lambda config: None).watcher.close())


def test_files_change_while_the_exporter_runs(tmp_path: Path) -> None:
    links = tmp_path / "links"
    links.mkdir()
    with provider(Settings(links=numbered_links(3))) as (_, url):
        account = {"name": "main", "login": "demo", "password": "demo", "base_url": url}
        accounts = [{**account, "link_files": ["links/*.csv"]}]
        document = {"storage": {"url": "memory:"}, "refresh_interval": "21s", "accounts": accounts}
        (tmp_path / "config.yaml").write_text(json.dumps(document))
        replace(links / "a.csv", "id,name\n100001,first\n")
        with exporter(ANY_PORT, cwd=tmp_path) as process:
            address = process.expect(LISTENING)[1]

            def says(text: str) -> bool:
                return text in get(f"{address}/metrics")[1]

            assert says(f'{SUCCESSFUL}{{account="main",file="links/a.csv"}} 1.0')
            until(lambda: says('smsc_link_up{account="main",link="first"} 1.0'), "a first figure")
            replace(links / "a.csv", "id,name\n100001,first\n,second\n")
            replace(links / "b.csv", "id,name\n100003,third\n")
            assert "links/a.csv:3:1: id: is missing" in process.expect("link_file_refused.*")[0]
            process.expect("event=link_file_loaded account=main file=links/b.csv links=1")
            until(lambda: says('smsc_link_up{account="main",link="third"} 1.0'), "the new file's link")
            assert says('smsc_link_clicks_total{account="main",link="first"}')
            assert says(f'{SUCCESSFUL}{{account="main",file="links/a.csv"}} 0.0')
            assert says(f'{SUCCESSFUL}{{account="main",file="links/b.csv"}} 1.0')
            assert says("smsc_exporter_config_last_reload_successful 1.0")
            process.send(signal.SIGHUP)
            assert "links/a.csv:3:1: id: is missing" in process.expect("reload_failed.*")[0]
            assert says("smsc_exporter_config_last_reload_successful 0.0")
            os.unlink(links / "a.csv")
            process.expect("event=link_file_gone account=main file=links/a.csv")
            assert not says('link="first"')
            assert not says('file="links/a.csv"')
            assert says("smsc_exporter_config_last_reload_successful 0.0"), "only a reload mends that"
            process.send(signal.SIGHUP)
            process.expect("event=reloaded accounts=1 links=1")
            assert says("smsc_exporter_config_last_reload_successful 1.0")
            assert process.stop() == 0


@pytest.mark.parametrize("command", ["check", "serve"])
def test_a_faulty_link_file_stops_the_start(command: str, folder: Path) -> None:
    (folder / "a.csv").write_text("id\n1\n1\n")
    with exporter(command, cwd=folder) as process:
        assert process.process.wait(60) == 1
        process.stop()
    assert process.lines == ["a.csv:3:1: id: id on line 2 is the same link: remove one"]
