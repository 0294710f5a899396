"""The ledger in memory while the file can't be written: by the same rules, and brought back later."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from exporter.rules import LINGER
from exporter.store import ledger
from exporter.store.sqlite_schema import check_tables, check_times, check_whole, migrate

if TYPE_CHECKING:
    from collections.abc import Iterator

_BACK = (
    ("SELECT * FROM attempts", "INSERT OR REPLACE INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?, ?)"),
    (
        "SELECT * FROM asked",
        "INSERT INTO asked VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET at = max(at, excluded.at)",
    ),
    (
        "SELECT host, at FROM failed_logins WHERE rowid > (SELECT failed_logins FROM began)",
        "INSERT INTO failed_logins VALUES (?, ?)",
    ),
    ("SELECT key FROM held EXCEPT SELECT key FROM pauses", "DELETE FROM pauses WHERE key = ?"),
    ("SELECT * FROM pauses", "INSERT OR REPLACE INTO pauses VALUES (?, ?, ?, ?)"),
    ("SELECT * FROM readings WHERE ledger_at > (SELECT at FROM began)", ledger.KEEP),
)
"""What is read here, and how it is written there, where a guest may have written meanwhile."""


class Spare:
    """A copy of what ``file`` knows; where that can't be read, nothing may leave for ``seconds``."""

    def __init__(self, file: sqlite3.Connection, now: float, seconds: float) -> None:
        try:
            self.db = _memory()
            _copy(file, self.db, now)
        except Exception:  # whatever a damaged file makes of it
            self.db.close()
            self.db = _memory()
            migrate(self.db, 0)
            self.db.execute("INSERT INTO clock VALUES (1, '', 0, ?, 0)", (now,))
            ledger.doubt(self.db, now, seconds)
        self._note(now)

    def _note(self, now: float) -> None:
        """Notes what was there at the beginning: readings may be kept that are some minutes old."""
        self.db.execute("CREATE TEMP TABLE held AS SELECT key FROM pauses")
        self.db.execute(
            "CREATE TEMP TABLE began AS SELECT coalesce(max(rowid), 0) AS failed_logins, ? AS at"
            " FROM failed_logins",
            (now - 5 * LINGER,),
        )

    def bring_back(self, file: sqlite3.Connection, _now: float) -> None:
        """Writes to ``file`` what it missed. Raises ``sqlite3.Error`` if it still can't be written."""
        for found, written in _BACK:
            file.executemany(written, self._rows(found))

    def _rows(self, found: str) -> Iterator[tuple[object, ...]]:
        yield from self.db.execute(found)


def _memory() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)


def _copy(file: sqlite3.Connection, memory: sqlite3.Connection, now: float) -> None:
    file.backup(memory)
    check_whole(memory)
    check_tables(memory)
    check_times(memory, now)
