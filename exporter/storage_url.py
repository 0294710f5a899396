"""Where the state is kept, from ``storage.url``. ``check`` and ``serve`` read the URL with this one parser.

No message quotes the URL: any part of it may belong to a password whose characters were not escaped.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

if TYPE_CHECKING:
    from urllib.parse import SplitResult

APPLICATION_ID = 0x534D5343
"""What marks a SQLite file as ours: "SMSC" (SQLite's file format, section 1.3, offset 68)."""

MARK = "smsc-exporter"
"""The first word of the mark in the ``.lock`` file beside a database of ours."""

FORM = "write redis://[user:password@]host[:6379][/0], or rediss:// for TLS"
ESCAPES = "in a user name or a password, write / ? # @ : and % as %2F %3F %23 %40 %3A and %25"
STORAGES = 'sqlite:data/exporter.db, redis://host:6379/0, rediss://host:6379/0 or "memory:" (with the quotes)'
FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
HOSTNAME = "ssl_check_hostname"
OPTIONS = (*FILES, HOSTNAME)

LONGEST = 8192
"""Characters of a URL."""

_NOT_OURS = "this file is not smsc-exporter's database: name another path"
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
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # Not chained: what urllib could not read may be part of a password, and its message quotes it.
        raise ValueError(f"is not a URL: {FORM}; {ESCAPES}") from None
    if not parts.hostname or parts.fragment or re.search(r"\s", url) or port == 0:
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


def foreign_file(path: str | os.PathLike[str]) -> str | None:
    """Says why the file at ``path`` must not be used or moved; None if it is ours, empty or not there.

    It is ours by the id in its header, or by the mark that we keep beside it should the header be damaged.
    The header is read directly, because SQLite might change the file. A database without a schema passes:
    what its first writer did may still be in the ``-wal`` file beside it. Look at its id again once open.
    """
    try:
        found = os.stat(path)
        if S_ISDIR(found.st_mode):
            return "this is a folder: name a file in it"
        if not S_ISREG(found.st_mode):
            return "this is a device or a pipe, not a file: name another path"
        header = _beginning(path, 100)
        return None if _is_ours(header) or _has_mark(path) else _NOT_OURS
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        return "its folder is a file: name another path"
    except OSError as error:
        return f"this file cannot be read ({error.strerror}): name another path, or change its permissions"


def _beginning(path: str | os.PathLike[str], size: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(descriptor, size)
    finally:
        os.close(descriptor)


def _is_ours(header: bytes) -> bool:
    if not header:
        return True
    if len(header) < 100 or not header.startswith(b"SQLite format 3\0"):
        return False
    schema_format, application_id = (int.from_bytes(header[at : at + 4], "big") for at in (44, 68))
    return application_id == APPLICATION_ID or (application_id == 0 and schema_format == 0)


def _has_mark(path: str | os.PathLike[str]) -> bool:
    """Whether the ``.lock`` file beside ``path`` holds the mark of a journal."""
    lock = f"{os.fspath(path)}.lock"
    return os.path.isfile(lock) and _beginning(lock, 64).startswith(f"{MARK} ".encode())
