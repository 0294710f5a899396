"""How the values of a file must agree with each other.

These run on the plain document, whatever the schema said of it: each looks only at what it needs, so that an
error in one place does not hide those in another.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias
from zoneinfo import ZoneInfo

from exporter.config import values
from exporter.config.document import Loc, Plain, mapping, sequence
from exporter.config.intervals import Section, check_intervals
from exporter.config.schema import DEFAULT_URL
from exporter.config.secrets import addresses, given_as
from exporter.model import Account

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from exporter.config.document import Report
    from exporter.config.secrets import Secrets

Claim: TypeAlias = tuple[str, str]
"""What must be unique in an account: the key ``id``, ``link`` or ``name``, with its value."""

Held: TypeAlias = dict[Claim, tuple[str, int]]
"""The claims of links in other files, with the file and line of each."""


def check(data: Plain, secrets: Secrets, report: Report) -> None:
    """Report all values in ``data`` that contradict each other."""
    document = mapping(data)
    accounts = list(entries(document, (), "accounts"))
    check_intervals((), [document], report)
    for loc, account in accounts:
        check_intervals(loc, [document, account], report)
        check_links(list(entries(account, loc, "links")), [document, account], report)
        if "links" not in account and not account.get("link_files"):
            message = "is missing: list at least one link under it, such as - id: 145142, or name link_files"
            report.add((*loc, "links"), message)
        _unique(addresses(loc, account), "{first} on line {line} is the same address: remove one", report)
    names = (((*loc, "name"), account.get("name")) for loc, account in accounts)
    _unique(names, "{first} on line {line} already has this name: choose another", report)
    message = (
        "{first} on line {line} has the same login, and the provider counts by login: merge the two accounts"
    )
    _unique(_logins(accounts, secrets), message, report)


def entries(section: Section, loc: Loc, key: str) -> Iterator[tuple[Loc, Section]]:
    """The mappings in the list under ``key``, each with its place."""
    for index, entry in enumerate(sequence(section.get(key))):
        if isinstance(entry, dict):
            yield (*loc, key, index), entry


def _unique(entries: Iterable[tuple[Loc, object]], message: str, report: Report) -> None:
    """Report each entry whose text is the same as that of an earlier entry."""
    seen: dict[str, Loc] = {}
    for loc, value in entries:
        if not isinstance(value, str):
            continue
        first = seen.setdefault(value, loc)
        if first != loc:
            line, _ = report.document.place(first)
            report.add(loc, message.format(first=report.document.path(first), line=line))


def check_links(links: list[tuple[Loc, Section]], levels: Sequence[Section], report: Report) -> None:
    """Report what does not agree in ``links``, or with ``levels``: the sections they inherit from."""
    seen: dict[Claim, Loc] = {}
    for at, link in links:
        check_intervals(at, [*levels, link], report)
        _check_target(at, link, report)
    for claim, at in claims(links):
        first = seen.setdefault(claim, at)
        if first != at:
            line, _ = report.document.place(first)
            _refuse(claim, at, f"{report.document.path(first)} on line {line}", report)


def check_others(links: list[tuple[Loc, Section]], held: Held, report: Report) -> None:
    """Report each link that another file already has."""
    for claim, at in claims(links):
        if claim in held:
            file, line = held[claim]
            _refuse(claim, at, f"{file}:{line}", report)


def _refuse(claim: Claim, at: Loc, first: str, report: Report) -> None:
    if claim[0] == "name":
        report.add(at, f"{first} already has this name: choose another")
    else:
        report.add(at, f"{first} is the same link: remove one")


def claims(links: Iterable[tuple[Loc, Section]]) -> Iterator[tuple[Claim, Loc]]:
    """The claims of ``links``, each with its place."""
    for loc, link in links:
        for key in ("id", "link"):
            if isinstance(value := link.get(key), str):
                yield (key, value), (*loc, key)
        key = next((key for key in ("name", "id") if key in link), "link")
        if isinstance(name := link.get(key), str):
            yield ("name", name), (*loc, key)


def _check_target(loc: Loc, link: Section, report: Report) -> None:
    if "id" in link and "link" in link:
        report.add((*loc, "link"), "id is given as well: keep one of the two", key=True)
    elif "id" not in link and "link" not in link:
        report.add((*loc, "id"), "is missing: write the short link's id, or link with the full address")


def _logins(accounts: list[tuple[Loc, Section]], secrets: Secrets) -> Iterator[tuple[Loc, str]]:
    """What names each account's login at its host, where both are known."""
    for loc, account in accounts:
        credentials = secrets.credentials[loc]
        keys = given_as(account, "login" if credentials.login else "api_key")
        with suppress(ValueError):
            url = values.base_url(account.get("base_url", DEFAULT_URL))
            if credentials.login or credentials.api_key:
                # only what the key is made of matters here
                yield (*loc, keys[0]), Account("", credentials, url, ZoneInfo("UTC"), ()).login_key
