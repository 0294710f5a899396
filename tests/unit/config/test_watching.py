"""Following the files of the configuration: in the test's own event loop, and as a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from exporter.config import Config
from exporter.config.sources import Watcher
from exporter.errors import ConfigError
from exporter.reloading import Loader
from exporter.simulator import Settings, numbered_links
from tests.processes import exporter, get, replace, until
from tests.providers import provider
from tests.unit.webconfig import pems
from tests.unit.webconfig.door import Keys

ANY_PORT = "--web.listen-address=127.0.0.1:0"
LISTENING = r"event=listening url=(\S+)"
SUCCESSFUL = "smsc_exporter_link_file_last_load_successful"


class Looks:
    """Lets a watcher look when the test says so. ``loads`` are the links after each reload, or its errors."""

    def __init__(self, folder: Path, web: str | None = None) -> None:
        self.loads: list[list[str] | str] = []
        self.before_loading: Callable[[], None] = lambda: None
        self._loader = Loader(folder / "config.yaml", {}, web and str(folder / web))
        self._loaded = self._loader.load()
        self._begin = asyncio.Semaphore(0)
        self._sleeps = asyncio.Semaphore(0)
        self._watcher = Watcher(lambda: self._loader.sources, self.reload, self._sleep)

    async def reload(self) -> None:
        """What the watcher calls, and what a signal would."""
        self.before_loading()
        try:
            self._loaded = self._loader.load(self._loaded)
        except ConfigError as error:
            self.loads.append(str(error))
        else:
            self.loads.append(links_of(self._loaded.config))

    async def _sleep(self, seconds: float) -> None:
        assert seconds > 0
        self._sleeps.release()
        await self._begin.acquire()

    async def look(self, times: int = 2) -> None:
        """Returns once the watcher has looked so many times."""
        for _ in range(times):
            self._begin.release()
            await self._sleeps.acquire()

    async def __aenter__(self) -> Looks:
        self._watching = asyncio.create_task(self._watcher.watch())
        await self._sleeps.acquire()
        return self

    async def __aexit__(self, *error: object) -> None:
        self._watching.cancel()
        await asyncio.gather(self._watching, return_exceptions=True)


def links_of(config: Config) -> list[str]:
    return [link.name for account in config.accounts for link in account.links]


def write_config(folder: Path, *patterns: str, **fields: str) -> None:
    account = {"name": "main", "login": "demo", "password_file": "secret", "link_files": list(patterns)}
    document = {"storage": {"url": "memory:"}, "accounts": [account], **fields}
    replace(folder / "config.yaml", json.dumps(document))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_config(tmp_path, "a.csv")
    (tmp_path / "a.csv").write_text("id\n1\n")
    (tmp_path / "b.csv").write_text("id\n2\n")
    (tmp_path / "secret").write_text("demo")
    return tmp_path


def change_config(folder: Path) -> None:
    write_config(folder, "a.csv", refresh_interval="2m")


def change_secret(folder: Path) -> None:
    replace(folder / "secret", "another")


def change_link_file(folder: Path) -> None:
    replace(folder / "a.csv", "id\n1\n3\n")


def change_all(folder: Path) -> None:
    change_config(folder)
    change_secret(folder)
    change_link_file(folder)


@pytest.mark.parametrize(
    ("change", "links"),
    [
        (change_config, ["1"]),
        (change_secret, ["1"]),
        (change_link_file, ["1", "3"]),
        (change_all, ["1", "3"]),
        (lambda folder: (folder / "a.csv").unlink(), []),
        (lambda folder: write_config(folder, "*.csv"), ["1", "2"]),
        (lambda folder: write_config(folder, "b.csv"), ["2"]),
    ],
    ids=["config", "secret", "links", "all", "links gone", "more files", "other files"],
)
def test_a_change_is_one_reload(change: Callable[[Path], None], links: list[str], folder: Path) -> None:
    async def main() -> None:
        async with Looks(folder) as looks:
            await looks.look(3)
            assert looks.loads == []
            change(folder)
            await looks.look(6)
            assert looks.loads == [links]

    asyncio.run(main())


def test_a_file_that_is_being_written_is_left_alone(folder: Path) -> None:
    async def main() -> None:
        async with Looks(folder) as looks:
            for count in range(2, 6):
                (folder / "a.csv").write_text("id\n" + "".join(f"{n}\n" for n in range(count)))
                await looks.look(1)
                assert looks.loads == []
            await looks.look(1)
            assert looks.loads == [["0", "1", "2", "3", "4"]]

    asyncio.run(main())


def test_a_file_that_an_editor_takes_away_and_puts_back_never_leaves(folder: Path) -> None:
    async def main() -> None:
        async with Looks(folder) as looks:
            (folder / "a.csv").rename(folder / "backup")
            await looks.look(1)
            (folder / "a.csv").write_text("id\n3\n")
            await looks.look(5)
            assert looks.loads == [["3"]]

    asyncio.run(main())


def test_an_error_is_not_tried_again_until_a_file_changes(folder: Path) -> None:
    async def main() -> None:
        async with Looks(folder) as looks:
            replace(folder / "config.yaml", "accounts: 7")
            await looks.look(6)
            assert len(looks.loads) == 1
            assert "accounts" in looks.loads[0]
            write_config(folder, "a.csv")
            await looks.look(6)
            assert looks.loads[1:] == [["1"]]

    asyncio.run(main())


def test_a_file_that_only_a_refused_configuration_names_is_followed(folder: Path) -> None:
    async def main() -> None:
        async with Looks(folder) as looks:
            text = (folder / "config.yaml").read_text()
            replace(folder / "config.yaml", text.replace('"secret"', '"new-secret"'))
            await looks.look(6)
            assert len(looks.loads) == 1
            assert "password_file" in looks.loads[0]
            replace(folder / "new-secret", "demo")
            await looks.look(6)
            assert looks.loads[1:] == [["1"]]

    asyncio.run(main())


def test_the_web_configuration_and_its_certificates_are_followed(folder: Path) -> None:
    keys = Keys(folder)
    keys.config()

    async def main() -> None:
        async with Looks(folder, "web.yaml") as looks:
            keys.renew()
            await looks.look(6)
            assert looks.loads == [["1"]]
            replace(folder / "web.yaml", "tls_server_config: {cert_file: next.crt, key_file: next.key}\n")
            await looks.look(6)
            assert len(looks.loads) == 2
            assert "tls_server_config.cert_file" in looks.loads[1]
            pems.write(folder, keys.renew(), "next")
            await looks.look(6)
            assert looks.loads[2:] == [["1"]]

    asyncio.run(main())


def test_a_link_file_with_an_error_is_not_tried_again_until_it_changes(folder: Path) -> None:
    async def main() -> None:
        async with Looks(folder) as looks:
            replace(folder / "a.csv", "idd\n3\n")
            await looks.look(6)
            assert looks.loads == [["1"]]
            replace(folder / "a.csv", "id\n3\n")
            await looks.look(6)
            assert looks.loads == [["1"], ["3"]]

    asyncio.run(main())


def test_what_somebody_else_reloaded_is_not_reloaded_again(folder: Path) -> None:
    async def main() -> None:
        async with Looks(folder) as looks:
            change_link_file(folder)
            await looks.reload()
            await looks.look(6)
            assert looks.loads == [["1", "3"]]

    asyncio.run(main())


def test_what_changes_after_a_reload_is_another_one(folder: Path) -> None:
    async def main() -> None:
        async with Looks(folder) as looks:
            change_link_file(folder)
            await looks.reload()
            replace(folder / "a.csv", "id\n4\n")
            await looks.look(6)
            assert looks.loads == [["1", "3"], ["4"]]

    asyncio.run(main())


def test_a_configuration_that_returns_after_an_error_is_a_reload(folder: Path) -> None:
    """So that the error is not reported any more."""
    (folder / "good").mkdir()
    (folder / "config.yaml").rename(folder / "good" / "config.yaml")
    (folder / "bad").mkdir()
    (folder / "bad" / "config.yaml").write_text("accounts: 7")
    (folder / "config.yaml").symlink_to("good/config.yaml")

    def point_to(name: str) -> None:
        (folder / "new").symlink_to(f"{name}/config.yaml")
        (folder / "new").rename(folder / "config.yaml")

    async def main() -> None:
        async with Looks(folder) as looks:
            point_to("bad")
            await looks.look(6)
            point_to("good")
            await looks.look(6)
            assert looks.loads[1:] == [["1"]]

    asyncio.run(main())


def test_watching_goes_on_after_a_crash(folder: Path) -> None:
    def crash() -> None:
        raise ZeroDivisionError

    async def main() -> None:
        async with Looks(folder) as looks:
            looks.before_loading = crash
            change_link_file(folder)
            with capture_logs() as logs:
                await looks.look(4)
            assert {entry["event"] for entry in logs} == {"watching_crashed"}
            looks.before_loading = lambda: None
            replace(folder / "a.csv", "id\n5\n")
            await looks.look(4)
            assert looks.loads == [["5"]]

    asyncio.run(main())


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
            until(lambda: says('smsc_link_up{account="main",link="third"} 1.0'), "the new file's link")
            assert says('smsc_link_clicks_total{account="main",link="first"}')
            assert says(f'{SUCCESSFUL}{{account="main",file="links/a.csv"}} 0.0')
            assert says(f'{SUCCESSFUL}{{account="main",file="links/b.csv"}} 1.0')
            assert says("smsc_exporter_config_last_reload_successful 1.0")
            os.unlink(links / "a.csv")
            process.expect("event=reloaded accounts=1 links=1")
            assert not says('link="first"')
            assert not says('file="links/a.csv"')
            replace(tmp_path / "config.yaml", "accounts: 7")
            assert "config.yaml:1:11: accounts: " in process.expect("reload_failed.*")[0]
            assert says("smsc_exporter_config_last_reload_successful 0.0")
            assert says('smsc_link_up{account="main",link="third"} 1.0')
            replace(tmp_path / "config.yaml", json.dumps(document))
            process.expect("event=reloaded accounts=1 links=1")
            assert says("smsc_exporter_config_last_reload_successful 1.0")
            process.send(signal.SIGHUP)
            process.expect("event=reloaded accounts=1 links=1")
            assert process.stop() == 0


@pytest.mark.parametrize("command", ["check", "serve"])
def test_a_faulty_link_file_stops_the_start(command: str, folder: Path) -> None:
    (folder / "a.csv").write_text("id\n1\n1\n")
    with exporter(command, cwd=folder) as process:
        assert process.process.wait(60) == 1
        process.stop()
    assert process.lines == ["a.csv:3:1: id: id on line 2 is the same link: remove one"]
