"""The limits end to end: the exporter as a process, real sockets, and the provider's auditor as the judge."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from exporter.simulator import Settings, numbered_links
from tests.processes import exporter, get
from tests.providers import provider

WINDOW_AND_MORE = 70.0


@pytest.mark.slow(1)
def test_no_limit_breaks_over_more_than_a_minute_of_faults_and_reloads(tmp_path: Path) -> None:
    """Impatient links, all the concurrency there is, every tenth request going wrong, and a reload."""
    links = numbered_links(300)
    faults = "http_502:0.02,reset:0.003,empty:0.02,truncated:0.02,error_17:0.01,http_503:0.0005"
    with provider(Settings(links=links, latency="0.02-0.4", faults=faults)) as (simulated, url):
        account = {
            "name": "main",
            "login": "demo",
            "password": "demo",
            "base_url": url,
            "max_concurrent_requests": 14,
            "links": [{"id": link.id} for link in links],
        }
        document = {"refresh_interval": "21s", "accounts": [account]}
        path = tmp_path / "config.yaml"
        path.write_text(json.dumps(document))
        with exporter("--web.listen-address=127.0.0.1:0", cwd=tmp_path) as running:
            address = running.expect(r"event=listening url=(\S+)")[1]
            time.sleep(WINDOW_AND_MORE / 2)
            account["max_concurrent_requests"] = 12
            account["links"] = [{"id": link.id, "name": f"again-{link.id}"} for link in reversed(links)]
            path.write_text(json.dumps(document))
            running.send(signal.SIGHUP)
            running.expect("event=reloaded")
            time.sleep(WINDOW_AND_MORE / 2)
            text = get(f"{address}/metrics")[1]
            assert running.stop() == 0
        audit: dict[str, Any] = dict(simulated.audit())
    assert audit["duration_seconds"] > 60
    assert audit["requests"] > 300
    assert audit["worst_window"] <= 3
    assert audit["most_in_flight"] <= 14
    assert "9" not in audit["answers"]
    assert text.count("smsc_link_clicks_all_time{") > 250
