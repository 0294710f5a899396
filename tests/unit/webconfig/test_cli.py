"""The flags --web.config.file and --web.health-address, on the real commands and with the real Prometheus."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import ssl
import threading
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import needs
from tests.processes import PATIENCE, exporter, free_port, get, get_json, program, run, until
from tests.unit.webconfig import pems
from tests.unit.webconfig.door import ALICE, Keys, basic

USERS = f"basic_auth_users:\n  alice: {ALICE}\n"
MUTUAL = "client_ca_file: clients.crt\nclient_auth_type: RequireAndVerifyClientCert"
FLAGS = ["--web.listen-address=127.0.0.1:0", "--web.config.file=web.yaml"]
HEALTH = "--web.health-address=127.0.0.1:0"
LISTENING = r"event=listening url=(\S+)"
CONFIG = """
storage: {url: "memory:"}
accounts:
  - {name: main, login: alex, password: x, base_url: "https://smscentre.invalid", links: [{id: 1}]}
"""


def read(url: str, client: ssl.SSLContext, user: str) -> str:
    request = urllib.request.Request(url, headers={"Authorization": basic(user, "wonderland")})  # noqa: S310 - local
    with urllib.request.urlopen(request, timeout=PATIENCE, context=client) as response:  # noqa: S310 - local
        return str(response.read().decode())


def status(url: str, client: ssl.SSLContext | None = None, user: str = "alice") -> int:
    request = urllib.request.Request(url, headers={"Authorization": basic(user, "wonderland")})  # noqa: S310 - local
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE, context=client) as response:  # noqa: S310 - local
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_serve_asks_for_a_password_but_not_for_its_health(tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    keys.config(rest=USERS)
    (tmp_path / "config.yaml").write_text(CONFIG)
    with exporter(*FLAGS, HEALTH, HEALTH, cwd=tmp_path) as running:
        url = running.expect(LISTENING)[1]
        assert url.startswith("https://127.0.0.1:")
        for _ in range(2):
            health = running.expect(r"event=listening_for_health url=(http://\S+)")[1]
            assert get(f"{health}/-/healthy") == (200, "healthy\n")
            assert get(f"{health}/-/ready") == (200, "ready\n")
            assert get(f"{health}/metrics")[0] == get(f"{health}/")[0] == 404
        client = keys.client()
        assert status(f"{url}/metrics", client) == status(f"{url}/-/ready", client) == 200
        for path in ("/metrics", "/-/healthy", "/-/ready", "/"):
            assert status(url + path, client, "bob") == 401
        # a reload reads it at once
        keys.config(rest=USERS.replace("alice", "bob"))
        running.send(signal.SIGHUP)
        running.expect("event=reloaded")
        assert (status(f"{url}/metrics", client), status(f"{url}/metrics", client, "bob")) == (401, 200)
        keys.config(rest="rate_limits: {}\n")
        running.send(signal.SIGHUP)
        failed = running.expect("event=reload_failed.*")[0]
        assert "web.yaml:4:1: rate_limits: unknown key" in failed
        assert status(f"{url}/metrics", client, "bob") == 200
        metrics = read(f"{url}/metrics", client, "bob")
        assert "\nsmsc_exporter_config_last_reload_successful 0.0\n" in metrics
        assert running.stop() == 0
    assert "wonderland" not in running.output
    assert "$2b$" not in running.output


def test_a_certificate_swapped_while_it_is_scraped_fails_no_scrape(tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    keys.config(rest=USERS)
    client = keys.client()
    ending = threading.Event()
    with exporter("demo", *FLAGS, cwd=tmp_path) as running, ThreadPoolExecutor(3) as scrapers:
        url = running.expect(LISTENING)[1]

        def scrape() -> list[int]:
            statuses = []
            while not ending.is_set():
                statuses.append(status(f"{url}/metrics", client))
            return statuses

        scraping = [scrapers.submit(scrape) for _ in range(3)]
        try:
            seen = [certificate(url, client)]
            for _ in range(2):
                # the two files are written one after the other: for a moment they do not fit each other
                keys.renew()
                seen.append(until(lambda: _another(certificate(url, client), seen), "another certificate"))
        finally:
            ending.set()
        statuses = [each.result() for each in scraping]
        assert running.stop() == 0
    assert [set(each) for each in statuses] == [{200}] * 3
    assert len(set(seen)) == 3


def certificate(url: str, client: ssl.SSLContext) -> bytes:
    """What the server shows in a new handshake."""
    with (
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as sock,
        client.wrap_socket(sock, server_hostname="127.0.0.1") as tls,
    ):
        return tls.getpeercert(binary_form=True) or b""


def _another(shown: bytes, seen: list[bytes]) -> bytes | None:
    return None if shown in seen else shown


def test_a_hash_that_takes_days_does_not_delay_the_end(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "web.yaml").write_text(USERS.replace("$04$", "$31$"))
    with exporter(*FLAGS, cwd=tmp_path) as running:
        assert "cost of 31" in running.expect("config_warning.*cost.*")[0]
        url = running.expect(LISTENING)[1]
        with contextlib.ExitStack() as stack:
            # the answer never comes
            connection = stack.enter_context(_asking(url, f"Authorization: {basic('alice', 'wonderland')}"))
            running.expect("event=started")
            # Who asks later, without a password, has been answered: so the first request has been read.
            assert b"HTTP/1.1 401" in stack.enter_context(_asking(url)).recv(100)
            assert running.stop() == 0
            assert b"HTTP/1.1 200" not in connection.recv(100)


def _asking(url: str, *headers: str) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])))
    sock.sendall("\r\n".join(["GET / HTTP/1.1", "Host: x", *headers, "", ""]).encode())
    return sock


def test_demo_takes_a_web_configuration_too(tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    keys.config(MUTUAL)
    with exporter("demo", *FLAGS, cwd=tmp_path) as running:
        url = running.expect(LISTENING)[1]
        assert status(f"{url}/metrics", keys.client("prometheus")) == 200
        assert running.expect(r"Metrics: +(\S+)")[1] == f"{url}/metrics"
        with pytest.raises((urllib.error.URLError, ssl.SSLError, ConnectionError)):
            status(f"{url}/metrics", keys.client())
        assert running.stop() == 0


def test_check_reads_the_web_configuration_too(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "web.yaml").write_text(USERS)
    done = run("check", "--web.config.file=web.yaml", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout == "config.yaml is valid: 1 account, 1 link\nweb.yaml is valid\n"
    assert done.stderr.startswith("warning: web.yaml:1:1: basic_auth_users: passwords are sent unencrypted")


@pytest.mark.parametrize("command", ["check", "serve", "demo"])
def test_the_faults_of_both_files_are_told_at_once(tmp_path: Path, command: str) -> None:
    (tmp_path / "config.yaml").write_text("acounts: []\n")
    (tmp_path / "web.yaml").write_text("basic_auth_users: {alice: wonderland}\ntls_config: {}\n")
    done = run(command, "--web.config.file=web.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    files = [line.partition(":")[0] for line in done.stderr.splitlines()]
    assert files == ["config.yaml"] * (2 if command != "demo" else 0) + ["web.yaml"] * 2
    assert "wonderland" not in done.stderr


@needs.prometheus
def test_prometheus_scrapes_with_a_certificate_and_a_password(tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    keys.config(f"{MUTUAL}\nclient_allowed_sans: [prometheus.internal]", USERS)
    pems.write(tmp_path, keys.clients.issue_cert("prometheus.internal"), "prometheus")
    (tmp_path / "ca.crt").write_text(pems.authority(keys.ca))
    port = free_port()
    with exporter("demo", *FLAGS, cwd=tmp_path) as running:
        target = running.expect(LISTENING)[1].removeprefix("https://")

        def job(name: str, password: str) -> dict[str, object]:
            return {
                "job_name": name,
                "scheme": "https",
                "tls_config": {
                    "ca_file": "ca.crt",
                    "cert_file": "prometheus.crt",
                    "key_file": "prometheus.key",
                },
                "basic_auth": {"username": "alice", "password": password},
                "static_configs": [{"targets": [target]}],
            }

        document = {
            "global": {"scrape_interval": "1s"},
            "scrape_configs": [job("right", "wonderland"), job("wrong", "Wonderland")],
        }
        (tmp_path / "prometheus.yml").write_text(json.dumps(document))
        command = ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=tsdb"]
        with program(*command, f"--web.listen-address=127.0.0.1:{port}", cwd=tmp_path):

            def up() -> dict[str, str]:
                question = urllib.parse.urlencode({"query": "up"})
                answer = get_json(f"http://127.0.0.1:{port}/api/v1/query?{question}")
                return {r["metric"]["job"]: r["value"][1] for r in answer["data"]["result"]}

            until(lambda: get(f"http://127.0.0.1:{port}/-/ready")[0] == 200, "Prometheus")
            until(lambda: len(up()) == 2, "two scrapes")
            assert up() == {"right": "1", "wrong": "0"}
        assert running.stop() == 0
