"""``get`` and ``check --online``, as processes against the simulator, beside a service on one storage."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from exporter.polling.oneshot import UNCOUNTED
from exporter.simulator import Provider, Settings, numbered_links
from tests import needs, processes
from tests.processes import PATIENCE, exporter, free_port, get, post, until
from tests.providers import provider
from tests.redis_servers import redis_server

ANY_PORT = "--web.listen-address=127.0.0.1:0"
LISTENING = r"event=listening url=(\S+)"
LINKS = numbered_links(20)


@pytest.fixture
def simulated() -> Iterator[tuple[Provider, str]]:
    with provider(Settings(links=LINKS)) as (simulator, url):
        yield simulator, url


def write_config(folder: Path, url: str, storage: str = "sqlite:exporter.db", **more: Any) -> None:
    links = [{"id": link.id, "name": f"link-{link.id}"} for link in LINKS]
    account = {"name": "main", "login": "demo", "password": "demo", "base_url": url, "links": links}
    document = {"refresh_interval": "21s", "storage": {"url": storage}, "accounts": [{**account, **more}]}
    (folder / "config.yaml").write_text(json.dumps(document))


def run(*arguments: str, cwd: Path, encoding: str | None = None) -> subprocess.CompletedProcess[str]:
    """Runs the command; ``encoding`` is that of its standard streams."""
    env = {**os.environ, "PYTHONIOENCODING": encoding or ""}
    return processes.run(*arguments, cwd=cwd, env=env, encoding=encoding)


def audit(simulator: Provider) -> dict[str, Any]:
    return dict(simulator.audit())


def nothing_is_told(done: subprocess.CompletedProcess[str], secret: str) -> bool:
    return secret not in done.stdout + done.stderr and "Traceback" not in done.stderr


# --- what is printed --------------------------------------------------------------------------------------


def test_a_table_of_readings(tmp_path: Path, simulated: tuple[Provider, str]) -> None:
    simulator, url = simulated
    write_config(tmp_path, url)
    done = run("get", "link-100001", "100002", "main/link-100003", "link-100001", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    head, *rows = done.stdout.splitlines()
    columns = ["ACCOUNT", "LINK", "ID", "SHORT LINK", "TODAY", "YESTERDAY", "MONTH", "PREVIOUS MONTH"]
    assert re.split(r"  +", head) == [*columns, "ALL TIME"]
    assert [row.split()[:3] for row in rows] == [["main", f"link-10000{n}", f"10000{n}"] for n in (1, 2, 3)]
    assert {len(row) for row in rows} == {len(head)}
    assert audit(simulator)["requests"] == 3


@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "cp1251"])
def test_names_in_any_script_are_printed_in_any_encoding(
    tmp_path: Path, simulated: tuple[Provider, str], encoding: str
) -> None:
    _, url = simulated
    write_config(tmp_path, url)
    path = tmp_path / "config.yaml"
    path.write_text(path.read_text().replace("link-100001", "весна-🌱"), "utf-8")
    done = run("get", "--json", "100001", cwd=tmp_path, encoding=encoding)
    assert (done.returncode, json.loads(done.stdout)[0]["link"]) == (0, "весна-🌱")
    done = run("get", "100002", "nobody-🌱", cwd=tmp_path, encoding=encoding)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    path.rename(tmp_path / "настройки-🌱.yaml")
    done = run("check", "--config.file=настройки-🌱.yaml", cwd=tmp_path, encoding=encoding)
    assert (done.returncode, done.stderr) == (0, "")


def test_json_and_a_counter_that_goes_on(tmp_path: Path, simulated: tuple[Provider, str]) -> None:
    simulator, url = simulated
    write_config(tmp_path, url)
    (first,) = json.loads(run("get", "--json", "link-100001", cwd=tmp_path).stdout)
    simulator.add_clicks("100001", -3)
    simulator.add_clicks("100001", 2)
    (second,) = json.loads(run("get", "--json", "link-100001", cwd=tmp_path).stdout)
    assert list(second) == [
        "account",
        "link",
        "id",
        "short_link",
        "clicks_today",
        "clicks_yesterday",
        "clicks_month",
        "clicks_previous_month",
        "clicks_all_time",
        "clicks_total",
        "read_at",
    ]
    assert first["clicks_total"] == first["clicks_all_time"]
    assert second["clicks_total"] >= first["clicks_total"] > 0
    times = [datetime.fromisoformat(each["read_at"]).timestamp() for each in (first, second)]
    assert 0 <= times[1] - times[0] < PATIENCE


def test_what_was_got_is_there_when_the_service_starts(
    tmp_path: Path, simulated: tuple[Provider, str]
) -> None:
    _, url = simulated
    write_config(tmp_path, url)
    (known,) = json.loads(run("get", "--json", "link-100001", cwd=tmp_path).stdout)
    write_config(tmp_path, f"http://127.0.0.1:{free_port()}")
    with exporter(ANY_PORT, cwd=tmp_path) as running:
        text = get(running.expect(LISTENING)[1] + "/metrics")[1]
        assert running.stop() == 0
    total = re.search(
        r'^smsc_link_clicks_total\{account="main",link="link-100001"\} (\S+)$', text, re.MULTILINE
    )
    assert total
    assert float(total[1]) == known["clicks_total"]


WRONG = {
    "unknown": (["spring-sal"], 'no link is named "spring-sal": did you mean "spring-sale"?'),
    "far off": (["x"], 'no link is named "x": there are "link-100001", "link-100002", "link-100003"'),
    "ambiguous": (["landing"], '"landing" is the name of several links: write main/landing or other/landing'),
    "ambiguous, near": (["landin"], 'did you mean "main/landing" or "other/landing"?'),
    "none": ([], "the following arguments are required: LINK"),
}


@pytest.mark.parametrize("name", WRONG)
def test_links_that_are_not_ours_are_wrong_usage(name: str, tmp_path: Path) -> None:
    arguments, message = WRONG[name]
    write_config(tmp_path, "http://127.0.0.1:9")
    document = json.loads((tmp_path / "config.yaml").read_text())
    document["accounts"][0]["links"].append({"link": "https://example.com/?a=b", "name": "landing"})
    document["accounts"][0]["links"].append({"id": "8", "name": "spring-sale"})
    second = {**document["accounts"][0], "name": "other", "login": "demo2"}
    document["accounts"].append({**second, "links": [{"id": "7", "name": "landing"}]})
    (tmp_path / "config.yaml").write_text(json.dumps(document))
    done = run("get", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_an_error_is_told_by_link_and_the_readings_got_are_printed(
    tmp_path: Path, simulated: tuple[Provider, str]
) -> None:
    _, url = simulated
    write_config(tmp_path, url)
    post(f"{url}/control/faults", "error_3@100002")
    done = run("get", "link-100002", "link-100001", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "link link-100002: error 3: link not found: check its id or address\n"
    assert "link-100001" in done.stdout
    done = run("get", "--json", "link-100002", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "[]\n")
    with exporter("get", "link-100001", "link-100002", cwd=tmp_path) as running:
        running.expect("^link link-100002: error 3")
        running.expect("^ACCOUNT ")  # the table comes last


def test_a_mirror_is_asked_where_the_first_address_cannot_be_had(
    tmp_path: Path, simulated: tuple[Provider, str]
) -> None:
    simulator, url = simulated
    nowhere = f"http://127.0.0.1:{free_port()}"
    write_config(tmp_path, nowhere, fallback_urls=[url])
    done = run("get", "link-100001", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    write_config(tmp_path, nowhere, storage="memory:", fallback_urls=[url])
    done = run("get", "link-100001", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith('warning: storage "memory:" is not shared: requests of a running service')
    assert done.stderr.endswith(
        "link link-100001: Connection refused: check the network, the proxy and base_url\n"
    )
    assert audit(simulator)["requests"] == 1


# --- check --online ---------------------------------------------------------------------------------------


def test_check_online_asks_once_for_each_account(tmp_path: Path, simulated: tuple[Provider, str]) -> None:
    simulator, url = simulated
    write_config(tmp_path, url)
    done = run("check", "--online", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (0, 0)
    assert re.fullmatch(
        r"config.yaml is valid: 1 account, 20 links\n"
        r"account main: ok, link link-100001 has \d+ clicks\n",
        done.stdout,
    )
    assert audit(simulator)["requests"] == 1


def test_check_online_tells_which_account_has_no_links_to_ask_for(
    tmp_path: Path, simulated: tuple[Provider, str]
) -> None:
    write_config(tmp_path, simulated[1])
    path = tmp_path / "config.yaml"
    document = json.loads(path.read_text())
    document["accounts"].append({"name": "empty", "api_key": "x", "link_files": ["none/*.csv"]})
    path.write_text(json.dumps(document))
    done = run("check", "--online", cwd=tmp_path)
    assert done.returncode == 0
    assert "account empty: not asked, because it has no links\n" in done.stderr
    assert "account main: ok" in done.stdout


def test_a_wrong_password_costs_one_login_and_holds_everybody_back(
    tmp_path: Path, simulated: tuple[Provider, str]
) -> None:
    simulator, url = simulated
    write_config(tmp_path, url, password="hunter2-wrong")
    done = run("check", "--online", cwd=tmp_path)
    assert done.returncode == 1
    assert re.fullmatch(
        "account main: link link-100001: error 2: [a-z ]+: check login, password .*\n", done.stderr
    )
    assert nothing_is_told(done, "hunter2")
    again = run("get", "link-100002", cwd=tmp_path)
    assert again.returncode == 1
    assert re.fullmatch(
        r"link link-100002: the provider refuses the login: correct it, or try again in (30m|29m\d+s)\n",
        again.stderr,
    )
    with exporter(ANY_PORT, cwd=tmp_path) as running:
        address = running.expect(LISTENING)[1]
        assert 'smsc_account_state{account="main",state="unauthorized"} 1.0' in get(f"{address}/metrics")[1]
        assert running.stop() == 0
    assert audit(simulator)["worst_failed_logins"] == audit(simulator)["requests"] == 1


# --- beside a service -------------------------------------------------------------------------------------


def test_a_pause_that_the_service_met_holds_back_get(tmp_path: Path, simulated: tuple[Provider, str]) -> None:
    simulator, url = simulated
    post(f"{url}/control/faults", "error_4")
    write_config(tmp_path, url)
    with exporter(ANY_PORT, cwd=tmp_path) as running:
        running.expect("account=main state=blocked")
        done = until(lambda: _refused(tmp_path), "the pause on file")
        assert re.fullmatch(
            r"link link-100001: the provider blocks our address: try again in (30m|29m\d+s)\n", done.stderr
        )
        assert running.stop() == 0
    assert audit(simulator)["requests"] == 1


def _refused(folder: Path) -> subprocess.CompletedProcess[str] | None:
    done = run("get", "link-100001", cwd=folder)
    return done if "blocks our address" in done.stderr else None


def test_a_service_learns_of_the_pause_that_get_met(tmp_path: Path, simulated: tuple[Provider, str]) -> None:
    simulator, url = simulated
    write_config(tmp_path, url)
    with exporter(ANY_PORT, cwd=tmp_path) as running:
        address = running.expect(LISTENING)[1]
        until(lambda: audit(simulator)["answers"].get("ok"), "a first answer")
        post(f"{url}/control/faults", "error_4@100020")
        assert run("get", "link-100020", cwd=tmp_path).returncode == 1
        running.expect("account=main state=blocked")
        assert 'smsc_account_state{account="main",state="blocked"} 1.0' in get(f"{address}/metrics")[1]
        assert running.stop() == 0


@pytest.mark.slow(1)  # a window has to pass, and a little more, to be broken
def test_get_in_a_loop_beside_a_service_at_full_rate_breaks_no_limit(tmp_path: Path) -> None:
    with provider(Settings(links=LINKS, latency="0.05-0.4")) as (simulator, url):
        write_config(tmp_path, url, max_concurrent_requests=14)
        loop = 'while :; do "$0" -m exporter get link-100001 link-100002 link-10000$1; done'
        hammers = [
            subprocess.Popen(
                ["sh", "-c", loop, sys.executable, str(number)],
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                process_group=0,
            )
            for number in (3, 4, 5)
        ]
        try:
            for _ in range(4):  # a service that is killed, too
                with exporter(ANY_PORT, cwd=tmp_path) as running:
                    address = running.expect(LISTENING)[1]
                    time.sleep(20)
                    text = get(f"{address}/metrics")[1]
                    running.stop(signal.SIGKILL)
        finally:
            for hammer in hammers:
                os.killpg(hammer.pid, signal.SIGKILL)
        told = "".join(hammer.communicate()[0] for hammer in hammers)
        found = audit(simulator)
    assert "smsc_exporter_storage_up 1.0" in text
    assert "storage_failed" not in running.output
    assert "waiting" in told
    assert "three requests in the last minute" in told
    assert "Traceback" not in told
    assert found["requests"] > 60
    assert found["worst_window"] == 3
    assert found["most_in_flight"] <= 14
    assert set(found["answers"]) == {"ok"}


# --- storages that are no good ----------------------------------------------------------------------------


def test_a_file_that_is_not_ours_is_left_where_it_is(tmp_path: Path, simulated: tuple[Provider, str]) -> None:
    simulator, url = simulated
    write_config(tmp_path, url)
    (tmp_path / "exporter.db").write_bytes(b"damage" * 1000)
    done = run("get", "link-100001", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("is not smsc-exporter's database: name another path in storage.url\n")
    assert (tmp_path / "exporter.db").read_bytes() == b"damage" * 1000
    assert audit(simulator)["requests"] == 0


def test_a_file_of_a_newer_version_is_refused(tmp_path: Path, simulated: tuple[Provider, str]) -> None:
    _, url = simulated
    write_config(tmp_path, url)
    assert run("get", "link-100001", cwd=tmp_path).returncode == 0
    with sqlite3.connect(tmp_path / "exporter.db") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    done = run("get", "link-100001", cwd=tmp_path)
    assert done.returncode == 1
    assert "was written by a newer smsc-exporter (schema 99" in done.stderr


@needs.redis
def test_without_redis_nothing_is_asked(tmp_path: Path, simulated: tuple[Provider, str]) -> None:
    simulator, url = simulated
    write_config(tmp_path, url, storage=f"redis://:hunter2@127.0.0.1:{free_port()}")
    done = run("get", "link-100001", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.endswith(f"smsc-exporter: {UNCOUNTED}\n")
    assert nothing_is_told(done, "hunter2")
    assert audit(simulator)["requests"] == 0


@needs.redis
def test_with_redis_it_is_one_of_those_who_share(tmp_path: Path, simulated: tuple[Provider, str]) -> None:
    simulator, url = simulated
    with redis_server(tmp_path) as server:
        write_config(tmp_path, url, storage=server.url.get_secret_value())
        new = run("get", "link-100001", cwd=tmp_path)
        server.look.flushall()
        server.age()
        done = run("get", "link-100001", cwd=tmp_path)
    assert new.returncode == 1
    assert re.fullmatch(
        r"link link-100001: it is not known what was sent before: try again in 3m\d*s?\n", new.stderr
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert audit(simulator)["requests"] == 1
