"""What is known of every link: memory serves, a backend keeps. Readers get snapshots and never wait."""

from __future__ import annotations

from heapq import nsmallest
from operator import attrgetter
from typing import TYPE_CHECKING

from exporter.model import Link, Snapshot
from exporter.slices import at_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

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
        self._draft: dict[Key, Snapshot] = {}
        self._draft_changed = changed

    async def open(self) -> None:
        """Begins with what the backend kept. Raises ``StorageError`` where it would not be safe to."""
        self._kept = {kept.key: kept for kept in await self.backend.open(self._shared)}

    def configure(self, links: Iterable[Link]) -> tuple[Snapshot, ...]:
        """Takes the configured links at once, where nobody waits. Returns all their snapshots, in order."""
        at_once(self.draft(links, lambda snapshot: None))
        self.switch()
        return tuple(self._snapshots.values())

    def draft(self, links: Iterable[Link], changed: Callable[[Snapshot], None]) -> Iterator[None]:
        """Prepares to have other links, one a step, while the former ones stay until ``switch``.

        ``changed`` is told what each of them begins with, and hears of what is learnt meanwhile.
        """
        self._draft, self._draft_changed = {}, changed
        for link in links:
            self._prepare(link)
            yield

    def switch(self) -> None:
        """Has the links prepared, with what is known or was kept of them, in place of the former ones.

        Links that left are remembered, should they come back: all of them, if they all left at once. A name
        that now stands for another short link starts from nothing: those figures were never its own.
        """
        self._kept |= {key: known for key, known in self._snapshots.items() if key not in self._draft}
        for key in self._kept.keys() & self._draft.keys():
            del self._kept[key]
        self._snapshots, self._draft = self._draft, {}
        self._most = max(self._most, len(self._snapshots))
        self._forget()

    def _prepare(self, link: Link) -> None:
        snapshot = self._draft[link.key] = self._carried(link)
        self._draft_changed(snapshot)

    def _forget(self) -> None:
        """Drops what is remembered of too many links out of the configuration, the longest unread first.

        Without a bound, names that change with each reload would fill the memory in time.
        """
        excess = len(self._kept) - self._most - SPARE
        # Not at each link too many: this looks at all of them. What is being prepared may yet ask for them.
        if excess > SPARE and not self._draft:
            for kept in nsmallest(excess, self._kept.values(), key=attrgetter("read_at")):
                del self._kept[kept.key]

    def _carried(self, link: Link) -> Snapshot:
        for known in (self._snapshots.get(link.key), self._kept.get(link.key)):
            if known is not None and known.target == link.target:
                return known.under(link)
        return Snapshot(link)

    def _shared(self, kept: Kept) -> None:
        """Another exporter read one of our links, or one that we don't have."""
        known = self._snapshots.get(kept.key)
        if known is None or known.target != kept.target:
            self._kept[kept.key] = kept
            self._forget()
            self._learnt(kept.key)
        elif kept.read_at > known.read_at:
            self._put(kept.under(known.link).read_by_another(known))

    def _learnt(self, key: Key) -> None:
        """What is being prepared knows it, too."""
        if (prepared := self._draft.get(key)) is not None:
            self._prepare(prepared.link)

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
        self._snapshots[snapshot.key] = snapshot
        self._changed(snapshot)
        self._learnt(snapshot.key)
