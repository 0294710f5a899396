"""Short ways to make the nouns that tests speak of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from zoneinfo import ZoneInfo

from exporter.exposition.exposition import Exposition
from exporter.model import Account, Credentials, Link, Reading, Snapshot
from exporter.secret import SecretStr

MOSCOW = ZoneInfo("Europe/Moscow")


def make_link(name: str = "spring-sale", account: str = "main", **fields: Any) -> Link:
    given: dict[str, Any] = {"id": "145142", **fields}
    if "url" in fields:
        del given["id"]
    return Link(account=account, name=name, **given)


def make_links(count: int, account: str = "main", interval: float = 60.0) -> tuple[Link, ...]:
    return tuple(make_link(f"link-{n}", account, id=str(n), refresh_interval=interval) for n in range(count))


def make_account(name: str = "main", links: tuple[Link, ...] = (), **fields: Any) -> Account:
    given: dict[str, Any] = {
        "credentials": Credentials(SecretStr(f"login-{name}"), SecretStr("secret")),
        "base_url": "https://smscentre.com",
        "timezone": MOSCOW,
        **fields,
    }
    return Account(name=name, links=links, **given)


def show(exposition: Exposition, accounts: Iterable[Account], snapshots: Iterable[Snapshot]) -> None:
    """Has other links shown, as a reload does."""
    exposition.swap(exposition.build(accounts, snapshots))


def make_reading(all_time: int = 7, **fields: Any) -> Reading:
    given: dict[str, Any] = {
        "id": "145142",
        "month": 3,
        "today": 1,
        "yesterday": 2,
        "previous_month": 4,
        "short_link": "smsc.tips/a",
        **fields,
    }
    return Reading(all_time=all_time, **given)
