"""What waits for the next round trip to Redis."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from exporter.store.backend import Denied, Grant

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

    from exporter.store.backend import Attempt, Pause
    from exporter.store.redis_local import Ledger, Own
    from exporter.store.redis_members import Members
    from exporter.store.redis_readings import Taken
    from exporter.store.redis_script import Call, Script


@dataclass(slots=True, eq=False)
class Claim:
    """A claim, and who waits for what becomes of it. ``number`` stays the same should it be sent twice."""

    attempt: Attempt
    decided: asyncio.Future[Grant | Denied]
    number: int = field(default_factory=lambda: secrets.randbits(62))
    probe: bool = False

    def decide(self, denied: Denied | None) -> Grant | None:
        """Tells who waits; returns a grant that nobody waits for any more."""
        grant = Grant(self.number, self.attempt, self.probe)
        if not self.decided.cancelled():
            self.decided.set_result(denied or grant)
            return None
        return None if denied else grant


@dataclass(slots=True)
class Batch:
    """Claims, and what is to be written before them; of each link and pause only the latest."""

    held: dict[str, tuple[Pause | None, float]] = field(default_factory=dict)
    ended: list[Own] = field(default_factory=list)
    kept: dict[tuple[str, str], Taken] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.held or self.ended or self.kept or self.claims)

    def writes(self, script: Script, now: float) -> Iterator[Call]:
        """What is to be written: pauses before the end of the attempts that met them."""
        for key, (pause, at) in self.held.items():
            yield script.hold(key, pause, now - at)
        for own in self.ended:
            yield recorded(script, own, now)
        for known, taken in self.kept.values():
            yield script.keep(known, None if taken is None else now - taken)

    def older(self, batch: Batch) -> None:
        """Takes back what could not be written, unless something newer is here.

        Attempts that ended are not taken: the ledger tells of all of ours when Redis is back. Nor are
        readings, which then go in slices.
        """
        self.held = batch.held | self.held


def recorded(script: Script, own: Own, now: float) -> Call:
    """How an attempt of ours stands."""
    ended = None if own.ended is None else now - own.ended
    return script.record(own.number, own.attempt, now - own.sent, ended, login_failed=own.login_failed)


def replay(
    script: Script, ledger: Ledger, members: Members, now: float, *, forgotten: bool
) -> Iterator[Call]:
    """All we know of attempts and failed logins, and (if Redis has forgotten) of pauses and others."""
    if forgotten:
        yield from members.replay(script, now)
        for key, held in ledger.pauses.items():
            yield script.hold(key, held.pause, now - held.at)
    for number, failure in ledger.failures.items():
        yield script.failure(number, failure.host, now - failure.at)
    for own in ledger.owns(now):
        yield recorded(script, own, now)
