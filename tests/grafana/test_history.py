"""The demo's past: what the demo itself would have shown, as far back as the boards look."""

from __future__ import annotations

import re

import pytest

from exporter.exposition import FAMILIES
from exporter.simulator import Provider, Settings
from grafana import history
from tests.rules.shipped import rules

NOON = 1_790_000_100
LINES = list(history.history(NOON))


def _samples(family: str, link: str) -> dict[int, float]:
    pattern = re.compile(rf'{family}{{[^}}]*link="{link}"[^}}]*}} (\S+) (\d+)\n')
    return {int(found[2]): float(found[1]) for line in LINES if (found := pattern.fullmatch(line))}


@pytest.mark.parametrize(
    ("series", "field"), [("all_time", "cnt"), ("today", "cnt_day"), ("previous_month", "cnt_pmon")]
)
def test_the_demo_goes_on_where_it_ends(series: str, field: str) -> None:
    """A demo that is started later on that day has had the same clicks at that moment."""
    samples = _samples(f"smsc_link_clicks_{series}", "spring-sale")
    last = max(samples)
    assert NOON - last == history.STEP
    later = Provider(Settings(), clock=lambda: float(last), monotonic=lambda: 0.0)
    assert samples[last] == getattr(later.figures("145142"), field)


def test_it_goes_back_four_weeks_and_the_rules_work_for_more_than_one() -> None:
    assert NOON - min(_samples("smsc_link_up", "spring-sale")) > 28 * history.DAY
    assert NOON - min(_samples("smsc_link_up", "survey")) == 3 * history.DAY  # made three days ago
    assert history.RECORDED_DAYS > 8


def test_it_has_the_links_series_as_the_exporter_names_and_types_them() -> None:
    told = dict(re.findall(r"# TYPE (\w+) (\w+)", "".join(line for line in LINES if line.startswith("#"))))
    ours = {family.name.removesuffix("_total"): family.type for family in FAMILIES}
    assert told == {name: kind for name, kind in ours.items() if name != "smsc_link_failing"}
    assert LINES[-1] == "# EOF\n"


def test_each_pass_of_the_rules_reads_what_those_before_recorded() -> None:
    passes = history.passes(rules(), history.WANTED)
    done: set[str] = set()
    for each in passes:
        for rule in each:
            read = set(re.findall(r"smsc:[\w:]+", rule["expr"]))
            assert read <= done, rule["record"]
        done |= {rule["record"] for rule in each}
    assert set(history.WANTED) <= done
