"""Whatever stands in the file, ``load`` either takes it or says what is wrong with it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from exporter.config import load
from exporter.config.document import quote
from exporter.errors import ConfigError

# Pieces that are YAML's own, or ours, more often than chance would have it
MARKS = [
    *"{}[]'\"~#\n\t\x00@%ё\ufeff",
    "- ",
    "  ",
    ": ",
    ", ",
    "&a ",
    "*a",
    "<<",
    "!t ",
    "|\n",
    "? ",
    "---\n",
]
KNOWN = [
    "accounts:",
    "name",
    "links",
    "labels",
    "storage",
    "url",
    "id",
    "login",
    "timezone",
    "base_url",
    "1m",
]
PIECES = st.sampled_from([*MARKS, *KNOWN, "http://[", "password_file", "password_env", "\\ud800"])
KEYS = st.sampled_from(
    [
        "accounts",
        "links",
        "name",
        "id",
        "link",
        "labels",
        "login",
        "password_env",
        "storage",
        "url",
        "timeout",
    ]
)
WORDS = st.sampled_from(["memory:", "1m", "", "a b", "x\ny", "http://[::1", "145142"])
VALUES = st.recursive(
    st.none() | WORDS | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("robust") / "config.yaml"


def load_or_fault(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with suppress(ConfigError):
        load(path, {"a": "b"})


@given(data=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_anything(path: Path, data: bytes) -> None:
    load_or_fault(path, data)


@settings(max_examples=300)
@example(pieces=["["] * 100_000)
@example(pieces=["- "] * 100_000)
@example(pieces=["&a ", "{", "<<", ": ", "*a", "}"])
@given(pieces=st.lists(PIECES, max_size=40))
def test_almost_yaml(path: Path, pieces: list[str]) -> None:
    load_or_fault(path, "".join(pieces).encode())


@settings(max_examples=300)
@given(value=VALUES)
def test_any_shape(path: Path, value: object) -> None:
    load_or_fault(path, yaml.safe_dump({"accounts": [value], "storage": value}, allow_unicode=True).encode())


@given(
    key=st.sampled_from(["name", "links", "labels", "base_url", "fallback_urls", "login", "timezone"]),
    value=VALUES,
)
def test_any_value_in_an_account(path: Path, key: str, value: object) -> None:
    account = {"name": "main", "login": "a", "password": "b", "links": [{"id": "1"}], key: value}
    load_or_fault(path, yaml.safe_dump({"accounts": [account]}, allow_unicode=True).encode())


def test_quote() -> None:
    assert quote('a "b"\n') == '"a \\"b\\"\\n"'
    assert quote("x" * 100) == '"' + "x" * 57 + '..."'
