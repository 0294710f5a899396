"""A night in virtual time with all that it brings, and every figure that is served held against the truth.

The poller, the ledger and the exposition are the real ones, and so is the parsing; the simulator answers, but
over no network. Each virtual minute the page is read: every series that it shows must say what the provider
said at the moment it names, every series that it should show is there, and no other; and the auditor must not
have seen a limit broken.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import cycle
from random import Random

import pytest

from exporter.errors import HttpStatusError, Outcome, PollError, PollTimeoutError, UnreachableError
from exporter.exposition.exposition import Exposition
from exporter.exposition.slot import FAMILIES
from exporter.journal import MemoryJournal
from exporter.limits import Ledger
from exporter.model import Account, Credentials, Link, Reading, Snapshot
from exporter.polling.poller import Poller
from exporter.polling.recorder import Recorder
from exporter.provider.parsing import parse
from exporter.secret import SecretStr
from exporter.simulator import Provider, Settings, numbered_links
from exporter.snapshots import Snapshots
from tests import virtual
from tests.factories import MOSCOW, make_account, show
from tests.oracle import sample

HOUR, DAY = 3600.0, 86_400.0
LAST_EVENING_OF_THE_MONTH = 1_751_306_400.0  # 21:00 on 30 June 2025 in Moscow
PASSWORD = "secret"
MIRROR = "https://www2.smscentre.com"
ELSEWHERE = "https://smsc.example"
MANY, FEW = 40, 12
"""Links: so many that more than may be could be in flight, with those that hang; and some adaptive ones."""
LOCKED_OUT = 6
SERIES = [family.name for family in FAMILIES if re.match("smsc_link_(clicks|last)_", family.name)]

WEATHERS = (
    "http_502:0.3,reset:0.1",
    "truncated:0.2,garbage:0.1,empty:0.1,html:0.1",
    # an answer for another link can be told by its id alone, so those asked for by address are spared it
    "wrong_link:0.5@100001,wrong_link:0.5@100002,negative:0.1,null:0.1,float:0.1",
    "numbers:0.2,other_format:0.2,bom:0.2,crlf:0.2,cyrillic:0.1",
    "error_9:0.02",
    "error_9:0.3",
    "error_17:0.2,error_1:0.05",
    "hang:0.4",
    "http_503:0.01,redirect:0.1",
    "http_500",
    "reset",
    "error_4:0.05",
    "revoked",
)


@dataclass
class Truth:
    """What the provider said of one link when it was last read well, and what must be served of it.

    ``outcome`` is how the latest request ended, whatever address it went to.
    """

    snapshot: Snapshot
    outcome: Outcome | None = None


class Day:
    """Two accounts through the month's last night, while everything goes wrong.

    Elsewhere are accounts with a wrong password, of which more would fail in half an hour than may.
    """

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.clock = virtual.VirtualClock(LAST_EVENING_OF_THE_MONTH)
        ids = numbered_links(MANY + FEW)
        settings = Settings(links=ids, accounts={"a": PASSWORD, "b": PASSWORD}, latency="0.05-0.6", seed=seed)
        self.provider, self.elsewhere = (
            Provider(each, clock=self.clock.time, monotonic=self.clock.monotonic)
            for each in (settings, replace(settings, accounts={"others": PASSWORD}))
        )
        self.accounts = (
            _account("a", tuple(Link("a", link.name, id=link.id) for link in ids[:MANY])),
            _account("b", tuple(_adaptive(Link("b", link.name, url=link.url)) for link in ids[MANY:])),
            *(_locked_out(f"c{n}", Link(f"c{n}", "x", id=ids[0].id)) for n in range(LOCKED_OUT)),
        )
        self.links = {link.key: link for account in self.accounts for link in account.links}
        self.truths = {key: Truth(Snapshot(link)) for key, link in self.links.items()}
        self.down: set[str] = set()
        self.outcomes: Counter[Outcome] = Counter()
        self.seen: Counter[str] = Counter()
        self.exposition = Exposition(self.clock)
        self.snapshots = Snapshots(self.exposition.update)
        recorder = Recorder(Ledger(), MemoryJournal(self.clock), self.clock, lambda news: None)
        self.poller = Poller(recorder, self.snapshots, self._fetch, self._ended, self.clock, Random(seed))

    def _ended(self, account: str, outcome: Outcome, seconds: float) -> None:
        self.outcomes[outcome] += 1

    # --- the way to the provider --------------------------------------------------------------------------

    async def _fetch(self, account: Account, link: Link, url: str) -> Reading:
        sent_at = self.clock.time()
        said = self.provider.figures(link.id or link.url or "")
        truth = self.truths[link.key]
        try:
            reading = await self._exchange(account, link, url)
        except PollError as error:
            truth.outcome = error.outcome
            raise
        told = Reading(
            reading.id, said.cnt, said.cnt_mon, said.cnt_day, said.cnt_yes, said.cnt_pmon, reading.short_link
        )
        known = truth.snapshot
        total = known.total + max(0, said.cnt - (known.reading.all_time if known.reading else 0))
        truth.snapshot = replace(known, reading=told, read_at=sent_at, total=total)
        truth.outcome = Outcome.OK
        return reading

    async def _exchange(self, account: Account, link: Link, url: str) -> Reading:
        """One request over a network that is not there, as the client would have it end."""
        if url in self.down:
            raise UnreachableError("refused", sent=False)
        kind, value = link.target
        parameters = {**account.credentials.parameters, "get": "1", "fmt": "3", kind: value}
        provider = self.elsewhere if account.base_url == ELSEWHERE else self.provider
        visit = provider.arrive(parameters, "192.0.2.1")
        reply, seconds = visit.reply, visit.latency
        seconds += provider.settings.hang_seconds if reply.manner == "hang" else 0
        # the provider works on, whether somebody waits for the answer or not
        asyncio.get_running_loop().call_later(seconds, provider.leave, visit)
        await asyncio.sleep(min(seconds, account.timeout))
        if seconds > account.timeout:
            raise PollTimeoutError("timeout")
        if reply.manner == "reset":
            raise UnreachableError("reset")
        if reply.status != 200 or reply.manner == "redirect":
            after = reply.headers.get("Retry-After")
            raise HttpStatusError(reply.status, float(after) if after else None)
        return parse(reply.body, reply.content_type.rpartition("=")[2], link)

    # --- what the day brings ------------------------------------------------------------------------------

    async def live(self) -> None:
        """The day, minute by minute; the last hour and a half are calm."""
        known = self.snapshots.build(self.links.values(), ())
        self.snapshots.swap(known)
        show(self.exposition, self.accounts, known.values())
        self.poller.swap(self.poller.build(self.accounts))
        self.poller.start()
        weather = self._weather()
        for minute in range(7 * 60):
            await asyncio.sleep(60)
            next(weather) if minute < 5.5 * 60 else self._calm()
            self._judge()
        await self.poller.close()

    def _calm(self) -> None:
        self.provider.faults = ""
        self.down.clear()
        self._set_password(PASSWORD)

    def _set_password(self, password: str) -> None:
        self.provider.set_password("b", password)

    def _weather(self) -> Iterator[None]:
        """Calm and storm in turns, from two minutes to a quarter of an hour each."""
        random = self.random
        for faults in cycle(random.sample(WEATHERS, len(WEATHERS))):
            self._calm()
            yield from [None] * random.randint(2, 20)
            # A login is revoked in clear weather: a refusal that never arrives cannot be counted.
            self.provider.faults = "" if faults == "revoked" else faults
            self._set_password("changed" if faults == "revoked" else PASSWORD)
            self.down = set(random.choice([(), (), (MIRROR,), (self.accounts[0].base_url,)]))
            if random.random() < 0.2:
                self.provider.add_clicks(random.choice(list(self.links.values())).target[1], -50)
            yield from [None] * random.randint(2, 15)

    # --- what must hold -----------------------------------------------------------------------------------

    def _judge(self) -> None:
        for audit in (self.provider.auditor, self.elsewhere.auditor):
            assert audit.worst_window <= 3
            assert audit.most_in_flight <= 14
            assert audit.worst_failed_logins <= 4
            assert audit.followed_redirects == 0
        assert self.poller.broken() is None
        served = self._page()
        for account in self.accounts:
            for link in account.links:
                self._compare(account, link, {name: served.pop((name, link.key), None) for name in SERIES})
        assert not served, "of links that there are not"

    def _page(self) -> dict[tuple[str, tuple[str, str]], float]:
        text = b"".join(self.exposition.render(openmetrics=False)).decode()
        lines = re.findall(
            r'^(smsc_link_(?:clicks|last)_\w+){account="(\w+)",link="([^"]+)"} (\S+)$', text, re.MULTILINE
        )
        assert len(lines) == len(re.findall(r"^smsc_link_(?:clicks|last)_", text, re.MULTILINE))
        return {(name, (account, link)): float(value) for name, account, link, value in lines}

    def _compare(self, account: Account, link: Link, served: dict[str, float | None]) -> None:
        truth, now = self.truths[link.key], self.clock.time()
        for name, value in served.items():
            found = sample(name, truth.snapshot, account, now)
            assert value == (found and found[1]), (name, link.key, now)
            self.seen["shown" if value is not None else "withheld"] += 1
        if served["smsc_link_clicks_today"] is None and served["smsc_link_clicks_all_time"] is not None:
            self.seen["after midnight"] += 1
            self.seen["after the month's end"] += served["smsc_link_clicks_month"] is None
        self.seen["stale"] += truth.snapshot.reading is not None and served["smsc_link_clicks_total"] is None


def _account(name: str, links: tuple[Link, ...]) -> Account:
    credentials = Credentials(SecretStr(name), SecretStr(PASSWORD))
    return make_account(
        name, links, credentials=credentials, fallback_urls=(MIRROR,), max_concurrent_requests=14
    )


def _locked_out(name: str, link: Link) -> Account:
    return replace(_account(name, (link,)), base_url=ELSEWHERE, fallback_urls=())


def _adaptive(link: Link) -> Link:
    return replace(link, refresh_interval=120.0, bounds=(21.0, 600.0), stale_after=1800.0)


@pytest.mark.parametrize("seed", [1])
@pytest.mark.slow(1)  # much is calculated in virtual time, for half a minute
def test_a_night_of_storms_serves_nothing_but_the_truth(seed: int) -> None:
    day = Day(seed)
    virtual.run(day.clock, day.live())
    # the day was one that could have shown a mistake
    assert day.accounts[0].timezone == MOSCOW
    assert set(Outcome) - {Outcome.NOT_FOUND} <= set(day.outcomes)
    assert day.outcomes[Outcome.OK] > 2_500
    assert day.seen["shown"] > day.seen["withheld"]
    assert day.seen["stale"] > 25
    assert day.seen["after the month's end"] >= 20
    # and it ended well
    states = [status.state for status in day.poller.statuses()]
    assert (states[:2], set(states[2:])) == (["polling"] * 2, {"unauthorized"})
    assert day.provider.auditor.most_in_flight == 14
    assert day.elsewhere.auditor.worst_failed_logins == 4
    for truth in (truth for key, truth in day.truths.items() if key[0] in "ab"):
        assert truth.outcome is Outcome.OK
        assert day.clock.time() - truth.snapshot.read_at < 700
