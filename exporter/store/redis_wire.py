"""The connection to Redis: the only place that speaks to the ``redis`` package.

Nothing is repeated behind our back: the one who asks decides what a lost answer means.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
from typing import TYPE_CHECKING, Any, NoReturn

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, NoScriptError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError

from exporter.store.redis_lua import LUA
from exporter.store.redis_script import LostError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

    from redis.asyncio.client import PubSub
    from redis.asyncio.connection import AbstractConnection

    from exporter.store.redis_script import Call
    from exporter.store.redis_url import Address

TIMEOUT = 1.0
"""Seconds after which a server that does not answer is given up."""

SILENCE = 5.0
"""Seconds without an announcement after which the subscription is asked whether it still stands."""

AGAIN = 0.1
"""Seconds after which a task that was to end, and did not, is told once more."""

CHUNK = 500
"""Calls, or readings, in one round trip: no other client of the server waits for more."""

_IN_SCRIPT = re.compile(r" script: \w+, on @user_script:\d+\.?$")
"""What Redis adds to an error of a command inside a script: nobody who reads a log knows that script."""

_FORBIDDEN = ("DB index", "The user executing the script can't")
"""How Redis says that there is no such database, and that a command, key or channel is not permitted."""

SHA = hashlib.sha1(LUA.encode(), usedforsecurity=False).hexdigest()


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        why = _IN_SCRIPT.sub("", " ".join(str(error).split())) or type(error).__name__
        why = why.replace("The user executing the script can't", "the user has no permission to")
        raise LostError(why, refused=_refuses(error)) from None


def _refuses(error: Exception) -> bool:
    said = any(words in str(error) for words in _FORBIDDEN)
    return said or isinstance(error, (AuthenticationError, NoPermissionError))


def _client(address: Address, **more: Any) -> Redis:
    return Redis(
        **address.arguments,
        **more,
        socket_timeout=TIMEOUT,
        socket_connect_timeout=TIMEOUT,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        decode_responses=True,
        encoding_errors="replace",
    )


async def stop(task: asyncio.Task[None]) -> None:
    """Cancels a task that speaks to Redis, and sees its end.

    Once is not enough: ``redis`` sends by ``asyncio.wait_for``, which before Python 3.12 loses a cancellation
    that comes in the moment in which all is sent.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait((task,), timeout=AGAIN)
    await asyncio.gather(task, return_exceptions=True)


def _silent() -> NoReturn:
    raise LostError("the subscription fell silent")


class Wire:
    """Connections to the server called ``name``. Everything raises ``LostError`` where it can't be had."""

    def __init__(self, address: Address, silence: float = SILENCE) -> None:
        self.name = str(address)
        self._silence = silence
        self._starting = False
        self._client = _client(address, redis_connect_func=self._connected)
        self._listener = _client(address)

    async def start(self) -> str:
        """Connects anew, and says to which run of the server."""
        self._starting = True
        try:
            with _told():
                await self._client.connection_pool.disconnect(inuse_connections=False)
                pipe = self._client.pipeline(transaction=False)
                pipe.info("server")
                pipe.script_load(LUA)
                info, _ = await pipe.execute()
        finally:
            self._starting = False
        return str(info["run_id"])

    async def _connected(self, connection: AbstractConnection) -> None:
        """Lets no new connection pass unseen, as the pool would: the server behind it may have forgotten."""
        if not self._starting:
            raise RedisConnectionError("the connection broke")
        await connection.on_connect()

    async def send(self, calls: Sequence[Call]) -> list[Any]:
        """Sends all calls of the script in one pipeline (very many in several), and returns the answers.

        All may be sent twice: the script sees to it that this does no harm.
        """
        answers: list[Any] = []
        for start in range(0, len(calls), CHUNK):
            with _told():
                answers += await self._send(calls[start : start + CHUNK])
        return answers

    async def _send(self, calls: Sequence[Call]) -> list[Any]:
        answers = await self._pipe(calls)
        if any(isinstance(answer, NoScriptError) for answer in answers):
            # Somebody flushed the scripts: that costs a round trip more, once.
            await self._client.script_load(LUA)
            answers = await self._pipe(calls)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    async def _pipe(self, calls: Sequence[Call]) -> list[Any]:
        pipe = self._client.pipeline(transaction=False)
        for keys, arguments in calls:
            pipe.evalsha(SHA, len(keys), *keys, *arguments)
        answers: list[Any] = await pipe.execute(raise_on_error=False)
        return answers

    async def scan(self, key: str) -> AsyncGenerator[tuple[float, dict[str, str]], None]:
        """The fields of a hash, page by page, each with the server's time in milliseconds."""
        cursor = 0
        while True:
            with _told():
                pipe = self._listener.pipeline(transaction=False)
                pipe.time()
                pipe.hscan(key, cursor, count=CHUNK)
                (seconds, micros), (cursor, page) = await pipe.execute()
            yield seconds * 1000 + micros // 1000, page
            if not cursor:
                return

    async def listen(self, channel: str) -> AsyncGenerator[str | None, None]:
        """Subscribes (then None comes), and gives each announcement."""
        with _told():
            async with self._listener.pubsub() as pubsub:
                await pubsub.subscribe(channel)
                while True:
                    message = await self._next(pubsub)
                    if message["type"] == "subscribe":
                        yield None
                    elif message["type"] == "message":
                        yield message["data"]

    async def _next(self, pubsub: PubSub) -> Any:
        """The next message; where none comes for a while, one is asked for."""
        return await pubsub.get_message(timeout=self._silence) or await self._asked_for(pubsub)

    async def _asked_for(self, pubsub: PubSub) -> Any:
        await pubsub.ping()
        return await pubsub.get_message(timeout=self._silence) or _silent()

    async def close(self) -> None:
        """Lets go of all connections."""
        with contextlib.suppress(LostError), _told():
            await self._client.aclose()
            await self._listener.aclose()
