"""From the file to a frozen web configuration, or all its errors at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.config.document import Report, mapping
from exporter.config.sources import Sources
from exporter.config.tree import read
from exporter.config.wording import validate
from exporter.errors import ConfigError
from exporter.webconfig import values
from exporter.webconfig.checks import TLS, TLS_KEY, check
from exporter.webconfig.schema import NAMING, SCHEMA
from exporter.webconfig.tls import Loader, Tls, configure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from exporter.config.document import Document
    from exporter.errors import Fault
    from exporter.webconfig.schema import File

_COSTLY = 15
"""The least cost of a bcrypt hash that takes longer than a client waits."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A request every ``interval`` seconds, and ``burst`` of them at once."""

    interval: float
    burst: int


@dataclass(frozen=True, slots=True)
class WebConfig:
    """A web configuration without errors.

    ``users`` are bcrypt hashes by name; none of them means that no password is asked for. ``warnings`` are
    what works otherwise than it is written.
    """

    tls: Tls | None
    users: Mapping[str, bytes] = field(repr=False)
    headers: Mapping[str, str]
    rate_limit: RateLimit | None
    warnings: tuple[Fault, ...]


def load(path: str | Path, sources: Sources | None = None) -> WebConfig:
    """The web configuration in the file at ``path``.

    Raises ConfigError with every error of the file. ``sources`` reads it and the files it names; blocks
    meanwhile.
    """
    sources = sources or Sources()
    document = read(Path(path), sources, NAMING)
    report = Report(document)
    file = validate(document.data, SCHEMA, report)
    tls = mapping(document.data).get(TLS_KEY)
    context = Loader(Path(path).parent, sources, report).context(tls) if isinstance(tls, dict) else None
    check(document.data, report)
    report.add_empties()
    if file is None or report.faults:
        raise ConfigError(report.faults)
    section = file.tls_server_config
    return WebConfig(
        tls=configure(context, section) if context and section else None,
        users={user: hashed.encode() for user, hashed in (file.basic_auth_users or {}).items()},
        headers=_headers(file),
        rate_limit=_rate_limit(file),
        warnings=tuple(_warnings(file, document)),
    )


def _headers(file: File) -> dict[str, str]:
    http = file.http_server_config
    return http.headers.model_dump(exclude_none=True) if http and http.headers else {}


def _rate_limit(file: File) -> RateLimit | None:
    rate = file.rate_limit
    return RateLimit(rate.interval, rate.burst) if rate and rate.interval else None


def _warnings(file: File, document: Document) -> Iterator[Fault]:
    tls, http, users = file.tls_server_config, file.http_server_config, file.basic_auth_users or {}
    if tls and tls.min_version in ("TLS10", "TLS11"):
        message = f"{tls.min_version} is not secure and not supported: TLS12 is used as the lowest version"
        yield document.fault((*TLS, "min_version"), message)
    if http and http.http2:
        message = "HTTP/2 is not supported: clients use HTTP/1.1"
        yield document.fault(("http_server_config", "http2"), message)
    if users and not tls:
        message = (
            "passwords are sent unencrypted: add tls_server_config, or keep the port inside your network"
        )
        yield document.fault(("basic_auth_users",), message, key=True)
    for user, hashed in users.items():
        if values.cost(hashed) >= _COSTLY:
            message = f"a bcrypt cost of {values.cost(hashed)} takes seconds for each login: 10 is usual"
            yield document.fault(("basic_auth_users", user), message)
