"""What ``storage.url`` may say, and that its password is never repeated."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from exporter.errors import StorageError
from exporter.store.redis_url import parse

if TYPE_CHECKING:
    from pathlib import Path

DEFAULTS = {"host": "h", "port": 6379, "db": 0, "ssl": False, "username": None, "password": None}


@pytest.mark.parametrize(
    ("url", "told", "said"),
    [
        ("redis://h", {}, "redis://h:6379/0"),
        ("redis://h/", {}, "redis://h:6379/0"),
        ("redis://h:7000/12", {"port": 7000, "db": 12}, "redis://h:7000/12"),
        ("redis://:hunter2@h", {"password": "hunter2"}, "redis://h:6379/0"),
        ("redis://alex:h%2Fun%40t%3F@h", {"username": "alex", "password": "h/un@t?"}, "redis://h:6379/0"),
        ("rediss://[::1]:6380", {"host": "::1", "port": 6380, "ssl": True}, "rediss://[::1]:6380/0"),
        (
            "rediss://h?ssl_check_hostname=false",
            {"ssl": True, "ssl_check_hostname": False},
            "rediss://h:6379/0",
        ),
        (
            "rediss://h?ssl_check_hostname=true",
            {"ssl": True, "ssl_check_hostname": True},
            "rediss://h:6379/0",
        ),
    ],
)
def test_a_url_says_where_redis_is(url: str, told: dict[str, Any], said: str) -> None:
    address = parse(SecretStr(url))
    assert address.arguments == DEFAULTS | told
    assert str(address) == said
    assert "hunter2" not in repr(address)


def test_files_for_tls_are_named_by_options(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.touch()
    address = parse(SecretStr(f"rediss://h?ssl_ca_certs={authority}"))
    assert address.arguments["ssl_ca_certs"] == str(authority)


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("redis://:hunter2@", "not the URL of a Redis server"),
        ("http://:hunter2@h", "not the URL of a Redis server"),
        ("redis://:#hunter2@h", "not a URL|not the URL of a Redis server"),
        ("redis://h/0#hunter2", "not the URL of a Redis server"),
        ("redis://:hunter2/@h:6379", "not a URL"),
        ("redis://h:hunter2", "not a URL"),
        ("redis://[hunter2@h", "not a URL"),
        ("redis://h/hunter2", "names no database"),
        ("redis://h/²", "names no database"),
        ("redis://h?ssl_ca_certs=hunter2", "for rediss:// only"),
        ("rediss://h?hunter2=1", "is unknown; known are ssl_ca_certs"),
        ("rediss://h?ssl_keyfile=/hunter2", "ssl_keyfile names no file"),
        ("rediss://h?ssl_check_hostname=hunter2", "neither true nor false"),
    ],
)
def test_a_url_that_is_none_is_refused_without_repeating_it(url: str, fault: str) -> None:
    with pytest.raises(StorageError) as refused:
        parse(SecretStr(url))
    assert re.search(fault, str(refused.value))
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ is (refused.value.__context__ is not None)
