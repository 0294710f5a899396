"""Records what was sent and how it ended: in memory, in a SQLite file or in Redis.

A journal holds no rule. It appends events, and hands over those that another process appended. ``journal``
defines what each of them offers.
"""

from exporter.journal.choose import journal_for
from exporter.journal.journal import Appended, History, Journal, Reader, StoredReading
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
