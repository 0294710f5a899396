"""What is known of every link, and what must be remembered of requests.

Memory serves; a backend keeps. Readers get immutable snapshots and never wait; whoever polls records the
attempt with the backend *before* it is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from exporter.model import Link, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from exporter.model import Account


class Backend(Protocol):
    """Where state outlives the process."""

    @property
    def up(self) -> bool:
        """Whether the backend works at present."""
        ...

    async def record_attempt(self, account: Account, link: Link) -> None:
        """Returns once the attempt is safely recorded: only then may the request leave."""
        ...

    def keep(self, snapshot: Snapshot) -> None:
        """Takes a snapshot to be written soon; never waits."""
        ...

    async def close(self) -> None:
        """Writes what is still to be written."""
        ...


class MemoryBackend:
    """``memory:`` keeps nothing beyond the process. Phases on the wall clock still hold a restart back."""

    up = True

    async def record_attempt(self, account: Account, link: Link) -> None:
        """Nothing to do: pacing itself remembers for as long as the process lives."""

    def keep(self, snapshot: Snapshot) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""


class Store:
    """The snapshots in memory, in front of a backend. ``changed`` is told of each new snapshot."""

    def __init__(self, backend: Backend, changed: Callable[[Snapshot], None]) -> None:
        self.backend = backend
        self._changed = changed
        self._snapshots: dict[tuple[str, str], Snapshot] = {}

    def configure(self, links: Iterable[Link]) -> tuple[Snapshot, ...]:
        """Takes the configured links: those that stay keep what is known of them. Returns all, in order.

        A name that now stands for another short link starts from nothing: its figures were never its own.
        """
        self._snapshots = {link.key: self._carried(link) for link in links}
        return tuple(self._snapshots.values())

    def _carried(self, link: Link) -> Snapshot:
        known = self._snapshots.get(link.key)
        if known is None or known.link.target != link.target:
            return Snapshot(link)
        return known.relabelled(link)

    def get(self, link: Link) -> Snapshot | None:
        """What is known of ``link``; None once it has left the configuration, or changed its meaning."""
        known = self._snapshots.get(link.key)
        return known if known is not None and known.link.target == link.target else None

    def put(self, snapshot: Snapshot) -> None:
        """Replaces what is known of a link."""
        self._snapshots[snapshot.link.key] = snapshot
        self.backend.keep(snapshot)
        self._changed(snapshot)
