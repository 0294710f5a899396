"""``python -m tests.bench [PART ...] [--json]`` prints the tables; all by default.

``python -m tests.bench soak [--minutes 15]`` runs for as long as it says.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from typing import Any

from tests.bench import at_scrape, http, polling, redis_storage, scrape, soak, storage, unequal

PARTS: dict[str, Any] = {
    "scrape": scrape,
    "http": http,
    "storage": storage,
    "redis": redis_storage,
    "polling": polling,
    "at-scrape": at_scrape,
    "unequal": unequal,
}
"""Each part measures rows, one at a time, and writes them as a table."""


def main() -> None:
    """Measures the parts asked for, telling each row on standard error as it comes."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join([*PARTS, "soak"]))
    parser.add_argument("--minutes", type=float, default=15.0, help="how long soak runs")
    parser.add_argument("--json", action="store_true", help="the figures as JSON, one object a row")
    options = parser.parse_args()
    if unknown := set(options.parts) - PARTS.keys() - {"soak"}:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(PARTS)}, soak")
    if "soak" in options.parts:
        options.parts.remove("soak")
        print(soak.table(soak.measure(options.minutes)), end="\n\n", flush=True)
        if not options.parts:
            return
    for name in options.parts or PARTS:
        rows = []
        for row in PARTS[name].measure():
            print("  measured", row, file=sys.stderr)
            rows.append(row)
        if options.json:
            print(
                *(json.dumps({"part": name, **dataclasses.asdict(row)}) for row in rows), sep="\n", flush=True
            )
        elif rows:
            print(PARTS[name].table(rows), end="\n\n", flush=True)


main()
