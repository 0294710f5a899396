"""``python -m grafana.history DATA``: the demo's past month, written into a new data folder of Prometheus.

What Prometheus would have stored, had the demo run all along, and what the rules would have recorded of the
last days: so that boards show more than minutes, and alerts on clicks have something to compare with. The
simulator's clicks are a function of the time, so the demo goes on where this ends. It needs `prometheus` and
`promtool`.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from exporter.simulator import Settings, SimulatedLink
from exporter.simulator.days import Calendar
from exporter.simulator.links import Growth
from tests.processes import free_port, get, program, until

RULES = Path(__file__).parent.parent / "deploy" / "prometheus" / "rules" / "clicks.yml"
WANTED = ("smsc:clicks:expected_lower", "smsc:clicks:spike_bound")
"""What the board of a link shows, and what an alert needs; all that these are made of is recorded too."""

DAY = 86_400
STEP = 300
DAYS, RECORDED_DAYS = 35, 10
"""How long the month is, and for how much of it the rules work: they look back a week, from some days."""

FAMILIES = {
    "smsc_link_clicks_all_time": "gauge",
    "smsc_link_clicks_today": "gauge",
    "smsc_link_clicks_yesterday": "gauge",
    "smsc_link_clicks_month": "gauge",
    "smsc_link_clicks_previous_month": "gauge",
    "smsc_link_clicks_total": "counter",
    "smsc_link_last_success_timestamp_seconds": "gauge",
    "smsc_link_up": "gauge",
    "smsc_link_info": "gauge",
}


def history(until_then: int, settings: Settings) -> Iterator[str]:
    """OpenMetrics text of the simulated links up to a moment in seconds since the epoch."""
    calendar = Calendar(settings.midnight)
    pages = [
        (
            link,
            list(
                _readings(link, Growth(link, settings.seed, calendar.local(until_then)), calendar, until_then)
            ),
        )
        for link in settings.links
    ]
    for place, (family, kind) in enumerate(FAMILIES.items()):
        yield f"# TYPE {family.removesuffix('_total')} {kind}\n"
        for link, readings in pages:
            labels = _labels(link, info=family == "smsc_link_info")
            for at, values in readings:
                yield f"{family}{{{labels}}} {values[place]} {at}\n"
    yield "# EOF\n"


def _readings(
    link: SimulatedLink, growth: Growth, calendar: Calendar, until_then: int
) -> Iterator[tuple[int, Sequence[int]]]:
    """Each moment's values, in the order of the families. The counter began with the first count it saw."""
    begin = until_then - min(DAYS, link.age_days) * DAY
    for at in range(begin, until_then, STEP):
        local = calendar.local(at)
        cnt, month, today, yesterday, previous = growth.figures(local, calendar.periods(local))
        yield at, (cnt, today, yesterday, month, previous, cnt, at, 1, 1)


def _labels(link: SimulatedLink, *, info: bool) -> str:
    labels = {"job": "smsc", "instance": "localhost:10145", "account": "demo"}
    labels |= {"link": link.name, "shape": link.shape}
    labels |= {"id": link.id, "short_link": link.short} if info else {}
    return ",".join(f'{name}="{value}"' for name, value in labels.items())


def passes(rules: Iterable[dict[str, Any]], wanted: Iterable[str]) -> list[list[dict[str, Any]]]:
    """The recording rules behind what is wanted, so that each pass reads what the ones before recorded."""
    recording = [rule for rule in rules if "record" in rule]
    reads: dict[str, set[str]] = {}
    for rule in recording:  # several may record one name
        reads.setdefault(rule["record"], set()).update(re.findall(r"smsc:[a-z_:0-9]+", rule["expr"]))
    needed, left = set(), set(wanted)
    while left:
        needed |= left
        left = {name for record in left for name in reads[record] if name in reads} - needed
    found: list[list[dict[str, Any]]] = []
    done: set[str] = set()
    while needed - done:
        ready = {name for name in needed - done if reads[name] & needed <= done}
        found.append([rule for rule in recording if rule["record"] in ready])
        done |= ready
    return found


def record(folder: Path, rules: list[dict[str, Any]], spans: Iterable[tuple[int, int]]) -> None:
    """Lets promtool record rules for times past (seconds since the epoch), into `data` in this folder."""
    group = {"name": "past", "interval": "5m", "rules": rules}
    (folder / "past.yml").write_text(yaml.safe_dump({"groups": [group]}, width=1000))
    (folder / "past-prometheus.yml").write_text("{}")
    url = f"http://127.0.0.1:{free_port()}"
    command = ("prometheus", "--config.file=past-prometheus.yml", "--storage.tsdb.path=data")
    flags = ("--storage.tsdb.retention.time=40d", f"--web.listen-address={url.removeprefix('http://')}")
    # The two together: no time is spent on compaction.
    blocks = ("--storage.tsdb.min-block-duration=2h", "--storage.tsdb.max-block-duration=2h")
    with program(*command, *flags, *blocks, cwd=folder) as running:
        until(lambda: get(f"{url}/-/ready")[0] == 200, "Prometheus")
        for begin, end in spans:
            span = (f"--start={begin}", f"--end={end}", "--output-dir=data")
            promtool(folder, "rules", f"--url={url}", *span, "past.yml")
        running.stop()


def promtool(folder: Path, *arguments: str) -> None:
    """Creates blocks from what the arguments name, in this folder."""
    _run(folder, "tsdb", "create-blocks-from", *arguments)


def _run(folder: Path, *arguments: str) -> Path:
    """The file of what promtool prints. Raises SystemExit with its message when it fails."""
    command, printed = ["promtool", *arguments], folder / "printed.txt"
    with printed.open("w") as file:
        done = subprocess.run(  # noqa: S603 - ours
            command, cwd=folder, stdout=file, stderr=subprocess.PIPE, text=True, check=False
        )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}:\n{printed.read_text()}{done.stderr}")
    return printed


def join(folder: Path, data: Path) -> None:
    """Writes the series of all blocks in ``folder/data`` into ``data``, in blocks that do not overlap.

    Each pass of the rules makes blocks of its own for the same hours. Prometheus would warn of those.
    """
    (folder / "data" / "wal").mkdir(exist_ok=True)  # promtool wants one
    with _run(folder, "tsdb", "dump", "data").open() as dumped, (folder / "joined.txt").open("w") as joined:
        for line in dumped:
            if sample := _SAMPLE.fullmatch(line):
                name, labels, value, milliseconds = sample.groups()
                close = _BETWEEN_LABELS.sub(r"\1,", labels)
                joined.write(f"{name}{{{close}}} {value} {int(milliseconds) / 1000}\n")
        joined.write("# EOF\n")
    promtool(folder, "openmetrics", _LONG_BLOCKS, "joined.txt", str(data.resolve()))


_SAMPLE = re.compile(r'{__name__="([\w:]+)"(?:, )?(.*)} (\S+) (\d+)\n')
"""A line of `promtool tsdb dump`. Its time is in milliseconds; that of OpenMetrics is in seconds."""
_BETWEEN_LABELS = re.compile(r'("(?:[^"\\]|\\.)*"), ')
"""OpenMetrics has no space there."""

_LONG_BLOCKS = "--max-block-duration=500h"


def write(
    data: Path,
    now: int,
    wanted: Iterable[str],
    spans: Sequence[tuple[int, int]],
    settings: Settings,
    say: Callable[[str], None] = lambda part: None,
) -> None:
    """Writes the month up to now, and for some times what the rules record on the way to what is wanted.

    ``settings`` have the links. ``say`` is told of each part before it is written.
    """
    parts = passes(yaml.safe_load(RULES.read_text())["groups"][0]["rules"], wanted)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        say(f"the clicks of {DAYS} days")
        with (folder / "history.txt").open("w") as file:
            file.writelines(history(now, settings))
        promtool(folder, "openmetrics", _LONG_BLOCKS, "history.txt", "data")
        for number, rules in enumerate(parts, 1):
            say(f"what the rules record, part {number} of {len(parts)}")
            record(folder, rules, spans)
        say(f"all of it into {data}")
        data.mkdir(parents=True, exist_ok=True)
        join(folder, data)


def main(arguments: Sequence[str] | None = None) -> None:
    """Up to this moment."""
    parser = argparse.ArgumentParser(
        prog="python -m grafana.history",
        description="Writes the past month of the demo into a data folder of Prometheus. It takes minutes.",
    )
    parser.add_argument("data", type=Path, help="a new or empty folder, for prometheus --storage.tsdb.path")
    data: Path = parser.parse_args(arguments).data
    if data.exists() and not (data.is_dir() and not any(data.iterdir())):
        parser.error(f"{data} is not an empty folder: name a new one")
    now = int(time.time()) // STEP * STEP
    write(data, now, WANTED, [(now - RECORDED_DAYS * DAY, now)], Settings(), _progress)
    print(f"Done: prometheus --storage.tsdb.path={data} --storage.tsdb.retention.time=40d")


def _progress(part: str) -> None:
    print(f"Writing {part} ...", flush=True)


if __name__ == "__main__":
    main()
