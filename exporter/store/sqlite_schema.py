"""The embedded store's tables, and whether what stands in them can be believed.

Each column says which values it may have, so that one check of the whole file, in SQLite, finds a value that
was damaged; what only shows beside the time is looked at here.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing

from exporter.rules import LINGER, LONGEST_PAUSE

APPLICATION = 0x534D5343
"""What marks a database as ours ("SMSC")."""

_TIME = "REAL NOT NULL CHECK (abs({0}) < 1e12)"
_COUNT = "INTEGER NOT NULL CHECK ({0} BETWEEN 0 AND 9007199254740992)"  # 2**53
_TOTAL = "INTEGER NOT NULL CHECK (total >= 0)"
_FLAG = "INTEGER NOT NULL CHECK ({0} IN (0, 1))"
_COUNTS = ("all_time", "month", "today", "yesterday", "previous_month")

_FIRST = """
    CREATE TABLE clock (boot TEXT NOT NULL, ahead REAL NOT NULL, latest REAL NOT NULL);
    CREATE TABLE attempts (
        number INTEGER PRIMARY KEY, host TEXT NOT NULL, login TEXT NOT NULL, kind TEXT NOT NULL,
        value TEXT NOT NULL, gone REAL NOT NULL, ended INTEGER NOT NULL, proven INTEGER NOT NULL
    );
    CREATE INDEX attempts_of_link ON attempts (login, kind, value, gone);
    CREATE INDEX attempts_in_flight ON attempts (login, gone) WHERE NOT ended;
    CREATE INDEX attempts_unproven ON attempts (host, gone) WHERE NOT ended AND NOT proven;
    CREATE INDEX attempts_gone ON attempts (gone);
    CREATE TABLE asked (
        login TEXT NOT NULL, kind TEXT NOT NULL, value TEXT NOT NULL, at REAL NOT NULL,
        PRIMARY KEY (login, kind, value)
    ) WITHOUT ROWID;
    CREATE TABLE failed_logins (host TEXT NOT NULL, at REAL NOT NULL);
    CREATE INDEX failed_logins_of_host ON failed_logins (host, at);
    CREATE TABLE pauses (
        key TEXT PRIMARY KEY, state TEXT NOT NULL, until REAL NOT NULL, count INTEGER NOT NULL
    );
    CREATE TABLE readings (
        account TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL, value TEXT NOT NULL, id TEXT NOT NULL,
        all_time INTEGER NOT NULL, month INTEGER NOT NULL, today INTEGER NOT NULL, yesterday INTEGER NOT NULL,
        previous_month INTEGER NOT NULL, short_link TEXT NOT NULL, total INTEGER NOT NULL,
        read_at REAL NOT NULL, ledger_at REAL NOT NULL, PRIMARY KEY (account, name)
    ) WITHOUT ROWID;
"""

_STRICT = f"""
    ALTER TABLE clock RENAME TO old_clock;
    ALTER TABLE attempts RENAME TO old_attempts;
    ALTER TABLE asked RENAME TO old_asked;
    ALTER TABLE failed_logins RENAME TO old_failed_logins;
    ALTER TABLE pauses RENAME TO old_pauses;
    ALTER TABLE readings RENAME TO old_readings;
    CREATE TABLE clock (
        only INTEGER PRIMARY KEY CHECK (only = 1), boot TEXT NOT NULL, ahead {_TIME.format("ahead")},
        latest {_TIME.format("latest")}, batch {_COUNT.format("batch")}
    ) STRICT;
    CREATE TABLE attempts (
        number INTEGER PRIMARY KEY, host TEXT NOT NULL, login TEXT NOT NULL, kind TEXT NOT NULL,
        value TEXT NOT NULL, gone {_TIME.format("gone")}, ended {_FLAG.format("ended")},
        proven {_FLAG.format("proven")}
    ) STRICT;
    CREATE TABLE asked (
        login TEXT NOT NULL, kind TEXT NOT NULL, value TEXT NOT NULL, at {_TIME.format("at")},
        PRIMARY KEY (login, kind, value)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE failed_logins (host TEXT NOT NULL, at {_TIME.format("at")}) STRICT;
    CREATE TABLE pauses (
        key TEXT PRIMARY KEY, state TEXT NOT NULL CHECK (state IN ('throttled', 'blocked', 'unauthorized')),
        until {_TIME.format("until")}, count {_COUNT.format("count")}
    ) STRICT;
    CREATE TABLE readings (
        account TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL, value TEXT NOT NULL, id TEXT NOT NULL,
        {", ".join(f"{name} {_COUNT.format(name)}" for name in _COUNTS)}, short_link TEXT NOT NULL,
        total {_TOTAL}, read_at {_TIME.format("read_at")},
        ledger_at {_TIME.format("ledger_at")}, PRIMARY KEY (account, name)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO clock SELECT 1, '', ahead, latest, 0 FROM old_clock;
    INSERT INTO attempts SELECT * FROM old_attempts;
    INSERT INTO asked SELECT * FROM old_asked;
    INSERT INTO failed_logins SELECT * FROM old_failed_logins;
    INSERT INTO pauses SELECT * FROM old_pauses;
    INSERT INTO readings SELECT * FROM old_readings;
    DROP TABLE old_clock;
    DROP TABLE old_attempts;
    DROP TABLE old_asked;
    DROP TABLE old_failed_logins;
    DROP TABLE old_pauses;
    DROP TABLE old_readings;
    CREATE INDEX attempts_of_link ON attempts (login, kind, value, gone);
    CREATE INDEX attempts_in_flight ON attempts (login, gone) WHERE NOT ended;
    CREATE INDEX attempts_unproven ON attempts (host, gone) WHERE NOT ended AND NOT proven;
    CREATE INDEX attempts_gone ON attempts (gone);
    CREATE INDEX failed_logins_of_host ON failed_logins (host, at);
"""  # noqa: S608 - our own names
"""The first clock stood still while the machine slept, so that an older file counts as an earlier boot's."""

MIGRATIONS = (_FIRST, _STRICT)
"""From each schema version to the next, the first from an empty file. ``user_version`` counts them."""

_LATEST = (
    ("attempts", "gone", 4 * LINGER),
    ("asked", "at", 1.0),
    ("failed_logins", "at", 1.0),
    ("pauses", "until", 2 * LONGEST_PAUSE),
    ("readings", "ledger_at", 1.0),
)
"""How many seconds after the present each time may lie: what is later was never written by us."""


class DamagedError(Exception):
    """The file is no database of ours that could be read, or tells what can't be."""


def migrate(db: sqlite3.Connection, version: int) -> None:
    """Brings the schema from ``version`` to ours."""
    for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
        mark = f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {number};"
        db.executescript(f"BEGIN; {script} {mark} COMMIT;")


def check_whole(db: sqlite3.Connection) -> None:
    """Reads the whole file: its structure, its indexes, and every value that a column may not have.

    Raises ``DamagedError``.
    """
    (verdict,) = db.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        raise DamagedError(verdict)


def check_tables(db: sqlite3.Connection) -> None:
    """Raises ``DamagedError`` if the tables are not those that the migrations make."""
    with closing(sqlite3.connect(":memory:")) as new:
        migrate(new, 0)
        if _tables(db) != _tables(new):
            raise DamagedError("its tables are not those of this exporter")


def _tables(db: sqlite3.Connection) -> list[tuple[str, str]]:
    return db.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name").fetchall()


def check_times(db: sqlite3.Connection, now: float) -> None:
    """Raises ``DamagedError`` if something is said to have happened after ``now``, in the ledger's time."""
    for table, column, later in _LATEST:
        (latest,) = db.execute(f"SELECT max({column}) FROM {table}").fetchone()  # noqa: S608 - our own names
        if latest is not None and latest > now + later:
            raise DamagedError(f"{table}.{column} lies in the future")
