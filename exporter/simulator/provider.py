"""The provider: one request in, one decided reply out, without any network."""

import time
from collections.abc import Callable, Iterable, Mapping
from hmac import compare_digest
from random import Random
from typing import NamedTuple

from exporter.simulator.auditor import Auditor
from exporter.simulator.clicks import Clicks
from exporter.simulator.damage import Reply, compose
from exporter.simulator.days import Calendar
from exporter.simulator.faults import Fault, parse_faults
from exporter.simulator.formats import TOO_MANY_AT_ONCE, Refusal, Statistics, refusal, statistics
from exporter.simulator.limits import Limits
from exporter.simulator.links import Figures, SimulatedLink
from exporter.simulator.options import Settings, parse_latency
from exporter.simulator.query import Query, read_query

# The refusals a fault must not hide: a client that broke a rule is told so.
_STANDING = frozenset({4, 9})


class Visit(NamedTuple):
    """A request being handled: hand it to `leave` when that ends."""

    login: str
    reply: Reply
    latency: float  # seconds before the reply goes out
    key: tuple[str, str, str]  # login, kind and value
    failed_ip: str  # the address whose login failed, "" for none


class Provider:
    """The provider's side of the statistics command, with the auditor watching.

    `clock` gives seconds since the epoch, for days and clicks; `monotonic` gives seconds for limits and
    audits. `auditor`, `limits`, `faults`, `latency` and `allowed_ips` (None: everybody may log in) may be
    looked at and changed while it runs.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings or Settings()
        self.latency = parse_latency(self.settings.latency)
        self.limits = Limits(self.settings.breaches)
        self.allowed_ips = self.settings.allowed_ips
        self.auditor = Auditor(monotonic())
        self._monotonic = monotonic
        self._random = Random(self.settings.seed)  # noqa: S311 - to be repeated, not to be secret
        self._faults = parse_faults(self.settings.faults)
        self._passwords = dict(self.settings.accounts)
        calendar = Calendar(self.settings.midnight)
        self._clicks = Clicks(self.settings.links, self.settings.seed, calendar, clock)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults requests meet now; set them as text or texts, "" for none."""
        return self._faults

    @faults.setter
    def faults(self, specs: str | Iterable[str]) -> None:
        self._faults = parse_faults(specs)

    def set_password(self, login: str, password: str) -> None:
        """Change the password of a login, or make that login."""
        self._passwords[login] = password

    def add_clicks(self, link: str, clicks: int) -> None:
        """Put clicks on a link given by id or full link; negative ones are a correction."""
        self._clicks.add(self._clicks.named(link), clicks)

    def link(self, value: str) -> SimulatedLink:
        """Return the link with this id or full link; raises `KeyError`."""
        return self._clicks.named(value)

    def figures(self, value: str) -> Figures:
        """Return the true counts, by id or full link, without this being a request."""
        return self._clicks.figures(self._clicks.named(value))

    def audit(self, *, links: bool = False) -> Mapping[str, object]:
        """Return the auditor's findings up to now."""
        return self.auditor.report(self._monotonic(), links=links)

    def reset_audit(self) -> None:
        """Let the auditor begin anew; limits and blocks stay."""
        self.auditor.reset(self._monotonic())

    def arrive(self, parameters: Mapping[str, str], ip: str) -> Visit:
        """Judge a request as it arrives, from this address."""
        query = read_query(parameters, self.settings.api_keys)
        now = self._monotonic()
        self.auditor.arrive(query.login, query.kind, query.value, now)
        verdict, fault = self._decide(parameters, query, ip, now)
        content = verdict if isinstance(verdict, Refusal) else self._answer(verdict, fault)
        reply = compose(content, query, fault, self._random)
        self.auditor.answered(reply.label)
        least, most = self.latency
        latency = least if least == most else self._random.uniform(least, most)
        failed = isinstance(verdict, Refusal) and verdict.code == 2
        visit = Visit(query.login, reply, latency, query.key, ip if failed else "")
        if reply.manner == "freeze":
            self.auditor.freeze(visit.key, visit.failed_ip)
        return visit

    def leave(self, visit: Visit) -> None:
        """End the handling of a request."""
        if visit.reply.manner == "freeze":
            self.auditor.thaw(visit.key, visit.failed_ip, self._monotonic())
        self.limits.leave(visit.login)
        self.auditor.leave(visit.login)

    def _decide(
        self, parameters: Mapping[str, str], query: Query, ip: str, now: float
    ) -> tuple[SimulatedLink | Refusal, Fault | None]:
        verdict, fault = self._judge(parameters, query, ip, now), None
        if isinstance(verdict, Refusal) and verdict.code in _STANDING:
            if verdict.code == 9:
                self.limits.breached(ip, now)
            return verdict, None
        fault = self._strike(query)
        if fault is not None and fault.kind == "error":
            verdict = refusal(fault.number)
        if isinstance(verdict, Refusal) and verdict.code == 2:
            self.limits.failed_login(ip, now)
            self.auditor.failed_login(ip, now)
        return verdict, fault

    def _judge(
        self, parameters: Mapping[str, str], query: Query, ip: str, now: float
    ) -> SimulatedLink | Refusal:
        # Noted first, whatever comes of it: what is refused counts towards the limits as well.
        crowded, repeated = self.limits.enter(query.login), self.limits.repeated(query.key, now)
        if self.limits.blocked(ip, now):
            return refusal(4)
        if not query.well_formed:
            return refusal(1)
        if not self._admitted(parameters, query, ip):
            return refusal(2)
        if crowded:
            return Refusal(9, TOO_MANY_AT_ONCE)
        if repeated:
            return refusal(9)
        return self._clicks.find(query.kind, query.value) or refusal(3)

    def _admitted(self, parameters: Mapping[str, str], query: Query, ip: str) -> bool:
        if self.allowed_ips is not None and ip not in self.allowed_ips:
            return False
        key = parameters.get("apikey")
        if key:
            return key in self.settings.api_keys
        password = self._passwords.get(query.login)
        return password is not None and compare_digest(password.encode(), parameters["psw"].encode())

    def _strike(self, query: Query) -> Fault | None:
        """Return the first fault that this request meets."""
        if not self._faults:
            return None
        link = self._clicks.find(query.kind, query.value)
        names = {"", query.value, link.id if link else ""}
        for fault in self._faults:
            if fault.target in names and self._random.random() < fault.probability:
                return fault
        return None

    def _answer(self, link: SimulatedLink, fault: Fault | None) -> Statistics:
        if fault is not None and fault.kind == "wrong_link":
            link = self._clicks.other(link)
        return statistics(link, self._clicks.figures(link))
