"""What is known of links, in front of a backend."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from exporter.clock import SystemClock
from exporter.errors import Outcome
from exporter.model import Snapshot
from exporter.store import MemoryBackend, Store, backend_for
from exporter.store.backend import Kept
from exporter.store.redis import RedisBackend
from exporter.store.sqlite import SqliteBackend
from exporter.store.store import SPARE
from tests.factories import make_link, make_links, make_reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LINK = make_link()


def kept(total: int = 107, read_at: float = 1000.0, link_id: str = "145142") -> Kept:
    return Kept("main", "spring-sale", ("id", link_id), make_reading(), read_at, total)


class _Shelf(MemoryBackend):
    """Has kept something, and can be told of what another exporter keeps."""

    def __init__(self, *things: Kept) -> None:
        self.things = things
        self.kept: list[Snapshot] = []

    async def open(self, changed: Callable[[Kept], None]) -> Iterable[Kept]:
        self.share = changed
        return self.things

    def keep(self, snapshot: Snapshot) -> None:
        self.kept.append(snapshot)


def opened(*things: Kept) -> tuple[Store, _Shelf, list[Snapshot]]:
    changes: list[Snapshot] = []
    shelf = _Shelf(*things)
    store = Store(shelf, changes.append)
    asyncio.run(store.open())
    return store, shelf, changes


def test_what_was_kept_is_gone_on_with_but_its_last_outcome_is_not_known() -> None:
    store, _, _ = opened(kept())
    assert store.configure([LINK]) == (Snapshot(LINK, make_reading(), 1000.0, 107, None),)


def test_what_was_kept_shares_its_links_id() -> None:
    store, _, _ = opened(replace(kept(), reading=make_reading(id="".join(["145", "142"]))))
    (snapshot,) = store.configure([LINK])
    assert snapshot.reading
    assert snapshot.reading.id is LINK.id


def test_what_was_kept_of_another_link_under_the_same_name_is_not() -> None:
    store, _, _ = opened(kept(link_id="999"))
    assert store.configure([LINK]) == (Snapshot(LINK),)


def test_a_link_taken_out_and_put_back_keeps_its_counter() -> None:
    store, _, _ = opened(kept())
    store.configure([LINK])
    store.configure([])
    assert store.get(LINK) is None
    assert store.configure([LINK])[0].total == 107


def test_all_links_taken_out_and_put_back_keep_their_counters() -> None:
    store, _, _ = opened()
    links = make_links(3 * SPARE)
    for at, snapshot in enumerate(store.configure(links)):
        store.put(snapshot.succeeded(make_reading(id=snapshot.link.id), float(at)))
    store.configure([])
    assert {snapshot.total for snapshot in store.configure(links)} == {7}


def test_of_names_that_change_with_each_reload_those_unread_for_longest_are_forgotten() -> None:
    store, _, _ = opened()
    for load in range(20):
        links = [make_link(f"{load}-{n}", id=f"{load}{n:04}") for n in range(SPARE)]
        for snapshot in store.configure(links):
            store.put(snapshot.succeeded(make_reading(id=snapshot.link.id), float(load)))
    assert len(store._kept) <= 3 * SPARE
    former = [make_link(f"{load}-7", id=f"{load}0007") for load in (18, 17, 0)]
    assert [snapshot.total for snapshot in store.configure(former)] == [7, 7, 0]


def test_of_what_others_read_of_links_we_lack_no_more_is_remembered_than_that() -> None:
    store, shelf, _ = opened()
    store.configure([LINK])
    for n in range(5 * SPARE):
        shelf.share(replace(kept(read_at=float(n)), name=f"theirs-{n}"))
    assert SPARE <= len(store._kept) <= 2 * SPARE + 1
    assert ("main", f"theirs-{5 * SPARE - 1}") in store._kept


def test_what_is_learnt_while_links_are_prepared_is_theirs_too() -> None:
    store, shelf, changes = opened()
    store.configure([LINK])
    prepared: list[Snapshot] = []
    other = make_link("other", id="7")
    again = replace(LINK, labels=(("team", "growth"),))
    draft = store.draft([again, other], prepared.append)
    next(draft)
    shelf.share(kept(total=110))  # of a link that is prepared,
    shelf.share(replace(kept(total=3), name="other", target=("id", "7")))  # and of one that is not yet
    assert store.get(LINK) == changes[-1] == replace(prepared[-1], link=LINK)
    assert next(draft, None) is None
    shelf.share(replace(kept(total=5), name="other", target=("id", "7")))
    assert [snapshot.total for snapshot in prepared] == [0, 110, 3, 5]
    assert store.get(other) is None
    deque(draft, maxlen=0)
    store.switch()
    assert store.get(again) == replace(changes[-1], link=again)
    assert store.get(other) == prepared[-1]


def test_nothing_is_forgotten_that_is_about_to_be_asked_for() -> None:
    links = make_links(3 * SPARE)
    store, shelf, _ = opened(*(replace(kept(), name=link.name, target=link.target) for link in links))
    draft = store.draft(links, lambda snapshot: None)
    next(draft)
    shelf.share(replace(kept(), name="theirs"))
    deque(draft, maxlen=0)
    store.switch()
    assert all(store.get(link) == kept(total=107).under(link) for link in links)


@pytest.mark.parametrize(
    ("url", "kind"),
    [("memory:", MemoryBackend), ("sqlite:x.db", SqliteBackend), ("redis://127.0.0.1:1/0", RedisBackend)],
)
def test_a_url_names_its_backend(url: str, kind: type) -> None:
    async def main() -> None:
        assert type(backend_for(SecretStr(url), SystemClock())) is kind

    asyncio.run(main())


def test_a_package_that_is_missing_is_named() -> None:
    program = (
        "import sys; sys.modules['redis'] = None\n"
        "from pydantic import SecretStr\n"
        "from exporter.clock import SystemClock\n"
        "from exporter.errors import StorageError\n"
        "from exporter.store import backend_for\n"
        "try: backend_for(SecretStr('redis://127.0.0.1'), SystemClock())\n"
        "except StorageError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "storage.url: redis needs another package: pip install 'smsc-exporter[redis]'\n"


def test_only_readings_are_kept() -> None:
    store, shelf, changes = opened()
    (snapshot,) = store.configure([LINK])
    store.put(snapshot.failed(Outcome.TIMEOUT))
    assert not shelf.kept
    store.put(snapshot.succeeded(make_reading(), 5.0))
    assert len(shelf.kept) == 1
    assert len(changes) == 2


def test_a_newer_reading_of_another_exporter_is_taken_over() -> None:
    store, shelf, changes = opened(kept(total=107, read_at=1000.0))
    store.configure([LINK])
    shelf.share(kept(total=110, read_at=1060.0))
    assert changes == [Snapshot(LINK, make_reading(), 1060.0, 110, Outcome.OK)]
    assert store.get(LINK) == changes[0]
    assert not shelf.kept


def test_an_older_reading_of_another_exporter_changes_nothing() -> None:
    store, shelf, changes = opened(kept())
    store.configure([LINK])
    shelf.share(kept(total=90, read_at=999.0))
    assert not changes


def test_the_counter_never_falls_by_what_another_exporter_read() -> None:
    store, shelf, changes = opened(kept(total=107))
    store.configure([LINK])
    shelf.share(kept(total=90, read_at=1060.0))
    assert changes[0].total == 107


def test_what_another_exporter_reads_of_links_we_lack_waits_for_them() -> None:
    store, shelf, changes = opened()
    store.configure([])
    shelf.share(kept())
    assert not changes
    assert store.configure([LINK])[0].total == 107


def test_what_another_exporter_reads_of_another_link_under_our_name_is_not_ours() -> None:
    store, shelf, changes = opened()
    store.configure([LINK])
    shelf.share(kept(link_id="999"))
    assert not changes
