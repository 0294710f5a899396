"""``python -m tests.bench [scrape] [polling]``: the tables, on standard output; both without a word."""

from __future__ import annotations

import sys

from tests.bench import polling, scrape


def main(wanted: list[str]) -> None:
    if not wanted or "scrape" in wanted:
        rows = []
        for row in scrape.measure():
            print(f"  scraped {row.links} links", file=sys.stderr)
            rows.append(row)
        print(scrape.table(rows), end="\n\n", flush=True)
    if not wanted or "polling" in wanted:
        print(polling.table(polling.measure()))


main(sys.argv[1:])
