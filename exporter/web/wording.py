"""How states, moments and durations are written for people, and what to do about a state."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from exporter.errors import Outcome
from exporter.limits import Reason
from exporter.model import State
from exporter.web.listing import LinkState

_STEPS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))

# The provider's short links have no scheme: "smsc.tips/a".
_BARE = re.compile(r"(?:[a-z0-9-]+\.)+[a-z]{2,}(?:/[\w./~%+-]*)?", re.IGNORECASE | re.ASCII)


class Words(NamedTuple):
    """A state in words, what to do about it, and the runbook that says more."""

    state: str
    advice: str = ""
    runbook: str = ""


ACCOUNT_WORDS: Mapping[str, Words] = {
    State.POLLING: Words("Polling"),
    State.THROTTLED: Words("Throttled", "find out who else uses this login", "SmscAccountThrottled"),
    State.BLOCKED: Words("Address blocked", "find out what caused it", "SmscAccountBlocked"),
    State.UNAUTHORIZED: Words(
        "Login refused", "check login, password and allowed IP addresses", "SmscAccountUnauthorized"
    ),
    State.UNREACHABLE: Words(
        "Provider unreachable", "check the network, the proxy and base_url", "SmscAccountUnreachable"
    ),
    State.WAITING: Words("Waiting", "the storage must be available first", "SmscStorageDown"),
    Reason.UNKNOWN_PAST: Words("Waiting", "earlier requests may still count", "SmscStorageDown"),
    Reason.FAILED_LOGINS: Words(
        "Login held back", "correct the logins of this host that failed", "SmscAccountUnauthorized"
    ),
}
"""By the reason that holds an account back, if it is here, else by its state."""

LINK_WORDS: Mapping[str, Words] = {
    LinkState.OK: Words("Fresh"),
    LinkState.STALE: Words("Too old", "check its account", "SmscLinkDataStale"),
    LinkState.WAITING: Words("Not polled yet"),
}
OUTCOME_WORDS: Mapping[str, Words] = {
    Outcome.PARAMETERS: Words("Request refused", "check its id or address", "SmscLinkDataStale"),
    Outcome.UNAUTHORIZED: Words("Login refused", "check its account", "SmscAccountUnauthorized"),
    Outcome.NOT_FOUND: Words("Not found", "check its id or address", "SmscLinkNotFound"),
    Outcome.BLOCKED: Words("Address blocked", "check its account", "SmscAccountBlocked"),
    Outcome.THROTTLED: Words("Throttled", "find out who else reads this link", "SmscAccountThrottled"),
    Outcome.HTTP_ERROR: Words("HTTP error", "the API did not answer", "SmscAccountUnreachable"),
    Outcome.TIMEOUT: Words("No answer in time", "the API did not answer", "SmscAccountUnreachable"),
    Outcome.UNREACHABLE: Words("No connection", "check the network and the proxy", "SmscAccountUnreachable"),
    Outcome.MALFORMED: Words("Unusable answer", "see the latest failures", "SmscLinkDataStale"),
    Outcome.UNKNOWN_ERROR: Words("Unknown error", "see the latest failures", "SmscLinkDataStale"),
}
"""For a link whose latest poll failed."""


def account_words(account: Mapping[str, Any]) -> Words:
    """An account's state in words."""
    return ACCOUNT_WORDS.get(account["reason"]) or ACCOUNT_WORDS[account["state"]]


def link_words(link: Mapping[str, Any]) -> Words:
    """A link's state in words."""
    failing = link["state"] == LinkState.FAILING
    return OUTCOME_WORDS[link["outcome"]] if failing else LINK_WORDS[link["state"]]


def troubles(report: Mapping[str, Any]) -> list[str]:
    """What needs attention, in a few words each."""
    links, states, accounts = report["configured"], report["states"], report["accounts"]
    failing, stale = states[LinkState.FAILING], states[LinkState.STALE]
    held = sum(account["state"] is not State.POLLING for account in accounts)
    found = {
        f"{_of(failing, links, 'link')} failing": failing,
        f"{_of(stale, links, 'link')} too old": stale,
        f"{_of(held, len(accounts), 'account')} need{'s' if held == 1 else ''} attention": held,
        "not ready": not report["ready"],
        "the latest reload failed": not report["config"]["last_reload_successful"],
        "a link file was refused": not all(file["last_load_successful"] for file in report["link_files"]),
        "the storage is down": not report["storage"]["up"],
    }
    return [words for words, count in found.items() if count]


def _of(count: int, total: int, noun: str) -> str:
    return f"{count:,} of {total:,} {noun}{'' if total == 1 else 's'}"


def alike(failures: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Failures of an account that say the same, together; the latest first."""
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for failure in failures:
        key = failure["account"], failure["outcome"], failure["message"]
        groups.setdefault(key, []).append(failure)
    return list(groups.values())


def rfc3339(moment: datetime) -> str:
    """A moment in UTC, such as ``2025-06-15T15:06:40Z``."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def utc(moment: datetime) -> str:
    """A moment in UTC as people read it: ``2025-06-15 15:06:40 UTC``."""
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def clock(moment: datetime, timezone: str) -> str:
    """What a clock on the wall of a time zone shows, such as ``18:06``."""
    return moment.astimezone(ZoneInfo(timezone)).strftime("%H:%M")


def duration(seconds: float) -> str:
    """Roughly how long, in the largest unit that fits: ``12 s``, ``3 min``, ``2 h``, ``5 d``."""
    whole = int(abs(seconds))
    size, unit = next((step for step in _STEPS if whole >= step[0]), _STEPS[-1])
    return f"{whole // size} {unit}"


def address(short_link: str) -> str | None:
    """Where a short link leads, if it is one that a page may link to: http, https, or without a scheme."""
    if re.match("https?://", short_link, re.IGNORECASE):
        return short_link
    return f"https://{short_link}" if _BARE.fullmatch(short_link) else None


FILTERS = (alike, address, account_words, clock, duration, link_words, rfc3339, troubles, utc)
"""What the templates use."""
