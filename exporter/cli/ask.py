"""The commands that ask the provider by hand: ``get`` and ``check --online``."""

from __future__ import annotations

import argparse
import asyncio
import difflib
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from exporter import config, logs
from exporter.clock import SystemClock
from exporter.config import Config
from exporter.errors import Outcome
from exporter.model import Link, Snapshot
from exporter.polling import oneshot
from exporter.polling.oneshot import ReadFailure
from exporter.web.wording import rfc3339

Answer = Snapshot | ReadFailure

_CLICKS = ("today", "yesterday", "month", "previous_month", "all_time")
"""Of a reading, in the order of the table."""


_WHICH = "check its id or address"
_ADVICE = {
    Outcome.PARAMETERS: _WHICH,
    Outcome.NOT_FOUND: _WHICH,
    Outcome.UNAUTHORIZED: "check login, password and allowed IP addresses; each try is a failed login",
    Outcome.UNREACHABLE: "check the network, the proxy and base_url",
}

MOST_NAMES = 5
"""Links that are named to whoever asks for one that does not exist."""


def get(options: argparse.Namespace) -> int:
    """Reads the named links once and prints their figures; exit code 1 if any could not be read."""
    loaded = config.load(options.config_file, os.environ)
    links = _find_all(loaded, options.links, options.parser.error)
    answers: list[Answer] = []
    show = _print_json if options.json else _print_table
    try:
        asyncio.run(_read(loaded, links, answers.append))
    finally:
        failed = _print_failures(answers)
        show([answer for answer in answers if isinstance(answer, Snapshot)])
    return int(failed)


def online(loaded: Config) -> int:
    """Reads the first link of each account that has any; exit code 1 if one could not be read."""
    links = [account.links[0] for account in loaded.accounts if account.links]
    for account in loaded.accounts:
        if not account.links:
            _warn(f"account {account.name}: not asked, because it has no links")
    answers: list[Answer] = []
    try:
        asyncio.run(_read(loaded, links, answers.append))
    finally:
        for answer in answers:
            _print_verdict(answer)
    return int(not all(isinstance(answer, Snapshot) for answer in answers))


async def _read(loaded: Config, links: Sequence[Link], take: Callable[[Answer], None]) -> None:
    logs.configure("error", "logfmt")
    await oneshot.read(loaded, links, SystemClock(), _warn, take)


def _warn(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# --- which links ------------------------------------------------------------------------------------------


def _find_all(loaded: Config, wanted: Iterable[str], usage_error: Callable[[str], None]) -> list[Link]:
    """The links meant, each once. Whoever names none of ours is told so, and which come near."""
    links = [link for account in loaded.accounts for link in account.links]
    found = {}
    for name in wanted:
        try:
            link = _find(links, name)
        except LookupError as error:
            usage_error(str(error.args[0]))
        else:
            found[link.key] = link
    return list(found.values())


def _find(links: Sequence[Link], name: str) -> Link:
    """Raises ``LookupError`` with a message where ``name`` means no link, or several."""
    for ways in ((_full_name,), (_name,), (_id, _url)):
        meant = [link for link in links if any(way(link) == name for way in ways)]
        if len(meant) == 1:
            return meant[0]
        if meant:
            which = " or ".join(_full_name(link) for link in meant)
            raise LookupError(f'"{name}" is the name of several links: write {which}')
    names = [link.name for link in links]
    known = [link.name if names.count(link.name) == 1 else _full_name(link) for link in links]
    near = difflib.get_close_matches(name, [*known, *(link.id for link in links if link.id)])
    hint = f"did you mean {_quoted(near, ' or ')}?" if near else f"there are {_quoted(known[:MOST_NAMES])}"
    more = f" and {len(known) - MOST_NAMES} more" if not near and len(known) > MOST_NAMES else ""
    raise LookupError(f'no link is named "{name}": {hint}{more}')


def _quoted(names: Iterable[str], between: str = ", ") -> str:
    return between.join(f'"{name}"' for name in names)


def _full_name(link: Link) -> str:
    return f"{link.account}/{link.name}"


def _name(link: Link) -> str:
    return link.name


def _id(link: Link) -> str | None:
    return link.id


def _url(link: Link) -> str | None:
    return link.url


# --- what is printed --------------------------------------------------------------------------------------


def _print_failures(answers: Sequence[Answer]) -> bool:
    """Prints them before the figures, where they are seen. Returns whether there are any."""
    failures = [answer for answer in answers if not isinstance(answer, Snapshot)]
    for failure in failures:
        _warn(f"link {failure.link.name}: {_explained(failure)}")
    return bool(failures)


def _print_verdict(answer: Answer) -> None:
    account, name = answer.link.key
    if isinstance(answer, Snapshot):
        clicks = answer.reading.all_time if answer.reading else 0
        print(f"account {account}: ok, link {name} has {clicks} clicks")
    else:
        _warn(f"account {account}: link {name}: {_explained(answer)}")


def _explained(failure: ReadFailure) -> str:
    """What happened, and what to do about it where that is known."""
    advice = _ADVICE.get(failure.outcome) if failure.outcome else None
    return f"{failure.reason}: {advice}" if advice else failure.reason


def _print_json(snapshots: Sequence[Snapshot]) -> None:
    fields = [_fields(snapshot) for snapshot in snapshots]
    print(json.dumps(fields, ensure_ascii=not logs.is_unicode(sys.stdout), indent=2))


def _fields(snapshot: Snapshot) -> dict[str, Any]:
    reading = snapshot.reading
    clicks = {f"clicks_{name}": getattr(reading, name) for name in _CLICKS}
    account, name = snapshot.link.key
    ids = {name: getattr(reading, name) for name in ("id", "short_link")}
    return {
        "account": account,
        "link": name,
        **ids,
        **clicks,
        "clicks_total": snapshot.total,
        "read_at": rfc3339(datetime.fromtimestamp(snapshot.read_at, UTC)),
    }


def _print_table(snapshots: Sequence[Snapshot]) -> None:
    if not snapshots:
        return
    head = ("ACCOUNT", "LINK", "ID", "SHORT LINK", *(name.replace("_", " ").upper() for name in _CLICKS))
    rows = [head, *([str(value) for value in list(_fields(one).values())[:9]] for one in snapshots)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            text.ljust(width) if place < 4 else text.rjust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
