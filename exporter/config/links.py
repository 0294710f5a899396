"""Makes links of their sections, with what they inherit, and checks that they agree.

That is how often links are read, how old readings may become, and that no link is twice in an account.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from typing import TypeAlias

from exporter.config.document import Document, Loc
from exporter.config.schema import AccountSection, File, LinkSection
from exporter.config.sections import Section
from exporter.config.values import LEAST_INTERVAL, format_duration
from exporter.model import Link

Claim: TypeAlias = tuple[str, str]
"""What must be unique in an account: the key ``id``, ``link`` or ``name``, with its value."""

Held: TypeAlias = dict[Claim, tuple[str, int, "Loc"]]
"""The claims of links, with the file, line and place of each. The line is 0 if the file has changed since."""

LONGEST_INTERVALS = 10
"""The longest adaptive interval, in refresh intervals, if the file does not say."""

LONGEST_WAIT = 1.5
"""Intervals from a reading to the next, once, where the clicks have just made the interval another one."""

_LEAST_STALE = 900.0
_STALE_INTERVALS = 3


@dataclass(frozen=True, slots=True)
class Intervals:
    """The times in seconds that a section inherits. What is wrong in the file is None, or no number."""

    refresh: str | None = "fixed"
    refresh_interval: float = 60.0
    min_interval: float = LEAST_INTERVAL
    max_interval: float | None = None
    stale_after: float | None = None

    @property
    def longest(self) -> float:
        """The longest interval, where the clicks decide."""
        return self.max_interval or LONGEST_INTERVALS * self.refresh_interval

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The shortest and the longest interval, where the clicks decide."""
        return (self.min_interval, self.longest) if self.refresh == "adaptive" else None

    @property
    def greatest_age(self) -> float:
        """The greatest age of a reading that is shown."""
        slowest = self.longest if self.bounds else self.refresh_interval
        return self.stale_after or max(_LEAST_STALE, _STALE_INTERVALS * slowest)

    def within(self, section: Section) -> Intervals:
        """What holds in ``section``: its own times, or else these. A link keeps an interval of its own."""
        own = {key: getattr(section, key) for key in section.given if key in _KEYS and hasattr(section, key)}
        if isinstance(section, LinkSection) and "refresh_interval" in own:
            own["refresh"] = "fixed"
        return replace(self, **own) if own else self


_KEYS = frozenset(each.name for each in fields(Intervals))


def check_intervals(document: Document, section: Section, outer: Intervals) -> Intervals:
    """Report times that contradict each other because of ``section``. Returns what holds in it."""
    found = outer.within(section)
    if found is outer:
        return found
    if found.bounds:
        _check_bounds(document, section, found)
    elif found.refresh == "fixed" and not _is_adaptive_below(section):
        for key in _given(section, "min_interval", "max_interval"):
            message = "only works with refresh: adaptive; write that too, or remove this"
            document.add((*section.loc, key), message, key=True)
    _check_freshness(document, section, found)
    return found


def _is_adaptive_below(section: Section) -> bool:
    """Whether bounds of the whole file are for one of its accounts."""
    accounts = section.accounts.values() if isinstance(section, File) else ()
    return any(account.refresh == "adaptive" for account in accounts)


def _check_bounds(document: Document, section: Section, found: Intervals) -> None:
    """Report bounds that exclude the interval, which is the mean."""
    keys = _given(section, "refresh_interval", "min_interval", "max_interval", "refresh")
    if not keys or isinstance(section, LinkSection):
        return
    message = None
    if found.min_interval > found.longest:
        shortest, longest = format_duration(found.min_interval), format_duration(found.longest)
        message = f"min_interval ({shortest}) is longer than max_interval ({longest}): write a shorter one"
    elif found.refresh_interval < found.min_interval or found.refresh_interval > found.longest:
        mean, shortest, longest = map(
            format_duration, (found.refresh_interval, found.min_interval, found.longest)
        )
        message = (
            f"refresh_interval ({mean}) is the mean of the account's intervals: write one from "
            f"min_interval ({shortest}) to max_interval ({longest})"
        )
    if message:
        document.add((*section.loc, keys[0]), message)


def _check_freshness(document: Document, section: Section, found: Intervals) -> None:
    """Report a ``stale_after`` that is not longer than the time between two readings."""
    keys = _given(section, "stale_after", "refresh_interval", "max_interval", "refresh")
    name, interval, apart = "refresh_interval", found.refresh_interval, found.refresh_interval
    if found.bounds:
        name, interval = "one and a half times max_interval", found.longest
        apart = LONGEST_WAIT * interval
    if keys and found.stale_after is not None and found.stale_after <= apart:
        document.add(
            (*section.loc, keys[0]),
            f"stale_after ({format_duration(found.stale_after)}) must be longer than {name} "
            f"({format_duration(interval)}), or series disappear between readings: "
            f"write stale_after: {format_duration(3 * interval)}",
        )


def _given(section: Section, *keys: str) -> list[str]:
    return [key for key in keys if key in section.given]


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
