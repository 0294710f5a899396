"""The four promises that every fault is held to, for all tests of this folder in one place.

1. No wrong value is served: the figures on a page are what the provider said of that link, never older than
   those shown before, and withheld as soon as the contract wants it.
2. No limit is broken, as the simulator's auditor sees it.
3. Memory stays bounded: the most that the process took since the fault began, as the kernel counts it.
4. It recovers without a restart: the same process reads every link again.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from exporter.model import Reading, Snapshot
from exporter.simulator import Provider
from tests.e2e.faults.machine import CLICKS, Page, megabytes
from tests.factories import make_account, make_link
from tests.oracle import sample
from tests.processes import Program, until

Key = tuple[str, str]

log = logging.getLogger(__name__)

MOST_GROWTH = 20.0
"""Megabytes that a fault may cost, if its test does not say less."""

ACCOUNT = make_account()


@dataclass(frozen=True)
class Source:
    """Where a link's figures come from: its provider, its id there, and how long they hold, in seconds."""

    provider: Provider
    id: str
    stale_after: float


@dataclass
class Watch:
    """One exporter with something wrong about it. ``speed`` is how many of its seconds pass in one.

    ``withheld`` names the families that lacked a link on the latest page.
    """

    program: Program
    url: str
    sources: Mapping[Key, Source]
    speed: float = 1.0
    recovered: bool = False
    withheld: set[str] = field(default_factory=set)
    _said: dict[Key, list[Reading]] = field(default_factory=dict)
    _from: dict[Key, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._listen()

    # --- what the provider says ---------------------------------------------------------------------------

    def add_clicks(self, clicks: int, *keys: Key) -> None:
        """Puts clicks on these links, or on all."""
        for key in keys or self.sources:
            source = self.sources[key]
            source.provider.add_clicks(source.id, clicks)
        self._listen()

    def _listen(self) -> None:
        """Notes what the provider says by now of each link."""
        for key, source in self.sources.items():
            said = source.provider.figures(source.id)
            reading = Reading(
                source.id, said.cnt, said.cnt_mon, said.cnt_day, said.cnt_yes, said.cnt_pmon, ""
            )
            known = self._said.setdefault(key, [])
            if reading not in known[-1:]:
                known.append(reading)

    # --- no wrong value -----------------------------------------------------------------------------------

    def page(self) -> Page:
        """One scrape, every figure of it judged."""
        page = Page(self.url)
        self._listen()
        self.withheld.clear()
        for key in self.sources:
            self._judge(page, key)
        return page

    def _judge(self, page: Page, key: Key) -> None:
        """A link's figures must all be of one answer, none older than what was shown before."""
        shown = {name: page.figure(name, key) for name in CLICKS}
        read_at = page.figure("smsc_link_last_success_timestamp_seconds", key)
        said, first = self._said[key], self._from.get(key, 0)
        # The page's own date is given in whole seconds, of which many may pass in one of ours.
        moments = (page.date - 2, page.date + 2 + self.speed)
        for number, reading in enumerate(said[first:], first):
            if any(shown == self._allowed(key, reading, read_at, moment) for moment in moments):
                self._from[key] = number if shown["smsc_link_clicks_all_time"] is not None else first
                self.withheld.update(name for name, value in shown.items() if value is None)
                return
        raise AssertionError(f"{key} at {page.date}, read at {read_at}: {shown}, but it said {said[first:]}")

    def _allowed(
        self, key: Key, reading: Reading, read_at: float | None, now: float
    ) -> dict[str, float | None]:
        """What may be shown of a reading at ``now``, by the contract."""
        if read_at is None:
            return dict.fromkeys(CLICKS)
        link = make_link(stale_after=self.sources[key].stale_after)
        snapshot = Snapshot(link, replace(reading, id="1"), read_at, total=reading.all_time)
        found = {name: sample(name, snapshot, ACCOUNT, now) for name in CLICKS}
        return {name: None if one is None else float(one[1]) for name, one in found.items()}

    def read(self) -> int:
        """How many links have a figure."""
        return self.page().read(self.sources)

    def newest(self) -> bool:
        """Whether every link shows what the provider says now, and its latest poll went well."""
        page = self.page()
        return all(
            page.all_time(*key) == self._said[key][-1].all_time and page.outcome(*key) == "ok"
            for key in self.sources
        )

    # --- recovery -----------------------------------------------------------------------------------------

    def recovers(self) -> None:
        """Waits until the same process has read every link again, with clicks that are new."""
        self.add_clicks(1)
        until(self.newest, "recovery", patience=180, pause=0.2)
        assert self.program.process.poll() is None
        self.recovered = True


@contextlib.contextmanager
def watched(
    program: Program,
    url: str,
    sources: Mapping[Key, Source],
    speed: float = 1.0,
    most_growth: float = MOST_GROWTH,
) -> Iterator[Watch]:
    """Holds an exporter to the promises from before a fault until after its recovery."""
    until(lambda: Page(url).outcomes(sources).isdisjoint({""}), "a first poll of every link")
    watch = Watch(program, url, sources, speed)
    pid = program.process.pid
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # the most it takes is counted from here on: see proc(5)
    before = megabytes(pid, "VmRSS")
    yield watch
    grown = megabytes(pid, "VmHWM") - before
    log.info("memory: %.1f MB, at most %.1f MB more while it lasted", before, grown)
    assert watch.recovered
    assert grown < most_growth, f"{grown:.1f} MB more than the {before:.1f} MB before"
    for simulated in {id(source.provider): source.provider for source in sources.values()}.values():
        assert_limits_kept(simulated)


def assert_limits_kept(simulated: Provider) -> None:
    """Nothing that the provider forbids has happened."""
    audit: dict[str, Any] = dict(simulated.audit())
    assert audit["worst_window"] <= 3, audit
    assert audit["most_in_flight"] <= 14, audit
    assert audit["worst_failed_logins"] <= 4, audit
    assert audit["followed_redirects"] == 0, audit
