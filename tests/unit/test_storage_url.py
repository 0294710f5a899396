"""What ``storage.url`` may say, and that its password is never repeated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from exporter.storage_url import Memory, Redis, Sqlite, missing_file, parse

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
    address = parse(url)
    assert isinstance(address, Redis)
    assert address.arguments == DEFAULTS | told
    assert str(address) == said
    assert "hunter2" not in repr(address)


def test_files_for_tls_are_named_by_options(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.touch()
    address = parse(f"rediss://h?ssl_ca_certs={authority}")
    assert isinstance(address, Redis)
    assert missing_file(address) is None
    assert address.arguments["ssl_ca_certs"] == str(authority)


def test_missing_file_for_tls_is_named_by_its_option() -> None:
    message = "ssl_keyfile names no file that is there: write its path"
    assert missing_file(parse("rediss://h?ssl_keyfile=/hunter2")) == message
    assert missing_file(parse("memory:")) is None


@pytest.mark.parametrize(
    ("url", "storage"),
    [
        ("memory:", Memory()),
        ("sqlite:data/exporter.db", Sqlite(Path("data/exporter.db"))),
        ("sqlite:/var/lib/x.db", Sqlite(Path("/var/lib/x.db"))),
        ("sqlite:./~x", Sqlite(Path("~x"))),
    ],
)
def test_memory_and_files(url: str, storage: Memory | Sqlite) -> None:
    assert parse(url) == storage
    assert str(storage) == url.replace("./", "")


FORM = "write redis://[user:password@]host[:6379][/0], or rediss:// for TLS"
NO_SERVER = "is not the URL of a Redis server: "
NO_URL = "has a host or port that is not valid: "
NO_STORAGE = "is not a storage: write sqlite:data/exporter.db"


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("redis://:hunter2@", "names no host: "),
        ("redis://:p@ss/hunter2#1@host/0", NO_SERVER),
        ("redis://:#hunter2@h", NO_SERVER),
        ("redis://h/0#hunter2", NO_SERVER),
        ("redis://h:0", NO_URL),
        ("redis://:hunter2 @h", NO_SERVER),
        ("redis:h", "names no host: "),
        ("redis://:hunter2/@h:6379", NO_URL),
        ("redis://h:hunter2", NO_URL),
        ("redis://[hunter2@h", NO_URL),
        ("redis://:hunter2%zz@h", "holds a % that escapes nothing: in a user name or a password, write"),
        ("redis://h/hunter2", "names no database by its number: "),
        ("redis://h/\u00b2", "names no database by its number: "),
        ("redis://h?ssl_ca_certs=hunter2", "has options after ?, which are for rediss:// only"),
        ("redis://u:1?hunter2@h/0", "has options after ?, which are for rediss:// only"),
        ("rediss://h?hunter2=1", "has an option after ? that is unknown; known are ssl_ca_certs"),
        ("rediss://h?ssl_check_hostname=hunter2", "has ssl_check_hostname, which is neither true nor false"),
        ("redis://a:26379,b:26379/hunter2", "names several hosts, but Redis Sentinel and Cluster are not"),
        ("redis+sentinel://:hunter2@a/0", f"Redis Sentinel is not supported: {FORM}"),
        ("unix:///run/hunter2.sock", f"a Redis at a Unix socket is not supported: {FORM}"),
        ("redis+unix:///run/hunter2.sock", f"a Redis at a Unix socket is not supported: {FORM}"),
        ("http://:hunter2@h", NO_STORAGE),
        ("hunter2", NO_STORAGE),
        ("memory", NO_STORAGE),
        ("redis://" + "hunter2" * 2000, "is longer than 8192 characters: write sqlite:data/exporter.db"),
        ("sqlite:", "names no file: write its path behind the colon, such as sqlite:data/exporter.db"),
        ("sqlite::memory:", 'names no file: write "memory:" (with the quotes) to keep the state in memory'),
        ("sqlite:///hunter2.db", "write sqlite: without slashes that are no part of the path"),
        ("sqlite:~/hunter2.db", "~ is not expanded here: write the whole path"),
        ("sqlite:hunter2/", "names a folder: write a file in it, such as sqlite:data/exporter.db"),
        ("sqlite:hunter2/..", "names a folder: write a file in it, such as sqlite:data/exporter.db"),
        ("sqlite:hunter2.db?mode=ro", "takes no options: remove what follows ? or #"),
    ],
)
def test_url_that_means_no_storage_is_refused_without_repeating_it(url: str, error: str) -> None:
    with pytest.raises(ValueError, match=r"[a-z]") as refused:
        parse(url)
    assert str(refused.value).startswith(error)
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ is (refused.value.__context__ is not None)
