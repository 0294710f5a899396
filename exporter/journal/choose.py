"""Which journal a storage URL means."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from exporter.errors import StorageError
from exporter.journal.memory import MemoryJournal
from exporter.journal.sqlite import SqliteJournal

if TYPE_CHECKING:
    from pydantic import SecretStr

    from exporter.clock import Clock
    from exporter.journal.journal import Journal


def journal_for(url: SecretStr, clock: Clock, *, guest: bool = False) -> Journal:
    """The journal that ``url`` names.

    ``guest``: for a few requests, beside an exporter that may be running. Raises ``StorageError`` if what it
    needs is not installed.
    """
    scheme, _, rest = url.get_secret_value().partition(":")
    if scheme == "memory":
        return MemoryJournal(clock)
    if scheme == "sqlite":
        return SqliteJournal(Path(rest), clock, guest=guest)
    try:
        from exporter.journal.redis import RedisJournal
        from exporter.journal.redis_url import parse
    except ImportError:
        raise StorageError(
            "storage.url: Redis needs another package: pip install 'smsc-exporter[redis]'"
        ) from None
    return RedisJournal(parse(url), clock, guest=guest)
