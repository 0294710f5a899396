"""What an evaluation of the shipped rules takes, on a real Prometheus with weeks of history."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.processes import free_port, get, get_json, program, until
from tests.quality.traffic import DAY, HOUR, STEP
from tests.rules.shipped import PROMETHEUS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROUNDS = 8
"""Evaluations that are timed, after two that are not."""

WINDOWS = ("1h", "3h", "6h", "24h", "72h", "7d")
LOOKED_BACK = tuple(
    offset * HOUR for offset in (1, 23, 47, 71, 72, 95, 167, 168, 335, 336, 503, 504, 671, 672)
)
"""Steps ago of which the rules read what they recorded: an hour around each is enough to be read."""


def measure(links: int) -> dict[str, Any]:
    """Seconds an evaluation of the group, median and longest, and of the hourly one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder, links)
        text = (PROMETHEUS / "rules" / "clicks.yml").read_text()
        (folder / "clicks.yml").write_text(re.sub("interval: (5m|1h)", "interval: 10s", text))
        (folder / "prometheus.yml").write_text("rule_files: [clicks.yml]\n")
        return {"links": links, **_timed(folder)}


def _write(folder: Path, links: int) -> None:
    """History up to a few minutes from now: nobody scrapes meanwhile."""
    print(f"writing the history of {links} links", file=sys.stderr)
    end = int(time.time()) // STEP + 4
    with (folder / "history.txt").open("w") as file:
        for family, kind, variants, steps in _families():
            file.write(f"# TYPE {family.removesuffix('_total')} {kind}\n")
            for link, labels in itertools.product(range(links), variants):
                series = f'{family}{{job="smsc",account="main",link="{link}"{labels}}}'
                file.writelines(
                    f"{series} {_value(family, end - ago)} {(end - ago) * STEP}\n" for ago in steps
                )
        file.write("# EOF\n")
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=1000h"]
    subprocess.run([*command, "history.txt", "data"], cwd=folder, capture_output=True, check=True)


def _families() -> Iterator[tuple[str, str, Iterable[str], Iterable[int]]]:
    """Name, type, further labels, and the steps before the end that have a value, oldest first."""
    instance, once = (',instance="a:10145"',), ("",)
    recent, day, week = range(HOUR, -1, -1), range(2 * DAY, -1, -1), range(8 * DAY, -1, -1)
    fortnight = range(15 * DAY, -1, -1)
    yield "smsc_link_clicks_total", "counter", instance, recent
    yield "smsc_link_clicks_all_time", "gauge", instance, recent
    yield "smsc_link_last_success_timestamp_seconds", "gauge", instance, recent
    yield "smsc_link_info", "gauge", (f'{instance[0]},id="1",campaign="spring"',), recent
    yield "smsc:clicks:total", "gauge", once, week
    yield "smsc:clicks:age_seconds", "gauge", once, week
    yield "smsc:clicks:read_timestamp_seconds", "gauge", once, recent
    yield "smsc:clicks:all_time", "gauge", once, day
    yield "smsc:clicks:taken_back", "gauge", instance, day
    yield "smsc:clicks:ahead", "gauge", once, week
    yield "smsc:clicks:burst", "gauge", once, fortnight
    around = sorted({ago + near for ago in LOOKED_BACK for near in range(-4, HOUR)}, reverse=True)
    windows = [f',window="{window}"' for window in WINDOWS]
    yield "smsc:clicks:delta", "gauge", windows, around
    yield "smsc:link:id", "gauge", (',id="1"',), [*(ago for ago in around if ago > 8 * DAY), *week]
    yield "smsc:clicks:smooth", "gauge", windows, around


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
        while len(taken.get("smsc-clicks", ())) < ROUNDS + 2:
            time.sleep(2)
            for group in get_json(f"{url}/api/v1/rules")["data"]["groups"]:
                if not group["lastEvaluation"].startswith("0001"):
                    taken.setdefault(group["name"], {})[group["lastEvaluation"]] = group["evaluationTime"]
        running.stop()
    once = sorted(list(taken["smsc-clicks"].values())[2:])
    hourly = sorted(taken["smsc-clicks-hourly"].values())
    return {
        "one evaluation, s": round(once[len(once) // 2], 3),
        "the longest, s": round(once[-1], 3),
        "once an hour besides, s": round(hourly[len(hourly) // 2], 3),
    }
