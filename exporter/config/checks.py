"""How the values of a file must agree with each other.

These run on the plain document, whatever the schema said of it: each looks only at what it needs, so that a
fault in one place does not hide those in another.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from exporter.config import values
from exporter.config.document import Loc, Plain, mapping, path_of, sequence
from exporter.config.intervals import Section, check_intervals
from exporter.config.schema import DEFAULT_URL
from exporter.config.secrets import given_as
from exporter.model import Account

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from exporter.config.document import Report
    from exporter.config.secrets import Secrets


def check(data: Plain, secrets: Secrets, report: Report) -> None:
    """Report everything in ``data`` that does not agree with something else in it."""
    document = mapping(data)
    accounts = list(_entries(document, (), "accounts"))
    check_intervals((), [document], report)
    for loc, account in accounts:
        check_intervals(loc, [document, account], report)
        _check_links(loc, [document, account], report)
        _unique(_addresses(loc, account), "{first} on line {line} is the same address: remove one", report)
    names = (((*loc, "name"), account.get("name")) for loc, account in accounts)
    _unique(names, "{first} on line {line} has this name already: write another", report)
    message = (
        "{first} on line {line} is the same login, and the provider counts by login: join the two accounts"
    )
    _unique(_logins(accounts, secrets), message, report)


def _entries(section: Section, loc: Loc, key: str) -> Iterator[tuple[Loc, Section]]:
    """The mappings in the list under ``key``, each with its place."""
    for index, entry in enumerate(sequence(section.get(key))):
        if isinstance(entry, dict):
            yield (*loc, key, index), entry


def _unique(entries: Iterable[tuple[Loc, object]], message: str, report: Report) -> None:
    """Report each entry whose value, when it is text at all, was there before."""
    seen: dict[str, Loc] = {}
    for loc, value in entries:
        if not isinstance(value, str):
            continue
        first = seen.setdefault(value, loc)
        if first != loc:
            line, _ = report.document.place(first)
            report.add(loc, message.format(first=path_of(first), line=line))


def _check_links(loc: Loc, levels: list[Section], report: Report) -> None:
    links = list(_entries(levels[-1], loc, "links"))
    for at, link in links:
        check_intervals(at, [*levels, link], report)
        _check_target(at, link, report)
    for key in ("id", "link"):
        targets = (((*at, key), link.get(key)) for at, link in links)
        _unique(targets, "{first} on line {line} is the same link: remove one", report)
    _unique(map(_name, links), "{first} on line {line} has this name already: write another", report)


def _check_target(loc: Loc, link: Section, report: Report) -> None:
    if "id" in link and "link" in link:
        report.add((*loc, "link"), "id is given as well: keep one of the two", key=True)
    elif "id" not in link and "link" not in link:
        report.add((*loc, "id"), "is missing: write the short link's id, or link with the full address")


def _name(entry: tuple[Loc, Section]) -> tuple[Loc, Plain]:
    """A link's name and where it comes from."""
    loc, link = entry
    key = next((key for key in ("name", "id") if key in link), "link")
    return (*loc, key), link.get(key)


def _addresses(loc: Loc, account: Section) -> Iterator[tuple[Loc, str]]:
    """The account's base URL and its mirrors, in one spelling; those that are wrong are left out."""
    with suppress(ValueError):
        yield (*loc, "base_url"), values.base_url(account.get("base_url", DEFAULT_URL))
    for index, url in enumerate(sequence(account.get("fallback_urls"))):
        with suppress(ValueError):
            yield (*loc, "fallback_urls", index), values.base_url(url)


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
