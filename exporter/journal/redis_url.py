"""Where Redis is, from ``storage.url``. The password goes no further than the connection."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from exporter.errors import StorageError

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from pydantic import SecretStr

FORM = "write redis://[user:password@]host[:6379][/0], or rediss:// for TLS"
ESCAPES = "in a user name or a password, write / ? # @ : and % as %2F %3F %23 %40 %3A and %25"
FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
HOSTNAME = "ssl_check_hostname"
OPTIONS = (*FILES, HOSTNAME)


@dataclass(frozen=True, slots=True)
class Address:
    """One server and database, and what signs us in; ``str`` tells only the former."""

    host: str
    port: int
    db: int
    tls: bool
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    options: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.tls else 'redis'}://{host}:{self.port}/{self.db}"

    @property
    def arguments(self) -> dict[str, Any]:
        """What the client asks for, the password in the clear."""
        named = {"host": self.host, "port": self.port, "db": self.db, "ssl": self.tls}
        secret = {"username": self.username, "password": self.password}
        options = {name: value == "true" if name == HOSTNAME else value for name, value in self.options}
        return {**named, **secret, **options}


def parse(url: SecretStr) -> Address:
    """Reads the URL; raises ``StorageError``, which never quotes what may be part of a password."""
    parts, port = _split(url)
    if parts.scheme not in {"redis", "rediss"} or not parts.hostname or parts.fragment:
        raise StorageError(f"storage.url is not the URL of a Redis server: {FORM}; {ESCAPES}")
    tls = parts.scheme == "rediss"
    user, password = (unquote(part) if part else None for part in (parts.username, parts.password))
    return Address(parts.hostname, port or 6379, _db(parts), tls, user, password, _options(parts, tls=tls))


def _split(url: SecretStr) -> tuple[SplitResult, int | None]:
    try:
        parts = urlsplit(url.get_secret_value())
        port = parts.port
    except ValueError:
        # Not chained: what urllib could not read may be part of a password, and its message quotes it.
        raise StorageError(f"storage.url is not a URL: {FORM}; {ESCAPES}") from None
    return parts, port


def _db(parts: SplitResult) -> int:
    number = parts.path.removeprefix("/")
    if number and not (number.isascii() and number.isdigit()):
        raise StorageError(f"storage.url names no database by its number: {FORM}; {ESCAPES}")
    return int(number or 0)


def _options(parts: SplitResult, *, tls: bool) -> tuple[tuple[str, str], ...]:
    given = tuple(parse_qsl(parts.query, keep_blank_values=True))
    if given and not tls:
        raise StorageError("storage.url: options after ? are for rediss:// only")
    for name, value in given:
        # An unknown name is not quoted: it may be part of a password whose ? was not escaped.
        if name not in OPTIONS:
            raise StorageError(f"storage.url: an option after ? is unknown; known are {', '.join(OPTIONS)}")
        if name in FILES and not Path(value).is_file():
            raise StorageError(f"storage.url: {name} names no file that is there")
        if name == HOSTNAME and value not in {"true", "false"}:
            raise StorageError(f"storage.url: {name} is neither true nor false")
    return given
