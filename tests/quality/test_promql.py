"""That the judge reads the rules as Prometheus does: the same traffic through the real promtool."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests import needs
from tests.quality import young
from tests.quality.promql import Engine, Rows, Vector
from tests.quality.rules import HOURLY, behind, evaluate, firing, scraped, shipped
from tests.quality.traffic import DAY, HOUR, MEDIUM, STEP, Traffic
from tests.rules.shipped import run

pytestmark = [needs.prometheus, pytest.mark.slow(1)]

STEPS = 7 * DAY + 11 * HOUR
TIMES = (
    7 * DAY + 3,
    7 * DAY + 2 * HOUR,
    7 * DAY + 5 * HOUR,
    7 * DAY + 9 * HOUR,
    STEPS - 1,
)
RULES = [rule for rule in shipped() if rule["group"] != HOURLY]
YOUNG_STEPS = 38 * HOUR
YOUNG_TIMES = (
    2 * HOUR,
    7 * HOUR,
    30 * HOUR + 5,
    30 * HOUR + 10,
    31 * HOUR + 2,
    34 * HOUR,
    36 * HOUR + 8,
    YOUNG_STEPS - 1,
)


def _links() -> list[Traffic]:
    """A spike, corrections that the counter forgets and that are undone; a link that stops; gaps.

    The longest gap is of days that nothing is compared with: promtool is three times as fast there.
    """
    rng = np.random.default_rng(7)
    rates = np.full((2, STEPS), [[4.0], [3.0]])
    rates[0, 7 * DAY : 7 * DAY + HOUR] *= 12
    rates[1, 7 * DAY + 4 * HOUR :] = 0
    total = np.cumsum(rng.poisson(rates), axis=1).astype(float)
    all_time = total.copy()
    all_time[0, 5 * DAY :] -= 3000
    total[0, 6 * DAY + 5 :] -= 3000
    all_time[0, 7 * DAY + 3 * HOUR : 7 * DAY + 4 * HOUR] -= 500
    total[0, 7 * DAY + 4 * HOUR :] += 500
    read_at = np.tile(np.arange(STEPS) * float(STEP), (2, 1))
    for row in (total, all_time, read_at):
        row[:, DAY : DAY + 40] = row[:, DAY - 1 : DAY]
        row[:, DAY + 40 : 4 * DAY + 12 * HOUR] = np.nan
        row[:, 7 * DAY + 8 * HOUR : 7 * DAY + 8 * HOUR + 3] = np.nan
    return [Traffic(f"link-{n}", MEDIUM, total[n], all_time[n], read_at[n], ()) for n in range(2)]


def _young_links() -> list[Traffic]:
    """Five links of one account: a campaign surges, a busy and a small one die, two evergreen ones go on.

    One of the latter stops in the end. All have a gap, and one a counter that begins anew.
    """
    rng = np.random.default_rng(11)
    rates = np.full((5, YOUNG_STEPS), [[5.0], [20.0], [1.0], [6.0], [3.0]])
    rates[0, 30 * HOUR : 32 * HOUR] *= 12
    rates[1, 30 * HOUR :] = 0
    rates[2, 30 * HOUR :] = 0
    rates[4, 31 * HOUR :] = 0
    total = np.cumsum(rng.poisson(rates), axis=1).astype(float)
    all_time = total.copy()
    total[3, 20 * HOUR :] -= 40
    all_time[3, 18 * HOUR :] -= 40
    read_at = np.tile(np.arange(YOUNG_STEPS) * float(STEP), (5, 1))
    for row in (total, all_time, read_at):
        row[:, 10 * HOUR : 10 * HOUR + 7] = row[:, 10 * HOUR - 1 : 10 * HOUR]
        row[:, 33 * HOUR : 33 * HOUR + 2] = np.nan
    days = np.ones_like(total) * np.array([[0], [0], [40], [1728], [864]])
    return [
        Traffic(
            f"link-{n}",
            MEDIUM,
            total[n],
            all_time[n],
            read_at[n],
            (),
            yesterday=days[n],
            previous_month=days[n] * (30 if n > 2 else 0),
        )
        for n in range(5)
    ]


def _written(row: Rows) -> str:
    """As promtool's tests have it: what is missing begins with a marker, as after a failed scrape."""
    there = ~np.isnan(row)
    return " ".join(
        repr(float(value)) if is_there else ("stale" if step and there[step - 1] else "_")
        for step, (value, is_there) in enumerate(zip(row, there, strict=True))
    )


def _series(stored: dict[str, Vector]) -> list[dict[str, str]]:
    return [
        {"series": f"{name}{_braces(dict(labels))}", "values": _written(row)}
        for name, vector in stored.items()
        for labels, row in zip(vector.labels, vector.rows, strict=True)
    ]


def _braces(labels: dict[str, str]) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in sorted(labels.items())) + "}"


def _expected(engine: Engine, name: str, step: int) -> dict[str, Any]:
    """Rounded, for the last digit depends on the order in which numbers are added."""
    vector = engine.stored[name]
    values = np.floor(vector.rows[:, step] * 1000 + 0.5) / 1000
    return {
        "expr": f"round({name}, 0.001)",
        "eval_time": f"{step * 5}m",
        "exp_samples": [
            {"labels": _braces(dict(labels)), "value": float(value)}
            for labels, value in zip(vector.labels, values, strict=True)
            if not np.isnan(value)
        ],
    }


def _firing(engine: Engine, alert: dict[str, Any], step: int) -> dict[str, Any]:
    fires = firing(engine, alert, 0)
    return {
        "expr": f'count by (link) (ALERTS{{alertname="{alert["alert"]}", alertstate="firing"}})',
        "eval_time": f"{step * 5}m",
        "exp_samples": [
            {"labels": _braces({"link": link}), "value": 1} for link, row in fires.items() if row[step]
        ],
    }


def test_the_judge_comes_to_the_numbers_of_prometheus(tmp_path: Path) -> None:
    _agree(tmp_path, RULES, _links(), TIMES, ("SmscLinkClickSpike", "SmscLinkClicksFlatline"))


def test_it_does_so_for_young_links(tmp_path: Path) -> None:
    rules = behind([*RULES, *shipped("young.yml")], young.ALERTS)
    _agree(tmp_path, rules, _young_links(), YOUNG_TIMES, tuple(young.ALERTS))


def _agree(
    tmp_path: Path,
    chosen: list[dict[str, Any]],
    links: list[Traffic],
    times: tuple[int, ...],
    names: tuple[str, ...],
) -> None:
    """Both come to the same numbers for all that is recorded, and the same alerts fire, each at some time."""
    steps = len(links[0].total)
    stored = scraped(links)
    recorded = sorted({rule["record"] for rule in chosen if "record" in rule})
    with np.errstate(all="ignore"):
        engine = evaluate(chosen, stored, steps, since=0)
        alerts = [rule for rule in chosen if rule.get("alert") in names]
        wanted = [
            _expected(engine, name, step) for name in recorded for step in times if "anomalous" not in name
        ]
        wanted += [_firing(engine, alert, step) for alert in alerts for step in times]
    assert sum(len(one["exp_samples"]) for one in wanted) > 200
    for name in names:
        assert any(one["exp_samples"] for one in wanted if name in one["expr"]), name
    rules = [
        {key: value for key, value in rule.items() if key != "group"}
        for rule in chosen
        if rule.get("alert", names[0]) in names and "anomalous" not in rule.get("record", "")
    ]
    group = {"name": "smsc-clicks", "interval": "5m", "rules": rules}
    _write(tmp_path / "rules.yml", {"groups": [group]})
    test = {"interval": "5m", "input_series": _series(stored), "promql_expr_test": wanted}
    _write(tmp_path / "test.yml", {"rule_files": ["rules.yml"], "evaluation_interval": "5m", "tests": [test]})
    done = run("promtool", "test", "rules", "test.yml", cwd=tmp_path, patience=400)
    assert done.returncode == 0, (done.stdout + done.stderr)[:3000]


def _write(path: Path, document: Any) -> None:
    path.write_text(yaml.safe_dump(document, width=10**9))
