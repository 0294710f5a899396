"""Loading without Python's cyclic garbage collector."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def uncollected() -> Iterator[None]:
    """Keeps the cyclic garbage collector from running meanwhile.

    Reading thousands of links makes hundreds of thousands of objects, none of them in a cycle. The collector
    would go through all of them again and again: most of the time that a large file takes, and time in which
    no other thread runs, scrapes among them.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
