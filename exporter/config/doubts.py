"""Warns of values that are allowed, but that probably nobody meant.

Each function gives the warning about a value, or None. A warning about an ordinary value is worse than none,
so each rule matches a whole value. No warning repeats a value: it may be a secret.
"""

from __future__ import annotations

import ipaddress
import re
from contextlib import suppress
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from exporter import storage_url
from exporter.config import values

CUT = "is cut at the #, which begins a comment: put the whole value in quotes, or write # and a space"
_QUOTED = "has quotes inside its quotes, and they are part of the value: remove them"
_VARIABLE = "a variable, which is not expanded here"
_PLACEHOLDERS = (
    (re.compile(r"\$\{[^{}]*\}|\$[A-Z][A-Z0-9_]*|%[A-Z][A-Z_]*%"), _VARIABLE),
    (re.compile(r"\$?\{\{[^{}]*\}\}|__[A-Z_]+__"), "a template that was not rendered"),
    (
        re.compile(
            r"\.{3}|\u2026|<[a-z _-]*>|x{4,}|\*{3,}|(?:change|replace)[ _-]?me|to[ _-]?do"
            r"|(?:my|your)[ _-]?(?:login|password|api[ _-]?key)(?:[ _-]here)?",
            re.IGNORECASE,
        ),
        "a placeholder",
    ),
)
_SHORT_LINK = re.compile(r"(?:https?://)?(?:www\.)?smsc\.tips(?:/\S*)?", re.IGNORECASE)
_ODD_IDS = (
    (_SHORT_LINK, "is a short link: write the id that the provider shows for it"),
    (re.compile(r"[a-z]+://.*", re.IGNORECASE), "is an address: write it as link, or write the id"),
    (
        re.compile(r"[0-9]+[.,]0*|[0-9]+(?:[.,][0-9]+)?E\+[0-9]+", re.IGNORECASE),
        "is a number as a spreadsheet writes it: format the column as text and write the id again",
    ),
    (re.compile("[=#].*"), "is a formula or an error of a spreadsheet: write the id alone"),
)


def of_secret(value: str) -> str | None:
    """Of a login, a password or an API key."""
    if message := of_name(value):
        return message
    try:
        values.visible(value)
    except ValueError:
        return "contains an invisible character, which is part of the value: type the value again"
    return None


def of_storage(url: str) -> str | None:
    """Of the URL of a storage, and of the password in it."""
    if re.search(r"\$\{[^{}]*\}|\{\{[^{}]*\}\}", url):
        return f"holds {_VARIABLE}: write the URL itself, or its variable's name as url_env"
    with suppress(ValueError):  # said where the URL is used
        found = storage_url.parse(url)
        return of_secret((isinstance(found, storage_url.Redis) and found.password) or url)
    return None


def of_id(value: str) -> str | None:
    """Of the id of a link."""
    if value.isdecimal():
        return None
    odd = (message for pattern, message in _ODD_IDS if pattern.fullmatch(value))
    return of_name(value) or next(odd, None)


def of_link(value: str) -> str | None:
    """Of the full address of a link."""
    if _SHORT_LINK.fullmatch(value):
        return "is a short link: write the full address that it leads to, or its id as id"
    return of_name(value)


def of_name(value: str) -> str | None:
    """Of any text that is written by hand: whether it seems to stand for a real value."""
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        return _QUOTED
    kinds = (kind for pattern, kind in _PLACEHOLDERS if pattern.fullmatch(value))
    kind = next(kinds, None)
    return f"looks like {kind}: write the value itself" if kind else None


def of_timezone(zone: ZoneInfo) -> str | None:
    """Of a time zone: the signs of those in Etc are the other way round."""
    if ahead := re.fullmatch(r"Etc/GMT\+([1-9][0-9]?)", str(zone)):
        return f"is {ahead[1]} hours behind UTC: write Etc/GMT-{ahead[1]} for UTC+{ahead[1]}"
    return None


def of_address(url: str) -> str | None:
    """Of an address of the provider: whether requests to it go unencrypted over a network."""
    parts = urlsplit(url)
    if parts.scheme == "https" or _is_loopback(parts.hostname or ""):
        return None
    return "the login and the password are sent unencrypted over http: write https://"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
