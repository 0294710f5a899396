"""What the log says of accounts and links: changes and waits, not every poll."""

from __future__ import annotations

from math import ceil

import structlog

from exporter.errors import PollError
from exporter.model import Reading, Snapshot, State
from exporter.polling.planner import Planner

log = structlog.stdlib.get_logger(__name__)

LONG_WAIT = 60.0
"""Seconds. A shorter wait, such as between two probes, is logged at debug unless the state changes."""

SAME_WAIT = 1.0
"""Ends that are less than so many seconds apart are those of one wait."""


class Logbook:
    """Remembers what was logged of each account."""

    def __init__(self) -> None:
        self._logged: dict[Planner, tuple[State, float]] = {}
        self._read: set[Planner] = set()

    def configure(self, planners: set[Planner]) -> None:
        """Forgets accounts that left."""
        self._read.intersection_update(planners)
        self._logged = {one: self._logged[one] for one in self._logged.keys() & planners}

    def state(self, planner: Planner, now: float) -> None:
        """One line when an account's state changes, and one for each further wait of the account."""
        status = planner.status(now, now)  # so paused_until is on the clock of now
        state, until = self._logged.get(planner, (State.POLLING, 0.0))
        changed = status.state is not state
        if not changed and status.paused_until <= until + SAME_WAIT:
            return
        self._logged[planner] = (status.state, status.paused_until)
        seconds = ceil(status.paused_until - now) if status.paused_until else 0
        said: dict[str, object] = {"account": status.name, "state": str(status.state)}
        if seconds:
            said |= {"seconds": seconds, "reason": status.reason}
        if changed:
            say = log.info if status.state is State.POLLING else log.warning
            say("account_state", **said)
        else:
            say = log.info if seconds >= LONG_WAIT else log.debug
            say("account_waiting", **said)

    def polled(
        self, planner: Planner, before: Snapshot, after: Snapshot, result: Reading | PollError, now: float
    ) -> None:
        """One line when a link's outcome changes, and one for the first reading of an account.

        There is a line for each poll only at debug.
        """
        names = {"account": after.link.account, "link": after.link.name}
        log.debug("poll", **names, outcome=str(after.outcome))
        if not isinstance(result, PollError) and planner not in self._read:
            self._read.add(planner)
            log.info("first_reading", **names, clicks_today=result.today, clicks_all_time=result.all_time)
        if before.outcome is after.outcome:
            return
        if isinstance(result, PollError):
            retry = planner.next_poll(after.link, now)
            wait = {} if retry is None else {"retry_seconds": ceil(retry - now)}
            log.warning("link_failing", **names, outcome=str(after.outcome), reason=str(result), **wait)
        elif before.outcome is not None:
            log.info("link_recovered", **names)
