"""The web configuration follows its files."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from exporter.errors import ConfigError, Fault
from exporter.webconfig import Live, WebConfig, load
from tests.processes import replace
from tests.unit.webconfig import pems
from tests.unit.webconfig.door import ALICE, Door, Keys, run, until

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from pathlib import Path
    from typing import Any


def users(*names: str) -> str:
    return "basic_auth_users:\n" + "".join(f"  {name}: {ALICE}\n" for name in names)


async def watched(live: Live, logs: list[MutableMapping[str, Any]], event: str, count: int = 1) -> None:
    async def logged() -> bool:
        return [entry["event"] for entry in logs].count(event) >= count

    await until(logged, event)


def test_users_come_and_go_while_it_runs(tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    path.write_text(users("alice"))

    async def talk(door: Door) -> None:
        assert (await door.knock(login=("alice", "wonderland")))[0] == 200
        assert (await door.knock(login=("bob", "wonderland")))[0] == 401
        path.write_text(users("bob"))

        async def bob_is_in() -> bool:
            return (await door.knock(login=("bob", "wonderland")))[0] == 200

        await until(bob_is_in, "bob is let in")
        assert (await door.knock(login=("alice", "wonderland")))[0] == 401

    run(path, talk, watch=0.05)


def test_a_fault_keeps_what_there_was_and_is_said_once(tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    path.write_text(users("alice"))
    reads = 0

    def counted(name: str) -> WebConfig:
        nonlocal reads
        reads += 1
        return load(name)

    async def main() -> None:
        live = Live(str(path), counted)
        with capture_logs() as logs:
            watching = asyncio.ensure_future(live.watch(0.01))
            replace(path, "basic_auth_user: {}\n")
            await watched(live, logs, "web_config_failed")
            said = reads

            async def found_again() -> bool:
                return reads >= said + 2  # of two reads that began since, the first has been judged

            await until(found_again, "the fault is found again")
            replace(path, "basic_auth_users: {alice: }\nrate_limit: 5\n")
            await watched(live, logs, "web_config_failed", 3)
            assert live.config.users.keys() == {"alice"}
            replace(path, users("bob"))
            await watched(live, logs, "web_config_reloaded")
            assert live.config.users.keys() == {"bob"}
            watching.cancel()
        events = [entry["event"] for entry in logs]
        assert events == ["web_config_failed"] * 3 + ["web_config_reloaded"]
        assert str(path) in logs[0]["error"]

    asyncio.run(main())


def test_the_old_file_put_back_mends_a_fault_and_the_same_fault_again_is_said_again(tmp_path: Path) -> None:
    path, good, bad = (tmp_path / name for name in ("web.yaml", "good.yaml", "bad.yaml"))
    path.write_text(users("alice"))

    async def main() -> None:
        live = Live(str(path))
        assert live.successful
        with capture_logs() as logs:
            watching = asyncio.ensure_future(live.watch(0.01))
            for count in (1, 2):
                os.link(path, good)
                bad.write_text("basic_auth_user: {}\n")
                bad.rename(path)
                await watched(live, logs, "web_config_failed", count)
                assert not live.successful
                good.rename(path)
                await watched(live, logs, "web_config_reloaded", count)
                assert live.successful
            watching.cancel()
        failed = {entry["error"] for entry in logs if entry["event"] == "web_config_failed"}
        assert len(failed) == 1

    asyncio.run(main())


def test_a_fault_that_another_file_mends_is_found_mended(tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    path = keys.config()

    async def main() -> None:
        live = Live(str(path))
        with capture_logs() as logs:
            watching = asyncio.ensure_future(live.watch(0.01))
            path.write_text("tls_server_config: {cert_file: next.crt, key_file: next.key}\n")
            await watched(live, logs, "web_config_failed")
            pems.write(tmp_path, keys.renew(), "next")
            await watched(live, logs, "web_config_reloaded")
            watching.cancel()

    asyncio.run(main())


def test_a_secret_mounted_as_kubernetes_does_is_seen_to_change(tmp_path: Path) -> None:
    """All files are swapped at once, by a symbolic link to another folder."""
    for version, name in (("v1", "alice"), ("v2", "bob")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "web.yaml").write_text(users(name))
    (tmp_path / "data").symlink_to("v1")
    (tmp_path / "web.yaml").symlink_to("data/web.yaml")
    live = Live(str(tmp_path / "web.yaml"))
    assert not live.config.files.changed()
    (tmp_path / "new").symlink_to("v2")
    os.replace(tmp_path / "new", tmp_path / "data")
    assert live.config.files.changed()
    live.read()
    assert live.config.users.keys() == {"bob"}


@pytest.mark.parametrize("begin", [True, False])
def test_tls_comes_and_goes_at_the_next_start_alone(tmp_path: Path, begin: bool) -> None:
    keys = Keys(tmp_path)
    path = keys.config(rest=users("alice"))
    if not begin:
        path.write_text(users("alice"))
    live = Live(str(path))
    before = live.config
    path.write_text(users("bob")) if begin else keys.config(rest=users("bob"))
    with pytest.raises(ConfigError) as caught:
        live.read()
    verb = "removed" if begin else "added"
    assert str(caught.value) == (
        f"{path}: tls_server_config: cannot be {verb} while the exporter runs: restart it"
    )
    assert live.config is before


@pytest.mark.parametrize("wrong", [(), ("config",), ("web",), ("config", "web")], ids=repr)
def test_a_reload_takes_both_files_or_neither_and_tells_the_faults_of_both(
    tmp_path: Path, wrong: tuple[str, ...]
) -> None:
    path = tmp_path / "web.yaml"
    path.write_text(users("alice"))
    live = Live(str(path))

    def load_config(in_force: str) -> str:
        if "config" in wrong:
            raise ConfigError([Fault("config.yaml", 1, 1, "acounts", "unknown key")])
        return f"{in_force}, then new"

    path.write_text(users("bob") + ("rate_limits: {}\n" if "web" in wrong else ""))
    if not wrong:
        assert live.along(load_config)("former") == "former, then new"
        assert live.config.users.keys() == {"bob"}
        return
    with pytest.raises(ConfigError) as caught:
        live.along(load_config)("former")
    assert {fault.path for fault in caught.value.faults} == {
        {"config": "acounts", "web": "rate_limits"}[name] for name in wrong
    }
    assert live.config.users.keys() == {"alice"}


def test_a_crash_does_not_end_the_watch(tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    path.write_text(users("alice"))
    crashes = 0

    def fragile(name: str) -> WebConfig:
        nonlocal crashes
        if "bob" in path.read_text() and not crashes:
            crashes += 1
            raise ZeroDivisionError
        return load(name)

    async def main() -> None:
        live = Live(str(path), fragile)
        with capture_logs() as logs:
            watching = asyncio.ensure_future(live.watch(0.01))
            path.write_text(users("bob"))
            await watched(live, logs, "web_config_reloaded")
            watching.cancel()
        assert [entry["event"] for entry in logs] == ["web_config_crashed", "web_config_reloaded"]

    asyncio.run(main())
