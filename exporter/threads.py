"""Threads that the end does not wait for: what they do is lost without harm."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

ADVICE = "raise the limit on threads: pids.max, TasksMax or ulimit -u"

_NAME = "worker"


class Threads(ThreadPoolExecutor):
    """Up to ``most`` threads for ``what``, such as files, passwords or pages; None: as many as Python likes.

    A name server, a disk or a costly hash may keep one for ever. Python itself would wait for it at the end:
    ``stuck`` says whether the process has to be left otherwise. With ``nice`` they leave the processor to the
    event loop (nice(2); on Linux it is a thread's own).
    """

    def __init__(self, most: int | None, what: str, nice: int = 0) -> None:
        super().__init__(most, f"{_NAME}-{what}", partial(_give_way, nice))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Takes no more work, drops what has not begun, and waits for nothing."""
        super().shutdown(wait=False, cancel_futures=True)


def _give_way(nice: int) -> None:
    if nice and sys.platform == "linux":  # elsewhere it would be the whole process
        with suppress(OSError):  # a sandbox may refuse it
            os.nice(nice)


def stuck(patience: float = 0.5) -> bool:
    """Whether, after ``patience`` seconds, one of all these threads still has not come to its end."""
    threads = [thread for thread in threading.enumerate() if thread.name.startswith(_NAME)]
    for thread in threads:
        thread.join(patience / len(threads))
    return any(thread.is_alive() for thread in threads)
