"""Files without faults: what ``load`` makes of them."""

from __future__ import annotations

import fcntl
import gc
import os
import re
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from exporter.config import Config, load
from exporter.config.schema import LinkSection
from exporter.model import Link

EXAMPLE = Path(__file__).parents[3] / "config.yaml"


def load_text(tmp_path: Path, text: str, **environ: str) -> Config:
    path = tmp_path / "config.yaml"
    path.write_text(text, "utf-8")
    return load(str(path), environ)


def with_account(lines: str, links: str = "[{id: 1}]", top: str = "") -> str:
    """A file with one account, ``lines`` added to it."""
    storage = 'storage: {url: "memory:"}\n'
    account = f"{{name: main, login: alex, password: hunter2, {lines} links: {links}}}"
    return f"{top}{storage}accounts:\n  - {account}\n"


def the_link(tmp_path: Path, text: str) -> Link:
    (account,) = load_text(tmp_path, text).accounts
    (link,) = account.links
    return link


def warnings_of(tmp_path: Path, text: str) -> list[str]:
    return [str(fault).removeprefix(str(tmp_path)) for fault in load_text(tmp_path, text).warnings]


def test_example() -> None:
    config = load(EXAMPLE, {"SMSC_LOGIN": "alex", "SMSC_PASSWORD": "hunter2"})
    (account,) = config.accounts
    assert account.credentials.parameters == {"login": "alex", "psw": "hunter2"}
    assert account.urls == ("https://smscentre.com",)
    assert (account.method, account.format, account.timeout) == ("POST", "json", 10.0)
    assert (account.max_concurrent_requests, account.timezone) == (4, ZoneInfo("Europe/Moscow"))
    labels = (("campaign", "spring"), ("team", "growth"))
    spring = Link(
        "main", "spring-sale", id="145142", labels=labels, refresh_interval=120.0, stale_after=900.0
    )
    assert account.links[0] == spring
    assert account.links[1].target == ("link", "https://mywebsite.ru/?q=a+b")
    assert config.storage_url.get_secret_value() == f"sqlite:{EXAMPLE.absolute().parent}/data/exporter.db"
    assert config.warnings == ()


def test_a_reload_leaves_the_locks_of_the_database_alone(tmp_path: Path) -> None:
    text = with_account("").replace("memory:", "sqlite:exporter.db")
    config = load_text(tmp_path, text)
    with open(tmp_path / "exporter.db", "wb") as database:
        fcntl.lockf(database, fcntl.LOCK_EX)
        load(tmp_path / "config.yaml", {}, last_good=config)
        held = f"{os.getpid()} .*:{os.fstat(database.fileno()).st_ino} "
        assert re.search(held, Path("/proc/locks").read_text())


def test_least_that_is_needed(tmp_path: Path) -> None:
    text = "accounts:\n  - {name: main, api_key: hunter2, links: [{id: 0145142}]}\n"
    config = load_text(tmp_path, text)
    (account,) = config.accounts
    assert account.credentials.parameters == {"apikey": "hunter2"}
    assert account.links == (Link("main", "0145142", id="0145142"),)
    assert (account.fallback_urls, account.base_url) == ((), "https://smscentre.com")
    assert config.storage_url.get_secret_value() == f"sqlite:{tmp_path}/data/exporter.db"


def test_secrets_are_not_in_repr(tmp_path: Path) -> None:
    config = load_text(tmp_path, with_account("").replace("alex", "hunter1"))
    assert config.accounts[0].credentials.parameters == {"login": "hunter1", "psw": "hunter2"}
    assert "hunter" not in repr(config)
    assert "memory" not in repr(config)


@pytest.mark.parametrize("written", ["no", "1:30", "2024-01-01", "0x1F", "1e3", "'~'", "''"])
def test_text_loses_nothing(tmp_path: Path, written: str) -> None:
    link = the_link(tmp_path, with_account("", f"[{{id: 1, labels: {{when: {written}}}}}]"))
    assert link.labels == (("when", written.strip("'")),)


def test_names_fall_back_to_id_and_full_link(tmp_path: Path) -> None:
    links = "[{id: 145142}, {link: 'https://пример.рф/?a=b c'}, {link: mywebsite.ru, name: распродажа}]"
    (account,) = load_text(tmp_path, with_account("", links)).accounts
    assert [link.name for link in account.links] == ["145142", "https://пример.рф/?a=b c", "распродажа"]
    assert [link.id for link in account.links] == ["145142", None, None]


def test_inheritance(tmp_path: Path) -> None:
    text = with_account(
        "refresh_interval: 2m, labels: {team: growth, kind: short},",
        "[{id: 1, labels: {kind: long}}, {id: 2, refresh_interval: 10m, stale_after: 1h}]",
        "stale_after: 20m\nrefresh_interval: 1m\n",
    )
    first, second = load_text(tmp_path, text).accounts[0].links
    assert (first.refresh_interval, first.stale_after) == (120.0, 1200.0)
    assert first.labels == (("kind", "long"), ("team", "growth"))
    assert (second.refresh_interval, second.stale_after) == (600.0, 3600.0)
    assert second.labels == (("kind", "short"), ("team", "growth"))


def test_top_interval_reaches_links_and_stretches_staleness(tmp_path: Path) -> None:
    link = the_link(tmp_path, with_account("", top="refresh_interval: 10m\n"))
    assert (link.refresh_interval, link.stale_after) == (600.0, 1800.0)


def test_adaptive_intervals(tmp_path: Path) -> None:
    text = with_account(
        "refresh: Adaptive, max_interval: 20m,",
        "[{id: 1}, {id: 2, refresh_interval: 5m}, {id: 3, stale_after: 2h}]",
        "min_interval: 30s\n",
    )
    first, own, third = load_text(tmp_path, text).accounts[0].links
    assert (first.bounds, first.refresh_interval, first.stale_after) == ((30, 1200), 60, 3600)
    assert (own.bounds, own.refresh_interval, own.stale_after) == (None, 300, 900)
    assert (third.bounds, third.stale_after) == ((30, 1200), 7200)
    text = with_account("refresh_interval: 2m,", top="refresh: adaptive\n")
    assert the_link(tmp_path, text).bounds == (21, 1200)
    text = with_account("refresh: fixed,", top="refresh: adaptive\nmax_interval: 5m\n")
    assert the_link(tmp_path, text).bounds is None


def test_anchors_and_merges(tmp_path: Path) -> None:
    links = "[&a {id: 1, labels: {x: y}, refresh_interval: 1h}, &b {id: 2, stale_after: 2d}, "
    links += "{<<: *a, id: 3, name: third}, {<<: [*b, *a], id: 4}, {id: 5, <<: *b, <<: *a}]"
    _, _, third, fourth, fifth = load_text(tmp_path, with_account("", links)).accounts[0].links
    assert (third.id, third.name, third.refresh_interval) == ("3", "third", 3600.0)
    assert (fourth.id, fourth.stale_after, fourth.labels) == ("4", 172_800.0, (("x", "y"),))
    assert (fifth.id, fifth.stale_after, fifth.labels) == ("5", 172_800.0, (("x", "y"),))


def test_choices_in_any_case(tmp_path: Path) -> None:
    text = with_account("method: get, format: XML, max_concurrent_requests: 14, timeout: 500ms,")
    (account,) = load_text(tmp_path, text).accounts
    assert (account.method, account.format) == ("GET", "xml")
    assert (account.max_concurrent_requests, account.timeout) == (14, 0.5)


def test_addresses_get_one_spelling(tmp_path: Path) -> None:
    text = with_account(
        "base_url: 'HTTPS://SMSC.kz:443/', fallback_urls: ['https://[::1]:8080/api/'], link_files: [],"
    )
    (account,) = load_text(tmp_path, text).accounts
    assert account.urls == ("https://smsc.kz", "https://[::1]:8080/api")


def test_secrets_from_files_and_variables(tmp_path: Path) -> None:
    (tmp_path / "login").write_bytes(b"\xef\xbb\xbfalex\r\n")
    (tmp_path / "storage").write_text("memory:\n")
    text = "storage: {url_file: storage}\naccounts:\n"
    text += "  - {name: main, login_file: login, password_env: PSW, links: [{id: 1}]}\n"
    config = load_text(tmp_path, text, PSW=" пароль ")
    assert config.accounts[0].credentials.parameters == {"login": "alex", "psw": " пароль "}
    assert config.storage_url.get_secret_value() == "memory:"


def test_same_login_at_two_hosts(tmp_path: Path) -> None:
    second = "  - {name: b, login: alex, password: x, base_url: https://smsc.kz, links: [{id: 1}]}\n"
    assert len(load_text(tmp_path, with_account("") + second).accounts) == 2


def test_byte_order_mark(tmp_path: Path) -> None:
    assert load_text(tmp_path, "\ufeff" + with_account("")).accounts[0].name == "main"


@pytest.mark.parametrize(
    "url", ["memory:", "sqlite:/var/lib/x.db", "redis://:hunter2@[::1]:6379/0", "rediss://redis.example:6380"]
)
def test_storages(tmp_path: Path, url: str) -> None:
    text = with_account("").partition("\n")[2]
    config = load_text(tmp_path, f"storage: {{url: '{url}'}}\n{text}")
    assert config.storage_url.get_secret_value() == url
    assert "hunter2" not in repr(config)


def test_warns_of_plain_http(tmp_path: Path) -> None:
    urls = "base_url: http://smscentre.com, fallback_urls: ['http://10.0.0.1', 'https://a.example', 'http://[::1]'],"
    message = "the login and the password are sent unencrypted over http: write https://"
    assert warnings_of(tmp_path, with_account(urls)) == [
        f"/config.yaml:3:60: accounts[0].base_url: {message}",
        f"/config.yaml:3:98: accounts[0].fallback_urls[0]: {message}",
    ]


@pytest.mark.parametrize("host", ["localhost:10146", "127.0.0.1", "provider.localhost"])
def test_plain_http_on_this_machine(tmp_path: Path, host: str) -> None:
    assert warnings_of(tmp_path, with_account(f"base_url: http://{host},")) == []


def many_links(count: int) -> str:
    links = "".join(f"      - {{id: {number}, labels: {{n: x{number}}}}}\n" for number in range(count))
    return (
        "storage: {url: 'memory:'}\naccounts:\n  - name: main\n    login: a\n    password: b\n    links:\n"
        + links
    )


def test_warns_of_overload(tmp_path: Path) -> None:
    text = many_links(3000).replace("password: b", "password: b\n    max_concurrent_requests: 1")
    assert warnings_of(tmp_path, text) == [
        "/config.yaml:3:5: accounts[0]: 3000 links ask for 50.0 requests a second, but "
        "max_concurrent_requests: 1 allows about 10 (at 100 ms an answer), "
        "so links with few clicks will be read late: write refresh_interval: 5m or max_concurrent_requests: 5"
    ]


def test_ten_thousand_links(tmp_path: Path) -> None:
    config = load_text(tmp_path, many_links(10_000))
    (account,) = config.accounts
    assert len(account.links) == 10_000
    assert account.links[9_999] == Link("main", "9999", id="9999", labels=(("n", "x9999"),))
    (warning,) = config.warnings
    assert warning.message.endswith("write refresh_interval: 4m10s")


def test_no_more_is_held_of_the_files_links_than_the_links_themselves(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        "accounts: [{name: main, login: demo, password: secret, links: [{id: '1', name: a-name-so-seen}]}]"
    )
    config = load(file, {})
    gc.collect()
    names = [thing for thing in gc.get_objects() if isinstance(thing, LinkSection) and thing.id == "1"]
    assert "a-name-so-seen" not in {section.name for section in names}
    assert config.accounts[0].links[0].name == "a-name-so-seen"
