"""The benchmarks still run, say what they do, and print what the document holds. No figure is judged here."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bench import aims, http, loaded, memory, midnight, polling, reload, scrape, storage
from tests.bench.__main__ import PARTS
from tests.bench.documents import put, tables
from tests.bench.prober import Waits
from tests.bench.soak import Result, Sample, faults
from tests.bench.tables import figure, head, markdown, times

ROOT = Path(__file__).parent.parent.parent
DOCUMENT = (ROOT / "docs" / "internals" / "performance.md").read_text()
CLEAN = {"worst_window": 3, "most_in_flight": 14, "worst_failed_logins": 0, "followed_redirects": 0}


def _bench(*arguments: str) -> tuple[list[dict[str, Any]], str]:
    """The rows that a run prints as JSON, and what it says meanwhile."""
    command = [sys.executable, "-m", "tests.bench", *arguments, "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


WITHIN = ("http", "scrape", "midnight", "storage", "redis", "unequal")
"""Parts that end when they have measured; the others watch an exporter for so long."""


@pytest.mark.slow(1)
@pytest.mark.parametrize("parts", [WITHIN, [part for part in PARTS if part not in WITHIN]])
def test_each_part_runs_with_few_links_and_says_what_it_does(parts: list[str]) -> None:
    rows, said = _bench(*parts, "--sizes=20", "--seconds=0.5")
    without = {"redis"} if shutil.which("redis-server") is None else set()
    assert {(row["part"], row["links"]) for row in rows} == {(part, 20) for part in {*parts} - without}
    assert said.count("  measured Row(") == len(rows)
    for part in parts:
        progress = said.partition(f"  {part}:\n")[2]
        assert progress.index("20 links") < progress.index("measured")


def test_a_soak_of_seconds_is_clean() -> None:
    *samples, verdict = _bench("soak", "--minutes=0.03")[0]
    assert [sample["minutes"] for sample in samples] == [0, 0.0075, 0.015, 0.0225, 0.03]
    assert verdict["faults"] == []
    assert verdict["audit"]["requests"] > 0


def test_unknown_parts_are_refused() -> None:
    command = [sys.executable, "-m", "tests.bench", "nothing"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "unknown: nothing; there are http, scrape, loaded" in done.stderr


# --- the document -----------------------------------------------------------------------------------------


def test_tables_of_the_document_are_as_they_are_printed_today() -> None:
    heads = {name: table.splitlines()[0] for name, table in tables(DOCUMENT).items()}
    assert heads
    assert heads == {name: head(PARTS[name].COLUMNS) for name in heads}


@pytest.mark.parametrize("part", PARTS)
def test_the_document_names_every_part(part: str) -> None:
    assert re.search(rf"`(python -m tests.bench )?{part}`", DOCUMENT)


def test_tables_are_put_where_they_belong() -> None:
    document = "a\n<!-- bench: http -->\nold\n<!-- end -->\nb\n<!-- bench: redis -->\nold\n<!-- end -->\n"
    changed = put(document, "redis", "| new |\n|---|")
    assert tables(changed) == {"http": "old", "redis": "| new |\n|---|"}
    assert put(changed, "redis", "old") == document
    assert put(document, "scrape", "new") == document


MEASURED: dict[str, list[Any]] = {
    "http": [
        http.Row(10_000, False, 6000, ours=4, plain=4, objects=800, collector=600, nginx=2),
        http.Row(10_000, True, 280, ours=5, plain=4, objects=900, collector=700, nginx=0.5),
    ],
    "scrape": [
        scrape.Row(10_000, 6000, 3, 2, 2, 800, 60, 600),
        scrape.Row(100_000, 60000, 30, 24, 20, 8000, 600, 6000),
    ],
    "loaded": [
        loaded.Row(10_000, False, 5, 900, 700, (0.98, 0.9, 0.9), Waits(9, 2, 3, 1)),
        loaded.Row(10_000, True, 6, 900, 700, (0.98, 0.9, 0.9), Waits(12, 4, 5, 1)),
    ],
    "midnight": [midnight.Row(10_000, 2, 5, 6, 9, 8)],
    "reload": [
        reload.Row(10_000, "the same", 0.5, Waits(8, 2, 3, 1)),
        reload.Row(10_000, "other labels", 0.6, Waits(9, 2, 4, 1)),
    ],
    "polling": [polling.Row(10_000, 140, polling.Rate(138.6, 600), None, 3, 14)],
    "memory": [
        memory.Row(10_000, 1, 1, 80, 90, base=(55, 60)),
        memory.Row(100_000, 9, 9, 300, 330, base=(55, 60)),
    ],
    "storage": [
        storage.Row(10_000, 100, 180, 1, 0.2, 1.0),
        storage.Row(100_000, 100, 180, 9, 2.6, 9.0),
    ],
}


def test_aims_stand_beside_what_was_measured() -> None:
    lines = aims.table(MEASURED).splitlines()[2:]
    assert [line.removeprefix("| ").removesuffix(" |").split(" | ")[1:] for line in lines] == [
        ["200 times plain, 180 gzipped", "`http`", "yes"],
        ["2.0 times plain, 10.0 gzipped", "`http`", "no"],
        ["+1.0 ms", "`http`", "yes"],
        ["longest 12.0 ms, 99th percentile 4.0 ms; an idle process 5.0 ms", "`loaded`", "no"],
        ["9.0 ms of CPU", "`midnight`", "yes"],
        ["longest 9.0 ms; an idle process 4.0 ms", "`reload`", "yes"],
        ["99.0%", "`polling`", "yes"],
        ["3.0 kB", "`memory`", "yes"],
        [
            "at most 1.3 times as much for a link, with the most links (a restore)",
            "`scrape`, `storage`, `memory`",
            "no",
        ],
    ]


def test_aims_wait_until_all_is_measured() -> None:
    assert aims.table({**MEASURED, "polling": []}) == ""


def test_growth_is_not_judged_without_larger_sizes() -> None:
    assert "no cost that grows" in aims.table(MEASURED)
    assert "no cost that grows" not in aims.table({**MEASURED, "memory": MEASURED["memory"][:1]})


def test_numbers_stand_to_the_right() -> None:
    table = markdown("links | sent | adds", [["1", "plain", "–"], ["10", "gzipped", "+0.1"]])
    assert table == "| links | sent | adds |\n|---:|---|---:|\n| 1 | plain | – |\n| 10 | gzipped | +0.1 |"
    assert [figure(None, ".1f"), figure(2.04, ".1f"), times(9.94), times(12.4)] == ["–", "2.0", "9.9", "12"]


# --- what a soak is judged by -----------------------------------------------------------------------------


def _samples(*looks: tuple[float, float, int]) -> list[Sample]:
    return [Sample(minutes, memory, descriptors, 0, 0, 0) for minutes, memory, descriptors in looks]


STEADY = _samples((0, 60, 11), (1, 75, 25), (3.75, 77, 31), (7.5, 79, 12), (15, 81, 25))


def test_a_soak_that_settles_is_clean() -> None:
    assert faults(Result(STEADY, CLEAN)) == []
    # one too short to have settled is not judged by its memory
    assert faults(Result(_samples((0, 60, 11), (1, 75, 25), (2, 90, 25)), CLEAN)) == []


@pytest.mark.parametrize(
    ("result", "fault"),
    [
        (
            Result(STEADY, CLEAN | {"worst_window": 4}),
            "The auditor saw worst window 4; 3 at most are allowed.",
        ),
        (
            Result(STEADY, CLEAN | {"most_in_flight": 15}),
            "The auditor saw most in flight 15; 14 at most are allowed.",
        ),
        (
            Result(STEADY, CLEAN | {"worst_failed_logins": 1}),
            "The auditor saw worst failed logins 1; 0 at most are allowed.",
        ),
        (
            Result(STEADY, CLEAN | {"followed_redirects": 1}),
            "The auditor saw followed redirects 1; 0 at most are allowed.",
        ),
        (Result(STEADY, CLEAN, failed_scrapes=2), "2 scrapes were not answered with 200."),
        (Result(STEADY, CLEAN, failed_reloads=3), "3 reloads did not take effect."),
        (Result(STEADY, CLEAN, exit_code=-9), "The exporter ended with -9 when it was asked to stop."),
        (
            Result([*STEADY, *_samples((15, 82, 25))], CLEAN),
            "Memory grew by 3.0 MB after minute 7.5; 2.5 are allowed.",
        ),
        (
            Result([*STEADY, *_samples((15, 80, 32))], CLEAN),
            "Descriptors grew from 11 to 32; 20 more at most are allowed.",
        ),
    ],
)
def test_what_is_wrong_with_a_soak_is_said(result: Result, fault: str) -> None:
    assert faults(result) == [fault]
