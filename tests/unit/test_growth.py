"""Twice the input takes at most two and a half times the work: no text from outside makes us busy for long.

Work is processor time, and only the ratio of two runs of one process counts, the best of several. A ratio
that is too high is looked at again with larger inputs, where a linear cost comes closer to two.
"""

from __future__ import annotations

import ast
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeGuard

import pytest

from exporter.config import load, values
from exporter.errors import ConfigError
from exporter.limits import Dated, Ledger, Request, Sent
from exporter.webconfig import load as load_web
from exporter.webconfig import schema as web_schema

ROOT = Path(__file__).parents[2]
MOST = 2.5
CALLS = {"compile", "search", "match", "fullmatch", "sub", "split", "findall", "finditer"}


def spent(work: Callable[[str], object], text: str) -> float:
    """The least processor time of a few runs, in seconds."""
    times = []
    for _ in range(3):
        begun = time.process_time()
        work(text)
        times.append(time.process_time() - begun)
    return min(times)


def growth(work: Callable[[str], object], make: Callable[[int], str], size: int, largest: int) -> float:
    """How many times as long twice the input takes; 0 where it is too quick to tell."""
    best = 0.0
    while size <= largest:
        for _ in range(3):  # a busy machine may have disturbed one of them
            once, twice = spent(work, make(size)), spent(work, make(2 * size))
            best = twice / max(once, 1e-9)
            if twice > 0.01 and best <= MOST:
                return best
        if twice > 1:
            return best
        size *= 4
    return best if twice > 0.01 else 0.0


# --- regular expressions ----------------------------------------------------------------------------------


Pattern = tuple[str, str, int, str]
"""A file, a regular expression in it, its flags, and the method of ``re.Pattern`` that it is used with."""


def _patterns() -> Iterator[Pattern]:
    """Every constant regular expression in the package."""
    for path in sorted((ROOT / "exporter").rglob("*.py")):
        text = path.read_text("utf-8")
        tree = ast.parse(text)
        names = {id(node.value): node.targets[0] for node in ast.walk(tree) if isinstance(node, ast.Assign)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and (source := _source(node)) is not None:
                flags = [getattr(re, str(name.attr)) for name in ast.walk(node) if _is_flag(name)]
                for method in _methods(node, names.get(id(node)), text):
                    yield str(path.relative_to(ROOT)), source, sum(set(flags)), method


def _source(call: ast.Call) -> str | None:
    """The regular expression in a call of ``re``; None in any other call."""
    if not (isinstance(call.func, ast.Attribute) and call.func.attr in CALLS and call.args):
        return None
    of_re = isinstance(call.func.value, ast.Name) and call.func.value.id == "re"
    source = call.args[0].value if isinstance(call.args[0], ast.Constant) else None
    return source if of_re and isinstance(source, str) else None


def _methods(call: ast.Call, target: ast.expr | None, text: str) -> set[str]:
    assert isinstance(call.func, ast.Attribute)
    if call.func.attr != "compile":
        return {call.func.attr}
    name = target.id if isinstance(target, ast.Name) else "pattern"
    return set(re.findall(rf"\b{name}\.([a-z]+)\(", text)) & CALLS or {"fullmatch"}


def _is_flag(node: ast.AST) -> TypeGuard[ast.Attribute]:
    return isinstance(node, ast.Attribute) and node.attr in {"IGNORECASE", "DOTALL", "ASCII", "MULTILINE"}


PATTERNS = sorted(set(_patterns()))


def test_the_regular_expressions_are_found() -> None:
    assert len(PATTERNS) > 30


def use(compiled: re.Pattern[str], method: str) -> Callable[[str], object]:
    """What the package does with the expression, with as much of the text as it can match."""
    if method == "sub":
        return lambda text: compiled.sub("", text)
    if method == "finditer":
        return compiled.findall
    found: Callable[[str], object] = getattr(compiled, method)
    return found


def pumped(pump: str, size: int) -> str:
    """A text that is long, and fails to match only at its end."""
    return pump * size + "\x00"


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda found: f"{found[0]}: {found[1][:40]!a}")
def test_regular_expression(pattern: Pattern) -> None:
    _, source, flags, method = pattern
    work = use(re.compile(source, flags), method)
    letters = [*sorted({*re.sub(r"\\[wsdb.]", "", source)} - set("()|[]?+^\\")), " ", "a", "0", "\n", '"']
    for pump in [*letters, *(first + second for first in letters[:8] for second in letters[:8])]:
        if spent(work, pump * (2000 // len(pump)) + "\x00") > 0.005:
            assert growth(work, partial(pumped, pump), 1000, 4000) <= MOST


# --- files ------------------------------------------------------------------------------------------------

CONFIG = "storage: {{url: 'memory:'}}\naccounts:\n  - {{name: m, login: a, password: b, link_files: [{}]}}\n"
ACCOUNT = "storage: {url: 'memory:'}\naccounts:\n  - {name: m, login: a, password: b, links: [{id: 1"


def csv(row: str) -> Callable[[int], str]:
    return lambda size: "id,refresh_interval,name\n" + row.replace("@", '""' * size)


FILES: dict[str, tuple[str, Callable[[int], str]]] = {
    "csv: a cell of doubled quotes": ("l.csv", csv('1,5s,"a@x"\n')),
    "csv: many rows with errors": ("l.csv", lambda size: "id,team\n" + "1 2,x\n" * (size // 8)),
    "csv: one id in all rows": ("l.csv", lambda size: "id,team\n" + "1,x\n" * (size // 8)),
    "csv: cells of many lines": ("l.csv", lambda size: 'id,refresh_interval\n1,"' + "\n" * size + '"\n'),
    "csv: a wide row": ("l.csv", lambda size: "id" + ",a" * size + "\n"),
    "csv: many delimiters": ("l.csv", lambda size: "id\n" + "," * size),
    "json: a long text": ("l.json", lambda size: '[{"id": "' + "a" * size + '"}]'),
    "json: many escapes": ("l.json", lambda size: '[{"id": "' + "\\\\" * size + '"}]'),
    "json: many keys": (
        "l.json",
        lambda size: "[{" + ",".join(f'"k{n}": 1' for n in range(size // 16)) + "}]",
    ),
    "json: brackets": ("l.json", lambda size: "[" * size),
    "yaml: merges of one alias": (
        "l.yaml",
        lambda size: "- &a {id: 1}\n- {" + "<<: *a, " * (size // 8) + "}\n",
    ),
    "yaml: a list of one alias": (
        "l.yaml",
        lambda size: "- &a {id: 1}\n- {<<: [" + "*a, " * (size // 8) + "]}\n",
    ),
    "yaml: many rows with errors": ("l.yaml", lambda size: "- {idd: 1}\n" * (size // 64)),
    "yaml: spaces before a comment": ("config.yaml", lambda size: ACCOUNT + "}], login: b" + " " * size),
    "config: long id": ("config.yaml", lambda size: ACCOUNT + "0" * size + "}]}\n"),
    "config: long duration": ("config.yaml", lambda size: ACCOUNT + ", stale_after: " + "1" * size + "}]}\n"),
    "web: many users": ("web.yaml", lambda size: "basic_auth_users: {" + "a: b, " * (size // 32) + "}\n"),
    "web: a long key": (
        "web.yaml",
        lambda size: "tls_server_config: {cert: '" + "-----BEGIN " * size + "'}\n",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_file(name: str, tmp_path: Path) -> None:
    file, make = FILES[name]
    if file.startswith("l."):
        (tmp_path / "config.yaml").write_text(CONFIG.format(file))

    def work(text: str) -> None:
        (tmp_path / file).write_text(text)
        with suppress(ConfigError):
            load_web(tmp_path / file) if file == "web.yaml" else load(tmp_path / "config.yaml", {})

    assert growth(work, make, 4_000, 64_000) <= MOST


VALUES = [
    (values.name, "\u200d"),
    (values.timezone, "a/"),
    (values.base_url, "a-"),
    (values.base_url, "."),
    (values.duration, "1"),
    (web_schema.password_hash, "$2"),
]


@pytest.mark.parametrize(("take", "pump"), VALUES)
def test_value(take: Callable[[object], object], pump: str) -> None:
    def work(text: str) -> None:
        with pytest.raises(ValueError, match=r"[a-z]"):
            take(text)

    assert growth(work, lambda size: pump * size + "!", 1_000, 64_000) <= MOST


# --- the record of requests -------------------------------------------------------------------------------


def test_requests_of_a_login_that_is_not_ours() -> None:
    """Another exporter's login is never asked about here, so nothing but time clears its requests away."""
    theirs = Request("host", "their login", "secret", ("id", "1"), 10.0)

    def work(text: str) -> None:
        ledger = Ledger()
        for number in range(len(text)):
            ledger.learn(Dated(Sent(replace(theirs, target=("id", str(number))), number), 0.0, 0.0, False))
        ledger.begin(Sent(replace(theirs, login="ours"), len(text)), 1000.0)
        assert ledger.attempts.get(0) is None

    assert growth(work, lambda size: " " * size, 1_000, 16_000) <= MOST
