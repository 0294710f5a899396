"""Which links a page shows: search, filters, order and paging over what is known of all of them. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any
from urllib.parse import urlencode

from exporter.errors import Outcome
from exporter.exposition.slot import SHOWN, View

Figures = Mapping[str, int]

Key = Callable[[View, Figures, float], Any]

PER_PAGE = 100

LONGEST = 200
"""Characters to search for."""


class LinkState(StrEnum):
    """The state of a link: the values of ``?state=``."""

    OK = "ok"
    FAILING = "failing"
    STALE = "stale"
    WAITING = "waiting"


ATTENTION = (LinkState.FAILING, LinkState.STALE, LinkState.WAITING, LinkState.OK)
"""The states in the order of what needs attention first."""

MOST_REFRESH = 3600
LEAST_REFRESH = 5
"""Seconds after which a page that refreshes itself may do so."""


def state_of(view: View, now: float) -> LinkState:
    """The word that says most: not polled since the start, the latest poll failed, too old, or all well."""
    outcome = view.snapshot.outcome
    if outcome is None:
        return LinkState.WAITING
    if outcome is not Outcome.OK:
        return LinkState.FAILING
    return LinkState.STALE if view.stale(now) else LinkState.OK


def _figure(name: str) -> Key:
    return lambda view, figures, now: figures.get(name)


_ALPHABET = (("", "A to Z"), ("-", "Z to A"))
_DIRECTIONS = {
    **dict.fromkeys(("account", "link"), _ALPHABET),
    "read": (("-", "latest first"), ("", "oldest first")),
    "configured": (("", "first to last"),),
    "state": (("", "what needs attention first"), ("-", "what needs attention last")),
}

SORTS: Mapping[str, Key] = {
    "configured": lambda view, figures, now: 0,
    "account": lambda view, figures, now: view.snapshot.link.key,
    "link": lambda view, figures, now: view.snapshot.link.name,
    **{name: _figure(name) for name in SHOWN},
    "read": lambda view, figures, now: view.taken if view.snapshot.read_at > 0 else None,
    "state": lambda view, figures, now: ATTENTION.index(state_of(view, now)),
}
"""What links can be sorted by; where there is None, the link comes last, in either direction."""


ORDERS = tuple(
    (sign + name, f"{name.replace('_', ' ').capitalize()}, {order}")
    for name in SORTS
    for sign, order in _DIRECTIONS.get(name, (("-", "most first"), ("", "least first")))
)
"""All of them, in either direction, for a list to choose from: the heads of columns, where there are none."""


@dataclass(frozen=True, slots=True)
class Query:
    """The parameters of a page. ``sort`` is one of ``SORTS``, with ``-`` before it from the greatest down.

    The page loads again every ``refresh`` seconds, unless that is 0.
    """

    q: str = ""
    account: str = ""
    state: str = ""
    sort: str = ""
    page: int = 1
    refresh: int = 0

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> Query:
        """The query in a request's parameters; unknown ones are ignored.

        Raises ``ValueError`` that says what to write.
        """
        texts = {name: given.get(name, "").strip() for name in ("q", "account", "state", "sort")}
        if len(texts["q"]) > LONGEST:
            raise ValueError(f"q: write {LONGEST} characters or less")
        one_of("state", texts["state"], tuple(LinkState))
        one_of("sort", texts["sort"].removeprefix("-") or texts["sort"], tuple(SORTS))
        page, refresh = given.get("page", "").strip() or "1", given.get("refresh", "").strip() or "0"
        if not re.fullmatch("[1-9][0-9]{0,8}", page):
            raise ValueError("page: write a whole number from 1 on")
        if refresh != "0" and not (
            re.fullmatch("[0-9]{1,4}", refresh) and LEAST_REFRESH <= int(refresh) <= MOST_REFRESH
        ):
            raise ValueError(f"refresh: write seconds, from {LEAST_REFRESH} to {MOST_REFRESH}")
        return cls(**texts, page=int(page), refresh=int(refresh))

    def url(self, **changes: str | int) -> str:
        """The query string with these changes, and on the first page unless ``page`` is among them."""
        changed = replace(self, **{"page": 1, **changes})  # type: ignore[arg-type] # dataclasses' stub is strict
        values = {field.name: getattr(changed, field.name) for field in fields(self)}
        given = {
            field.name: values[field.name] for field in fields(self) if values[field.name] != field.default
        }
        return f"?{urlencode(given)}"

    def turned(self, sort: str, first: str) -> str:
        """The ``sort`` to ask for next in a column's head; ``first`` is the direction to begin with."""
        return ({"": "-", "-": ""}[first] if self.sort == first + sort else first) + sort


def one_of(name: str, value: str, known: Sequence[str]) -> None:
    """Raises ``ValueError`` that says what to write, unless ``value`` is empty or known."""
    if value and value not in known:
        raise ValueError(f"{name}: write one of {', '.join(known)}")


@dataclass(frozen=True, slots=True)
class Listing:
    """The links that were asked for, in order, and how many there are: in all, and in each state.

    ``totals`` are the clicks of all that were found.
    """

    found: Sequence[View]
    page: int
    configured: int
    states: Mapping[LinkState, int]
    totals: Mapping[str, Mapping[str, int]]

    @property
    def views(self) -> Sequence[View]:
        """The links of the page. A page after the last is empty."""
        return self.found[(self.page - 1) * PER_PAGE : self.page * PER_PAGE]

    @property
    def matching(self) -> int:
        """How many links were found."""
        return len(self.found)

    @property
    def pages(self) -> int:
        """How many pages there are; an empty listing has one."""
        return max(1, -(-self.matching // PER_PAGE))


def select(views: Sequence[View], query: Query, sort: str, now: float) -> Listing:
    """The links that ``query`` asks for, in the order ``sort``."""
    states = dict.fromkeys(LinkState, 0)
    found = []
    words = query.q.casefold().split()
    for view in views:
        state = state_of(view, now)
        states[state] += 1
        if _matches(view, state, query) and (not words or _mentions(view, words)):
            found.append(view)
    figures = [view.figures(now) for view in found]
    in_order = _sorted(found, figures, sort, now)
    return Listing(in_order, query.page, len(views), states, _totals(figures))


def _totals(figures: Sequence[Figures]) -> dict[str, dict[str, int]]:
    """The clicks of each figure, and over how many links: those whose figure is not withheld."""
    known = {name: [each[name] for each in figures if name in each] for name in SHOWN}
    return {name: {"clicks": sum(clicks), "links": len(clicks)} for name, clicks in known.items()}


def _matches(view: View, state: LinkState, query: Query) -> bool:
    return query.account in ("", view.snapshot.link.account) and query.state in ("", state)


def _mentions(view: View, words: Sequence[str]) -> bool:
    link, reading = view.snapshot.link, view.snapshot.reading
    texts = [link.account, link.name, link.id or "", link.url or "", *(value for _, value in link.labels)]
    if reading is not None:
        texts += [reading.id, reading.short_link]
    text = "\n".join(texts).casefold()
    return all(word in text for word in words)


def _sorted(views: list[View], figures: Sequence[Figures], sort: str, now: float) -> list[View]:
    if not sort:
        return views
    key = SORTS[sort.removeprefix("-")]
    keyed = [(key(view, shown, now), view) for view, shown in zip(views, figures, strict=True)]
    known = [pair for pair in keyed if pair[0] is not None]
    known.sort(key=lambda pair: pair[0], reverse=sort.startswith("-"))
    return [view for _, view in known] + [view for value, view in keyed if value is None]
