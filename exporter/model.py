"""The nouns: links, accounts, readings and snapshots. All frozen; a change makes a new one."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from exporter.errors import UNPRINTABLE, Outcome
from exporter.secret import SecretStr

LinkKey: TypeAlias = tuple[str, str]
"""What identifies a link's series: account and name."""

Target: TypeAlias = tuple[str, str]
"""What the provider is asked for: the parameter ``id`` or ``link``, and its value."""


@dataclass(frozen=True, slots=True)
class Link:
    """One short link to read, by its ``id`` or by its original full ``url`` (exactly one is set).

    ``account`` and ``name`` are its identity to Prometheus. ``refresh_interval`` and ``stale_after`` are in
    seconds; ``labels`` are the configured ones, sorted by name. ``bounds``, where given, are the shortest and
    longest interval between which its clicks decide; ``refresh_interval`` is then what it adds to the
    account's requests.
    """

    account: str
    name: str
    id: str | None = None
    url: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    refresh_interval: float = 60.0
    stale_after: float = 900.0
    bounds: tuple[float, float] | None = None

    @property
    def key(self) -> LinkKey:
        """What identifies the link's series: account and name."""
        return self.account, self.name

    @property
    def target(self) -> Target:
        """What the provider is asked for: the parameter ``id`` or ``link`` and its value.

        Requests are *identical* to the provider when they agree in this and in the login.
        """
        return ("id", self.id) if self.id is not None else ("link", self.url or "")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What signs an account in: login and password, or an API key. Never shown by ``repr``."""

    login: SecretStr | None = field(default=None, repr=False)
    password: SecretStr | None = field(default=None, repr=False)
    api_key: SecretStr | None = field(default=None, repr=False)

    @property
    def parameters(self) -> dict[str, str]:
        """The request parameters, in the clear: for the request's body alone."""
        named = {"login": self.login, "psw": self.password, "apikey": self.api_key}
        return {name: secret.get_secret_value() for name, secret in named.items() if secret is not None}


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy at ``url`` (scheme, host and port), with the user and password it asks for, if any.

    Never shown by ``repr``.
    """

    url: str = field(repr=False)
    user: SecretStr | None = field(default=None, repr=False)
    password: SecretStr | None = field(default=None, repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """What signs in at the proxy: the Basic scheme (RFC 7617), in UTF-8. For the proxy alone."""
        return {} if self.user is None else {"Proxy-Authorization": f"Basic {self._token}"}

    @property
    def secrets(self) -> tuple[str, ...]:
        """User, password, and both as they are sent."""
        return (*self._login, self._token) if self.user is not None else ()

    @property
    def _login(self) -> tuple[str, str]:
        user, password = (part.get_secret_value() if part else "" for part in (self.user, self.password))
        return user, password

    @property
    def _token(self) -> str:
        return base64.b64encode(":".join(self._login).encode()).decode()


@dataclass(frozen=True, slots=True)
class Account:
    """One login at the provider, with the links read under it.

    ``timeout`` is in seconds. ``proxies`` are the addresses (of ``urls``) that are reached through a proxy,
    each with its proxy. ``authorities`` are certificates (PEM) to trust beside the system's.
    """

    name: str
    credentials: Credentials
    base_url: str
    timezone: ZoneInfo
    links: tuple[Link, ...]
    fallback_urls: tuple[str, ...] = ()
    method: Literal["GET", "POST"] = "POST"
    format: Literal["json", "xml", "csv", "plain"] = "json"
    timeout: float = 10.0
    max_concurrent_requests: int = 4
    proxies: tuple[tuple[str, Proxy], ...] = ()
    authorities: str = field(default="", repr=False)

    def proxy_for(self, url: str) -> Proxy | None:
        """The proxy through which ``url`` is reached, None without one."""
        return dict(self.proxies).get(url)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret that is sent to the provider or to a proxy, in the clear: for scrubbing alone."""
        at_proxies = (secret for _, proxy in self.proxies for secret in proxy.secrets)
        return (*self.credentials.parameters.values(), *at_proxies)

    @property
    def urls(self) -> tuple[str, ...]:
        """Where to ask, in order of preference: ``base_url``, then its mirrors."""
        return self.base_url, *self.fallback_urls

    @property
    def host(self) -> str:
        """The provider's host, over which IP blocks and failed logins are counted.

        A leading ``www.`` or ``www2.`` is dropped: mirrors belong to one provider.
        """
        return _host_of(self.base_url)

    @property
    def login_key(self) -> str:
        """A name for the login at its host that does not reveal it. The provider counts requests by login."""
        who = self.credentials.login or self.credentials.api_key
        return _key_of(self.host, who.get_secret_value() if who else "")

    @property
    def secret_key(self) -> str:
        """A name for the login with its password that reveals neither. Another password has another name."""
        password = self.credentials.password
        return _key_of(self.login_key, password.get_secret_value() if password else "")


@lru_cache(maxsize=1024)
def _host_of(url: str) -> str:
    return re.sub(r"^www\d*\.", "", urlsplit(url).netloc.lower())


@lru_cache(maxsize=65_536)
def _key_of(salt: str, secret: str) -> str:
    """A name for ``secret``. It is stored, so it is derived slowly, like a password's hash.

    Each poll needs it, so the cache is larger than any number of accounts.
    """
    derived = hashlib.scrypt(secret.encode(), salt=salt.encode(), n=2**12, r=8, p=1, dklen=12)
    return f"{salt}/{derived.hex()}"


MOST_CLICKS = 2**53
"""Prometheus' floats hold whole numbers exactly up to here."""

LONGEST_NAME = 2048
"""Bytes of UTF-8: an id or a short link has some twenty. Both are kept, stored and shown at every scrape."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One parsed answer: the provider's figures for one link. Counts are clicks."""

    id: str
    all_time: int
    month: int
    today: int
    yesterday: int
    previous_month: int
    short_link: str

    @classmethod
    def stored(cls, values: list[Any]) -> Reading:
        """The reading with these fields. Raises ``ValueError`` if it is none that ``parse`` gives."""
        number, *counts, short_link = values
        for name in (number, short_link):
            if not isinstance(name, str) or len(name) > LONGEST_NAME or UNPRINTABLE.search(name):
                raise ValueError("an id or a short link is none")
        if not all(type(count) is int and 0 <= count <= MOST_CLICKS for count in counts):
            raise ValueError("a count is none")
        return cls(*values)

    def of(self, link: Link) -> Reading:
        """This reading with the string object that ``link`` has as its id, which saves memory."""
        return replace(self, id=link.id) if link.id is not None and link.id == self.id else self


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is known of a link now.

    ``read_at`` is the wall-clock time (seconds since the epoch) at which the request behind ``reading`` was
    sent, so the figures are at least as new. ``total`` adds up the rises of the all-time figure and never
    falls. ``outcome`` is how the latest poll ended, None before the first. ``carried``: ``total`` was
    counted for another target that had the same name.
    """

    link: Link
    reading: Reading | None = None
    read_at: float = 0.0
    total: int = 0
    outcome: Outcome | None = None
    carried: bool = False

    def succeeded(self, reading: Reading, at: float) -> Snapshot:
        """The snapshot after a poll that brought ``reading``, sent at ``at``."""
        total = min(MOST_CLICKS, self.total + self._rise(reading))
        return replace(self, reading=reading, read_at=at, total=total, outcome=Outcome.OK, carried=False)

    def ended(self, outcome: Outcome) -> Snapshot:
        """The snapshot after a poll that ended as ``outcome`` and brought no reading."""
        return self if outcome is self.outcome else replace(self, outcome=outcome)

    @property
    def key(self) -> LinkKey:
        """The link's identity to Prometheus: see ``Link.key``."""
        return self.link.key

    @property
    def target(self) -> Target:
        """What the provider is asked for: see ``Link.target``."""
        return self.link.target

    def under(self, link: Link) -> Snapshot:
        """This snapshot with the link's new configuration."""
        return self if link == self.link else replace(self, link=link)

    def _rise(self, reading: Reading) -> int:
        """Clicks to add for ``reading``: the first figure seen, then every rise; a fall adds nothing.

        Where the count is another link's, nothing is known to have risen. Either the name was given to
        another target, or a full link got a new short link with another id.
        """
        if self.reading is None:
            return 0 if self.carried else reading.all_time
        if self.reading.id != reading.id:
            return 0
        return max(0, reading.all_time - self.reading.all_time)


class State(StrEnum):
    """What an account is doing: the values of ``smsc_account_state``.

    ``waiting``: nothing may be sent until it is known what was sent before, or until it can be recorded.
    """

    POLLING = "polling"
    THROTTLED = "throttled"
    BLOCKED = "blocked"
    UNAUTHORIZED = "unauthorized"
    UNREACHABLE = "unreachable"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """The status of an account now.

    ``up`` is None before the first answer. ``paused_until`` is wall-clock time, 0 when not paused. ``lag`` is
    how late the most overdue link is, in seconds. ``wanted`` is how many requests a second the links'
    intervals ask for. ``failed_logins`` are those at the account's host that the provider still counts.
    ``reason`` says in words why nothing leaves, if nothing does. ``timezone`` is where the account's days
    begin.
    """

    name: str
    state: State
    up: bool | None
    paused_until: float
    links: int
    lag: float
    concurrency_limit: int
    in_flight: int
    wanted: float = 0.0
    failed_logins: int = 0
    reason: str = ""
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that brought no reading; ``at`` is when it ended, in seconds since the epoch."""

    at: float
    account: str
    link: str
    outcome: Outcome
    message: str
