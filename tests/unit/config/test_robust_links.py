"""Whatever stands in a link file, ``load`` either takes it or says where in it something is wrong."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from exporter.config import load
from exporter.errors import ConfigError

CONFIG = """\
accounts:
  - {name: main, login: alex, password: hunter2, link_files: [links.*]}
"""
BREAK = "\r\n|\r|\n|\u2028|\u2029".encode()
"""Where a line ends, to YAML."""
SUFFIXES = st.sampled_from([".csv", ".json", ".yaml"])
PIECES = st.sampled_from(
    [
        *",;\t\"\n\r[]{}:'\\ \x00\x85ё\ufeff\u2028",
        *["id", "link", "name", "refresh_interval", "stale_after", "labels"],
        *["team", "ID", "1", "145142", "1m"],
        *['""', "\r\n", ",\n", "- id: ", '{"id": "1"}', "\\ud83d\\ude00", "\\ud83d", "&a ", "*a", "null"],
    ]
)
CELLS = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), max_size=9).map(str.strip)
ROWS = st.dictionaries(st.integers(1, 10**9), CELLS, min_size=1, max_size=9)
"""The text in a label by a link's id."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("robust-links")
    (folder / "config.yaml").write_text(CONFIG)
    return folder


def write(folder: Path, suffix: str, data: bytes) -> None:
    """Makes it the only link file."""
    for old in folder.glob("links.*"):
        old.unlink()
    (folder / f"links{suffix}").write_bytes(data)


def load_or_fault(folder: Path, suffix: str, data: bytes) -> None:
    """Each fault names the file and, where one is named, a line that is there."""
    write(folder, suffix, data)
    try:
        load(folder / "config.yaml", {})
    except ConfigError as error:
        last = len(re.split(BREAK, data)) + 1
        for fault in error.faults:
            assert fault.file == str(folder / f"links{suffix}")
            assert 0 <= fault.line <= last


@given(suffix=SUFFIXES, data=st.binary(max_size=200))
def test_anything(folder: Path, suffix: str, data: bytes) -> None:
    load_or_fault(folder, suffix, data)


@settings(max_examples=500)
@example(suffix=".csv", pieces=["id", "\n", '"', "\n" * 1000])
@example(suffix=".json", pieces=["["] * 100_000)
@given(suffix=SUFFIXES, pieces=st.lists(PIECES, max_size=40))
def test_almost_links(folder: Path, suffix: str, pieces: list[str]) -> None:
    load_or_fault(folder, suffix, "".join(pieces).encode())


@given(rows=ROWS, delimiter=st.sampled_from(",;\t"), quoted=st.booleans())
def test_a_table_is_what_a_spreadsheet_wrote(
    folder: Path, rows: dict[int, str], delimiter: str, quoted: bool
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL)
    writer.writerows([("id", "team"), *rows.items()])
    assert teams(folder, ".csv", text.getvalue()) == expected(rows)


@given(rows=ROWS, ascii_only=st.booleans())
def test_a_list_is_what_json_wrote(folder: Path, rows: dict[int, str], ascii_only: bool) -> None:
    entries = [{"id": str(id_), "labels": {"team": team} if team else {}} for id_, team in rows.items()]
    assert teams(folder, ".json", json.dumps(entries, ensure_ascii=ascii_only)) == expected(rows)


def expected(rows: dict[int, str]) -> dict[str, str]:
    return {str(id_): team for id_, team in rows.items()}


def teams(folder: Path, suffix: str, text: str) -> dict[str, str]:
    """What ``load`` makes of the file: the label by the link's id."""
    write(folder, suffix, text.encode())
    (account,) = load(folder / "config.yaml", {}).accounts
    return {str(link.id): dict(link.labels).get("team", "") for link in account.links}
