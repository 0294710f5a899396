"""From the file to a frozen web configuration, or all its errors at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.config.sections import read_section
from exporter.config.sources import Sources
from exporter.config.tree import read
from exporter.errors import ConfigError
from exporter.webconfig.checks import check
from exporter.webconfig.schema import NAMING, File
from exporter.webconfig.tls import Loader, Tls, configure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter.errors import Fault


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
    file = read_section(File, document.data, (), document) or File()
    section = file.tls_server_config
    context = Loader(Path(path).parent, sources, document).context(section) if section else None
    check(file, document)
    if document.faults:
        raise ConfigError(document.faults, document.warnings)
    http, rate = file.http_server_config, file.rate_limit
    return WebConfig(
        tls=configure(context, section) if context and section else None,
        users={user: hashed.encode() for user, hashed in file.basic_auth_users.items()},
        headers=http.headers if http else {},
        rate_limit=RateLimit(rate.interval, rate.burst) if rate and rate.interval else None,
        warnings=tuple(sorted(document.warnings)),
    )
