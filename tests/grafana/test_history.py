"""The demo's past: what the demo itself would have shown, as far back as the boards look."""

from __future__ import annotations

import itertools
import json
import re
from functools import cache
from pathlib import Path

import pytest

from exporter.exposition.slot import FAMILIES
from exporter.simulator import Provider, Settings
from grafana import history
from tests import needs
from tests.rules.shipped import rules

NOON = 1_790_000_100
TWO = Settings(links=[link for link in Settings().links if link.name in {"spring-sale", "survey"}])
"""An old link of the demo and a young one. All of them would take a minute to make."""


@cache
def _lines() -> list[str]:
    """Takes seconds to make, so it is not made where no test asks for it."""
    return list(history.history(NOON, TWO))


def _samples(family: str, link: str) -> dict[int, float]:
    pattern = re.compile(rf'{family}{{[^}}]*link="{link}"[^}}]*}} (\S+) (\d+)\n')
    return {int(found[2]): float(found[1]) for line in _lines() if (found := pattern.fullmatch(line))}


@pytest.mark.parametrize(
    ("series", "field"), [("all_time", "cnt"), ("today", "cnt_day"), ("previous_month", "cnt_pmon")]
)
def test_the_demo_goes_on_where_it_ends(series: str, field: str) -> None:
    """A demo that is started later on that day has had the same clicks at that moment."""
    samples = _samples(f"smsc_link_clicks_{series}", "spring-sale")
    last = max(samples)
    assert NOON - last == history.STEP
    later = Provider(TWO, clock=lambda: float(last), monotonic=lambda: 0.0)
    assert samples[last] == getattr(later.figures("145142"), field)


def test_it_goes_back_four_weeks_and_the_rules_work_for_more_than_one() -> None:
    assert NOON - min(_samples("smsc_link_up", "spring-sale")) > 28 * history.DAY
    assert NOON - min(_samples("smsc_link_up", "survey")) == 3 * history.DAY  # made three days ago
    assert history.RECORDED_DAYS > 8


def test_it_has_the_links_series_as_the_exporter_names_and_types_them() -> None:
    told = dict(re.findall(r"# TYPE (\w+) (\w+)", "".join(line for line in _lines() if line.startswith("#"))))
    ours = {family.name.removesuffix("_total"): family.type for family in FAMILIES}
    assert told == {name: kind for name, kind in ours.items() if name != "smsc_link_failing"}
    assert _lines()[-1] == "# EOF\n"


def test_each_pass_of_the_rules_reads_what_those_before_recorded() -> None:
    passes = history.passes(rules(), history.WANTED)
    done: set[str] = set()
    for each in passes:
        for rule in each:
            read = set(re.findall(r"smsc:[\w:]+", rule["expr"]))
            assert read <= done, rule["record"]
        done |= {rule["record"] for rule in each}
    assert set(history.WANTED) <= done


def test_help_and_wrong_usage_write_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "wal").touch()
    for argument, code in (("--help", 0), ("--halp", 2), (str(tmp_path / "data"), 2)):
        with pytest.raises(SystemExit) as ended:
            history.main([argument])
        assert ended.value.code == code
    assert "name a new one" in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*")] == ["data", "wal"]


@needs.prometheus
def test_blocks_that_overlap_become_blocks_that_do_not(tmp_path: Path) -> None:
    for name in ("a:b", "c_total"):
        samples = (
            f'{name}{{link="x\\", y",shape="z"}} {at} {at}\n' for at in range(NOON, NOON + 20_000, 200)
        )
        (tmp_path / f"{name}.txt").write_text("".join(samples) + "# EOF\n")
        history.promtool(tmp_path, "openmetrics", f"{name}.txt", "data")
    history.join(tmp_path, tmp_path / "joined")
    blocks = [json.loads(path.read_text()) for path in (tmp_path / "joined").glob("*/meta.json")]
    assert sum(block["stats"]["numSamples"] for block in blocks) == 200
    ranges = sorted((block["minTime"], block["maxTime"]) for block in blocks)
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(ranges))
