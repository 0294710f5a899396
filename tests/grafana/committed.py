"""The committed boards, read as Grafana reads them: panels, queries, and variables put in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import promql_parser

from grafana.build import DASHBOARDS

BOARDS: dict[str, dict[str, Any]] = {
    path.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(DASHBOARDS.glob("*.json"))
}
PANELS: list[tuple[str, dict[str, Any]]] = [
    (name, panel) for name, board in BOARDS.items() for panel in board["panels"]
]

CHOICES = {
    "job": ".+",
    "instance": ".+",
    "account": ".*",
    "label": "link",
    "value": ".*",
    "link": ".*",
    "__rate_interval": "2m",
    "__range": "2d",
}
"""What the variables stand for when a board is opened for the first time."""


class Query(NamedTuple):
    """A panel's query, or an annotation's."""

    board: str
    panel: str
    ref: str
    written: str
    instant: bool

    def __str__(self) -> str:
        return f"{self.board.removesuffix('.json')}: {self.panel}: {self.ref}"


def _queries() -> Iterator[Query]:
    for name, panel in PANELS:
        for target in panel.get("targets", []):
            yield Query(name, panel["title"], target["refId"], target["expr"], target.get("instant", False))
    for name, board in BOARDS.items():
        for found in board["annotations"].get("list", []):
            yield Query(name, found["name"], "annotation", found["expr"], instant=False)


QUERIES = list(_queries())


def put_in(written: str, **choices: str) -> str:
    """A query with its variables' values; every variable has to be known."""
    known = CHOICES | choices
    return re.sub(r"\$(\w+)", lambda found: known[found[1]], written)


class Selector(NamedTuple):
    """A name with its matchers, and the operations around it: the outermost first."""

    name: str
    matchers: frozenset[tuple[str, str]]
    around: tuple[str, ...]


def selectors(written: str) -> list[Selector]:
    """What a query asks for."""
    found: list[Selector] = []
    above: list[str] = []

    def enter(node: promql_parser.Expr) -> None:
        above.append(_operation(node))
        if isinstance(node, promql_parser.VectorSelector):
            matchers = frozenset((each.name, each.value) for each in node.matchers.matchers)
            found.append(Selector(node.name or "", matchers, tuple(filter(None, above))))

    def leave(_: promql_parser.Expr) -> None:
        above.pop()

    promql_parser.walk(promql_parser.parse(put_in(written)), enter, leave)
    return found


def _operation(node: promql_parser.Expr) -> str:
    if isinstance(node, promql_parser.Call):
        return node.func.name
    return str(node.op) if isinstance(node, promql_parser.AggregateExpr) else ""
