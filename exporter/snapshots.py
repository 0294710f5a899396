"""What is known of every configured link. Readers get immutable snapshots and never wait."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TypeAlias

from exporter.errors import Outcome
from exporter.journal import StoredReading
from exporter.model import Link, LinkKey, Reading, Snapshot

Known: TypeAlias = dict[LinkKey, Snapshot]


class Snapshots:
    """The snapshots of the configured links; ``changed`` is called with each new one.

    Requests have an order, in which all processes agree. A reading or an outcome never replaces one whose
    request was sent later, whatever any clock says.
    """

    def __init__(self, changed: Callable[[Snapshot], None]) -> None:
        self._changed = changed
        self._known: Known = {}
        self._orders: dict[LinkKey, tuple[int, int]] = {}

    def get(self, link: Link) -> Snapshot | None:
        """What is known of ``link``; None once it has left the configuration, or names another target."""
        known = self._known.get(link.key)
        return known if known is not None and known.target == link.target else None

    def missing(self, links: Iterable[Link]) -> list[LinkKey]:
        """The links of which no figures are known here, so that a journal may know more."""
        return [link.key for link in links if not self._has_figures(link.key)]

    def _has_figures(self, key: LinkKey) -> bool:
        known = self._known.get(key)
        return known is not None and (known.reading is not None or known.carried)

    def build(self, links: Iterable[Link], stored: Iterable[StoredReading]) -> Known:
        """Builds what will be known of ``links``, for ``swap``. Changes nothing, so a thread may call it."""
        from_storage = {reading.link: reading for reading in stored}
        return {link.key: self._carried(link, from_storage.get(link.key)) for link in links}

    def _carried(self, link: Link, stored: StoredReading | None) -> Snapshot:
        """A link that stays keeps its snapshot; a name that is given to another target keeps its counter."""
        known = self._known.get(link.key) if self._has_figures(link.key) or stored is None else None
        if known is None and stored is not None:
            known = stored.under(link) if stored.target == link.target else None
            if known is None:
                return Snapshot(link, total=stored.total, carried=True)
        if known is None:
            return Snapshot(link)
        if known.target != link.target:
            return Snapshot(link, total=known.total, carried=known.reading is not None or known.carried)
        return known.under(link)

    def swap(self, built: Known) -> list[Snapshot]:
        """Replaces the links by what ``build`` made.

        Returns the snapshots that changed since ``build``.
        """
        before, self._known = self._known, built
        self._orders = {key: orders for key, orders in self._orders.items() if key in built}
        late = []
        for key, snapshot in built.items():
            known = before.get(key)
            if known is None or _same(known, snapshot) or known.target != snapshot.target:
                continue
            if known.reading is not None:
                built[key] = known.under(snapshot.link)
            elif known.outcome is not None:  # the figures, if any, come from a journal that was away
                built[key] = snapshot.ended(known.outcome)
            if built[key] is not snapshot:
                late.append(built[key])
        return late

    def all(self) -> Mapping[LinkKey, Snapshot]:
        """All snapshots by account and name."""
        return self._known

    def apply(
        self, link: Link, order: int, outcome: Outcome, reading: Reading | None, read_at: float
    ) -> tuple[Snapshot, Snapshot] | None:
        """A poll of ``link`` ended. ``order`` is its place in the order of requests.

        ``read_at`` is the wall-clock time at which it was sent.

        Returns the snapshots before and after, or None if the link is not configured any more.
        """
        before = self.get(link)
        if before is None:
            return None
        polled, read = self._orders.get(link.key, (-1, -1))
        after = before
        if reading is not None and order > read:
            after, read = replace(after.succeeded(reading, read_at), outcome=before.outcome), order
        if order > polled:
            after, polled = after.ended(outcome), order
        self._orders[link.key] = polled, read
        return before, after

    def put(self, snapshot: Snapshot) -> None:
        """Replaces what is known of a link."""
        self._known[snapshot.key] = snapshot
        self._changed(snapshot)


def _same(one: Snapshot, other: Snapshot) -> bool:
    """Whether both tell the same; only a snapshot that changed has another reading or another outcome."""
    return one.reading is other.reading and one.outcome is other.outcome
