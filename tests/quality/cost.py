"""What an evaluation of the rules on clicks takes, on a real Prometheus with a history.

Prometheus evaluates the rules a few times, so that all is recorded that they read. Then it does so no more,
and is asked for the expression of each rule. The figures are the processor time of its process, which a busy
machine changes little.
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from tests.processes import Program, free_port, get, get_json, post, program, until
from tests.quality.rules import HOURLY, shipped
from tests.quality.traffic import DAY, HOUR, STEP
from tests.rules.shipped import PROMETHEUS

RULES = ("clicks.yml", "young.yml")
GROUPS = ("smsc-clicks", HOURLY, "smsc-young")
STORAGE = "storage: {tsdb: {out_of_order_time_window: 1h}}\n"
"""The history reaches into the next minutes. Without this Prometheus would refuse what rules record now."""

WARM = 3
"""Evaluations of each group before the first question."""

REPEATS, AT_ONCE = 5, 3
"""How often all rules are asked for, of which the cheapest counts; and how often within one measurement."""

WINDOWS = ("1h", "3h", "6h", "24h", "72h", "7d")
YOUNG_WINDOWS = ("20m", "1h", "3h", "6h", "24h")
LOOKED_BACK = tuple(
    offset * HOUR for offset in (1, 23, 24, 25, 47, 71, 72, 95, 167, 168, 335, 336, 503, 504, 671, 672)
)
"""Steps ago of which the rules read what they recorded: an hour around each is enough to be read."""

YOUNG = 31 * HOUR
"""How long the history of a young link is: as long as its rules look back."""


def measure(links: int) -> list[dict[str, Any]]:
    """Return what an evaluation takes with links of weeks, and with links of a day."""
    old, young = (
        {"links": f"{links} {kind}", **_measured(links, kind, families)}
        for kind, families in (("old", _old()), ("young", _young()))
    )
    return [_compared(row, old["clicks.yml, s"]) for row in (old, young)]


def _compared(row: dict[str, Any], old: float) -> dict[str, Any]:
    """Add how much dearer young.yml makes an evaluation, also by what clicks.yml takes for old links."""
    added = row["young.yml, s"]
    return {**row, "dearer by": f"{added / row['clicks.yml, s']:.1%}", "of old links'": f"{added / old:.1%}"}


def _measured(links: int, kind: str, families: Iterable[Family]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"writing the history of {links} {kind} links", file=sys.stderr)
        _write(folder, links, families)
        for rules in RULES:
            text = (PROMETHEUS / "rules" / rules).read_text()
            (folder / rules).write_text(re.sub("interval: (5m|1h)", "interval: 10s", text))
        return _timed(folder)


def _write(folder: Path, links: int, families: Iterable[Family]) -> None:
    """Write history up to a few minutes from now: nobody scrapes meanwhile."""
    end = int(time.time()) // STEP + 4
    with (folder / "history.txt").open("w") as file:
        for family, kind, variants, steps in families:
            file.write(f"# TYPE {family.removesuffix('_total')} {kind}\n")
            for link, labels in itertools.product(range(links), variants):
                series = f'{family}{{job="smsc",account="main",link="{link}"{labels}}}'
                file.writelines(
                    f"{series} {_value(family, end - ago)} {(end - ago) * STEP}\n" for ago in steps
                )
        file.write("# EOF\n")
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=1000h"]
    subprocess.run([*command, "history.txt", "data"], cwd=folder, capture_output=True, check=True)


class Family(NamedTuple):
    """Series of one name: their type, further labels, and the steps before the end that have a value."""

    name: str
    kind: str
    variants: Iterable[str]
    steps: Iterable[int]  # oldest first


INSTANCE, ONCE = (',instance="a:10145"',), ("",)
RECENT, DAYS, WEEK = range(HOUR, -1, -1), range(2 * DAY, -1, -1), range(8 * DAY, -1, -1)


def _scraped() -> Iterator[Family]:
    yield Family("smsc_link_clicks_total", "counter", INSTANCE, RECENT)
    for name in ("clicks_all_time", "clicks_yesterday", "clicks_month", "clicks_previous_month"):
        yield Family(f"smsc_link_{name}", "gauge", INSTANCE, RECENT)
    yield Family("smsc_link_last_success_timestamp_seconds", "gauge", INSTANCE, RECENT)
    yield Family("smsc_link_info", "gauge", (f'{INSTANCE[0]},id="1",campaign="spring"',), RECENT)


def _old() -> Iterator[Family]:
    """Weeks of what the rules read."""
    around = sorted({ago + near for ago in LOOKED_BACK for near in range(-4, HOUR)}, reverse=True)
    windows = [f',window="{window}"' for window in WINDOWS]
    yield from _scraped()
    yield from _counted(WEEK)
    yield Family("smsc:clicks:burst", "gauge", ONCE, range(15 * DAY, -1, -1))
    yield Family("smsc:clicks:delta", "gauge", windows, around)
    yield Family("smsc:link:id", "gauge", (',id="1"',), [*(ago for ago in around if ago > 8 * DAY), *WEEK])
    yield Family("smsc:clicks:smooth", "gauge", windows, around)
    yield Family("smsc:clicks:expected_median", "gauge", windows[:1], range(DAY, -1, -1))


def _young() -> Iterator[Family]:
    """A day and some hours."""
    day = range(YOUNG, -1, -1)
    yield from _scraped()
    yield from _counted(day)
    windows = [f',window="{window}"' for window in YOUNG_WINDOWS]
    yield Family("smsc:link:id", "gauge", (',id="1"',), day)
    yield Family("smsc:clicks:delta", "gauge", windows[1:], day)
    yield Family("smsc:young:delta", "gauge", windows, day)
    yield Family("smsc:young:all_time", "gauge", windows[1:2], day)
    yield Family("smsc:young:yesterday", "gauge", windows[1:2], day)


def _counted(steps: Iterable[int]) -> Iterator[Family]:
    """What is recorded of the counter."""
    for name in ("total", "age_seconds", "ahead"):
        yield Family(f"smsc:clicks:{name}", "gauge", ONCE, steps)
    yield Family("smsc:clicks:read_timestamp_seconds", "gauge", ONCE, RECENT)
    yield Family("smsc:clicks:all_time", "gauge", ONCE, DAYS)
    yield Family("smsc:clicks:taken_back", "gauge", INSTANCE, DAYS)


def _value(family: str, step: int) -> float:
    if family.endswith("timestamp_seconds"):
        return step * STEP
    if family.endswith(("total", "all_time")):
        return 5 * step
    return 0 if family.endswith(("ahead", "taken_back")) else 60


def _timed(folder: Path) -> dict[str, Any]:
    url = f"http://127.0.0.1:{free_port()}"
    configuration = folder / "prometheus.yml"
    configuration.write_text(f"{STORAGE}rule_files: [{', '.join(RULES)}]\n")
    flags = ("--storage.tsdb.path=data", "--storage.tsdb.retention.time=60d", "--web.enable-lifecycle")
    listen = f"--web.listen-address={url.removeprefix('http://')}"
    with program("prometheus", "--config.file=prometheus.yml", *flags, listen, cwd=folder) as running:
        until(lambda: get(f"{url}/-/ready")[0] == 200, "Prometheus", patience=300)
        at = _recorded(url)
        configuration.write_text(STORAGE)
        post(f"{url}/-/reload")
        print(f"asking {REPEATS} times", file=sys.stderr)
        taken = _asked(url, running, at)
        running.stop()
    return {f"{name}, s": round(seconds, 4) for name, seconds in taken.items()}


def _recorded(url: str) -> float:
    """Let all groups be evaluated a few times, and return the time."""
    seen: dict[str, set[str]] = {}

    def warm() -> bool:
        for group in get_json(f"{url}/api/v1/rules")["data"]["groups"]:
            if not group["lastEvaluation"].startswith("0001"):
                seen.setdefault(group["name"], set()).add(group["lastEvaluation"])
        return all(len(seen.get(group, ())) >= WARM for group in GROUPS)

    until(warm, "evaluations", patience=600, pause=1)
    return time.time()


def _asked(url: str, running: Program, at: float) -> dict[str, float]:
    """Processor time of all rules of each file, by turns, the least of several."""
    parts = {
        "clicks.yml": [rule for rule in shipped("clicks.yml") if rule["group"] != HOURLY],
        "once an hour besides": [rule for rule in shipped("clicks.yml") if rule["group"] == HOURLY],
        "young.yml": shipped("young.yml"),
    }
    taken: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(REPEATS):
        for name, rules in parts.items():
            before = _processor_time(running)
            for rule in rules * AT_ONCE:
                get_json(f"{url}/api/v1/query?{urlencode({'query': rule['expr'], 'time': at})}")
            taken[name].append((_processor_time(running) - before) / AT_ONCE)
    return {name: min(times) for name, times in taken.items()}


def _processor_time(running: Program) -> float:
    fields = Path(f"/proc/{running.process.pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
