"""Records what was sent and how it ended: in memory, in a SQLite file or in Redis.

A journal holds no rule. It appends events, and hands over those that another process appended.
"""

from __future__ import annotations

from typing import TypeAlias

from exporter import storage_url
from exporter.clock import Clock
from exporter.errors import StorageError
from exporter.journal.journal import Appended, History, MemoryJournal, Reader, StoredReading
from exporter.journal.shared import SharedJournal
from exporter.journal.sqlite import SqliteStore
from exporter.secret import SecretStr

__all__ = [
    "Appended",
    "History",
    "Journal",
    "MemoryJournal",
    "Reader",
    "SharedJournal",
    "StoredReading",
    "journal_for",
]

Journal: TypeAlias = SharedJournal | MemoryJournal
"""Both have the same methods; ``SharedJournal`` says what each does."""


def journal_for(url: SecretStr, clock: Clock, *, guest: bool = False) -> Journal:
    """The journal that ``url`` names; the configuration has seen to it that there is one.

    ``guest``: for a few requests, beside an exporter that may be running. Raises ``StorageError`` if a
    package is missing.
    """
    storage = storage_url.parse(url.get_secret_value())
    if isinstance(storage, storage_url.Memory):
        return MemoryJournal(clock)
    if isinstance(storage, storage_url.Sqlite):
        return SharedJournal(SqliteStore(storage.path, clock, guest=guest), clock)
    try:
        from exporter.journal.redis import RedisStore
    except ImportError:
        raise StorageError(
            "storage.url: Redis needs another package: run pip install '.[redis]' in the clone"
        ) from None
    return SharedJournal(RedisStore(storage, clock, guest=guest), clock)
