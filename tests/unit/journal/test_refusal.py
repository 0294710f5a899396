"""Which files ``check`` refuses as the storage: those that ``serve`` would, and no others."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from exporter.journal.sqlite_schema import VERSION, create, refusal

NOT_OURS = "is not smsc-exporter's database: name another path in storage.url"


def database(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for statement in statements:
            db.execute(statement)


def ours(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        create(db)
    database(path, *statements)


def test_file_that_is_ours_or_nobodys_is_let_be(tmp_path: Path) -> None:
    assert refusal(tmp_path / "missing.db") is None
    assert refusal(tmp_path / "missing" / "x.db") is None
    (tmp_path / "empty.db").touch()
    assert refusal(tmp_path / "empty.db") is None
    ours(tmp_path / "ours.db")
    assert refusal(tmp_path / "ours.db") is None
    ours(tmp_path / "old.db", f"PRAGMA user_version = {VERSION - 1}")
    assert refusal(tmp_path / "old.db") is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_file_of_the_user_who_runs_serve_is_let_be(tmp_path: Path) -> None:
    ours(tmp_path / "ours.db")
    os.chown(tmp_path / "ours.db", 65534, 65534)
    assert refusal(tmp_path / "ours.db") is None


def test_damaged_file_is_ours_by_the_mark_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "ours.db"
    path.write_bytes(b"\0" * 4096)
    assert refusal(path) == f"{path} {NOT_OURS}"
    (tmp_path / "ours.db.lock").write_text("smsc-exporter 12 open - -inf -inf -inf\n")
    assert refusal(path) is None
    (tmp_path / "ours.db.lock").write_text("# a lock file of another program\n")
    assert refusal(path) == f"{path} {NOT_OURS}"


def test_file_of_somebody_else_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("accounts: []\n" * 20)
    (tmp_path / "short").write_text("SQLite format 3\0")
    database(tmp_path / "other.db", "CREATE TABLE t (a)")
    database(tmp_path / "another.db", "PRAGMA application_id = 7", "CREATE TABLE t (a)")
    for path in [tmp_path / name for name in ("config.yaml", "short", "other.db", "another.db")]:
        before = path.read_bytes()
        assert refusal(path) == f"{path} {NOT_OURS}"
        assert path.read_bytes() == before


def test_file_of_a_newer_version_is_named_as_such(tmp_path: Path) -> None:
    ours(tmp_path / "new.db", f"PRAGMA user_version = {VERSION + 1}")
    assert "was written by a newer smsc-exporter" in str(refusal(tmp_path / "new.db"))


def test_what_is_no_file_is_named_as_such(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/null")
    no_file = "this file cannot be used (it is a folder, a device or a pipe): name another path"
    assert refusal(tmp_path) == refusal(tmp_path / "pipe") == no_file
    assert "(Too many levels of symbolic links)" in str(refusal(tmp_path / "device"))
