"""No secret is told anywhere, in whatever way it is written: every place for one, every way out."""

from __future__ import annotations

import base64
import json
import traceback
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

import pytest

from exporter.config import load
from exporter.errors import ConfigError
from tests.secrecy import NASTY, Secret, told

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGIN, PASSWORD, KEY, STORAGE, URL = (
    Secret(f"zq{name}zq") for name in ("login", "pass", "key", "store", "url")
)


# --- the search itself ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "encoded",
    {
        "plain": PASSWORD.text,
        "cut off": PASSWORD.text[: len(PASSWORD.text) // 2],
        "the end alone": PASSWORD.text.rpartition("@")[2],
        "in a URL": quote(PASSWORD.text, safe=""),
        "in a form": quote_plus(PASSWORD.text),
        "repr": repr(PASSWORD.text),
        "JSON": json.dumps(PASSWORD.text),
        "capitals": PASSWORD.text.upper(),
        "hex": PASSWORD.text.encode().hex(),
        "UTF-16": PASSWORD.text.encode("utf-16"),
        "base64": base64.b64encode(PASSWORD.text.encode()),
        "base64 with a login before it": base64.b64encode(f"alex:{PASSWORD.text}".encode()),
        "base64 with another login": base64.b64encode(f"anna1:{PASSWORD.text}".encode()),
        "base64 for URLs": base64.urlsafe_b64encode(f"x:{PASSWORD.text}".encode()),
    }.items(),
    ids=lambda item: item[0],
)
def test_the_search_finds(encoded: tuple[str, str | bytes]) -> None:
    assert told([LOGIN, PASSWORD], b"...", encoded[1]).keys() == {PASSWORD.word}


def test_the_search_finds_nothing_where_nothing_is() -> None:
    assert told([LOGIN, PASSWORD], "zqpas zqloginq", NASTY, b"\xff\x00") == {}


# --- configurations with a fault near a secret ------------------------------------------------------------

QUOTED = {
    way: [write(s.text) for s in (LOGIN, PASSWORD, KEY)]
    for way, write in {
        "in single quotes": lambda text: "'" + text.replace("'", "''") + "'",
        "in double quotes": json.dumps,
        "plain": lambda text: text,
        "plain, with commas": lambda text: text[:8] + "," + text[8:16] + "," + text[-8:],
        "plain and tame": lambda text: text.partition(" ")[0],
    }.items()
}
FLOW = """\
storage: {{url: {store}}}
accounts:
  - {{name: main, login: {login}, password: {password}, links: [{{id: 1}}]}}
  - {{name: other, api_key: {key}, base_url: {url}, links: [{{id: 1}}]}}
"""
BLOCK = """\
storage:
  url: {store}
accounts:
  - name: main
    login: {login}
    password: {password}
    links:
      - id: 1
  - name: other
    api_key: {key}
    base_url: {url}
    links: [{{id: 1}}]
"""
