"""``python -m grafana.backfill FOLDER``: the recording rules in files to be worked off one after the other.

`promtool tsdb create-blocks-from rules` reads what is stored, and not what it is just recording. So each file
has the rules that read nothing but scrapes and what the files before it record. See docs/alerting.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import yaml

from grafana.history import RULES, WANTED, passes

BURST = "smsc:clicks:burst"
"""What teaches the alarm line of a spike what is usual."""


def main(folder: Path) -> None:
    """Writes them, and says their names in order."""
    folder.mkdir(parents=True, exist_ok=True)
    rules_of_links = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    for number, rules in enumerate(passes(rules_of_links, [*WANTED, BURST]), 1):
        group = {"name": f"pass-{number}", "interval": "5m", "rules": rules}
        file = folder / f"{number:02}.yml"
        file.write_text(yaml.safe_dump({"groups": [group]}, width=1000))
        print(file)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m grafana.backfill", description=__doc__.partition(": ")[2]
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where the files are written")
    main(parser.parse_args().folder)
