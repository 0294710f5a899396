"""Reloading and quitting over HTTP, with the exporter as a process and with the parts alone."""

from __future__ import annotations

import json
import re
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from exporter.simulator import Provider, Settings, numbered_links
from tests.processes import PATIENCE, exporter, get, hanging, until
from tests.providers import provider

FLAGS = ("--web.listen-address=127.0.0.1:0", "--web.enable-lifecycle")
LISTENING = r"event=listening url=(\S+)"
LINKS = numbered_links(40)  # so many that the first is due at once


@pytest.fixture
def provided() -> Iterator[tuple[Provider, str]]:
    with provider(Settings(links=LINKS)) as both:
        yield both


def write_config(folder: Path, url: str, **account: Any) -> Path:
    fields: dict[str, Any] = {"name": "main", "login": "demo", "password": "demo", "base_url": url}
    fields["links"] = [{"id": link.id} for link in LINKS]
    document = {"refresh_interval": "21s", "storage": {"url": "memory:"}, "accounts": [fields | account]}
    path = folder / "config.yaml"
    path.write_text(json.dumps(document))
    return path


def post(url: str) -> tuple[int, str]:
    """Status and body."""
    request = urllib.request.Request(url, method="POST")  # noqa: S310 - local
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:  # noqa: S310 - local
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def value(url: str, series: str) -> str | None:
    """What stands behind a series, as text."""
    lines = get(f"{url}/metrics")[1].splitlines()
    return next((line.removeprefix(f"{series} ") for line in lines if line.startswith(f"{series} ")), None)


def state(url: str) -> str:
    lines = get(f"{url}/metrics?name[]=smsc_account_state")[1].splitlines()
    return next(line for line in lines if line.endswith(" 1.0")).split('"')[3]


RELOAD_OK = "smsc_exporter_config_last_reload_successful"
SENT = 'smsc_api_requests_total{account="main",outcome="ok"}'


def test_a_reload_takes_effect_before_it_is_answered_and_keeps_what_stays(
    tmp_path: Path, provided: tuple[Provider, str]
) -> None:
    write_config(tmp_path, provided[1])
    with exporter(*FLAGS, cwd=tmp_path) as running:
        url = running.expect(LISTENING)[1]
        pattern = r'^(smsc_link_clicks_total\{account="main",link="(\d+)"\}) (\S+)$'
        found = until(lambda: re.search(pattern, get(f"{url}/metrics")[1], re.MULTILINE), "a first reading")
        series, link, clicks = found.groups()
        write_config(tmp_path, provided[1], links=[{"id": link}, {"id": "7", "name": "new"}])
        assert post(f"{url}/-/reload") == (200, "reloaded\n")
        assert value(url, 'smsc_account_links{account="main"}') == "2.0"
        assert value(url, series) == clicks
        assert float(value(url, SENT) or 0) >= 1
        assert running.stop() == 0
    audit: dict[str, Any] = dict(provided[0].audit())
    assert audit["worst_window"] <= 3


def test_every_fault_of_a_reload_is_answered_and_logged_and_the_old_configuration_stays(
    tmp_path: Path, provided: tuple[Provider, str]
) -> None:
    path = write_config(tmp_path, provided[1])
    with exporter(*FLAGS, cwd=tmp_path) as running:
        url = running.expect(LISTENING)[1]
        path.write_text("acounts: []\nrefresh_interval: 1s\n")
        status, text = post(f"{url}/-/reload")
        assert status == 500
        faults = text.splitlines()
        assert len(faults) == 3
        assert all(fault.startswith("config.yaml:") for fault in faults)
        assert value(url, RELOAD_OK) == "0.0"
        assert value(url, 'smsc_account_links{account="main"}') == "40.0"
        path.unlink()
        status, text = post(f"{url}/-/reload")
        assert (status, text.count("\n")) == (500, 1)
        write_config(tmp_path, provided[1])
        assert post(f"{url}/-/reload")[0] == 200
        assert value(url, RELOAD_OK) == "1.0"
        assert running.stop() == 0
    logged = [line for line in running.lines if "event=reload_failed" in line]
    assert len(logged) == 4
    assert "Traceback" not in running.output


def test_reloads_and_hangups_at_once_all_succeed_and_are_few(
    tmp_path: Path, provided: tuple[Provider, str]
) -> None:
    write_config(tmp_path, provided[1])
    with exporter(*FLAGS, cwd=tmp_path) as running:
        url = running.expect(LISTENING)[1]
        with ThreadPoolExecutor(8) as threads:
            answers = [threads.submit(post, f"{url}/-/reload") for _ in range(16)]
            running.send(signal.SIGHUP)
            assert {answer.result() for answer in answers} == {(200, "reloaded\n")}
        assert get(f"{url}/-/healthy")[0] == 200
        assert running.stop() == 0
    assert 1 <= running.output.count("event=reloaded") <= 17


def test_a_new_secret_lets_a_refused_account_go_on_but_not_past_the_failed_logins(
    tmp_path: Path, provided: tuple[Provider, str]
) -> None:
    simulated, provider_url = provided
    write_config(tmp_path, provider_url, password="guess 0")
    with exporter(*FLAGS, cwd=tmp_path) as running:
        url = running.expect(LISTENING)[1]
        running.expect("state=unauthorized")
        write_config(tmp_path, provider_url)
        assert post(f"{url}/-/reload")[0] == 200
        running.expect("event=account_state .*state=polling")
        until(lambda: float(value(url, SENT) or 0) >= 1, "a request that succeeded")
        for guess in range(1, 7):
            write_config(tmp_path, provider_url, password=f"guess {guess}")
            assert post(f"{url}/-/reload")[0] == 200
            until(lambda: state(url) == "unauthorized", "the wrong secret refused, or not tried")
        assert running.stop() == 0
    assert simulated.audit()["worst_failed_logins"] == 4


def test_quit_answers_and_ends_as_sigterm_does(tmp_path: Path, provided: tuple[Provider, str]) -> None:
    write_config(tmp_path, provided[1])
    with exporter(*FLAGS, cwd=tmp_path) as running:
        url = running.expect(LISTENING)[1]
        assert post(f"{url}/-/quit") == (200, "stopping\n")
        assert running.process.wait(PATIENCE) == 0
        running.stop()
    assert "event=stopping" in running.output


def test_the_end_does_not_wait_for_a_reload_that_hangs(
    tmp_path: Path, provided: tuple[Provider, str]
) -> None:
    write_config(tmp_path, provided[1])
    with exporter(*FLAGS, cwd=tmp_path) as running:
        url = running.expect(LISTENING)[1]
        (tmp_path / "password").write_text("demo")
        path = write_config(tmp_path, provided[1], password_file="password")
        path.write_text(path.read_text().replace('"password": "demo", ', ""))
        clients = [HTTPConnection(urlsplit(url).netloc) for _ in range(2)]
        with hanging(tmp_path / "password") as asked:
            for client in clients:
                client.request("POST", "/-/reload")
            until(asked, "the exporter reads the file")
            assert get(f"{url}/-/healthy")[0] == 200  # so that both have been taken before
            assert running.stop() == 0
        for client in clients:
            with pytest.raises(ConnectionError):
                client.getresponse()
            client.close()
