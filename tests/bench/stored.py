"""State files with a reading of every link, as an exporter leaves them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from exporter.clock import SystemClock
from exporter.errors import Outcome
from exporter.journal import journal_for
from exporter.limits import Answered, Ledger, Request, Sent
from exporter.model import Link
from exporter.polling.recorder import Recorder
from exporter.secret import SecretStr
from tests.factories import make_reading


def request_for(link: Link) -> Request:
    """One for ``link``, under some login."""
    return Request("h", "l", "s", link.target, 10.0)


def answer_to(sent: Sent, link: Link) -> Answered:
    """A first reading of ``link``."""
    reading = make_reading(id=link.id or "")
    return Answered(
        sent.request, sent.number, Outcome.OK, link=link.key, reading=reading, total=reading.all_time
    )


async def prefill(path: Path, links: Iterable[Link]) -> None:
    """Makes a state file with a reading of every link."""
    clock = SystemClock()
    journal = journal_for(SecretStr(f"sqlite:{path}"), clock)
    await Recorder(Ledger(), journal, clock, lambda news: None).open()
    for link in links:
        journal.note(answer_to(Sent(request_for(link)), link))
    await journal.close()
