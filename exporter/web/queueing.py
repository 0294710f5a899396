"""A queue for what is done one at a time, fair to every client address."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class BusyError(Exception):
    """Too many wait already."""


MAX_BLAMED = 1000
"""Addresses whose blame is remembered."""


class FairQueue:
    """One at a time. The next is a random one of the addresses that were blamed least.

    While ``most`` wait, each newcomer displaces a random one from the address where the most wait. So a flood
    from a few addresses keeps nobody else out, and at its own address it displaces itself mostly.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = False
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self._blame: Counter[str] = Counter()

    def blame(self, address: str) -> None:
        """Has others go before ``address``."""
        self._blame[address] = self._blame.pop(address, 0) + 1
        if len(self._blame) > MAX_BLAMED:
            del self._blame[next(iter(self._blame))]

    @asynccontextmanager
    async def turn(self, address: str) -> AsyncIterator[None]:
        """The turn of a client at ``address``, once it comes. Raises BusyError if another displaces it."""
        if self._taken:
            await self._wait(address)
        self._taken = True
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, address: str) -> None:
        if sum(map(len, self._waiting.values())) >= self._most:
            most = max(map(len, self._waiting.values()))
            crowded = [address for address, there in self._waiting.items() if len(there) == most]
            displaced = self._leave(secrets.choice(crowded))
            if not displaced.cancelled():
                displaced.set_exception(BusyError)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(address, []).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it was given the turn
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        self._taken = False
        while self._waiting and not self._taken:
            least = min(self._blame[address] for address in self._waiting)
            turn = self._leave(secrets.choice([each for each in self._waiting if self._blame[each] == least]))
            if not turn.cancelled():
                turn.set_result(None)
                self._taken = True

    def _leave(self, address: str) -> asyncio.Future[None]:
        """Takes a random client of ``address`` out of the queue."""
        there = self._waiting[address]
        left = there.pop(secrets.randbelow(len(there)))
        if not there:
            del self._waiting[address]
        return left


def client_of(remote: str | None) -> str:
    """One name for all addresses that a client at ``remote`` may use: with IPv6, its network of 64 bits."""
    address = ipaddress.ip_address(remote or "::")
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:  # IPv4 on a socket for both protocols
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address), 64), strict=False))
