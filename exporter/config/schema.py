"""The shape of ``config.yaml`` and of link files: which keys there are, and what each may hold.

How values must agree with each other is in ``accounts`` and ``links``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeAlias
from zoneinfo import ZoneInfo

from exporter.config import doubts, values
from exporter.config.document import Loc
from exporter.config.sections import Section, items, mapping, section, text
from exporter.secret import SecretStr

DEFAULT_STORAGE = "sqlite:data/exporter.db"
"""Where the state is kept, if the file does not say."""

DEFAULT_URL = "https://smscentre.com"
"""The provider's own address."""

DEFAULT_ZONE = ZoneInfo("Europe/Moscow")
"""Where the provider's days begin."""

Secret: TypeAlias = Annotated[SecretStr | None, text(lambda value: SecretStr(values.plain_text(value)))]
# A wrong interval contradicts no other: nothing is longer or shorter than what is no number.
Interval: TypeAlias = Annotated[float | None, text(values.interval, wrong=math.nan)]
Duration: TypeAlias = Annotated[float | None, text(values.duration)]
Refresh: TypeAlias = Annotated[str | None, text(values.one_of("fixed", "adaptive"))]
Labels: TypeAlias = Annotated[
    dict[str, str], mapping(values.label_name, text(values.one_line), "team: growth")
]


class _Section(Section):
    """A section of ``config.yaml``. Durations are in seconds."""


@dataclass(frozen=True, kw_only=True)
class LinkSection(_Section):
    """One entry of ``links``, or of a link file."""

    id: Annotated[str | None, text(values.link_id, doubts.of_id)] = None
    link: Annotated[str | None, text(values.address, doubts.of_link)] = None
    name: Annotated[str | None, text(values.name, doubts.of_name)] = None
    labels: Labels = field(default_factory=dict)
    refresh_interval: Interval = None
    stale_after: Duration = None


@dataclass(frozen=True, kw_only=True)
class AccountSection(_Section):
    """One entry of ``accounts``."""

    name: Annotated[str, text(values.name)] = ""
    login: Secret = None
    login_file: Secret = None
    login_env: Secret = None
    password: Secret = None
    password_file: Secret = None
    password_env: Secret = None
    api_key: Secret = None
    api_key_file: Secret = None
    api_key_env: Secret = None
    base_url: Annotated[str, text(values.base_url, doubts.of_address, wrong="")] = DEFAULT_URL
    fallback_urls: Annotated[dict[Loc, str], items(text(values.base_url, doubts.of_address))] = field(
        default_factory=dict
    )
    ca_file: Annotated[str | None, text(values.name)] = None
    proxy: Secret = None
    proxy_file: Secret = None
    proxy_env: Secret = None
    method: Annotated[Literal["POST", "GET"], text(values.one_of("POST", "GET"))] = "POST"
    format: Annotated[
        Literal["json", "xml", "csv", "plain"], text(values.one_of("json", "xml", "csv", "plain"))
    ] = "json"
    timeout: Annotated[float, text(values.timeout)] = 10.0
    max_concurrent_requests: Annotated[int, text(values.concurrency)] = 4
    timezone: Annotated[ZoneInfo, text(values.timezone, doubts.of_timezone)] = DEFAULT_ZONE
    refresh: Refresh = None
    refresh_interval: Interval = None
    min_interval: Interval = None
    max_interval: Interval = None
    stale_after: Duration = None
    labels: Labels = field(default_factory=dict)
    links: Annotated[dict[Loc, LinkSection], items(section(LinkSection), values.not_none)] = field(
        default_factory=dict
    )
    link_files: Annotated[dict[Loc, str], items(text(values.pattern))] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StorageSection(_Section):
    """Where the state is kept."""

    url: Secret = None
    url_file: Secret = None
    url_env: Secret = None


@dataclass(frozen=True, kw_only=True)
class File(_Section):
    """The whole file."""

    refresh: Refresh = None
    refresh_interval: Interval = None
    min_interval: Interval = None
    max_interval: Interval = None
    stale_after: Duration = None
    storage: Annotated[StorageSection | None, section(StorageSection)] = None
    accounts: Annotated[dict[Loc, AccountSection], items(section(AccountSection), values.not_none)] = field(
        default_factory=dict
    )


read_links = items(section(LinkSection))
"""Reads the whole of a link file, whatever its format."""
