"""SIGTERM, SIGINT and SIGHUP, from the first moment of the process. Imports nothing heavy."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import NoReturn

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_early: list[signal.Signals] = []


def catch_early() -> None:
    """Until ``Signals`` is made: SIGTERM and SIGINT end the process well, and SIGHUP is remembered."""
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    signal.signal(signal.SIGHUP, lambda number, frame: _early.append(signal.SIGHUP))


def release() -> None:
    """Gives all three their usual meaning, for a command that is no service."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


class Signals:
    """The signals as events. To be made inside the event loop; a SIGHUP that came early is one reload."""

    def __init__(self) -> None:
        import asyncio  # only now: it takes a tenth of a second, in which a signal must not end us

        self._caught: asyncio.Queue[signal.Signals] = asyncio.Queue()
        for number in _SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self._caught.put_nowait, number)
        if _early:
            _early.clear()
            self._caught.put_nowait(signal.SIGHUP)

    def stop(self) -> None:
        """Has ``until_stopped`` return, as SIGTERM would."""
        self._caught.put_nowait(signal.SIGTERM)

    async def until_stopped(self, reload: Callable[[], Awaitable[object]]) -> None:
        """Returns on SIGTERM or SIGINT, or after ``stop``; each SIGHUP calls ``reload``."""
        import asyncio

        reloads: set[asyncio.Future[object]] = set()
        while await self._caught.get() is signal.SIGHUP:
            reloads.add(asyncio.ensure_future(reload()))
            reloads = {running for running in reloads if not running.done()}
        # A reload may be waiting for a slow file: it is not waited for.
        for running in reloads:
            running.cancel()
