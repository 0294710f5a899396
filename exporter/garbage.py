"""Python's search for garbage, kept away from the great many objects that are there to stay."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def uncollected() -> Iterator[None]:
    """Lets nothing search for cycles meanwhile: each search looks at all that was made so far.

    With 100,000 links these searches take two thirds of the time in which a configuration is read, and a
    third of that in which kept figures become lines. Whatever is no cycle is freed as ever.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def settle() -> None:
    """Frees all garbage, and leaves what is in use now out of later searches, until the next call.

    This takes as long as one full search: call it where everything waits anyway. See ``leave_out``.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def leave_out() -> None:
    """Leaves what is in use now out of later searches, in no time, and frees nothing.

    A full search holds up everything else for as long as it takes to look at every object: 0.1 s with 10,000
    links, whenever Python thinks that it is time for one. What a link consists of stays for as long as the
    link is configured, and is no cycle, so that searching it finds nothing; parts that are replaced are freed
    as ever; so few objects are made anew with each reading that a later search finds a quarter of what there
    was. Cycles of the moment, such as an open connection of 2 kB, are left out with the rest, and stay for
    good: so call ``free_recent`` before what is to be left out is made, and ``settle`` again some time.
    """
    gc.freeze()


def free_recent() -> None:
    """Frees the garbage among what was made since the last ``settle`` or ``leave_out``."""
    gc.collect()
