"""Behind nginx, under a path, stripped by nginx or not: links and redirects lead where they should."""

from __future__ import annotations

import contextlib
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest

from tests import needs
from tests.processes import exporter, free_port, get, post, program, until

pytestmark = needs.nginx

FLAGS = ("demo", "--web.listen-address=127.0.0.1:0", "--web.enable-lifecycle")

NGINX = """
daemon off; master_process off; error_log stderr; pid {folder}/nginx.pid;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location {location} {{ proxy_pass {upstream}; proxy_set_header Host $http_host; }}
  }}
}}
"""


@contextlib.contextmanager
def proxied(folder: Path, location: str, upstream: str) -> Iterator[str]:
    """nginx, which hands on what is below ``location``; its URL."""
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, port=port, location=location, upstream=upstream))
    with program("nginx", "-c", str(config), "-p", str(folder), "-e", "stderr", cwd=folder) as running:
        url = f"http://127.0.0.1:{port}"
        until(lambda: get(url), "nginx answers")
        yield url
        running.stop()


CASES = {
    # flags, what nginx hands on, to which path of the exporter
    "not stripped": (["--web.external-url=https://example.com/smsc/"], "/smsc", ""),
    "stripped": (
        ["--web.external-url=https://example.com/smsc/", "--web.route-prefix=/"],
        "/smsc/",
        "/",
    ),
    "another prefix": (
        ["--web.external-url=https://example.com/tools/smsc", "--web.route-prefix=exporter"],
        "/tools/smsc",
        "/exporter",
    ),
    "a prefix alone": (["--web.route-prefix=/smsc/"], "/smsc", ""),
    "metrics elsewhere": (["--web.external-url=/smsc", "--web.telemetry-path=/a/b"], "/smsc", ""),
    "a proxy without flags": ([], "/smsc/", "/"),
}


@pytest.mark.parametrize("case", CASES)
def test_links_and_redirects_lead_through_the_proxy(case: str, tmp_path: Path) -> None:
    flags, location, path = CASES[case]
    with exporter(*FLAGS, *flags, cwd=tmp_path) as running:
        listening = running.expect(r"event=listening url=(\S+)")[1]
        page = running.expect(rf"Status page: +({listening}\S*)")[1]
        metrics = running.expect(rf"Metrics: +({listening}\S+)")[1]
        assert get(metrics)[0] == get(page)[0] == 200
        with proxied(tmp_path, location, listening + path) as proxy:
            below = f"{proxy}{location.rstrip('/')}"
            for entrance in (below, f"{below}/"):
                with urllib.request.urlopen(entrance) as response:  # noqa: S310 - local
                    assert response.url == f"{below}/"
                    text = response.read().decode()
            links = [urljoin(f"{below}/", href) for href in re.findall(r'(?:href|action)="([^"]*)"', text)]
            ours = {link for link in links if "smsc.tips" not in link and not link.startswith("data:")}
            telemetry = "/a/b" if case == "metrics elsewhere" else "/metrics"
            named = ("/", telemetry, "/api/v1/links", "/runbooks/", "/docs/", "/-/healthy", "/-/ready")
            assert {f"{below}{name}" for name in named} <= ours
            for link in ours:
                assert link.startswith(f"{below}/")
                assert get(link)[0] == 200, link
            assert get(f"{below}{telemetry}")[1].startswith("# HELP")
            assert post(f"{below}/-/reload") == 200
            assert get(f"{below}/nowhere")[0] == 404
        assert running.stop() == 0


def test_a_prefix_is_redirected_to_and_is_no_part_of_what_is_counted(tmp_path: Path) -> None:
    with exporter(
        *FLAGS, "--web.route-prefix=/smsc", "--web.health-address=127.0.0.1:0", cwd=tmp_path
    ) as running:
        health = running.expect(r"event=listening_for_health url=(\S+)")[1]
        url = running.expect(r"Metrics: +(http://\S+)/smsc/metrics")[1]
        for path in ("", "/", "/smsc", "/smsc/"):
            with urllib.request.urlopen(url + path) as response:  # noqa: S310 - local
                assert response.url == f"{url}/smsc/"
        for name in ("SmscLinkNotFound", "SmscExporterDown"):
            assert get(f"{url}/smsc/runbooks/{name}")[0] == 200
        for path in ("/metrics", "/-/healthy", "/smscmetrics", "/smsc/smsc/metrics"):
            assert get(url + path)[0] == 404
        assert get(f"{health}/-/healthy")[0] == 200
        text = get(f"{url}/smsc/metrics")[1]
        counts = [("/", 200, 4), ("/", 302, 3), ("other", 404, 4), ("/-/healthy", 200, 1)]
        for handler, code, count in (*counts, ("/runbooks/{name}", 200, 2)):
            labels = f'{{code="{code}",handler="{handler}"}}'
            assert f"smsc_exporter_http_requests_total{labels} {count}.0\n" in text
        assert running.stop() == 0
