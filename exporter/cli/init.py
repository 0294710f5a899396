"""``init``: writes a first ``config.yaml``, from flags or from answers."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

LOGIN, PASSWORD = "SMSC_LOGIN", "SMSC_PASSWORD"

_CONFIG = """\
# The configuration of smsc-exporter. docs/configuration.md explains every key.

refresh_interval: 1m            # how often each link is read; 21s is the least
accounts:                       # one for each login
  - name: main                  # the label "account" of its metrics
    login_env: {login:<16} # the environment variable that holds the login
    password_env: {password:<13} # the one that holds the password
    timezone: Europe/Moscow     # where the account's day begins
    links:                      # each by its id, or by link: the full address it leads to
{links}
"""
_LINK = '      - {{id: "{id}", name: link-{id}}}'

_NEXT = """\
{file} is written. Give the links names that you recognise, then run:

  export {login}=... {password}=...
  smsc-exporter check{flag}            # finds errors in the file
  smsc-exporter check --online{flag}   # also asks the provider for one link
  smsc-exporter serve{flag}            # then open http://localhost:10145/
"""


def init(options: argparse.Namespace) -> int:
    """Writes the file, unless there is one. Returns the exit code."""
    path = Path(options.config_file)
    if path.exists():
        return _fail(
            f"{path} exists already: run init in another folder, or name another file with --config.file"
        )
    if not options.ids and sys.stdin is not None and sys.stdin.isatty():
        _ask(options)
    if not options.ids:
        options.parser.error("no link: write --id=145142, once for each link")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(_config(options))
    except OSError as error:
        return _fail(f"{path} cannot be written: {error.strerror}")
    flag = "" if options.config_file == "config.yaml" else f" --config.file={options.config_file}"
    names = {"login": options.login_env, "password": options.password_env}
    print(_NEXT.format(file=path, flag=flag, **names), end="")
    return 0


def _fail(message: str) -> int:
    print(message, file=sys.stderr)
    return 1


def _config(options: argparse.Namespace) -> str:
    links = "\n".join(_LINK.format(id=each) for each in dict.fromkeys(options.ids))
    return _CONFIG.format(login=options.login_env, password=options.password_env, links=links)


def _ask(options: argparse.Namespace) -> None:
    what = "Name of the environment variable for the"
    options.login_env = _answer(f"{what} login [{options.login_env}]: ", variable) or options.login_env
    question = f"{what} password, not the password itself [{options.password_env}]: "
    options.password_env = _answer(question, variable) or options.password_env
    options.ids = _answer("Ids of your short links, separated by commas: ", id_list)


def _answer(question: str, parse: Callable[[str], T]) -> T | None:
    """The user's answer; None for an empty line, and at the end of the input."""
    while True:
        try:
            return parse(text) if (text := input(question).strip()) else None
        except ValueError as error:
            print(error)
        except EOFError:
            return None


def variable(text: str) -> str:
    """The name of an environment variable. Raises ``ValueError`` without ``text``, which may be a secret.

    Only capitals: a password that is typed by mistake would end up in the file and on the screen.
    """
    if not re.fullmatch("[A-Z_][A-Z0-9_]*", text):
        raise ValueError(
            f"not the name of a variable: write it in capitals, such as {LOGIN}, and set it later"
        )
    return text


def id_list(text: str) -> list[str]:
    """Ids with commas between. Raises ``ValueError``."""
    ids = [each.strip() for each in text.split(",")]
    for each in ids:
        if not re.fullmatch("[0-9]{1,20}", each):
            raise ValueError(f'"{each}" is not an id: write its number, such as 145142')
    return ids
