"""Threads that the end does not wait for: what they do is lost without harm."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

ADVICE = "raise the limit on threads: pids.max, TasksMax or ulimit -u"

_NAME = "worker"


class Threads(ThreadPoolExecutor):
    """Up to ``most`` threads for ``what``, such as files, passwords or pages; None: as many as Python likes.

    A name server, a disk or a costly hash may keep one for ever. Python itself would wait for it at the end:
    ``stuck`` says whether the process has to be left otherwise.
    """

    def __init__(self, most: int | None, what: str) -> None:
        super().__init__(most, thread_name_prefix=f"{_NAME}-{what}")

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Takes no more work, drops what has not begun, and waits for nothing."""
        super().shutdown(wait=False, cancel_futures=True)


def stuck(patience: float = 0.5) -> bool:
    """Whether, after ``patience`` seconds, one of all these threads still has not come to its end."""
    threads = [thread for thread in threading.enumerate() if thread.name.startswith(_NAME)]
    for thread in threads:
        thread.join(patience / len(threads))
    return any(thread.is_alive() for thread in threads)
