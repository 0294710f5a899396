"""The exporter's own commands through a real proxy, tinyproxy, to the simulated provider."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import trustme

from exporter.simulator import Provider, Settings, numbered_links
from tests import needs
from tests.processes import PATIENCE, exporter, free_port, get, run, until
from tests.providers import provider
from tests.proxies import TinyProxy, tinyproxy, tls_before
from tests.unit.provider.servers import over_tls

pytestmark = needs.tinyproxy

LISTENING = r"event=listening url=(\S+)"
PASSWORD = "zqs3cretzq"
AUTHORITY = trustme.CA()
# Linux connects to this machine, yet it is no loopback address: those never go through the environment's
# proxies.
HERE = "0.0.0.0"  # noqa: S104 - nothing is bound to it


@pytest.fixture
def simulated() -> Iterator[tuple[Provider, int]]:
    with provider(Settings(links=numbered_links(3))) as (simulator, url):
        yield simulator, int(url.rpartition(":")[2])


@pytest.fixture
def secure(simulated: tuple[Provider, int]) -> Iterator[int]:
    """A port where the simulated provider is reached by TLS."""
    with tls_before(simulated[1], over_tls(AUTHORITY, "127.0.0.1", HERE)) as port:
        yield port


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[TinyProxy]:
    with tinyproxy(tmp_path / "proxy", f"BasicAuth alice {PASSWORD}") as running:
        yield running


def write_config(folder: Path, **account: Any) -> None:
    AUTHORITY.cert_pem.write_to_path(str(folder / "corp.pem"))
    links = [{"id": link.id} for link in numbered_links(3)]
    accounts = [{"name": "main", "login": "demo", "password": "demo", "links": links, **account}]
    document = {"refresh_interval": "21s", "storage": {"url": "sqlite:exporter.db"}, "accounts": accounts}
    (folder / "config.yaml").write_text(json.dumps(document))


def variables(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return {**kept, **more}


def get_one(folder: Path, **environ: str) -> CompletedProcess[str]:
    done = run("get", "--json", "100001", cwd=folder, env=variables(**environ))
    assert PASSWORD not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def requests_of(simulator: Provider) -> int:
    audit: dict[str, Any] = dict(simulator.audit())
    return int(audit["requests"])


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_reading_comes_through_the_proxy(
    scheme: str,
    method: str,
    tmp_path: Path,
    simulated: tuple[Provider, int],
    secure: int,
    proxy: TinyProxy,
) -> None:
    simulator, port = simulated
    target = f"127.0.0.1:{secure if scheme == 'https' else port}"
    write_config(
        tmp_path,
        base_url=f"{scheme}://{target}",
        method=method,
        proxy_env="CORP_PROXY",
        ca_file="corp.pem",
    )
    done = get_one(tmp_path, CORP_PROXY=f"http://alice:{PASSWORD}@127.0.0.1:{proxy.port}")
    assert (done.returncode, done.stderr) == (0, "")
    assert [reading["id"] for reading in json.loads(done.stdout)] == ["100001"]
    assert requests_of(simulator) == 1
    # The log shows what the proxy could read of the request.
    asked = f"CONNECT {target}" if scheme == "https" else f"{method} http://{target}/sys/tinyurls.php"
    assert asked in proxy.log
    assert ("tinyurls" in proxy.log) == (scheme == "http")


@pytest.mark.parametrize(("scheme", "variable"), [("http", "http_proxy"), ("https", "HTTPS_PROXY")])
def test_the_environments_proxy_is_used_except_for_what_it_excludes(
    scheme: str,
    variable: str,
    tmp_path: Path,
    simulated: tuple[Provider, int],
    secure: int,
    proxy: TinyProxy,
) -> None:
    simulator, port = simulated
    port = secure if scheme == "https" else port
    environ = {variable: f"alice:{PASSWORD}@127.0.0.1:{proxy.port}"}
    write_config(tmp_path, base_url=f"{scheme}://{HERE}:{port}", ca_file="corp.pem")
    assert get_one(tmp_path, **environ).returncode == 0
    assert proxy.log.count("Request (") == 1
    assert get_one(tmp_path, **environ, NO_PROXY=f"other, {HERE}:{port}").returncode == 0
    write_config(tmp_path, base_url=f"{scheme}://{HERE}:{port}", ca_file="corp.pem", proxy="none")
    assert get_one(tmp_path, **environ).returncode == 0
    assert proxy.log.count("Request (") == 1
    assert requests_of(simulator) == 3


def test_a_proxy_may_be_reached_by_tls(
    tmp_path: Path, simulated: tuple[Provider, int], secure: int, proxy: TinyProxy
) -> None:
    simulator, port = simulated
    with tls_before(proxy.port, over_tls(AUTHORITY, "127.0.0.1")) as front:
        address = f"https://alice:{PASSWORD}@127.0.0.1:{front}"
        for url in (f"http://127.0.0.1:{port}", f"https://127.0.0.1:{secure}"):
            write_config(tmp_path, base_url=url, proxy=address, ca_file="corp.pem")
            assert get_one(tmp_path).returncode == 0
        write_config(tmp_path, base_url=f"https://127.0.0.1:{secure}", proxy=address)
        assert "certificate not valid" in get_one(tmp_path).stderr
    assert requests_of(simulator) == 2


NO_PASSWORD = "the proxy asks for a password (HTTP status 407)"
WRONG_PASSWORD = "the proxy does not accept the user and password in proxy (HTTP status 401)"


@pytest.mark.parametrize(
    ("scheme", "login", "message"),
    [
        ("http", "", NO_PASSWORD),
        ("https", "", NO_PASSWORD),
        ("http", "alice:zqguesszq@", "through the proxy: HTTP status 401"),
        ("https", "alice:zqguesszq@", WRONG_PASSWORD),
    ],
)
def test_a_wrong_password_at_the_proxy_is_said_and_reaches_nobody(
    scheme: str, login: str, message: str, tmp_path: Path, simulated: tuple[Provider, int], proxy: TinyProxy
) -> None:
    simulator, port = simulated
    write_config(
        tmp_path, base_url=f"{scheme}://127.0.0.1:{port}", proxy=f"http://{login}127.0.0.1:{proxy.port}"
    )
    done = get_one(tmp_path)
    assert done.returncode == 1
    assert message in done.stderr
    assert "zqguesszq" not in done.stderr
    assert requests_of(simulator) == 0


def test_a_proxy_that_may_not_connect_says_so(tmp_path: Path, secure: int) -> None:
    with tinyproxy(tmp_path / "proxy", "ConnectPort 1") as proxy:
        write_config(tmp_path, base_url=f"https://127.0.0.1:{secure}", proxy=f"http://127.0.0.1:{proxy.port}")
        assert "the proxy refuses to connect to the provider: HTTP status 403" in get_one(tmp_path).stderr


@pytest.mark.parametrize(
    ("scheme", "message"),
    [
        ("http", "through the proxy: HTTP status 500"),
        ("https", "the proxy refuses to connect to the provider: HTTP status 500"),
    ],
)
def test_a_provider_that_the_proxy_cannot_reach(
    scheme: str, message: str, tmp_path: Path, proxy: TinyProxy
) -> None:
    address = f"http://alice:{PASSWORD}@127.0.0.1:{proxy.port}"
    write_config(tmp_path, base_url=f"{scheme}://127.0.0.1:{free_port()}", proxy=address)
    assert message in get_one(tmp_path).stderr


def test_no_proxy_where_one_should_be(tmp_path: Path) -> None:
    write_config(
        tmp_path, base_url="https://127.0.0.1:1", proxy=f"http://127.0.0.1:{free_port()}", timeout="2s"
    )
    assert "no connection to the proxy: Connection refused" in get_one(tmp_path).stderr


def up(url: str) -> list[str]:
    return re.findall(r"^smsc_link_up\{.*\} (\S+)$", get(f"{url}/metrics")[1], re.MULTILINE)


@pytest.mark.slow(1)  # an account that is unreachable is tried again after a while
def test_polling_goes_on_once_the_proxy_is_back(
    tmp_path: Path, simulated: tuple[Provider, int], secure: int
) -> None:
    lines = f"BasicAuth alice {PASSWORD}"
    with tinyproxy(tmp_path / "proxy", lines) as proxy:
        address = f"http://alice:{PASSWORD}@127.0.0.1:{proxy.port}"
        write_config(tmp_path, base_url=f"https://127.0.0.1:{secure}", proxy=address, ca_file="corp.pem")
        with exporter("--web.listen-address=127.0.0.1:0", cwd=tmp_path, env=variables()) as running:
            url = running.expect(LISTENING)[1]
            until(lambda: up(url) == ["1.0"] * 3, "a reading of each link")
            proxy.stop()
            until(lambda: "0.0" in up(url), "a link that cannot be read")
            proxy.start()
            until(lambda: up(url) == ["1.0"] * 3, "a reading of each link", 4 * PATIENCE)
            assert running.stop() == 0
    assert "no connection to the proxy: Connection refused" in running.output
    assert f"CONNECT 127.0.0.1:{secure}" in proxy.log
    assert PASSWORD not in running.output
    assert requests_of(simulated[0]) >= 6
