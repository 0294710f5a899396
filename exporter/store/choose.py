"""Which backend a storage URL means."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from exporter.errors import StorageError
from exporter.store.backend import MemoryBackend
from exporter.store.sqlite import SqliteBackend
from exporter.store.sqlite_guest import SqliteGuest

if TYPE_CHECKING:
    from pydantic import SecretStr

    from exporter.clock import Clock
    from exporter.store.backend import Backend


def backend_for(url: SecretStr, clock: Clock, *, guest: bool = False) -> Backend:
    """The backend that ``url`` names; the configuration has seen to it that there is one.

    ``guest``: for a few requests, beside an exporter that may be running.

    Raises ``StorageError`` if what it needs is not installed.
    """
    scheme, _, rest = url.get_secret_value().partition(":")
    if scheme == "memory":
        return MemoryBackend()
    if scheme == "sqlite":
        return (SqliteGuest if guest else SqliteBackend)(Path(rest), clock)
    try:
        from exporter.store.redis import RedisBackend
    except ImportError:
        raise StorageError(
            "storage.url: redis needs another package: pip install 'smsc-exporter[redis]'"
        ) from None
    return RedisBackend(url, clock, guest=guest)
