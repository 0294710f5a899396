"""Builds the frozen models that the exporter works with, from files without errors, and warns of overload."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from exporter.config import values
from exporter.config.durations import format_duration
from exporter.config.schema import DEFAULT_STORAGE, LONGEST_INTERVALS
from exporter.limits import MAX_IN_FLIGHT
from exporter.model import Account, Link

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter.config.document import Document, Loc
    from exporter.config.schema import AccountSection, File, LinkSection
    from exporter.config.secrets import Secrets
    from exporter.errors import Fault

_LEAST_STALE = 900.0
_STALE_INTERVALS = 3
_ANSWER = 0.1


def build(file: File, secrets: Secrets) -> tuple[Account, ...]:
    """Builds the accounts from ``file`` and ``secrets``, without the links of link files."""
    return tuple(
        _account(file, section, secrets, ("accounts", index)) for index, section in enumerate(file.accounts)
    )


def storage_url(secrets: Secrets, document: Document) -> SecretStr:
    """The storage's URL; a relative path of a database starts at the folder of the configuration."""
    url = secrets.storage_url or SecretStr(DEFAULT_STORAGE)
    scheme, _, path = url.get_secret_value().partition(":")
    if scheme != "sqlite":
        return url
    return SecretStr(f"sqlite:{Path(document.file).absolute().parent / path}")


def _account(file: File, section: AccountSection, secrets: Secrets, loc: Loc) -> Account:
    urls = (section.base_url, *(section.fallback_urls or ()))
    return Account(
        name=section.name,
        credentials=secrets.credentials[loc],
        base_url=section.base_url,
        timezone=section.timezone,
        links=tuple(make_link(file, section, link) for link in section.links or ()),
        fallback_urls=urls[1:],
        method=section.method,
        format=section.format,
        timeout=section.timeout,
        max_concurrent_requests=section.max_concurrent_requests,
        proxies=secrets.proxies[loc],
        authorities=secrets.authorities[loc],
    )


def make_link(file: File, account: AccountSection, link: LinkSection) -> Link:
    """The link with what it inherits: durations from the nearest level, labels from both.

    One with an interval of its own keeps that, whatever its account does.
    """
    refresh = link.refresh_interval or account.refresh_interval or file.refresh_interval
    stale = link.stale_after or account.stale_after or file.stale_after
    adaptive = (account.refresh or file.refresh) == "adaptive" and not link.refresh_interval
    bounds = _bounds(file, account, refresh) if adaptive else None
    labels = {**(account.labels or {}), **(link.labels or {})}
    return Link(
        account=account.name,
        name=link.name or link.id or link.link or "",
        id=link.id,
        url=link.link,
        labels=tuple(sorted(labels.items())),
        refresh_interval=refresh,
        stale_after=stale or max(_LEAST_STALE, _STALE_INTERVALS * (bounds[1] if bounds else refresh)),
        bounds=bounds,
    )


def _bounds(file: File, account: AccountSection, refresh: float) -> tuple[float, float]:
    """The shortest and the longest interval of an adaptive account's links."""
    longest = account.max_interval or file.max_interval or LONGEST_INTERVALS * refresh
    return account.min_interval or file.min_interval, longest


def clear_text(accounts: tuple[Account, ...], document: Document) -> Iterator[Fault]:
    """Warn of passwords that travel unencrypted."""
    message = "the login and the password are sent unencrypted over http: write https://"
    for index, account in enumerate(accounts):
        loc: Loc = ("accounts", index)
        if values.in_the_clear(account.base_url):
            yield document.fault((*loc, "base_url"), message)
        for number, url in enumerate(account.fallback_urls):
            if values.in_the_clear(url):
                yield document.fault((*loc, "fallback_urls", number), message)


def overload(account: Account, spot: Fault) -> Iterator[Fault]:
    """Warn at ``spot`` if the links need more requests a second than are possible at 100 ms an answer."""
    wanted = sum(1 / link.refresh_interval for link in account.links)
    carried = account.max_concurrent_requests / _ANSWER
    if wanted <= carried:
        return
    slowest = format_duration(math.ceil(len(account.links) / carried))
    needed = math.ceil(wanted * _ANSWER)
    more = f" or max_concurrent_requests: {needed}" if needed <= MAX_IN_FLIGHT else ""
    message = (
        f"{len(account.links)} links ask for {wanted:.1f} requests a second, but "
        f"max_concurrent_requests: {account.max_concurrent_requests} allows about {carried:.0f} "
        f"(at 100 ms an answer), so links with few clicks will be read late: "
        f"write refresh_interval: {slowest}{more}"
    )
    yield replace(spot, message=message)
