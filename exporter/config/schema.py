"""The shape of ``config.yaml`` and of link files: which keys there are and what each may hold.

How values must agree with each other is in ``checks`` and ``secrets``, which run beside this: a fault in one
place must not hide those in another.
"""

from __future__ import annotations

from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, PlainValidator, SecretStr, TypeAdapter

from exporter.config import values
from exporter.config.wording import Schema

DEFAULT_INTERVAL = 60.0
"""Seconds between two readings of a link, if the file does not say."""

LONGEST_INTERVALS = 10
"""The longest adaptive interval, in refresh intervals, if the file does not say."""

DEFAULT_STORAGE = "sqlite:data/exporter.db"
"""Where the state is kept, if the file does not say."""

DEFAULT_URL = "https://smscentre.com"
"""The provider's own address."""


def _secret(value: object) -> SecretStr:
    return SecretStr(values.plain_text(value))


def not_none(items: list[object]) -> list[object]:
    """A list with something in it."""
    if not items:
        raise ValueError("is an empty list: write at least one entry")
    return items


Name = Annotated[str, PlainValidator(values.name)]
Address = Annotated[str, PlainValidator(values.address)]
Pattern = Annotated[str, PlainValidator(values.pattern)]
Interval = Annotated[float, PlainValidator(values.interval)]
Duration = Annotated[float, PlainValidator(values.duration)]
Refresh = Annotated[Literal["fixed", "adaptive"], PlainValidator(values.one_of("fixed", "adaptive"))]
Url = Annotated[str, PlainValidator(values.base_url)]
Secret = Annotated[SecretStr, PlainValidator(_secret)]
Labels = dict[
    Annotated[str, PlainValidator(values.label_name)], Annotated[str, PlainValidator(values.one_line)]
]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class LinkSection(_Section):
    """One entry of ``links``. Durations are in seconds."""

    id: Annotated[str, PlainValidator(values.link_id)] | None = None
    link: Address | None = None
    name: Name | None = None
    labels: Labels | None = None
    refresh_interval: Interval | None = None
    stale_after: Duration | None = None


class AccountSection(_Section):
    """One entry of ``accounts``. Durations are in seconds."""

    name: Name
    login: Secret | None = None
    login_file: Secret | None = None
    login_env: Secret | None = None
    password: Secret | None = None
    password_file: Secret | None = None
    password_env: Secret | None = None
    api_key: Secret | None = None
    api_key_file: Secret | None = None
    api_key_env: Secret | None = None
    base_url: Url = DEFAULT_URL
    fallback_urls: list[Url] | None = None
    ca_file: Name | None = None
    proxy: Secret | None = None
    proxy_file: Secret | None = None
    proxy_env: Secret | None = None
    method: Annotated[Literal["POST", "GET"], PlainValidator(values.one_of("POST", "GET"))] = "POST"
    format: Annotated[
        Literal["json", "xml", "csv", "plain"], PlainValidator(values.one_of("json", "xml", "csv", "plain"))
    ] = "json"
    timeout: Annotated[float, PlainValidator(values.timeout)] = 10.0
    max_concurrent_requests: Annotated[int, PlainValidator(values.concurrency)] = 4
    timezone: Annotated[ZoneInfo, PlainValidator(values.timezone)] = ZoneInfo("Europe/Moscow")
    refresh: Refresh | None = None
    refresh_interval: Interval | None = None
    min_interval: Interval | None = None
    max_interval: Interval | None = None
    stale_after: Duration | None = None
    labels: Labels | None = None
    links: Annotated[list[LinkSection], AfterValidator(not_none)] | None = None
    link_files: list[Pattern] | None = None


class StorageSection(_Section):
    """Where the state is kept."""

    url: Secret | None = None
    url_file: Secret | None = None
    url_env: Secret | None = None


class File(_Section):
    """The whole file. Durations are in seconds."""

    refresh: Refresh = "fixed"
    refresh_interval: Interval = DEFAULT_INTERVAL
    min_interval: Interval = values.LEAST_INTERVAL
    max_interval: Interval | None = None
    stale_after: Duration | None = None
    storage: StorageSection | None = None
    accounts: Annotated[list[AccountSection], AfterValidator(not_none)]


SECTIONS: dict[tuple[str, ...], type[BaseModel]] = {
    (): File,
    ("storage",): StorageSection,
    ("accounts",): AccountSection,
    ("accounts", "links"): LinkSection,
}
"""The section at each place, by the keys that lead there."""

_MISSING = {
    "accounts": "is missing: list at least one account under it",
    "name": "is missing: write a name of your choice, which becomes the account label",
}
_EXAMPLE = "team: growth"

SCHEMA = Schema(TypeAdapter(File), SECTIONS, _MISSING, _EXAMPLE)
"""Of ``config.yaml``."""

LINKS = Schema(TypeAdapter(list[LinkSection]), SECTIONS, _MISSING, _EXAMPLE, ("accounts", "links"))
"""Of a link file, whatever its format."""
