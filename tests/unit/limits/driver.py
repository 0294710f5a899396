"""Drives one ledger by hand: requests begin and end when a test says so."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

from exporter.errors import Outcome
from exporter.limits import Answered, Dated, Denied, Event, Ledger, Reason, Request, Sent
from exporter.limits.logins import Host, Secret

HOST, LOGIN = "smscentre.com", "a"
LOGINS = ("a", "b", "c", "d", "e", "f")
MINUTE, HALF_HOUR, HOUR = 60.0, 1800.0, 3600.0

REFUSED: dict[str, Any] = {"outcome": Outcome.UNAUTHORIZED}
BLOCKED: dict[str, Any] = {"outcome": Outcome.BLOCKED}
THROTTLED: dict[str, Any] = {"outcome": Outcome.THROTTLED}
NOT_SENT: dict[str, Any] = {"outcome": None}
TIMEOUT: dict[str, Any] = {
    "outcome": Outcome.TIMEOUT,
    "transport": True,
    "abandoned": True,
    "unclear": True,
}
NO_CONNECTION: dict[str, Any] = {"outcome": Outcome.UNREACHABLE, "transport": True}
"""The request never reached the provider, so no login failed."""


def busy(seconds: float) -> dict[str, Any]:
    """HTTP 503 with ``Retry-After``."""
    return {"outcome": Outcome.HTTP_ERROR, "transport": True, "retry_after": seconds}


class Driver:
    """A ledger and its clock. Each request is for another link, unless a test names one."""

    def __init__(self, *verified: str, host: str = HOST) -> None:
        self.ledger = Ledger()
        self.now = 1000.0
        self.host = host
        self._links = count()
        self.ledger.configure(self.request(login) for login in LOGINS)
        for login in verified:
            self.poll(login)

    def request(self, login: str = LOGIN, link: str | None = None, **fields: Any) -> Request:
        given = {"host": self.host, "secret": f"{login}:1", "timeout": 10.0, **fields}
        return Request(login=login, target=("id", link or f"{next(self._links)}"), **given)

    def send(self, login: str = LOGIN, link: str | None = None, **fields: Any) -> Sent:
        """A request leaves, whether it may or not."""
        sent = Sent(self.request(login, link, **fields))
        self.ledger.begin(sent, self.now)
        return sent

    def end(self, sent: Sent, outcome: Outcome | None = Outcome.OK, **fields: Any) -> Answered:
        return self.ledger.end(Answered(sent.request, sent.number, outcome, **fields), self.now)

    def poll(self, login: str = LOGIN, link: str | None = None, **end: Any) -> Answered:
        """A request leaves and ends at once."""
        return self.end(self.send(login, link), **end)

    def learn(self, *events: Event, orphan: bool = False) -> None:
        """Another process recorded these events just now."""
        for event in events:
            self.ledger.learn(Dated(event, self.now, self.now, orphan))

    def denied(self, login: str = LOGIN, link: str | None = None, **fields: Any) -> Denied | None:
        return self.ledger.check(self.request(login, link, **fields), self.now)

    def waits(self, login: str = LOGIN, link: str | None = None) -> float:
        """Seconds until the request may leave; 0 if it may leave now."""
        denied = self.denied(login, link)
        return 0.0 if denied is None else denied.until - self.now

    def reason(self, login: str = LOGIN, link: str | None = None) -> Reason | None:
        denied = self.denied(login, link)
        return None if denied is None else denied.reason

    def secret(self, login: str = LOGIN) -> Secret:
        return self.at_host.secret(f"{login}:1")

    @property
    def at_host(self) -> Host:
        return self.ledger.host(self.host)

    @property
    def failed_logins(self) -> int:
        return self.ledger.failed_logins(self.host, self.now)

    def in_order(self, logins: Sequence[str]) -> list[str]:
        """The logins in the order in which they are tried."""
        return sorted(logins, key=lambda login: self.secret(login).rank)
