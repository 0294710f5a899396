"""Records what was sent and how it ended: in memory, in a SQLite file or in Redis.

A journal holds no rule. It appends events, and hands over those that another process appended.
"""

from exporter.journal.choose import Journal, journal_for
from exporter.journal.journal import Appended, History, Reader, StoredReading
from exporter.journal.memory import MemoryJournal
from exporter.journal.shared import SharedJournal

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
