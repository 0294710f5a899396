"""The connection to Redis: the only place that uses the ``redis`` package.

No command is repeated silently: the caller decides what a lost reply means.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, NoScriptError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError

from exporter.journal.redis_script import (
    APPEND,
    EVENTS,
    FORGET,
    HELLO,
    KEYS,
    LASTING,
    PERMISSIONS,
    READINGS,
    Stored,
)
from exporter.journal.shared import LostError
from exporter.storage_url import Redis as Address

TIMEOUT = 1.0
"""Seconds after which a server that does not answer counts as lost."""

CHUNK = 500
"""Entries or readings in one round trip: no other client of the server waits for more."""

_SHA = hashlib.sha1(APPEND.encode(), usedforsecurity=False).hexdigest()

_IN_SCRIPT = re.compile(r",? script: \w+, on @?user_script:\d+\.?$")
"""What Redis adds to an error inside a script. A reader of the log does not know that script."""

_FORBIDDEN = ("DB index", "The user executing the script can't")
"""Messages of Redis for a database that does not exist, and for a command or key without permission."""

_OLDEST = (6, 2)
"""The first version with ``MINID`` and exclusive ranges."""


class RefusedError(LostError):
    """Redis will always refuse us with this configuration."""

    @property
    def hint(self) -> str:
        """What to do if a permission is missing; else empty."""
        return f"; the user needs {PERMISSIONS}" if "permission" in str(self) else ""


def _named(error: Exception) -> LostError:
    """The error of the package in words for a log."""
    said = " ".join(str(error).split())
    reason = _IN_SCRIPT.sub("", said) or type(error).__name__
    reason = reason.replace("The user executing the script can't", "the user has no permission to")
    refused = isinstance(error, (AuthenticationError, NoPermissionError))
    if refused or any(words in said for words in _FORBIDDEN):
        return RefusedError(reason)
    return LostError(reason)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        raise _named(error) from None


class Wire:
    """One connection to the server at ``address``. Every method raises ``LostError`` if it fails."""

    def __init__(self, address: Address) -> None:
        self._connecting = False
        self._client = Redis(
            **address.arguments,
            socket_timeout=TIMEOUT,
            socket_connect_timeout=TIMEOUT,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            decode_responses=True,
            redis_connect_func=self._connected,
        )

    async def _connected(self, connection: AbstractConnection) -> None:
        """Refuses connections that the pool opens by itself: the server may have forgotten something."""
        if not self._connecting:
            raise RedisConnectionError("the connection broke")
        await connection.on_connect()

    async def connect(self) -> str:
        """Opens a new connection; returns the server's run id."""
        self._connecting = True
        try:
            with _translated():
                await self._client.connection_pool.disconnect()
                info = await self._client.info()
        finally:
            self._connecting = False
        inspect(info)
        return str(info["run_id"])

    async def hello(self, run: str, word: str) -> str:
        """Runs ``HELLO``; returns the epoch, which begins with ``word`` if ``run`` is new."""
        with _translated():
            return str(await self._client.eval(HELLO, len(KEYS), *KEYS, run, word))

    async def history(self) -> tuple[float, list[Stored], list[Stored]]:
        """The server's time in seconds, the lasting stream and the short one, which is read last."""
        with _translated():
            pipe = self._client.pipeline(transaction=False)
            pipe.time()
            for stream in (LASTING, EVENTS):
                pipe.xrange(stream)
            time, lasting, events = await pipe.execute()
        return _seconds(time), lasting, events

    async def append(
        self, epoch: str, position: str, minid: str, entries: Sequence[object], requests: Sequence[str]
    ) -> tuple[str, list[Stored], str]:
        """Runs ``APPEND``: its verdict, the news and the new position.

        The server may have lost the script: that costs a second round trip.
        """
        arguments = (*KEYS, epoch, position, minid, json.dumps(entries), json.dumps(requests))
        with _translated():
            try:
                reply = await self._client.evalsha(_SHA, len(KEYS), *arguments)
            except NoScriptError:
                reply = await self._client.eval(APPEND, len(KEYS), *arguments)
        verdict, news, last = reply
        return verdict, [(at, dict(zip(pairs[::2], pairs[1::2], strict=True))) for at, pairs in news], last

    async def readings(self, fields: Sequence[str]) -> tuple[float, list[str | None]]:
        """The server's time in seconds, and the readings of these links."""
        values: list[Any] = []
        with _translated():
            for start in range(0, len(fields), CHUNK):
                values += await self._client.hmget(READINGS, fields[start : start + CHUNK])
            time = await self._client.time()  # late: no reading may seem to come from the future
        return _seconds(time), values

    async def forget_readings(self) -> None:
        """Deletes readings older than ``FORGET_READINGS``."""
        cursor = "0"
        with _translated():
            while (cursor := await self._client.eval(FORGET, 1, READINGS, cursor, CHUNK)) != "0":
                pass

    async def close(self) -> None:
        """Closes the connection."""
        with contextlib.suppress(LostError), _translated():
            await self._client.aclose()


def _seconds(time: tuple[int, int]) -> float:
    return time[0] + time[1] / 1e6


def inspect(info: dict[str, Any]) -> None:
    """Raises ``LostError`` for a server that cannot be trusted with a journal."""
    version = str(info["redis_version"])
    if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST:
        raise RefusedError(f"Redis {version} is too old: 6.2 or newer is needed")
    if info["role"] != "master":
        raise LostError("the server is a replica: name the master")
    policy = str(info["maxmemory_policy"])
    if int(info["maxmemory"]) and policy.startswith("allkeys-"):
        raise LostError(f"maxmemory-policy is {policy}, which drops our keys: set it to noeviction")
