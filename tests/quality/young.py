"""How good the alerts on young links are, by kind of link and by size of event."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tests.quality.promql import Rows, Vector
from tests.quality.rules import behind, evaluate, firing, scraped, shipped
from tests.quality.score import SIZES, Tally, episodes, rate, score, share
from tests.quality.traffic import DAY, SCORED, STEP, STEPS, Kind, Traffic
from tests.quality.young_traffic import BURSTY, CAMPAIGNS, EVERGREEN, MAILING, town

ALERTS = {"SmscYoungLinkSurge": "spike", "SmscYoungLinkDead": "drop"}
WORDS = {"spike": "surge", "drop": "death"}

WEEK = 7 * DAY
BEFORE = SCORED - DAY
"""Steps that are left out, because nothing was scraped then."""

OLD = "older than a week"
"""The name under which alerts are counted that begin on a link with a week of history."""

GROUPS = {
    "campaigns": CAMPAIGNS,
    "evergreen, first week": EVERGREEN,
    **{kind.name: (kind,) for kind in (*CAMPAIGNS, *EVERGREEN, BURSTY, MAILING)},
}

Table = dict[tuple[str, str], Tally]
"""By the event and the kind of links."""


def judge(seed: int) -> Table:
    """Both alerts on the links of one seed."""
    links = town(seed)
    rules = behind(shipped("clicks.yml", "young.yml"), ALERTS)
    table: Table = {}
    with np.errstate(all="ignore"):
        engine = evaluate(rules, _since_then(links), STEPS - BEFORE, since=0)
        for rule in rules:
            if event := ALERTS.get(rule.get("alert", "")):
                fires = firing(engine, rule, SCORED - BEFORE)
                table |= {(event, kind): tally for kind, tally in score(links, fires, event, span).items()}
                table[event, OLD] = Tally(false=_on_old_links(links, fires))
    return table


def _since_then(links: list[Traffic]) -> dict[str, Vector]:
    """What Prometheus has since it was installed, with a day before; the first step is at 0 seconds."""
    stored = scraped(links)
    return {
        name: Vector(
            vector.labels, vector.rows[:, BEFORE:] - BEFORE * STEP * name.endswith("_timestamp_seconds")
        )
        for name, vector in stored.items()
    }


def span(link: Traffic) -> tuple[int, int]:
    """The steps that count: two weeks of a campaign, the first week with an exporter of other links."""
    if link.kind in CAMPAIGNS:
        return max(SCORED, link.sent - 3 * DAY), min(STEPS, link.sent + 2 * WEEK)
    return SCORED, SCORED + WEEK


def _on_old_links(links: list[Traffic], fires: Mapping[str, Rows]) -> int:
    """Count alerts that begin a week or more after the link was first seen."""
    return sum(
        begin >= int(np.argmax(~np.isnan(link.total))) + WEEK + DAY // 12
        for link in links
        for begin, _ in episodes(fires.get(link.name))
    )


def rows(table: Table) -> list[dict[str, Any]]:
    """A row for each event and kind of links."""
    return [
        {"event": WORDS[event], "links": name} | _row(event, _sum(table, event, kinds))
        for event in WORDS
        for name, kinds in GROUPS.items()
    ]


def _sum(table: Table, event: str, kinds: Iterable[Kind]) -> Tally:
    return sum((table[event, kind.name] for kind in kinds), Tally())


def _row(event: str, tally: Tally) -> dict[str, Any]:
    return {
        "precision": share(tally.true, tally.true + tally.false),
        **{f"class {nth}": _found(tally, edge) for nth, edge in enumerate((0, *SIZES[event]), 1)},
        "false per link-week": rate(tally.false, tally.link_weeks),
        "resends reported": tally.excused,
        "delay, min": float(np.median(tally.delays)) if tally.delays else None,
    }


def _found(tally: Tally, edge: int) -> str | None:
    """Found and all events of a class of size."""
    events = tally.events_by_size[edge]
    return f"{tally.found_by_size[edge]} of {events}" if events else None


def on_old_links(table: Table) -> Counter[str]:
    """How often each alert began on a link that has a week of history."""
    return Counter({WORDS[event]: table[event, OLD].false for event in WORDS})
