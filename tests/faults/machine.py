"""What the machine can do to a process: hurry its clocks, step them, take its memory's measure."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from tests.processes import get

if TYPE_CHECKING:
    from collections.abc import Iterable

_LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
NO_FAKETIME = not _LIBRARIES and "CI" not in os.environ
NEEDS_FAKETIME = "needs Debian's package: apt-get install faketime"


def hurried(speed: float) -> dict[str, str]:
    """The environment of a process for which ``speed`` seconds pass in one, on each of its clocks."""
    return {**os.environ, "LD_PRELOAD": str(_LIBRARIES[0]), "FAKETIME": f"+0 x{speed:g}"}


def stepped(file: Path) -> dict[str, str]:
    """The environment of a process whose wall clock, and no other, is off by what ``file`` says."""
    told = {"FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_NO_CACHE": "1", "DONT_FAKE_MONOTONIC": "1"}
    return {**os.environ, "LD_PRELOAD": str(_LIBRARIES[0]), **told}


def megabytes(pid: int, field: str = "VmHWM") -> float:
    """How much memory a process has (``VmRSS``), or had at most (``VmHWM``)."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE)
    assert found
    return int(found[1]) / 1000


class Page:
    """One scrape, taken apart: each series with its value."""

    def __init__(self, url: str) -> None:
        status, self.text = get(f"{url}/metrics")
        assert status == 200, self.text
        self.series = dict(re.findall(r"^(\w+\{[^}]*\}|\w+) (\S+)$", self.text, re.MULTILINE))

    def all_time(self, account: str, link: str) -> float | None:
        """The provider's figure as it is served; None where it is withheld."""
        value = self.series.get(f'smsc_link_clicks_all_time{{account="{account}",link="{link}"}}')
        return None if value is None else float(value)

    def outcome(self, account: str, link: str) -> str:
        """How the link's latest poll ended; empty before the first."""
        up = self.series.get(f'smsc_link_up{{account="{account}",link="{link}"}}')
        failing = rf'^smsc_link_failing{{account="{account}",link="{link}",outcome="(\w+)"}} '
        if found := re.search(failing, self.text, re.MULTILINE):
            assert up == "0.0"
            return found[1]
        return "ok" if up == "1.0" else ""

    def value(self, series: str) -> float:
        """A series that has to be there."""
        return float(self.series[series])

    def read(self, links: Iterable[tuple[str, str]]) -> int:
        """How many of these have a figure."""
        return sum(self.all_time(*link) is not None for link in links)
