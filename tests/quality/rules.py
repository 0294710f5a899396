"""The shipped rules, over a town's traffic: which alerts fire when."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.quality.promql import Engine, Labels, Rows, Vector, parse
from tests.quality.traffic import DAY, HOUR, SCORED, STEP, STEPS, Traffic
from tests.rules.shipped import PROMETHEUS, read

HOURLY = "smsc-clicks-hourly"
"""The group that looks back over two weeks, once an hour; here only for the half that is scored."""

LEARNED = SCORED - DAY
"""From when on what is costly is worked out: nothing earlier is scored."""

UNITS = {"m": 60, "h": 3600, "d": 86_400}


def scraped(links: Sequence[Traffic]) -> dict[str, Vector]:
    """What Prometheus would have of these links."""
    labels = tuple(_labels(link) for link in links)
    total = np.array([link.total for link in links])
    read_at = np.array([link.read_at for link in links])
    return {
        "smsc_link_clicks_total": Vector(labels, total),
        "smsc_link_clicks_all_time": Vector(labels, np.array([link.all_time for link in links])),
        "smsc_link_last_success_timestamp_seconds": Vector(labels, read_at),
        "smsc_link_info": Vector(labels, np.where(np.isnan(total), np.nan, 1.0)),
        **_of_days(links, labels),
    }


def _of_days(links: Sequence[Traffic], labels: tuple[Labels, ...]) -> dict[str, Vector]:
    """The provider's figures of days and months, where the traffic has them."""
    figures = {
        "smsc_link_clicks_yesterday": [link.yesterday for link in links],
        "smsc_link_clicks_month": [link.month for link in links],
        "smsc_link_clicks_previous_month": [link.previous_month for link in links],
    }
    return {name: Vector(labels, np.array(rows)) for name, rows in figures.items() if rows[0] is not None}


def _labels(link: Traffic) -> Labels:
    names = {"job": "smsc", "instance": "a:10145", "account": "main", "link": link.name}
    return frozenset(names.items())


def shipped(*files: str) -> list[dict[str, Any]]:
    """The rules on clicks as they stand, or those of some files, each with its group's name."""
    names = files or ("clicks.yml",)
    return [rule for name in names for rule in _rules(PROMETHEUS / "rules" / name)]


def behind(rules: list[dict[str, Any]], alerts: Iterable[str]) -> list[dict[str, Any]]:
    """Return these alerts, and the rules that record what they read, directly or not."""
    wanted = [rule for rule in rules if rule.get("alert") in set(alerts)]
    names: set[str] = set()
    found: set[str] = set().union(*(_reads(rule["expr"]) for rule in wanted))
    while found - names:
        names |= found
        found = set().union(*(_reads(rule["expr"]) for rule in rules if rule.get("record") in names))
    return [rule for rule in rules if rule.get("record") in names or rule in wanted]


def naive() -> list[dict[str, Any]]:
    """Those to compare them with."""
    return _rules(Path(__file__).parent / "naive.yml")


def _rules(path: Path) -> list[dict[str, Any]]:
    return [{**rule, "group": group["name"]} for group in read(path)["groups"] for rule in group["rules"]]


def evaluate(
    rules: Iterable[dict[str, Any]], stored: dict[str, Vector], steps: int = STEPS, since: int = LEARNED
) -> Engine:
    """Records what they record, whatever order they stand in: what a rule reads comes first.

    But for those that read which alerts fire, for no single link's alert comes of them.
    """
    engine = Engine(dict(stored), steps, since)
    recording = [rule for rule in rules if "record" in rule and "ALERTS" not in rule["expr"]]
    pending = [(rule, parse(rule["expr"]), _reads(rule["expr"])) for rule in recording]
    while pending:
        unknown = {rule["record"] for rule, _, _ in pending}
        ready = [one for one in pending if not one[2] & unknown]
        if ready:
            for rule, expr, _ in ready:
                _store(engine, rule, _recorded(engine, rule, expr))
        else:
            ready = _in_turns(engine, pending)
        pending = [one for one in pending if one not in ready]
    return engine


def _reads(text: str) -> set[str]:
    """The recorded names in an expression."""
    return {word for word in _words(text) if word.startswith("smsc:")}


def _words(text: str) -> list[str]:
    return "".join(letter if letter.isalnum() or letter in "_:" else " " for letter in text).split()


def _recorded(engine: Engine, rule: dict[str, Any], expr: Any) -> Vector:
    if rule["group"] != HOURLY:
        return engine.evaluate(expr, 0, engine.steps)  # type: ignore[no-any-return] # no rule records a number
    rows: list[Rows] = []
    labels: tuple[Labels, ...] = ()
    for step in range(engine.steps):
        if step % HOUR == 0 and step >= engine.since:
            vector = engine.evaluate(expr, step, step + 1)
            labels = vector.labels
            rows.append(vector.rows)
        else:
            rows.append(None)
    absent = np.full((len(labels), 1), np.nan)
    return Vector(labels, np.concatenate([absent if row is None else row for row in rows], axis=1))


def _store(engine: Engine, rule: dict[str, Any], vector: Vector) -> None:
    """Under its name, beside what other rules have recorded under it; NaN is not told from nothing."""
    own = rule.get("labels", {})
    labels = tuple(frozenset({**dict(one), **own}.items()) for one in vector.labels)
    before = engine.stored.get(rule["record"], Vector((), np.empty((0, engine.steps))))
    engine.stored[rule["record"]] = Vector(
        (*before.labels, *labels), np.concatenate([before.rows, vector.rows])
    )


def _in_turns(engine: Engine, pending: list[Any]) -> list[Any]:
    """Rules that read what they themselves recorded before: step by step. Returns those that did.

    Only for links of which something but 0 is recorded without that: where nothing begins, nothing goes on.
    """
    reads = {rule["record"]: names for rule, _, names in pending}
    circle = [one for one in pending if one[0]["record"] in _behind(one[0]["record"], reads)]
    for rule, expr, _ in circle:
        engine.stored[rule["record"]] = engine.evaluate(expr, 0, engine.steps)
    begun = engine.stored[circle[-1][0]["record"]]
    names = {
        dict(labels)["link"]
        for labels, row in zip(begun.labels, begun.rows, strict=True)
        if np.nan_to_num(row[engine.since :]).any()
    }
    part = Engine(
        {name: _of(vector, names) for name, vector in engine.stored.items()}, engine.steps, engine.since
    )
    reach = _reach(circle)
    latest = -reach
    for step in range(engine.since, engine.steps):
        if _anything(part, circle, step):
            latest = step
        if step - latest <= reach:  # else all is as it was worked out above
            for rule, expr, _ in circle:
                _put(part, rule["record"], part.evaluate(expr, step, step + 1), step)
            if _anything(part, circle, step):
                latest = step
    for rule, _, _ in circle:
        rest = _of(engine.stored[rule["record"]], names, inside=False)
        done = part.stored[rule["record"]]
        engine.stored[rule["record"]] = Vector(
            (*rest.labels, *done.labels), np.concatenate([rest.rows, done.rows])
        )
    return circle


def _reach(circle: list[Any]) -> int:
    """Steps over which these rules read what they recorded themselves, with a few to spare."""
    names = "|".join(re.escape(rule["record"]) for rule, _, _ in circle)
    ranges = [found for rule, _, _ in circle for found in re.findall(rf"(?:{names})\[(\w+)\]", rule["expr"])]
    return max(_steps(found) for found in ranges) + HOUR


def _anything(engine: Engine, circle: list[Any], step: int) -> bool:
    """Whether any of these rules has recorded something but 0 at a step."""
    return any(np.nan_to_num(engine.stored[rule["record"]].rows[:, step]).any() for rule, _, _ in circle)


def _of(vector: Vector, names: set[str], *, inside: bool = True) -> Vector:
    """The series of some links, or those of all others."""
    index = [
        place for place, labels in enumerate(vector.labels) if (dict(labels).get("link") in names) == inside
    ]
    return Vector(tuple(vector.labels[place] for place in index), vector.rows[index].copy())


def _put(engine: Engine, name: str, vector: Vector, step: int) -> None:
    """Records one step of some series; what has not been there yet is added."""
    stored = engine.stored[name]
    new = tuple(labels for labels in vector.labels if labels not in set(stored.labels))
    if new:
        rows = np.concatenate([stored.rows, np.full((len(new), engine.steps), np.nan)])
        stored = engine.stored[name] = Vector((*stored.labels, *new), rows)
    places = {labels: place for place, labels in enumerate(stored.labels)}
    stored.rows[:, step] = np.nan
    stored.rows[[places[labels] for labels in vector.labels], step] = vector.rows[:, 0]


def _behind(name: str, reads: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    left = reads[name] & reads.keys()
    while left:
        found |= left
        left = set().union(*(reads[one] & reads.keys() for one in left)) - found
    return found


# --- alerts -------------------------------------------------------------------------------------------------


def firing(engine: Engine, alert: dict[str, Any], begin: int = SCORED) -> dict[str, Rows]:
    """By the name of a link, at which steps its alert fires, from a step on."""
    vector = engine.evaluate(parse(alert["expr"]), 0, engine.steps)
    wait, keep = _steps(alert.get("for", "0m")), _steps(alert.get("keep_firing_for", "0m"))
    return {
        dict(labels)["link"]: _fires(~np.isnan(row), wait, keep)[begin:]
        for labels, row in zip(vector.labels, vector.rows, strict=True)
    }


def _steps(duration: str) -> int:
    return int(duration[:-1]) * UNITS[duration[-1]] // STEP


def _fires(true: Rows, wait: int, keep: int) -> Rows:
    """As Prometheus has it: after `for`, and on for `keep_firing_for` once it is true no longer."""
    fires = np.zeros(len(true), dtype=bool)
    since, ended = None, None
    for step, now in enumerate(true):
        if now:
            since, ended = step if since is None else since, None
        elif since is not None and fires[step - 1] and keep:
            ended = step if ended is None else ended
            since = since if step - ended < keep else None
        else:
            since = None
        fires[step] = since is not None and step - since >= wait
    return fires
