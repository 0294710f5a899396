"""All accounts' planners, and the hosts they share."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from exporter.polling.host import Host
from exporter.polling.planner import Planner
from exporter.rules import FAILED_LOGIN_SPAN
from exporter.slices import at_once

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from exporter.model import Account, Link


class Pacing:
    """Planners by login, hosts by name. What was sent is remembered beyond a reload that drops an account."""

    def __init__(self, wall_offset: float, random: Random | None = None) -> None:
        self._wall_offset = wall_offset
        self._random = random or Random()  # noqa: S311 - jitter, not cryptography
        self._hosts: dict[str, Host] = {}
        self._planners: dict[str, Planner] = {}
        self.active: tuple[Planner, ...] = ()

    def configure(self, accounts: Iterable[Account], now: float) -> None:
        """Takes a new configuration at once, where nobody waits."""
        at_once(self.switch(accounts, now))

    def switch(self, accounts: Iterable[Account], now: float) -> Iterator[tuple[Planner, Link]]:
        """Takes a new configuration; planners of logins that stay keep everything they know.

        Accounts are taken at once. What is returned takes their links, one a step, and yields each; until it
        comes to an end, links are asked for as they were before.
        """
        wanted = {account.login_key: account for account in accounts}
        for key, account in wanted.items():
            if key not in self._planners:
                host = self._hosts.setdefault(account.host, Host())
                self._planners[key] = Planner(account, host, self._random, self._wall_offset)
            self._planners[key].switch(account)
        for key in self._planners.keys() - wanted.keys():
            self._retire(key, now)
        self.active = tuple(self._planners[key] for key in wanted)
        used = {planner.account.host for planner in self._planners.values()}
        for name in self._hosts.keys() - used:
            if self._hosts[name].idle(now):
                del self._hosts[name]
        return self._links_taken(now)

    def _links_taken(self, now: float) -> Iterator[tuple[Planner, Link]]:
        for planner in self.active:
            for link in planner.take_links(now):
                yield planner, link

    def _retire(self, key: str, now: float) -> None:
        planner = self._planners[key]
        planner.retire(now)
        if not planner.gate.in_flight and planner.touched_at + FAILED_LOGIN_SPAN < now:
            del self._planners[key]
