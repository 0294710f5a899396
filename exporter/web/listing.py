"""Which links a page shows: search, filters, order and paging over what is known of all of them. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from exporter.errors import Outcome
from exporter.exposition import FIGURES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from exporter.exposition import View

    Key = Callable[[View, float], Any]

PER_PAGE = 100

LONGEST = 200
"""Characters to search for."""


class LinkState(StrEnum):
    """How a link stands: the values of ``?state=``."""

    OK = "ok"
    FAILING = "failing"
    STALE = "stale"
    WAITING = "waiting"


def state_of(view: View, now: float) -> LinkState:
    """The word that says most: not polled since the start, the latest poll failed, too old, or all well."""
    outcome = view.snapshot.outcome
    if outcome is None:
        return LinkState.WAITING
    if outcome is not Outcome.OK:
        return LinkState.FAILING
    return LinkState.STALE if view.stale(now) else LinkState.OK


def _figure(name: str) -> Key:
    return lambda view, now: view.figures(now).get(name)


_ALPHABET = (("", "A to Z"), ("-", "Z to A"))
_DIRECTIONS = {
    **dict.fromkeys(("account", "link", "state"), _ALPHABET),
    "read": (("-", "latest first"), ("", "oldest first")),
}

SORTS: Mapping[str, Key] = {
    "account": lambda view, now: view.snapshot.link.key,
    "link": lambda view, now: view.snapshot.link.name,
    **{name: _figure(name) for name in FIGURES},
    "read": lambda view, now: view.taken if view.snapshot.read_at > 0 else None,
    "state": state_of,
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
    """The parameters of a page. ``sort`` is one of ``SORTS``, with ``-`` before it from the greatest down."""

    q: str = ""
    account: str = ""
    state: str = ""
    sort: str = ""
    page: int = 1

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> Query:
        """The query in a request's parameters; unknown ones are left aside.

        Raises ``ValueError`` that says what to write.
        """
        told = {field.name: given.get(field.name, "").strip() for field in fields(cls)}
        if len(told["q"]) > LONGEST:
            raise ValueError(f"q: write {LONGEST} characters or less")
        page = told.pop("page") or "1"
        if not re.fullmatch("[1-9][0-9]{0,8}", page):
            raise ValueError("page: write a whole number from 1 on")
        _one_of("state", told["state"], tuple(LinkState))
        _one_of("sort", told["sort"].removeprefix("-") or told["sort"], tuple(SORTS))
        return cls(**told, page=int(page))

    def url(self, **changes: str | int) -> str:
        """The query string with these changes, and on the first page unless ``page`` is among them."""
        changed = replace(self, **{"page": 1, **changes})  # type: ignore[arg-type] # dataclasses' stub is strict
        told = {field.name: getattr(changed, field.name) for field in fields(self)}
        told = {name: value for name, value in told.items() if value not in ("", 1)}
        return f"?{urlencode(told)}"

    def turned(self, sort: str, first: str) -> str:
        """The ``sort`` to ask for next in a column's head; ``first`` is the direction to begin with."""
        return ({"": "-", "-": ""}[first] if self.sort == first + sort else first) + sort


def _one_of(name: str, value: str, known: Sequence[str]) -> None:
    if value and value not in known:
        raise ValueError(f"{name}: write one of {', '.join(known)}")


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of links, and how many there are: in all, as searched for, and in each state.

    ``wanted`` is how many requests a minute each account's links ask for.
    """

    views: tuple[View, ...]
    configured: int
    matching: int
    states: Mapping[LinkState, int]
    wanted: Mapping[str, float]

    @property
    def pages(self) -> int:
        """How many pages there are; an empty listing has one."""
        return max(1, -(-self.matching // PER_PAGE))


def select(views: Sequence[View], query: Query, now: float) -> Listing:
    """The page that ``query`` asks for. One past the last is empty."""
    states = dict.fromkeys(LinkState, 0)
    wanted: defaultdict[str, float] = defaultdict(float)
    found = []
    words = query.q.casefold().split()
    for view in views:
        state = state_of(view, now)
        states[state] += 1
        wanted[view.snapshot.link.account] += 60 / view.snapshot.link.refresh_interval
        if _matches(view, state, query) and (not words or _mentions(view, words)):
            found.append(view)
    start = (query.page - 1) * PER_PAGE
    shown = tuple(_sorted(found, query.sort, now)[start : start + PER_PAGE])
    return Listing(shown, len(views), len(found), states, wanted)


def _matches(view: View, state: LinkState, query: Query) -> bool:
    return query.account in ("", view.snapshot.link.account) and query.state in ("", state)


def _mentions(view: View, words: Sequence[str]) -> bool:
    """Whether every word stands somewhere in what names the link."""
    link, reading = view.snapshot.link, view.snapshot.reading
    texts = [link.account, link.name, link.id or "", link.url or "", *(value for _, value in link.labels)]
    if reading is not None:
        texts += [reading.id, reading.short_link]
    text = "\n".join(texts).casefold()
    return all(word in text for word in words)


def _sorted(views: list[View], sort: str, now: float) -> list[View]:
    if not sort:
        return views
    key = SORTS[sort.removeprefix("-")]
    keyed = [(key(view, now), view) for view in views]
    known = [pair for pair in keyed if pair[0] is not None]
    known.sort(key=lambda pair: pair[0], reverse=sort.startswith("-"))
    return [view for _, view in known] + [view for value, view in keyed if value is None]
