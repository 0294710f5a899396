"""Where the state is kept, from ``storage.url``. ``check`` and ``serve`` read the URL with this one parser.

No message quotes the URL: any part of it may belong to a password whose characters were not escaped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import SplitResult, parse_qsl, unquote

from exporter.secret import split_url

FORM = "write redis://[user:password@]host[:6379][/0], or rediss:// for TLS"
ESCAPES = "in a user name or a password, write / ? # @ : and % as %2F %3F %23 %40 %3A and %25"
STORAGES = 'sqlite:data/exporter.db, redis://host:6379/0, rediss://host:6379/0 or "memory:" (with the quotes)'
FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
HOSTNAME = "ssl_check_hostname"
OPTIONS = (*FILES, HOSTNAME)

LONGEST = 8192
"""Characters of a URL."""

_OTHER_WAYS = {
    "unix": "a Redis at a Unix socket is not supported",
    "redis+unix": "a Redis at a Unix socket is not supported",
    "redis+socket": "a Redis at a Unix socket is not supported",
    "redis+sentinel": "Redis Sentinel is not supported",
    "rediss+sentinel": "Redis Sentinel is not supported",
    "sentinel": "Redis Sentinel is not supported",
    "redis+cluster": "a Redis Cluster URL is not supported",
}


@dataclass(frozen=True, slots=True)
class Memory:
    """The state is kept in memory and ends with the process."""

    def __str__(self) -> str:
        return "memory:"


@dataclass(frozen=True, slots=True)
class Sqlite:
    """The state is kept in the SQLite file at ``path``, which may be relative."""

    path: Path

    def __str__(self) -> str:
        return f"sqlite:{self.path}"


@dataclass(frozen=True, slots=True)
class Redis:
    """The state is kept in a Redis: one server and database, and what signs us in. ``str`` omits secrets."""

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
        """The arguments of redis-py's client. The password in them is in the clear."""
        named = {"host": self.host, "port": self.port, "db": self.db, "ssl": self.tls}
        secret = {"username": self.username, "password": self.password}
        options = {name: value == "true" if name == HOSTNAME else value for name, value in self.options}
        return {**named, **secret, **options}


Storage: TypeAlias = Memory | Sqlite | Redis


def parse(url: str) -> Storage:
    """Returns what ``url`` means. Raises ValueError with a sentence that says what to write."""
    if len(url) > LONGEST:
        raise ValueError(f"is longer than {LONGEST} characters: write {STORAGES}")
    scheme, colon, rest = url.partition(":")
    if url == "memory:":
        return Memory()
    if scheme == "sqlite" and colon:
        return Sqlite(Path(_sqlite_path(rest)))
    if scheme in {"redis", "rediss"} and colon:
        return _redis(url)
    if scheme in _OTHER_WAYS and colon:
        raise ValueError(f"{_OTHER_WAYS[scheme]}: {FORM}")
    raise ValueError(f"is not a storage: write {STORAGES}")


def _sqlite_path(path: str) -> str:
    if not path:
        raise ValueError("names no file: write its path behind the colon, such as sqlite:data/exporter.db")
    if path.startswith("//"):
        raise ValueError("write sqlite: without slashes that are no part of the path: sqlite:/absolute/path")
    if path.startswith(":memory:"):
        raise ValueError('names no file: write "memory:" (with the quotes) to keep the state in memory')
    if path.startswith("~"):
        raise ValueError(
            "~ is not expanded here: write the whole path, such as sqlite:/home/alex/exporter.db"
        )
    if path.endswith("/") or path.rpartition("/")[2] in {".", ".."}:
        raise ValueError("names a folder: write a file in it, such as sqlite:data/exporter.db")
    if "?" in path or "#" in path:
        raise ValueError("takes no options: remove what follows ? or #")
    return path


def _redis(url: str) -> Redis:
    if "," in url.partition("://")[2].rpartition("@")[2].partition("/")[0]:
        raise ValueError(f"names several hosts, but Redis Sentinel and Cluster are not supported: {FORM}")
    parts, port = split_url(url, f"{FORM}; {ESCAPES}")
    if not parts.hostname and not parts.fragment:
        raise ValueError(f"names no host: {FORM}; {ESCAPES}")
    if not parts.hostname or parts.fragment or re.search(r"\s", url):
        raise ValueError(f"is not the URL of a Redis server: {FORM}; {ESCAPES}")
    tls = parts.scheme == "rediss"
    user, password = (_unescaped(part) for part in (parts.username, parts.password))
    return Redis(parts.hostname, port or 6379, _db(parts), tls, user, password, _options(parts, tls=tls))


def _unescaped(part: str | None) -> str | None:
    if part and re.search("%(?![0-9A-Fa-f]{2})", part):
        raise ValueError(f"holds a % that escapes nothing: {ESCAPES}")
    return unquote(part) if part else None


def _db(parts: SplitResult) -> int:
    number = parts.path.removeprefix("/")
    if not re.fullmatch("[0-9]{0,9}", number):
        raise ValueError(f"names no database by its number: {FORM}; {ESCAPES}")
    return int(number or 0)


def _options(parts: SplitResult, *, tls: bool) -> tuple[tuple[str, str], ...]:
    given = tuple(parse_qsl(parts.query, keep_blank_values=True))
    if (given or parts.query) and not tls:
        raise ValueError(f"has options after ?, which are for rediss:// only: remove them; {ESCAPES}")
    for name, value in given:
        # An unknown name is not quoted: it may be part of a password whose ? was not escaped.
        if name not in OPTIONS:
            raise ValueError(f"has an option after ? that is unknown; known are {', '.join(OPTIONS)}")
        if name == HOSTNAME and value not in {"true", "false"}:
            raise ValueError(f"has {name}, which is neither true nor false: write one of them")
    return given


def missing_file(storage: Storage) -> str | None:
    """Says which file for TLS is not there; None if none is missing."""
    options = storage.options if isinstance(storage, Redis) else ()
    for name, value in options:
        if name in FILES and not Path(value).is_file():
            return f"{name} names no file that is there: write its path"
    return None
