"""What an evaluation of the rules on clicks takes, on a real Prometheus with a history."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.processes import free_port, get, get_json, program, until
from tests.quality.traffic import DAY, HOUR, STEP
from tests.rules.shipped import PROMETHEUS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

RULES = ("clicks.yml", "young.yml")
GROUPS = ("smsc-clicks", "smsc-clicks-hourly", "smsc-young")

ROUNDS = 8
"""Evaluations that are timed, after two that are not."""

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
    return [
        {"links": f"{links} {kind}", **_measured(links, kind, families)}
        for kind, families in (("old", _old()), ("young", _young()))
    ]


def _measured(links: int, kind: str, families: Iterable[Family]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"writing the history of {links} {kind} links", file=sys.stderr)
        _write(folder, links, families)
        for rules in RULES:
            text = (PROMETHEUS / "rules" / rules).read_text()
            (folder / rules).write_text(re.sub("interval: (5m|1h)", "interval: 10s", text))
        (folder / "prometheus.yml").write_text(f"rule_files: [{', '.join(RULES)}]\n")
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
    for name in ("clicks_all_time", "clicks_yesterday", "clicks_previous_month"):
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
    return 5 * step if family.endswith(("total", "all_time")) else 60


def _timed(folder: Path) -> dict[str, Any]:
    url = f"http://127.0.0.1:{free_port()}"
    flags = ("--storage.tsdb.path=data", "--storage.tsdb.retention.time=60d")
    listen = f"--web.listen-address={url.removeprefix('http://')}"
    with program("prometheus", "--config.file=prometheus.yml", *flags, listen, cwd=folder) as running:
        until(lambda: get(f"{url}/-/ready")[0] == 200, "Prometheus", patience=300)
        print(f"timing {ROUNDS} evaluations", file=sys.stderr)
        taken: dict[str, dict[str, float]] = {}
        while min(len(taken.get(group, ())) for group in GROUPS) < ROUNDS + 2:
            time.sleep(2)
            for group in get_json(f"{url}/api/v1/rules")["data"]["groups"]:
                if not group["lastEvaluation"].startswith("0001"):
                    taken.setdefault(group["name"], {})[group["lastEvaluation"]] = group["evaluationTime"]
        running.stop()
    clicks, hourly, young = (list(taken[group].values())[2:] for group in GROUPS)
    return {
        "clicks.yml, s": round(median(clicks), 3),
        "the longest, s": round(max(clicks), 3),
        "once an hour besides, s": round(median(hourly), 3),
        "young.yml, s": round(median(young), 3),
        "dearer by": f"{median(young) / median(clicks):.0%}",
    }
