"""What the machine can do to a process: hurry its clocks, step them, take its memory's measure."""

from __future__ import annotations

import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from email.utils import parsedate_to_datetime
from pathlib import Path

from exporter.exposition.slot import FAMILIES
from tests.needs import FAKETIME
from tests.processes import PATIENCE

CLICKS = [family.name for family in FAMILIES if family.name.startswith("smsc_link_clicks_")]


def hurried(speed: float, since: float | None = None) -> dict[str, str]:
    """The environment of a process for which ``speed`` seconds pass in one, on each of its clocks.

    ``since`` is when this began for one that ran before (seconds since the epoch), so that its clocks go on.
    """
    ahead = 0.0 if since is None else (time.time() - since) * (speed - 1)
    return {**os.environ, "LD_PRELOAD": str(FAKETIME[0]), "FAKETIME": f"+{ahead:.3f} x{speed:g}"}


def stepped(file: Path) -> dict[str, str]:
    """The environment of a process whose wall clock, and no other, is off by what ``file`` says."""
    told = {"FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_NO_CACHE": "1", "DONT_FAKE_MONOTONIC": "1"}
    return {**os.environ, "LD_PRELOAD": str(FAKETIME[0]), **told}


def without_jemalloc(env: dict[str, str]) -> dict[str, str]:
    """For a Redis server with another clock: jemalloc asks for the time before libfaketime can tell it."""
    return {**env, "LD_PRELOAD": f"{env['LD_PRELOAD']}:libc.so.6"}


def megabytes(pid: int, field: str = "VmHWM") -> float:
    """How much memory a process has (``VmRSS``), or had at most (``VmHWM``)."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE)
    assert found
    return int(found[1]) / 1000


class Page:
    """One scrape, taken apart: each series with its value, and the exporter's clock (epoch seconds)."""

    def __init__(self, url: str) -> None:
        try:
            with urllib.request.urlopen(f"{url}/metrics", timeout=PATIENCE) as response:  # noqa: S310 - local
                self.date = parsedate_to_datetime(response.headers["Date"]).timestamp()
                self.text = response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(error.read().decode()) from None
        self.series = dict(re.findall(r"^(\w+\{[^}]*\}|\w+) (\S+)$", self.text, re.MULTILINE))
        failing = r'^smsc_link_failing{account="([^"]+)",link="([^"]+)",outcome="(\w+)"} '
        self._failing: dict[tuple[str, str], str] = {
            (account, link): outcome
            for account, link, outcome in re.findall(failing, self.text, re.MULTILINE)
        }

    def figure(self, name: str, key: tuple[str, str]) -> float | None:
        """A link's value in a family; None where it is withheld."""
        value = self.series.get(f'{name}{{account="{key[0]}",link="{key[1]}"}}')
        return None if value is None else float(value)

    def all_time(self, account: str, link: str) -> float | None:
        """The provider's figure as it is served; None where it is withheld."""
        return self.figure("smsc_link_clicks_all_time", (account, link))

    def outcome(self, account: str, link: str) -> str:
        """How the link's latest poll ended; empty before the first."""
        up = self.figure("smsc_link_up", (account, link))
        if found := self._failing.get((account, link)):
            assert up == 0
            return found
        return "ok" if up == 1 else ""

    def outcomes(self, links: Iterable[tuple[str, str]]) -> set[str]:
        """How the latest polls of these ended."""
        return {self.outcome(*link) for link in links}

    def value(self, series: str) -> float:
        """A series that has to be there."""
        return float(self.series[series])

    def read(self, links: Iterable[tuple[str, str]]) -> int:
        """How many of these have a figure."""
        return sum(self.all_time(*link) is not None for link in links)
