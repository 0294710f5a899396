"""``python -m tests.bench [PART ...]`` prints a table for each part, and one of the aims behind all of them.

``--sizes`` and ``--seconds`` make a part quick; ``--into FILE`` puts the tables where they stand in a
document. ``python -m tests.bench soak [--minutes 15]`` runs for as long as it says, and exits with 1 unless
all was well.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

from tests.bench import (
    aims,
    at_scrape,
    connections,
    http,
    loaded,
    memory,
    midnight,
    passwords,
    polling,
    redis_storage,
    reload,
    scrape,
    soak,
    storage,
    unequal,
)
from tests.bench.documents import put
from tests.bench.tables import Asked, say

PARTS: dict[str, Any] = {
    "http": http,
    "scrape": scrape,
    "loaded": loaded,
    "midnight": midnight,
    "reload": reload,
    "polling": polling,
    "at-scrape": at_scrape,
    "memory": memory,
    "storage": storage,
    "redis": redis_storage,
    "connections": connections,
    "passwords": passwords,
    "unequal": unequal,
}
"""Each part measures rows, one at a time, says what it is doing meanwhile, and writes the rows as a table."""


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(size) for size in text.replace("_", "").split(","))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join([*PARTS, "soak"]))
    parser.add_argument("--sizes", type=_sizes, metavar="N,N", help="numbers of links, instead of the part's")
    parser.add_argument("--seconds", type=float, help="how long those parts watch that do")
    parser.add_argument("--minutes", type=float, default=15.0, help="how long soak runs (default: 15)")
    parser.add_argument(
        "--reload-every",
        type=float,
        default=soak.RELOAD_SECONDS,
        metavar="SECONDS",
        help="how often soak loads another configuration (default: %(default)g)",
    )
    parser.add_argument("--json", action="store_true", help="the figures as JSON, one object a row")
    parser.add_argument("--into", type=Path, metavar="FILE", help="replace the tables in this document, too")
    options = parser.parse_args()
    if unknown := set(options.parts) - PARTS.keys() - {"soak"}:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(PARTS)}, soak")
    return options


def main() -> int:
    """Measures the parts asked for."""
    options = _options()
    code, rows = 0, {}
    for name in options.parts or PARTS:
        say(f"{name}:")
        if name == "soak":
            code = _soak(options)
        else:
            rows[name] = _measure(name, options)
    _show(options, "aims", [], aims.table(rows))
    return code


def _measure(name: str, options: argparse.Namespace) -> list[Any]:
    part, rows, start = PARTS[name], [], time.monotonic()
    for row in part.measure(Asked(options.sizes, options.seconds)):
        say(f"measured {row}")
        rows.append(row)
    say(f"{name} took {time.monotonic() - start:.0f} s")
    _show(options, name, rows, part.table(rows) if rows else "")
    return rows


def _soak(options: argparse.Namespace) -> int:
    result = soak.measure(options.minutes, options.reload_every)
    faults = soak.faults(result)
    verdict = {"audit": result.audit, "faults": faults}
    _show(options, "soak", [*result.samples, verdict], soak.table(result))
    print(*faults, sep="\n", end="\n" * bool(faults), file=sys.stderr, flush=True)
    return int(bool(faults))


def _show(options: argparse.Namespace, name: str, rows: list[Any], table: str) -> None:
    if options.json:
        for row in rows:
            figures = row if isinstance(row, dict) else dataclasses.asdict(row)
            print(json.dumps({"part": name, **figures}), flush=True)
    elif table:
        print(table, end="\n\n", flush=True)
    if options.into and table:
        options.into.write_text(put(options.into.read_text(), name, table))


if __name__ == "__main__":
    sys.exit(main())
