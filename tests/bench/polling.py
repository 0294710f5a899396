"""How fast the exporter refreshes, beside the ceiling ``max_concurrent_requests / latency``; and its memory.

The real exporter polls the real simulator, each a process of its own, with more links than it can keep up
with, so that it runs at full rate.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.processes import exporter, get, get_json, until

LATENCY = 0.1
CONCURRENCY = 14
SECONDS = 30


@dataclass(frozen=True)
class Result:
    """``ceiling`` and ``rate`` in polls a second, ``cpu`` in milliseconds per poll, memory in megabytes."""

    links: int
    ceiling: float
    rate: float
    cpu: float
    memory: float
    worst_window: int
    most_in_flight: int


def measure(links: int = 10_000) -> Result:
    """Runs both for as long as it takes to read every link once, and ``SECONDS`` more."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        arguments = ["--listen-address=127.0.0.1:0", f"--links={links}", f"--latency={LATENCY}"]
        with exporter("simulate", *arguments, cwd=home) as simulator:
            provider = simulator.expect(r"on (http://\S+)")[1]
            (home / "config.yaml").write_text(json.dumps(_config(provider, links)))
            with exporter("--web.listen-address=127.0.0.1:0", cwd=home) as running:
                url = running.expect(r"event=listening url=(\S+)")[1]
                _until_all_read(url, links)
                result = _observe(url, provider, links)
                running.stop()
            simulator.stop()
    return result


def _config(provider: str, links: int) -> dict[str, object]:
    account = {
        "name": "bench",
        "login": "demo",
        "password": "demo",
        "base_url": provider,
        "max_concurrent_requests": CONCURRENCY,
        "links": [{"id": str(100_001 + n), "name": f"link-{n}"} for n in range(links)],
    }
    return {"refresh_interval": "21s", "storage": {"url": "memory:"}, "accounts": [account]}


def _until_all_read(url: str, links: int) -> None:
    for share in range(10, 101, 10):
        _until_polled(url, links * share / 100)
        print(f"  read {share} % of {links} links", file=sys.stderr)


def _until_polled(url: str, polls: float) -> None:
    until(lambda: _polls(url) >= polls, f"{polls} polls")


def _polls(url: str) -> float:
    return _value(url, "smsc_api_requests_total", 'outcome="ok"')


def _observe(url: str, provider: str, links: int) -> Result:
    def counts() -> tuple[float, float, float]:
        return time.monotonic(), _polls(url), _value(url, "process_cpu_seconds_total")

    before = counts()
    time.sleep(SECONDS)
    after = counts()
    seconds, polls, cpu = (late - early for late, early in zip(after, before, strict=True))
    get(f"{url}/metrics")
    audit = get_json(f"{provider}/audit")
    return Result(
        links=links,
        ceiling=CONCURRENCY / LATENCY,
        rate=polls / seconds,
        cpu=cpu / polls * 1000,
        memory=_value(url, "process_resident_memory_bytes") / 1e6,
        worst_window=audit["worst_window"],
        most_in_flight=audit["most_in_flight"],
    )


def _value(url: str, name: str, label: str = "") -> float:
    _, text = get(f"{url}/metrics?name[]={name}")
    found = re.search(rf"^{name}(?:{{[^}}]*{label}[^}}]*}})? (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def table(result: Result) -> str:
    """The result as Markdown."""
    r = result
    return "\n".join(
        [
            "| links | ceiling, polls/s | polls/s | share | CPU per poll, ms | memory, MB"
            " | worst window | most in flight |",
            "|---:|---:|---:|---:|---:|---:|---:|---:|",
            f"| {r.links} | {r.ceiling:.0f} | {r.rate:.1f} | {r.rate / r.ceiling:.1%}"
            f" | {r.cpu:.2f} | {r.memory:.0f} | {r.worst_window} | {r.most_in_flight} |",
        ]
    )
