"""The embedded store's SQL: statements on a connection, with the ledger's time handed in.

The ledger's time runs in seconds that never go back and know no wall clock: see ``SqliteBackend``.
"""

from __future__ import annotations

from secrets import randbits
from typing import TYPE_CHECKING

from exporter.model import Reading, State
from exporter.rules import ATTEMPTS, FAILED_LOGIN_SPAN, FAILED_LOGINS, HARD_CAP, LINGER, SPAN
from exporter.store.backend import Denied, Grant, Kept, Pause, Scope

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from exporter.model import Snapshot
    from exporter.store.backend import Attempt

EVERYBODY = "*"
"""The key of a pause that is no host's and no secret's: hosts are named by their addresses."""

FORGET = 30 * 86_400.0
"""Seconds after which a link's last reading is dropped: a link that is taken out may well come back."""


# --- attempts ---------------------------------------------------------------------------------------------


def claim(db: sqlite3.Connection, now: float, attempt: Attempt) -> Grant | Denied:
    """Records the attempt, unless something speaks against it."""
    for rule in (_doubted, _paused, _failed_logins, _in_flight, _window, _apart):
        if (denied := rule(db, now, attempt)) is not None:
            return denied
    # Whoever is let through while a pause stands is its probe; the next one waits for what comes of it.
    tried = db.execute(
        "UPDATE pauses SET until = ? WHERE key IN (?, ?)",
        (now + attempt.lasts, attempt.host, attempt.secret),
    )
    db.execute("INSERT OR REPLACE INTO asked VALUES (?, ?, ?, ?)", (attempt.login, *attempt.target, now))
    number = randbits(62)  # its own in whichever copy of the ledger it is written to
    row = (number, attempt.host, attempt.login, *attempt.target, now + attempt.lasts, attempt.proven)
    db.execute("INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?, 0, ?)", row)
    return Grant(number, attempt, probe=tried.rowcount > 0)


def doubt(db: sqlite3.Connection, now: float, seconds: float) -> None:
    """Lets nothing leave for ``seconds``, whoever asks: what was sent before is not known."""
    db.execute(
        "INSERT INTO pauses VALUES (?, ?, ?, 0) ON CONFLICT DO UPDATE SET until = max(until, excluded.until)",
        (EVERYBODY, State.THROTTLED, now + seconds),
    )


def _doubted(db: sqlite3.Connection, now: float, _attempt: Attempt) -> Denied | None:
    row = db.execute("SELECT until - ? FROM pauses WHERE key = ?", (now, EVERYBODY)).fetchone()
    return Denied(Scope.HOST, row[0]) if row is not None and row[0] > 0 else None


def _paused(db: sqlite3.Connection, now: float, attempt: Attempt) -> Denied | None:
    for key, scope in ((attempt.host, Scope.HOST), (attempt.secret, Scope.LOGIN)):
        row = db.execute("SELECT state, until - ?, count FROM pauses WHERE key = ?", (now, key)).fetchone()
        if row is not None and row[1] > 0:
            return Denied(scope, row[1], Pause(State(row[0]), row[1], row[2]))
        if row is not None and row[0] == State.THROTTLED:
            db.execute("DELETE FROM pauses WHERE key = ?", (key,))
    return None


def _failed_logins(db: sqlite3.Connection, now: float, attempt: Attempt) -> Denied | None:
    """An attempt that was not proven and never ended may have failed as late as it may have been gone."""
    if attempt.proven:
        return None
    rows = db.execute(
        "SELECT at FROM failed_logins WHERE host = :host AND at > :since UNION ALL SELECT gone FROM attempts"
        " WHERE host = :host AND NOT ended AND NOT proven AND gone > :since",
        {"host": attempt.host, "since": now - FAILED_LOGIN_SPAN},
    )
    times = sorted(at for (at,) in rows)
    if len(times) < FAILED_LOGINS:
        return None
    return Denied(Scope.HOST, times[-FAILED_LOGINS] + FAILED_LOGIN_SPAN - now)


def _in_flight(db: sqlite3.Connection, now: float, attempt: Attempt) -> Denied | None:
    found = "SELECT count(*), min(gone) - ? FROM attempts WHERE login = ? AND NOT ended AND gone > ?"
    count, seconds = db.execute(found, (now, attempt.login, now)).fetchone()
    return Denied(Scope.LOGIN, seconds) if count >= HARD_CAP else None


def _window(db: sqlite3.Connection, now: float, attempt: Attempt) -> Denied | None:
    found = "SELECT gone FROM attempts WHERE login = ? AND kind = ? AND value = ? AND gone > ? ORDER BY gone"
    rows = db.execute(found, (attempt.login, *attempt.target, now - SPAN)).fetchall()
    return Denied(Scope.LINK, rows[-ATTEMPTS][0] + SPAN - now) if len(rows) >= ATTEMPTS else None


def _apart(db: sqlite3.Connection, now: float, attempt: Attempt) -> Denied | None:
    found = "SELECT at FROM asked WHERE login = ? AND kind = ? AND value = ?"
    row = db.execute(found, (attempt.login, *attempt.target)).fetchone()
    seconds = row[0] + attempt.apart - now if row else 0.0
    return Denied(Scope.LINK, seconds) if seconds > 0 else None


def end(db: sqlite3.Connection, now: float, grant: Grant, *, login_failed: bool) -> None:
    """The attempt ended: from now on it counts by this moment."""
    db.execute("UPDATE attempts SET ended = 1, gone = ? WHERE number = ?", (now, grant.number))
    if login_failed:
        db.execute("INSERT INTO failed_logins VALUES (?, ?)", (grant.attempt.host, now))


def hold(db: sqlite3.Connection, now: float, key: str, pause: Pause | None) -> None:
    """Puts a pause in place, or lifts it."""
    if pause is None:
        db.execute("DELETE FROM pauses WHERE key = ?", (key,))
    else:
        row = (key, pause.state, now + pause.seconds, pause.count)
        db.execute("INSERT OR REPLACE INTO pauses VALUES (?, ?, ?, ?)", row)


# --- all of it -------------------------------------------------------------------------------------------


_GRAVE = """
    SELECT EXISTS (SELECT 1 FROM failed_logins WHERE at > :since)
        OR EXISTS (SELECT 1 FROM attempts INDEXED BY attempts_unproven
            WHERE NOT ended AND NOT proven AND gone > :since)
        OR EXISTS (SELECT 1 FROM pauses WHERE iif(key = :everybody, until > :soon, state <> :throttled))
"""


def grave(db: sqlite3.Connection, now: float) -> bool:
    """Whether something binds for half an hour: a failed login, an attempt that may become one, a block."""
    known = {"since": now - FAILED_LOGIN_SPAN, "soon": now + SPAN + LINGER}
    named = {"everybody": EVERYBODY, "throttled": State.THROTTLED}
    (found,) = db.execute(_GRAVE, known | named).fetchone()
    return bool(found)


def count(db: sqlite3.Connection, now: float) -> int:
    """Counts one more transaction, at ``now``; how many there were."""
    ((batch,),) = db.execute(
        "UPDATE clock SET latest = ?, batch = batch + 1 RETURNING batch", (now,)
    ).fetchall()
    return int(batch)


# --- readings ---------------------------------------------------------------------------------------------


_FIGURES = "id, all_time, month, today, yesterday, previous_month, short_link, read_at, ledger_at"
_SAME = "kind = excluded.kind AND value = excluded.value"
KEEP = f"""
    INSERT INTO readings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET
        {", ".join(f"{name} = excluded.{name}" for name in _FIGURES.split(", "))},
        total = CASE WHEN {_SAME} THEN max(total, excluded.total) ELSE excluded.total END,
        kind = excluded.kind, value = excluded.value
    WHERE excluded.ledger_at >= ledger_at
"""  # noqa: S608 - our own names
"""Where another process has kept a newer reading meanwhile, that one stays; and no total falls."""


def keep(db: sqlite3.Connection, now: float, snapshot: Snapshot) -> None:
    """Keeps a link's reading."""
    link, reading = snapshot.link, snapshot.reading
    if reading is None:
        return
    figures = (reading.all_time, reading.month, reading.today, reading.yesterday, reading.previous_month)
    row = (*link.key, *link.target, reading.id, *figures, reading.short_link)
    db.execute(KEEP, (*row, snapshot.total, snapshot.read_at, now))


def kept(db: sqlite3.Connection, now: float, wall: float, *, same_boot: bool) -> Iterator[Kept]:
    """What was kept, each reading as old as it is known to be."""
    for row in db.execute("SELECT * FROM readings"):
        account, name, kind, value, *figures, total, read_at, at = row
        moment = wall - (now - at) if same_boot else _distrusted(read_at, wall, wall - (now - at))
        yield Kept(account, name, (kind, value), Reading(*figures), moment, total)


def _distrusted(read_at: float, wall: float, latest: float) -> float:
    """When a reading of an earlier boot was taken: at ``latest``, or earlier by the wall clock; 0: unknown.

    A reading from the future tells that the clock was set back since, by nobody knows how much.
    """
    return min(read_at, latest) if read_at <= wall else 0.0


def tidy(db: sqlite3.Connection, now: float) -> None:
    """Drops what counts no longer, so that the file stays as large as the number of links."""
    db.execute("DELETE FROM attempts WHERE gone < ? AND (ended OR proven)", (now - SPAN,))
    db.execute("DELETE FROM attempts WHERE gone < ?", (now - FAILED_LOGIN_SPAN,))
    db.execute("DELETE FROM failed_logins WHERE at < ?", (now - FAILED_LOGIN_SPAN,))
    for table, column in (("asked", "at"), ("readings", "ledger_at"), ("pauses", "until")):
        db.execute(f"DELETE FROM {table} WHERE {column} < ?", (now - FORGET,))  # noqa: S608 - our own names
