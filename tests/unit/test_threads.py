"""Threads that give way to the event loop."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from exporter.threads import Threads


def _niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere niceness belongs to the process")
def test_a_nice_thread_gives_way_and_no_other_does() -> None:
    before = _niceness()
    for nice in (0, 5):
        threads = Threads(1, "nice", nice=nice)
        assert threads.submit(_niceness).result() == min(19, before + nice)
        threads.shutdown()
    assert _niceness() == before
