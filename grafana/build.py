"""Writes the dashboards' JSON: ``python -m grafana.build``, after a change of grafana/boards."""

from __future__ import annotations

import json
from pathlib import Path

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from grafana.boards.exporter import exporter_board
from grafana.boards.link import link_board
from grafana.boards.overview import overview

DASHBOARDS = Path(__file__).parent / "dashboards"


def boards() -> dict[str, str]:
    """Each file's name and text."""
    built = {"overview": overview(), "link": link_board(), "exporter": exporter_board()}
    return {f"smsc-{name}.json": _text(board) for name, board in built.items()}


def _text(board: Dashboard) -> str:
    """JSON that says the same in the same order each time, in the letters it is written in."""
    document = json.loads(JSONEncoder().encode(board.build()))
    for link in document["links"]:
        del link["placement"]  # the SDK knows but one place, a menu in which nobody finds it
    return json.dumps(document, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def main() -> None:
    """Writes all files."""
    for name, text in boards().items():
        (DASHBOARDS / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
