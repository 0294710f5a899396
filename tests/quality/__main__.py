"""How good the alerts on clicks are: ``python -m tests.quality``, a table of what they find and miss.

It makes weeks of traffic with known events, evaluates the shipped rules on them, and a few rules that one
would write first: ten to thirty seconds of a processor for each seed. ``python -m tests.quality young`` does
so for links with less than a week of history. ``python -m tests.quality cost`` asks a real Prometheus what an
evaluation takes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any, TypeVar

import numpy as np

from tests.quality import cost, young
from tests.quality.rules import evaluate, firing, naive, scraped, shipped
from tests.quality.score import Estimate, Tally, score
from tests.quality.traffic import KINDS, RHYTHM, town

Key = TypeVar("Key")

OURS = {"SmscLinkClickSpike": "spike", "SmscLinkClicksFlatline": "drop"}

SEEDS = {"alerts": "4000-4079", "young": "8000-8079"}
"""None of them tuned on."""

Table = dict[tuple[str, str, str], Tally]
"""By the event, the method and the kind of links."""


def judge(seed: int) -> Table:
    """All alerts on the links of one seed."""
    links = town(seed)
    stored = scraped(links)
    table: Table = {}
    with np.errstate(all="ignore"):
        for rules in (shipped(), naive()):
            engine = evaluate(rules, stored)
            for rule in rules:
                event = OURS.get(rule.get("alert", "")) or rule.get("labels", {}).get("kind")
                if event:
                    method = "the rules" if rule["alert"] in OURS else rule["alert"]
                    for kind, tally in score(links, firing(engine, rule), event).items():
                        table[event, method, kind] = tally
    return table


def judged(judge: Callable[[int], dict[Key, Tally]], seeds: range, jobs: int | None) -> dict[Key, Tally]:
    """Judge all seeds, in as many processes as there are processors unless told otherwise."""
    whole: dict[Key, Tally] = {}
    with ProcessPoolExecutor(jobs) as pool:
        for done, one in enumerate(as_completed([pool.submit(judge, seed) for seed in seeds]), 1):
            print(f"{done} of {len(seeds)} seeds", file=sys.stderr)
            for key, tally in one.result().items():
                whole[key] = whole.get(key, Tally()) + tally
    return whole


def rows(table: Table) -> list[dict[str, Any]]:
    """The rules by the kind of links, then the others on links with a weekly rhythm."""
    found = []
    for event in ("spike", "drop"):
        methods = dict.fromkeys(method for kind, method, _ in table if kind == event)
        for method in methods:
            found.append(
                {"event": event, "method": method, "links": "weekly rhythm"} | _rhythm(table, event, method)
            )
            if method == "the rules":
                found.extend(
                    {"event": event, "method": method, "links": kind.name}
                    | table[event, method, kind.name].row()
                    for kind in KINDS
                )
    return found


def _rhythm(table: Table, event: str, method: str) -> dict[str, Any]:
    return sum((table[event, method, kind.name] for kind in RHYTHM), Tally()).row()


def text(found: list[dict[str, Any]]) -> str:
    """The table in Markdown."""
    lines = ["| " + " | ".join(found[0]) + " |", "|---|---|---|" + "---:|" * (len(found[0]) - 3)]
    lines += ["| " + " | ".join(_cell(name, value) for name, value in row.items()) + " |" for row in found]
    return "\n".join(lines)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, Estimate):
        digits = 4 if "week" in name else 3
        return f"{value.value:.{digits}f} ({value.low:.{digits}f} to {value.high:.{digits}f})"
    return f"{value:.{0 if 'min' in name else 3}f}" if isinstance(value, float) else str(value)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.quality", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("alerts", "young", "cost"), default="alerts")
    parser.add_argument("--seeds", help=f"from and to; default: {SEEDS}, none of them tuned on")
    parser.add_argument("--jobs", type=int, help="processes; default: as many as processors")
    parser.add_argument("--links", type=int, default=300, help="of the cost; default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    found = cost.measure(options.links) if options.what == "cost" else _table(options)
    print(json.dumps(found, indent=2) if options.json else text(found))


def _table(options: argparse.Namespace) -> list[dict[str, Any]]:
    first, _, last = (options.seeds or SEEDS[options.what]).partition("-")
    seeds = range(int(first), int(last or first) + 1)
    if options.what == "alerts":
        return rows(judged(judge, seeds, options.jobs))
    table = judged(young.judge, seeds, options.jobs)
    print(f"alerts on links older than a week: {dict(young.on_old_links(table))}", file=sys.stderr)
    return young.rows(table)


if __name__ == "__main__":
    main()
