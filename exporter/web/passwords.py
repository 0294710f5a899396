"""Whether a password is right: bcrypt, one check at a time, and what was found remembered."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping

import bcrypt

from exporter.threads import Threads
from exporter.web.queueing import FairQueue

MOST_WAITING = 32
"""Logins that may wait for their check. At bcrypt's cost 10 these take two seconds."""

MOST_FAILURES = 1000
"""Wrong logins remembered, so that a client that repeats one costs nothing."""

_NICE = 5
"""A flood of wrong passwords keeps a core busy, and scrapes go first."""

_LONGEST = 72
"""Bytes of a password that bcrypt looks at."""


class Passwords:
    """Checks logins. A flood of wrong ones delays neither the event loop nor those already found right.

    What was found is kept under a hash with a key of this process, never the password itself.
    """

    def __init__(self, check: Callable[[bytes, bytes], bool] = bcrypt.checkpw) -> None:
        self._matches = check
        self._key = secrets.token_bytes(32)
        self._right: dict[str, bytes] = {}  # by user, so that wrong logins cannot push it out
        self._wrong: OrderedDict[bytes, None] = OrderedDict()
        self._queue = FairQueue(MOST_WAITING)
        self._thread = Threads(1, "password", nice=_NICE)

    def open(self) -> None:
        """Starts the thread that checks. Raises ``RuntimeError`` if the system allows none."""
        self._thread.submit(int)

    def close(self) -> None:
        """Ends the thread; a check that is under way is not waited for."""
        self._thread.shutdown()

    async def accept(self, users: Mapping[str, bytes], authorization: str, client: str) -> bool:
        """Whether the header ``authorization`` names one of ``users`` and the password to its hash.

        ``client`` is the address it came from. Raises BusyError when too many wait.
        """
        login = parse(authorization)
        if login is None:
            return False
        user, password = login
        # Whether there is such a user is part of it: one who comes or goes is checked again.
        there = b"user" if user in users else b"nobody"
        digest = self._digest(there, user.encode(), self._hash_of(users, user), password)
        right = self._known(user, digest)
        if right is None:
            right = await self._wait_and_check(users, user, digest, password, client)
        return right

    def _hash_of(self, users: Mapping[str, bytes], user: str) -> bytes:
        """For an unknown user, another user's hash: the check takes as long as if there were such a user."""
        if user in users:
            return users[user]
        hashes = sorted(users.values())
        return hashes[int.from_bytes(self._digest(user.encode())) % len(hashes)]

    def _digest(self, *parts: bytes) -> bytes:
        return hashlib.blake2b(
            b"".join(b"%d:%b" % (len(part), part) for part in parts), key=self._key
        ).digest()

    def _known(self, user: str, digest: bytes) -> bool | None:
        if self._right.get(user) == digest:
            return True
        return False if digest in self._wrong else None

    async def _wait_and_check(
        self, users: Mapping[str, bytes], user: str, digest: bytes, password: bytes, client: str
    ) -> bool:
        async with self._queue.turn(client):
            known = self._known(user, digest)  # the same login may have waited before this one
            if known is None:
                known = await self._check(users, user, digest, password)
                if not known:
                    self._queue.blame(client)
            return known

    async def _check(self, users: Mapping[str, bytes], user: str, digest: bytes, password: bytes) -> bool:
        loop = asyncio.get_running_loop()
        hashed = self._hash_of(users, user)
        matches = await loop.run_in_executor(self._thread, self._matches, password[:_LONGEST], hashed)
        right = matches and len(password) <= _LONGEST and user in users
        if right:
            self._right = {known: found for known, found in self._right.items() if known in users}
            self._right[user] = digest
        else:
            self._wrong[digest] = None
            while len(self._wrong) > MOST_FAILURES:
                self._wrong.popitem(last=False)
        return right


def parse(authorization: str) -> tuple[str, bytes] | None:
    """User and password of a header of basic authentication (RFC 7617); None if it is none."""
    scheme, _, token = authorization.partition(" ")
    if scheme.casefold() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(token.strip(), validate=True).partition(b":")
    except ValueError:
        return None
    return (user.decode(errors="replace"), password) if colon else None
