"""No secret is told anywhere, in whatever way it is written: every place for one, every way out.

Who adds a place for a secret, a page, a flag or a file, adds it to the lists below.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import socket
import sys
import traceback
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

import bcrypt
import pytest

from exporter import webconfig
from exporter.config import load
from exporter.errors import ConfigError
from tests import needs
from tests.echoes import ANSWERS, echoing
from tests.processes import PATIENCE, Program, exporter, free_port, program, run, until
from tests.redis_servers import redis_server
from tests.secrecy import NASTY, Secret, told
from tests.unit.webconfig.door import basic

LISTENING = r"^(?=.*listening).*(http://127.0.0.1:\d+)"
WEB = "--web.config.file=web.yaml"
FLAGS = ["--web.listen-address=127.0.0.1:0", "--web.enable-lifecycle", "--log.level=debug", WEB]
PAGES = [
    "/metrics",
    "/metrics?name[]=smsc_link_info",
    "/",
    "/-/healthy",
    "/-/ready",
    "/?q=zq&sort=today",
    "/api/v1/links",
    "/nowhere",
]
POSTS = ["/-/reload", "/metrics"]
LOGIN, PASSWORD, KEY, STORAGE, URL, PROXY = NAMED = [
    Secret(f"zq{tree}zq") for tree in ("alder", "birch", "cedar", "maple", "walnut", "larch")
]
SCRAPER, GUESS = Secret("zqrowanzq"), Secret("zqhazelzq")
HASH = bcrypt.hashpw(SCRAPER.text.encode(), bcrypt.gensalt(4)).decode()
RIGHT = basic("alice", SCRAPER.text)
LOGINS = [
    RIGHT,
    basic("alice", GUESS.text),
    basic(GUESS.text, SCRAPER.text),
    f"Basic {quote(GUESS.text)}",
    f"Bearer {quote(SCRAPER.text)}",
]
"""How scrapes name themselves: of these, one is let in."""

MANGLED = {
    "a character that no header may hold": "GET /metrics HTTP/1.1\r\nHost: x\r\nA: {}\x01\r\n\r\n",
    "a zero byte": "GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: {}\0\r\n\r\n",
    "a space before the colon": "GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization : {}\r\n\r\n",
    "no colon": "GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization {}\r\n\r\n",
    "no space": "GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization:{}\rX: y\r\n\r\n",
    "very long": "GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: {}" + 9000 * "x" + "\r\n\r\n",
    "very long in all": "GET /metrics HTTP/1.1\r\nHost: x\r\n" + 7 * ("A: {}" + 7000 * "x" + "\r\n") + "\r\n",
    "twice": "GET /metrics HTTP/1.1\r\nHost: x\r\nHost: {}\r\n\r\n",
    "no host": "GET /metrics HTTP/1.1\r\nAuthorization: {}\r\n\r\n",
    "as the whole of a request": "{}\r\n\r\n",
    "as a method": "{} /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
    "as an address": "GET {} HTTP/1.1\r\nHost: x\r\n\r\n",
    "in an address": "GET http://alice:{}@[x/metrics HTTP/1.1\r\nHost: x\r\n\r\n",
    "as a version": "GET /metrics HTTP/{}\r\nHost: x\r\n\r\n",
    "as a length": "POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
    "as a coding": "POST /-/reload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {}\r\n\r\n",
    "as a chunk": "POST /-/reload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{}\r\n",
}
"""Requests that are none, with a place for a login in each."""

DOOR = [SCRAPER, GUESS, Secret(HASH[-31:])]
"""What nobody is to be told of them; the salt, before the hash itself, matters to nobody."""


# --- the search itself ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written",
    {
        "plain": PASSWORD.text,
        "its first half": PASSWORD.text[: len(PASSWORD.text) // 2],
        "its end": PASSWORD.text.rpartition("@")[2],
        "in a URL": quote(PASSWORD.text, safe=""),
        "in a form": quote_plus(PASSWORD.text),
        "repr": repr(PASSWORD.text),
        "JSON": json.dumps(PASSWORD.text),
        "capitals": PASSWORD.text.upper(),
        "hex": PASSWORD.text.encode().hex(),
        "UTF-16": PASSWORD.text.encode("utf-16"),
        "base64": base64.b64encode(PASSWORD.text.encode()),
        "base64 behind one byte": base64.b64encode(f":{PASSWORD.text}".encode()),
        "base64 behind a login": base64.b64encode(f"alex:{PASSWORD.text}".encode()),
        "base64 for URLs": base64.urlsafe_b64encode(f"anna:{PASSWORD.text}".encode()),
    }.items(),
    ids=lambda written: written[0],
)
def test_the_search_finds(written: tuple[str, str | bytes]) -> None:
    assert told(NAMED, b"...", written[1]).keys() == {PASSWORD.word}


def test_the_search_finds_nothing_where_nothing_is() -> None:
    assert told(NAMED, "zqbirch zq birchzq", NASTY, b"\xff\x00") == {}


# --- configurations with a fault near a secret ------------------------------------------------------------

WEB_FLOW = """\
tls_server_config: {{cert_file: server.crt, key: {key}}}
basic_auth_users: {{alice: {login}, bob: {password}}}
"""
WEB_BLOCK = """\
tls_server_config:
  cert_file: server.crt
  key: {key}
basic_auth_users:
  alice: {login}
  bob: {password}
"""
FLOW = """\
storage: {{url: {store}}}
accounts:
  - {{name: main, login: {login}, password: {password}, links: [{{id: 1}}]}}
  - {{name: third, login: a, password: b, proxy: {proxy}, links: [{{id: 1}}]}}
  - {{name: other, api_key: {key}, base_url: {url}, links: [{{id: 1}}]}}
"""
BLOCK = """\
storage:
  url: {store}
accounts:
  - name: main
    login: {login}
    password: {password}
    links: [{{id: 1}}]
  - name: other
    api_key: {key}
    base_url: {url}
    proxy: {proxy}
    links: [{{id: 1}}]
"""


def tame(secret: Secret) -> str:
    """A secret without anything that YAML takes for its own."""
    return f"{secret.word}a"


WRITTEN: dict[str, Callable[[Secret], str]] = {
    "in single quotes": lambda secret: "'" + secret.text.replace("'", "''") + "'",
    "in double quotes": lambda secret: json.dumps(secret.text),
    "without quotes": lambda secret: secret.text,
    "tame": tame,
    "with a comma": lambda secret: f"{tame(secret)},{secret.word}b",
    "with a comma and a colon": lambda secret: f"{tame(secret)},{secret.word}b: {secret.word}c",
    "with a colon": lambda secret: f"{tame(secret)}: {secret.word}b",
    "with a hash": lambda secret: f"{tame(secret)} #{secret.word}b",
    "with a line break": lambda secret: f"{tame(secret)}\n{secret.word}b",
    "as a list": lambda secret: f"[{tame(secret)}]",
    "as a mapping": lambda secret: f"{{{tame(secret)}}}",
    **{f"behind {mark}": (lambda secret, mark=mark: mark + tame(secret)) for mark in "@*&!|>%`?-"},  # type: ignore[misc]  # mypy sees no default in a lambda's type
}
KEYS = ("login", "password", "api_key", "base_url", "proxy", "url", "key", "alice", "bob")
LOAD: dict[str, Callable[[Path], object]] = {
    FLOW: lambda path: load(path, {}),
    BLOCK: lambda path: load(path, {}),
    WEB_FLOW: webconfig.load,
    WEB_BLOCK: webconfig.load,
}


def spoilt(text: str) -> Iterator[str]:
    """``text`` with one line mistyped, in all the ways that come to mind."""
    yield text
    lines = text.splitlines(keepends=True)
    for index, line in enumerate(lines):
        if "zq" in line:
            for other in mistyped(line):
                yield "".join([*lines[:index], other, *lines[index + 1 :]])


def mistyped(line: str) -> Iterator[str]:
    yield from ("\t" + line, "   " + line, line.lstrip(), line + line)
    yield from (line.replace(": ", other) for other in (":", " ", ": : ", ":\n"))
    for key in KEYS:
        if f"{key}:" in line:
            yield from (line.replace(f"{key}:", f"{key}{end}:") for end in ("_file", "_env", "s", " "))
            yield from (
                line.replace(f"{key}: ", other) for other in ("", "- ", "? ", "<<: ", f"{key}: {{x: ")
            )
    for mark in "'\"{}[],":
        yield from (line.replace(mark, "", 1), line.rstrip("\n") + mark + "\n")
    for cut in range(3, len(line), max(9, len(line) // 6)):
        before, behind = line[:cut], line[cut:]
        yield from (before, f"{before}\x00{behind}", f"{before}, {behind}", f"{before}\n{behind}")


@pytest.mark.parametrize("shape", LOAD, ids=["in braces", "on lines", "web in braces", "web on lines"])
@pytest.mark.parametrize("way", WRITTEN)
def test_faulty_configurations_tell_nothing(way: str, shape: str, tmp_path: Path) -> None:
    names = ("login", "password", "key", "store", "url", "proxy")
    values = {name: WRITTEN[way](secret) for name, secret in zip(names, NAMED, strict=True)}
    path, refused = tmp_path / "config.yaml", 0
    for text in spoilt(shape.format(**values)):
        path.write_text(text, "utf-8")
        try:
            said = repr(LOAD[shape](path))
        except ConfigError as error:
            # of the frames there is code alone, which takes long to be laid out
            said = "".join(traceback.format_exception(error, limit=0)) + repr(error) + repr(error.faults)
            refused += 1
        assert told(NAMED, said) == {}, text
    assert refused > 50


# --- the exporter at work ---------------------------------------------------------------------------------


class Plan:
    """A configuration with an account for each way to answer, and secrets in all places for them."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.secrets: list[Secret] = []
        self.env = dict(os.environ)
        self.files: set[Path] = {folder / "config.yaml", folder / "web.yaml"}
        host = "http://127.0.1"
        self.accounts = [self._account(n, kind, f"{host}.{n}:{port}") for n, kind in enumerate(ANSWERS)]
        for number, account in enumerate(self.accounts):
            if number % 5 < 2:
                account |= self._proxy(number, port)
        self.write()
        (folder / "web.yaml").write_text(f"basic_auth_users:\n  alice: {HASH}\n", "utf-8")

    def write(self, storage: dict[str, str] | None = None) -> None:
        """As YAML, of which JSON is a part."""
        document: dict[str, Any] = {"refresh_interval": "21s", "accounts": self.accounts}
        if storage:
            document["storage"] = storage
        (self.folder / "config.yaml").write_text(json.dumps(document, ensure_ascii=False), "utf-8")

    def place(self, name: str, secret: str, place: str) -> dict[str, str]:
        """The key that gives ``secret``: written there, in a file, or in a variable."""
        if place == "file":
            path = self.folder / f"secret-{len(self.files)}"
            path.write_text(secret, "utf-8")
            self.files.add(path)
            return {f"{name}_file": path.name}
        if place == "env":
            variable = f"SMSC_{len(self.env)}"
            self.env[variable] = secret
            return {f"{name}_env": variable}
        return {name: secret}

    def _account(self, number: int, kind: str, url: str) -> dict[str, Any]:
        place = ("inline", "file", "env")[number % 3]
        keys: dict[str, str] = {}
        for name in ("api_key",) if number % 4 == 3 else ("login", "password"):
            secret = Secret(f"zq{number:02}{name[:3]}zq")
            self.secrets.append(secret)
            keys |= self.place(name, secret.text, place)
        return {
            "name": kind,
            **keys,
            "base_url": url,
            "method": ("POST", "GET")[number % 2],
            "format": ("json", "xml", "csv", "plain")[number // 2 % 4],
            "timeout": "5s",
            "links": [{"id": kind}],
        }

    def _proxy(self, number: int, port: int) -> dict[str, str]:
        """The key that leads the account through a proxy: the same server, which repeats its login too."""
        secrets = [Secret(f"zq{number:02}{part}zq") for part in ("puser", "ppass")]
        self.secrets += secrets
        login = ":".join(quote(secret.text, safe="") for secret in secrets)
        return self.place("proxy", f"http://{login}@127.0.0.1:{port}", ("env", "inline", "file")[number % 3])

    def kept(self) -> list[bytes]:
        """What the exporter has written into its folder."""
        files = (path for path in self.folder.rglob("*") if path.is_file() and path not in self.files)
        return [path.read_bytes() for path in files]


def ask(url: str, method: str = "GET", **headers: str) -> str:
    """All of an answer, its headers included."""
    request = urllib.request.Request(url, headers=headers, method=method)  # noqa: S310 - local
    try:
        response = urllib.request.urlopen(request, timeout=PATIENCE)  # noqa: S310 - local
    except urllib.error.HTTPError as error:
        response = error
    with response:
        return f"{response.headers}{response.read().decode()}"


def metrics(url: str) -> str:
    return ask(f"{url}/metrics", Authorization=RIGHT)


def visit(url: str) -> Iterator[str]:
    """All pages, as browsers and as Prometheus ask for them, whoever they say they are."""
    for login in LOGINS:
        for page in PAGES:
            for accept in ("text/html", "application/openmetrics-text"):
                yield ask(url + page, Accept=accept, Authorization=login)
        for page in POSTS:
            yield ask(url + page, "POST", Authorization=login)


def reload_with_faults(running: Program, url: str, plan: Plan) -> Iterator[str]:
    """Reloads of configurations that are wrong on the very lines with secrets, and then of a good one.

    What is answered meanwhile, to those who ask for a reload and to those who look.
    """
    path = plan.folder / "config.yaml"
    good = path.read_text("utf-8")
    for faulty in (good.replace('"password": ', '"password" '), good.replace("_file", "_env"), good[:-300]):
        path.write_text(faulty, "utf-8")
        running.send(signal.SIGHUP)
        running.expect("reload_failed")
        yield ask(f"{url}/-/reload", "POST", Authorization=RIGHT)
        yield ask(f"{url}/", Authorization=RIGHT)
    path.write_text(good, "utf-8")
    running.send(signal.SIGHUP)
    running.expect("reloaded")
    spoil_web(running, plan.folder / "web.yaml")


def spoil_web(running: Program, path: Path) -> None:
    """Writes web configurations that are wrong where a secret is, and then a good one."""
    good = path.read_text("utf-8")
    for faulty in (good.replace(HASH, json.dumps(SCRAPER.text)), good.replace(": $", " $")):
        path.write_text(faulty, "utf-8")
        running.expect("reload_failed")
    path.write_text(good, "utf-8")
    running.expect(r"\breloaded\b")


def say(url: str, said: str) -> str:
    """What is answered to bytes that may be no request."""
    address = urlsplit(url)
    with socket.create_connection((str(address.hostname), int(address.port or 0)), PATIENCE) as connection:
        connection.sendall(said.encode("utf-8"))
        connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError), connection.makefile("rb") as answer:
            return answer.read().decode("utf-8", "replace")
    return ""


def test_nothing_is_told_of_what_is_no_request(tmp_path: Path) -> None:
    plan = Plan(tmp_path, free_port())
    with exporter(*FLAGS, cwd=tmp_path, env=plan.env) as running:
        url = running.expect(LISTENING)[1]
        answers = [
            say(url, mangled.replace("{}", login))
            for mangled in MANGLED.values()
            for login in (RIGHT, SCRAPER.text, quote(SCRAPER.text))
        ]
        assert running.stop() == 0
    assert running.output.count("event=bad_request") > 2 * len(MANGLED)
    assert "Traceback" not in running.output
    assert told(DOOR, running.output, *answers) == {}


LIMITS = {"all is well": "--nofile=4096", "the disk is full": "--fsize=196608"}
ENDS = {"all is well": signal.SIGTERM, "the disk is full": signal.SIGABRT}


@pytest.mark.slow(1)  # first requests are spread over the interval, 21 seconds at least
@pytest.mark.parametrize(("state", "style"), [("all is well", "json"), ("the disk is full", "logfmt")])
def test_nothing_is_told_at_work(state: str, style: str, tmp_path: Path) -> None:
    with echoing() as server:
        plan = Plan(tmp_path, server.port)
        # no memory image of a crash: it would be found to hold secrets, as it must
        command = [
            "prlimit",
            "--core=0",
            LIMITS[state],
            sys.executable,
            "-X",
            "faulthandler",
            "-m",
            "exporter",
        ]
        with program(*command, *FLAGS, f"--log.format={style}", cwd=tmp_path, env=plan.env) as running:
            url = running.expect(LISTENING)[1]
            until(lambda: metrics(url).count("\nsmsc_link_up{") == len(ANSWERS), "all answers")
            if state == "the disk is full":
                until(lambda: "\nsmsc_exporter_storage_up 0.0" in metrics(url), "a full disk")
            pages = [*reload_with_faults(running, url, plan), *visit(url)]
            assert sum("config.yaml:" in page for page in pages) >= 3
            listed = Path(f"/proc/{running.process.pid}/cmdline").read_bytes()
            kept = plan.kept()
            running.stop(ENDS[state])
        assert running.output.count("link_failing") >= len(ANSWERS) - 1
        assert ("Current thread" in running.output) == (state == "the disk is full")
        assert [secret.word for secret in plan.secrets if secret.text not in "".join(server.heard)] == []
    assert len(kept) > 1
    assert sum("unauthorized" in page for page in pages) > len(PAGES)
    assert told([*plan.secrets, *DOOR], running.output, listed, *pages, *kept, *plan.kept()) == {}


@pytest.mark.parametrize(
    "command", [["get"], ["get", "--json"], ["check", WEB, "--online"]], ids=lambda command: " ".join(command)
)
def test_nothing_is_told_by_hand(command: list[str], tmp_path: Path) -> None:
    with echoing() as server:
        plan = Plan(tmp_path, server.port)
        links = ANSWERS if "get" in command else ()
        done = run(*command, *links, cwd=tmp_path, env=plan.env)
        assert [secret.word for secret in plan.secrets if secret.text not in "".join(server.heard)] == []
    assert (done.returncode, "right" in done.stdout) == (1, True)
    assert done.stderr.count("link ") >= len(ANSWERS) - 1
    kept = plan.kept()
    assert kept
    assert told([*plan.secrets, *DOOR], done.stdout, done.stderr, *kept) == {}


def redis_url(port: int, password: str = STORAGE.text) -> str:
    return f"redis://:{quote(password, safe='')}@127.0.0.1:{port}/0"


@needs.redis
@pytest.mark.parametrize("place", ["inline", "file", "env"])
def test_nothing_of_the_storages_url_is_told(place: str, tmp_path: Path) -> None:
    """Neither where nothing answers there, nor where the password is wrong."""
    (tmp_path / "redis").mkdir()
    with (
        echoing() as server,
        redis_server(tmp_path / "redis", "--requirepass", "another") as redis,
    ):
        plan = Plan(tmp_path, server.port)
        plan.write(plan.place("url", redis_url(redis.port), place))
        with exporter(*FLAGS, cwd=tmp_path, env=plan.env) as running:
            running.expect("refuses us")
            assert running.process.wait(60) == 1
            running.stop()
        said: list[str | bytes] = [running.output]
        plan.write(plan.place("url", redis_url(free_port()), place))
        with exporter(*FLAGS, cwd=tmp_path, env=plan.env) as running:
            url = running.expect(LISTENING)[1]
            assert "storage_failed" in running.output
            said += visit(url)
            assert running.stop() == 0
        said.append(running.output)
    assert told([*plan.secrets, *DOOR, STORAGE], *said, *plan.kept()) == {}


@needs.redis
@pytest.mark.slow(1)  # a Redis that has just been started is met with a minute's silence
def test_nothing_is_told_to_redis(tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir()
    with (
        echoing() as server,
        redis_server(tmp_path / "redis", "--requirepass", STORAGE.text) as redis,
    ):
        redis.age()
        plan = Plan(tmp_path, server.port)
        plan.write(plan.place("url", redis_url(redis.port), "env"))
        with exporter(*FLAGS, cwd=tmp_path, env=plan.env) as running:
            url = running.expect(LISTENING)[1]
            answers = len(ANSWERS)
            until(lambda: metrics(url).count("\nsmsc_link_up{") == answers, "all answers", 120)
            kept = [key + redis.look.dump(key) for key in redis.look.scan_iter()]
            redis.kill()
            until(lambda: "\nsmsc_exporter_storage_up 0.0" in metrics(url), "a lost storage")
            pages = list(visit(url))
            assert running.stop() == 0
    assert kept
    assert told([*plan.secrets, *DOOR, STORAGE], running.output, *pages, *kept, *plan.kept()) == {}
