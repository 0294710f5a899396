"""Proxies and authorities: what a file and the environment make of them for each address."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
import trustme

from exporter.config import load
from exporter.config.proxies import proxy_for
from exporter.errors import ConfigError
from exporter.model import Account


def load_account(folder: Path, lines: str = "", **environ: str) -> Account:
    path = folder / "config.yaml"
    account = f"{{name: main, login: alex, password: hunter2, {lines} links: [{{id: 1}}]}}"
    path.write_text(f'storage: {{url: "memory:"}}\naccounts:\n  - {account}\n', "utf-8")
    return load(path, environ).accounts[0]


def fault(folder: Path, lines: str = "", **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_account(folder, lines, **environ)
    return str(caught.value).removeprefix(f"{folder}/config.yaml:")


def way(account: Account) -> dict[str, str]:
    """The proxy of each address that has one."""
    return {url: proxy.url for url, proxy in account.proxies}


MIRRORS = 'base_url: "http://a.example:8080", fallback_urls: ["https://b.example", "https://c.example"],'
CORP = "http://proxy.corp:3128"


def test_without_anything_there_is_no_proxy(tmp_path: Path) -> None:
    account = load_account(tmp_path)
    assert (account.proxies, account.authorities) == ((), "")
    assert account.proxy_for(account.base_url) is None


def test_the_files_proxy_is_for_every_address_whatever_the_environment_says(tmp_path: Path) -> None:
    environ = {"HTTPS_PROXY": "http://other:1", "NO_PROXY": "*"}
    account = load_account(tmp_path, f"{MIRRORS} proxy: {CORP},", **environ)
    assert way(account) == dict.fromkeys(account.urls, CORP)
    account = load_account(tmp_path, 'base_url: "http://127.0.0.1:1", proxy: "http://localhost:2",')
    assert way(account) == {"http://127.0.0.1:1": "http://localhost:2"}


@pytest.mark.parametrize("none", ["none", "None", '" NONE "'])
def test_none_uses_none(tmp_path: Path, none: str) -> None:
    assert way(load_account(tmp_path, f"proxy: {none},", HTTPS_PROXY=CORP)) == {}


def test_a_proxy_may_stand_in_a_file_or_a_variable(tmp_path: Path) -> None:
    (tmp_path / "proxy").write_text(f"{CORP}\n")
    for lines in ("proxy_file: proxy,", "proxy_env: CORP_PROXY,"):
        account = load_account(tmp_path, lines, CORP_PROXY=CORP)
        assert way(account) == {"https://smscentre.com": CORP}
    assert way(load_account(tmp_path, "proxy_env: CORP_PROXY,", CORP_PROXY="none", HTTPS_PROXY=CORP)) == {}


@pytest.mark.parametrize(
    ("written", "url", "login"),
    [
        ("http://proxy.corp", "http://proxy.corp:80", None),
        ("HTTPS://Proxy.Corp/", "https://proxy.corp:443", None),
        ("http://[::1]:3128", "http://[::1]:3128", None),
        ("http://alex:secret@proxy.corp:3128", CORP, "alex:secret"),
        ("http://alex@proxy.corp:3128", CORP, "alex:"),
        ("http://:secret@proxy.corp:3128", CORP, ":secret"),
        ("http://al%40ex:s%3A%2F%D1%91%25@proxy.corp:3128", CORP, "al@ex:s:/ё%"),
        ("http://alex:p@ss@proxy.corp:3128", CORP, "alex:p@ss"),
    ],
)
def test_what_a_proxys_url_means(tmp_path: Path, written: str, url: str, login: str | None) -> None:
    proxy = load_account(tmp_path, f'proxy: "{written}",').proxy_for("https://smscentre.com")
    assert proxy
    assert proxy.url == url
    token = base64.b64encode(login.encode()).decode() if login else ""
    assert proxy.headers == ({"Proxy-Authorization": f"Basic {token}"} if login else {})
    assert token in (*proxy.secrets, "")


def test_a_proxys_login_is_not_in_repr(tmp_path: Path) -> None:
    account = load_account(tmp_path, 'proxy: "http://hunter1:hunter3@hunter.corp:3128",')
    assert account.secrets[2:4] == ("hunter1", "hunter3")
    assert "hunter" not in repr(account)


# --- the environment


def through(url: str, **environ: str) -> str | None:
    proxy = proxy_for(url, environ)
    return proxy.url if proxy else None


def test_each_scheme_has_its_variable(tmp_path: Path) -> None:
    account = load_account(tmp_path, MIRRORS, HTTP_PROXY="one:1", HTTPS_PROXY="https://two:2")
    assert way(account) == {
        "http://a.example:8080": "http://one:1",
        "https://b.example": "https://two:2",
        "https://c.example": "https://two:2",
    }
    account = load_account(tmp_path, MIRRORS, HTTPS_PROXY=CORP, NO_PROXY="b.example")
    assert way(account) == {"https://c.example": CORP}


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_capitals_come_first_and_an_empty_variable_is_none(scheme: str) -> None:
    url, name = f"{scheme}://a.example", f"{scheme}_proxy"
    assert through(url, **{name: "small:1"}) == "http://small:1"
    assert through(url, **{name: "small:1", name.upper(): "CAPITAL:1"}) == "http://capital:1"
    assert through(url, **{name: "small:1", name.upper(): ""}) == "http://small:1"
    assert through(url, **{name: "", name.upper(): ""}) is None
    assert through(url, ALL_PROXY="other:1", all_proxy="other:1") is None


@pytest.mark.parametrize(
    "url",
    ["http://localhost", "http://localhost:99", "http://127.0.0.1", "http://127.9.9.9:1", "http://[::1]:1"],
)
def test_this_machine_is_reached_directly(url: str) -> None:
    assert through(url, HTTP_PROXY=CORP) is None


@pytest.mark.parametrize(
    ("no_proxy", "url"),
    [
        ("*", "https://a.example"),
        ("x, *", "https://10.0.0.1"),
        ("a.example", "https://a.example"),
        ("a.example", "https://www.a.example:8443"),
        ("A.Example", "https://a.example"),
        (" x ,, a.example ", "https://a.example"),
        (".a.example", "https://www.a.example"),
        ("*.a.example", "https://www.a.example"),
        ("example", "https://a.example"),
        ("a.example:443", "https://a.example"),
        ("a.example:80", "http://a.example"),
        ("a.example:8443", "https://www.a.example:8443"),
        ("a.example:", "https://a.example:1"),
        ("пример.рф", "https://xn--e1afmkfd.xn--p1ai"),
        ("xn--e1afmkfd.xn--p1ai", "https://www.пример.рф"),
        ("10.0.0.1", "https://10.0.0.1"),
        ("10.0.0.1:443", "https://10.0.0.1"),
        ("10.0.0.0/8", "https://10.1.2.3:8443"),
        ("10.9.9.9/8", "https://10.1.2.3"),
        ("::ffff:10.0.0.1", "https://10.0.0.1"),
        ("2001:db8::1", "https://[2001:db8::1]"),
        ("2001:DB8:0::1", "https://[2001:db8::1]"),
        ("[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
        ("2001:db8::/32", "https://[2001:db8::1]"),
        (f"{'a' * 70}.example", f"https://{'a' * 70}.example"),
    ],
)
def test_no_proxy_excludes(no_proxy: str, url: str) -> None:
    both = {"HTTP_PROXY": CORP, "HTTPS_PROXY": CORP}
    assert through(url, **both, NO_PROXY=no_proxy) is None
    assert through(url, **both, no_proxy=no_proxy) is None


@pytest.mark.parametrize(
    ("no_proxy", "url"),
    [
        ("", "https://a.example"),
        (",", "https://a.example"),
        (":443", "https://a.example"),
        ("a.example", "https://ba.example"),
        ("www.a.example", "https://a.example"),
        (".a.example", "https://a.example"),
        ("*.a.example", "https://a.example"),
        ("*a.example", "https://a.example"),
        ("a.example:80", "https://a.example"),
        ("a.example:443", "https://a.example:8443"),
        ("10.0.0.1", "https://10.0.0.2"),
        ("10.0.0.1:8443", "https://10.0.0.1"),
        ("10.0.0.0/8", "https://11.1.2.3"),
        ("10.0.0.0/8", "https://a.example"),
        ("10.0.0.0/99", "https://10.1.2.3"),
        ("10.0.0.0/255.0.0.0", "https://10.1.2.3"),
        ("2001:db8::1", "https://[2001:db8::2]"),
        ("[2001:db8::1]:443", "https://[2001:db8::1]:8443"),
        ("2001:db8::/32", "https://10.0.0.1"),
    ],
)
def test_no_proxy_does_not_exclude(no_proxy: str, url: str) -> None:
    assert through(url, HTTPS_PROXY=CORP, NO_PROXY=no_proxy) == CORP


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("HTTPS_PROXY", "socks5h://hunter2:1", "is a SOCKS proxy, which is not supported: "),
        ("https_proxy", "ftp://hunter2", "is not a proxy's address: write http://host:port"),
        ("HTTPS_PROXY", "hunter:hunter2", "has a host or port that is not valid: write http://host:port"),
    ],
)
def test_a_variable_without_a_usable_proxy_is_an_error(
    tmp_path: Path, variable: str, value: str, message: str
) -> None:
    said = fault(tmp_path, **{variable: value})
    assert said.startswith(f"3:5: accounts[0].base_url: the environment variable {variable} {message}")
    assert said.endswith("; or set proxy: none here")
    assert "hunter" not in said


def test_a_variable_that_is_not_used_is_no_error(tmp_path: Path) -> None:
    assert load_account(tmp_path, HTTP_PROXY="socks5://x:1").proxies == ()
    assert load_account(tmp_path, HTTPS_PROXY="socks5://x:1", NO_PROXY="smscentre.com").proxies == ()
    assert load_account(tmp_path, "proxy: none,", HTTPS_PROXY="socks5://x:1").proxies == ()


def test_an_address_that_cannot_be_is_reported_once(tmp_path: Path) -> None:
    assert fault(tmp_path, "base_url: smscentre.com,", HTTPS_PROXY="x:1").count("base_url") == 1


# --- authorities


def test_certificates_are_read_with_comments_in_any_charset(tmp_path: Path) -> None:
    certificates = [trustme.CA().cert_pem.bytes() for _ in range(2)]
    (tmp_path / "corp.pem").write_bytes("Выдан: Корп\n".encode("cp1251") + b"\n".join(certificates))
    account = load_account(tmp_path, "ca_file: corp.pem,")
    assert account.authorities.count("BEGIN CERTIFICATE") == 2
    assert "CERTIFICATE" not in repr(account)


def test_a_certificate_that_is_damaged_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "corp.pem").write_bytes(trustme.CA().cert_pem.bytes()[:200])
    message = (
        "accounts[0].ca_file: the file contains no certificate, or a damaged one: write the path of a file"
    )
    assert message in fault(tmp_path, "ca_file: corp.pem,")
