"""Makes links of their sections, and reports those that are twice in an account."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from exporter.config.intervals import check_intervals
from exporter.model import Link

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from exporter.config.document import Document, Loc
    from exporter.config.intervals import Intervals
    from exporter.config.schema import AccountSection, LinkSection

Claim: TypeAlias = tuple[str, str]
"""What must be unique in an account: the key ``id``, ``link`` or ``name``, with its value."""

Held: TypeAlias = dict[Claim, tuple[str, int, "Loc"]]
"""The claims of links, with the file, line and place of each. The line is 0 if the file has changed since."""


def make_link(link: LinkSection, account: AccountSection, outer: Intervals) -> Link:
    """The link with what it inherits: labels of the account, and ``outer`` times."""
    intervals = outer.within(link)
    labels = {**account.labels, **link.labels}
    return Link(
        account=account.name,
        name=link.name or link.id or link.link or "",
        id=link.id,
        url=link.link,
        labels=tuple(sorted(labels.items())),
        refresh_interval=intervals.refresh_interval,
        stale_after=intervals.greatest_age,
        bounds=intervals.bounds,
    )


def check_links(document: Document, links: Iterable[LinkSection], outer: Intervals, held: Held) -> Held:
    """Report what does not agree in ``links``, and what others ``held`` before. Returns what these hold."""
    own: Held = {}
    for link in links:
        check_intervals(document, link, outer)
        _check_target(document, link)
        for claim, loc in _claims(link):
            here = document.file, document.place(loc)[0], loc
            first = held.get(claim) or own.setdefault(claim, here)
            if first != here:
                _report_repeated(document, claim, loc, *first)
    return own


def _check_target(document: Document, link: LinkSection) -> None:
    if "id" in link.given and "link" in link.given:
        document.add((*link.loc, "link"), "id is given as well: keep one of the two", key=True)
    elif "id" not in link.given and "link" not in link.given:
        message = "is missing: write the short link's id, or link with the full address"
        document.add((*link.loc, "id"), message)


def _claims(link: LinkSection) -> Iterator[tuple[Claim, Loc]]:
    """The claims of a link, each with its place."""
    for key, value in (("id", link.id), ("link", link.link)):
        if value:
            yield (key, value), (*link.loc, key)
    key = next((key for key in ("name", "id") if key in link.given), "link")
    if name := getattr(link, key):
        yield ("name", name), (*link.loc, key)


def _report_repeated(document: Document, claim: Claim, loc: Loc, file: str, line: int, first: Loc) -> None:
    where = f"{file}:{line}" if line else f"what {file} had before its errors"
    if file == document.file:
        where = f"{document.fault(first, '').path} on line {line}"
    if claim[0] == "name":
        document.add(loc, f"{where} already has this name: choose another")
    else:
        document.add(loc, f"{where} is the same link: remove one")
