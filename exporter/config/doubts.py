"""Warns of values that are allowed, but that probably nobody meant.

A warning about an ordinary value is worse than none, so each rule matches a whole value. No warning repeats
a value: it may be a secret.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from exporter import storage_url
from exporter.config import values
from exporter.config.document import mapping, sequence
from exporter.config.secrets import given_as

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from exporter.config.document import Document, Loc
    from exporter.config.intervals import Section
    from exporter.config.secrets import Secrets
    from exporter.errors import Fault

SHORT_LINK_DOMAINS = ("smsc.tips",)
"""The domains of the provider's short links."""

_CUT = "is cut at the #, which begins a comment: put the whole value in quotes, or write # and a space"
_QUOTED = "has quotes inside its quotes, and they are part of the value: remove them"
_VARIABLE = "a variable, which is not expanded here"
_PLACEHOLDERS = (
    (
        re.compile(r"\$\{[^{}]*\}|\$[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*|%[A-Z][A-Z_]*%"),
        _VARIABLE,
    ),
    (
        re.compile(r"\$?\{\{[^{}]*\}\}|\{%[^{}]*%\}|__[A-Z]+(?:_[A-Z]+)*__|@@\w+@@"),
        "a template that was not rendered",
    ),
    (
        re.compile(
            r"\.{3}|\u2026|<[a-z _-]*>|x{4,}|\*{3,}|(?:change|replace)[ _-]?me|to[ _-]?do"
            r"|(?:my|your)[ _-]?(?:login|password|api[ _-]?key)(?:[ _-]here)?",
            re.IGNORECASE,
        ),
        "a placeholder",
    ),
)
_MAY_BE = re.compile("[$%{.\u2026<x*crtmy_@\"']", re.IGNORECASE)  # spares most values the rest
_HOSTS = "|".join(map(re.escape, SHORT_LINK_DOMAINS))
_SHORT_LINK = re.compile(rf"(?:https?://)?(?:www\.)?(?:{_HOSTS})(?:/\S*)?", re.IGNORECASE)
_ORDINARY_ID = re.compile(r"[0-9]+")
_ODD_IDS = (
    (_SHORT_LINK, "is a short link: write the id that the provider shows for it"),
    (re.compile(r"[a-z]+://.*", re.IGNORECASE), "is an address: write it as link, or write the id"),
    (
        re.compile(r"[0-9]+[.,]0*|[0-9]+(?:[.,][0-9]+)?E\+[0-9]+", re.IGNORECASE),
        "is a number as a spreadsheet writes it: format the column as text and write the id again",
    ),
    (re.compile("=.*"), "is a formula of a spreadsheet: write the id alone"),
    (re.compile("#.*"), "is an error of a spreadsheet: write the id"),
    (re.compile(".*[\u2018-\u201f\u00ab\u00bb\"'].*"), "has quotes in it: write the id without them"),
)


def doubts(document: Document, secrets: Secrets) -> Iterator[Fault]:
    """The warnings about ``config.yaml``."""
    data = mapping(document.data)
    if secrets.storage_url is not None:
        yield from _storage(document, mapping(data.get("storage")), secrets.storage_url.get_secret_value())
    for index, entry in enumerate(sequence(data.get("accounts"))):
        loc: Loc = ("accounts", index)
        account = mapping(entry)
        yield from _account(document, account, loc, secrets)
        links = enumerate(map(mapping, sequence(account.get("links"))))
        yield from link_doubts(document, (((*loc, "links", number), link) for number, link in links))


def _storage(document: Document, section: Section, url: str) -> Iterator[Fault]:
    if re.search(r"\$\{[^{}]*\}|\{\{[^{}]*\}\}", url):
        (key,) = given_as(section, "url")
        message = f"holds {_VARIABLE}: write the URL itself, or its variable's name as url_env"
        yield document.fault(("storage", key), message)
    else:
        found = storage_url.parse(url)
        secret = found.password if isinstance(found, storage_url.Redis) else None
        yield from _secret(document, section, ("storage",), "url", secret or url)


def _account(document: Document, account: Section, loc: Loc, secrets: Secrets) -> Iterator[Fault]:
    credentials = secrets.credentials[loc]
    named = {"login": credentials.login, "password": credentials.password, "api_key": credentials.api_key}
    for name, secret in named.items():
        if secret is not None:
            yield from _secret(document, account, loc, name, secret.get_secret_value())
    zone = account.get("timezone")
    if isinstance(zone, str) and (ahead := re.fullmatch(r"Etc/GMT\+([1-9][0-9]?)", zone)):
        message = f"is {ahead[1]} hours behind UTC: write Etc/GMT-{ahead[1]} for UTC+{ahead[1]}"
        yield document.fault((*loc, "timezone"), message)


def _secret(document: Document, section: Section, loc: Loc, name: str, value: str) -> Iterator[Fault]:
    (key,) = given_as(section, name)
    at = (*loc, key)
    if message := _placeholder(value) or _invisible(value):
        yield document.fault(at, f"its value {message}" if key != name else message)
    elif key == name and document.is_cut(at, value):
        yield document.fault(at, _CUT)


def _invisible(value: str) -> str | None:
    try:
        values.visible(value)
    except ValueError:
        return "contains an invisible character, which is part of the value: type the value again"
    return None


def link_doubts(document: Document, links: Iterable[tuple[Loc, Section]]) -> Iterator[Fault]:
    """The warnings about ``links``, each with its place in ``document``."""
    for loc, link in links:
        for key, look in _LOOKS:
            value = link.get(key)
            if isinstance(value, str) and (message := look(value)):
                yield document.fault((*loc, key), message)


def _id(value: str) -> str | None:
    if _ORDINARY_ID.fullmatch(value):
        return None
    odd = (message for pattern, message in _ODD_IDS if pattern.fullmatch(value))
    return _placeholder(value) or next(odd, None)


def _link(value: str) -> str | None:
    if _SHORT_LINK.fullmatch(value):
        return "is a short link: write the full address that it leads to, or its id as id"
    return _placeholder(value)


def _placeholder(value: str) -> str | None:
    """What ``value`` seems to be instead of a real value, or None."""
    if not _MAY_BE.match(value):
        return None
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        return _QUOTED
    kinds = (kind for pattern, kind in _PLACEHOLDERS if pattern.fullmatch(value))
    kind = next(kinds, None)
    return f"looks like {kind}: write the value itself" if kind else None


_LOOKS = (("id", _id), ("link", _link), ("name", _placeholder))
