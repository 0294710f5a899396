"""What is known of every link: memory serves, a backend keeps. Readers get snapshots and never wait."""

from __future__ import annotations

from heapq import nsmallest
from operator import attrgetter
from typing import TYPE_CHECKING

from exporter.model import Link, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from exporter.store.backend import Backend, Kept

    Key = tuple[str, str]

SPARE = 1000
"""Links out of the configuration that are remembered, besides as many as were ever in it at a time."""


class Store:
    """The snapshots in memory, in front of a backend. ``changed`` is told of each new snapshot."""

    def __init__(self, backend: Backend, changed: Callable[[Snapshot], None]) -> None:
        self.backend = backend
        self._changed = changed
        self._snapshots: dict[Key, Snapshot] = {}
        self._kept: dict[Key, Kept | Snapshot] = {}
        self._most = 0

    async def open(self) -> None:
        """Begins with what the backend kept. Raises ``StorageError`` where it would not be safe to."""
        self._kept = {kept.key: kept for kept in await self.backend.open(self._shared)}

    def configure(self, links: Iterable[Link]) -> tuple[Snapshot, ...]:
        """Takes the configured links, with what is known or was kept of them. Returns all, in order.

        Links that left are remembered, should they come back: all of them, if they all left at once. A name
        that now stands for another short link starts from nothing: those figures were never its own.
        """
        self._kept |= self._snapshots
        self._snapshots = {link.key: self._carried(link) for link in links}
        self._most = max(self._most, len(self._snapshots))
        self._forget()
        return tuple(self._snapshots.values())

    def _forget(self) -> None:
        """Drops what is remembered of too many links out of the configuration, the longest unread first.

        Without a bound, names that change with each reload would fill the memory in time.
        """
        excess = len(self._kept) - self._most - SPARE
        if excess > SPARE:  # not at each link too many: this looks at all of them
            for kept in nsmallest(excess, self._kept.values(), key=attrgetter("read_at")):
                del self._kept[kept.key]

    def _carried(self, link: Link) -> Snapshot:
        known = self._kept.pop(link.key, None)
        if known is None or known.target != link.target:
            return Snapshot(link)
        return known.under(link)

    def _shared(self, kept: Kept) -> None:
        """Another exporter read one of our links, or one that we don't have."""
        known = self._snapshots.get(kept.key)
        if known is None or known.target != kept.target:
            self._kept[kept.key] = kept
            self._forget()
        elif kept.read_at > known.read_at:
            self._put(kept.under(known.link).read_by_another(known))

    def get(self, link: Link) -> Snapshot | None:
        """What is known of ``link``; None once it has left the configuration, or changed its meaning."""
        known = self._snapshots.get(link.key)
        return known if known is not None and known.target == link.target else None

    def put(self, snapshot: Snapshot) -> None:
        """Replaces what is known of a link, and has it kept."""
        self._put(snapshot)
        if snapshot.reading is not None:
            self.backend.keep(snapshot)

    def _put(self, snapshot: Snapshot) -> None:
        self._snapshots[snapshot.link.key] = snapshot
        self._changed(snapshot)
