"""One account's plan: which request leaves next, and what each answer means for those that follow."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from exporter.errors import ApiError, Outcome
from exporter.model import AccountStatus, State
from exporter.polling.gate import Gate
from exporter.polling.line import Line
from exporter.polling.schedule import Turn, next_turn, phase, sweep_interval
from exporter.polling.shares import Shares
from exporter.polling.ticket import Ticket
from exporter.rules import (
    COOLING,
    LEAST_RETRY,
    LINGER,
    LONGEST_COOLING,
    LONGEST_PAUSE,
    MIRROR_STAY,
    RARELY,
    RECHECK,
    backoff,
    doubled,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from exporter.errors import PollError
    from exporter.model import Account, Link, Reading
    from exporter.polling.host import Host


_WAIT_ON = 3
"""Failures in a row for which a link is as overdue as before: what fails for good would be so for ever."""

_AT_WORK = (State.POLLING, State.THROTTLED)


class Planner:
    """Decides for one login. Times are monotonic seconds; ``wall_offset`` added makes them wall-clock."""

    def __init__(self, account: Account, host: Host, random: Random, wall_offset: float) -> None:
        self.account = account
        self.host = host
        self.gate = Gate(account.max_concurrent_requests, random)
        self.touched_at = -inf
        self._random = random
        self._wall_offset = wall_offset
        self._turns: dict[tuple[str, str], Turn] = {}
        self._shares = Shares(self._turns)
        self._line = Line()
        self._added = 0
        self._mirror = 0
        self._mirror_since = -inf

    # --- configuration ------------------------------------------------------------------------------------

    def switch(self, account: Account) -> None:
        """Takes a new configuration of the account, but for its links: see ``take_links``."""
        if account.credentials != self.account.credentials:
            self.gate.new_secret()
        self.account = account
        self.gate.set_ceiling(account.max_concurrent_requests)
        self._mirror = 0

    def take_links(self, now: float) -> Iterator[Link]:
        """Takes the account's links, one a step: budgets, pauses and due times of those that stay are kept.

        Those that left are dropped at first.
        """
        links = self.account.links
        self._drop_links({link.target for link in links}, now)
        for link in links:
            self._take_link(link, now)
            yield link
        self._line.compact()
        self._shares.balance()

    def retire(self, now: float) -> None:
        """The account left the configuration: nothing is due any more, what was sent still counts."""
        self._drop_links(set(), now)

    def _drop_links(self, kept: set[tuple[str, str]], now: float) -> None:
        for target in self._turns.keys() - kept:
            turn = self._turns[target]
            turn.wanted = False
            self._line.drop(turn)
            if turn.window.idle(now) and turn.rests_until <= now:
                del self._turns[target]

    def _take_link(self, link: Link, now: float) -> None:
        turn = self._turns.get(link.target)
        if turn is None:
            turn = self._turns[link.target] = Turn(link, phase(self._added, self.account.login_key))
            self._added += 1
        was, turn.link = turn.link, link
        self._line.bear(turn, link.stale_after - was.stale_after)
        stays = turn.wanted and _paced(was) == _paced(link)
        due = turn.due if turn.wanted else inf  # one that is due by then does not lose its turn
        turn.wanted = True
        if not stays:
            turn.interval = self._shares.interval(turn)
            if not turn.in_flight:
                self._line.put(turn, min(due, max(turn.rests_until, self._sweep_turn(turn, now))))

    def learn(self, link: Link, reading: Reading, at: float) -> None:
        """Takes what is known of a link's clicks: its reading, sent ``at`` (monotonic seconds)."""
        if (turn := self._turns.get(link.target)) is not None:
            self._shares.learn(turn, reading, at)
            self._line.know(turn, at)

    # --- what next ----------------------------------------------------------------------------------------

    def next(self, now: float) -> Ticket | float:
        """A ticket for the request that may leave now, or the time from which asking again is worth it.

        ``inf`` means: once a request in flight has ended, here or at the same host.
        """
        ready_at = max(self.gate.ready_at(now), self.host.ready_at(now, proven=self.gate.proven))
        if ready_at > now:
            return ready_at
        while (turn := self._line.first(now)) is not None:
            free_at = turn.window.free_at(now)
            if free_at <= now:
                self._line.take(turn)
                return self._issue(turn, now, regular=True)
            self._line.put(turn, free_at)
        return self._line.next_due()

    def ask(self, link: Link, now: float) -> Ticket | float:
        """The same for one link of the account, whoever's turn it is: somebody wants to know now."""
        turn = self._turns[link.target]
        host_at = self.host.ready_at(now, proven=self.gate.proven)
        ready_at = max(self.gate.ready_at(now), host_at, turn.window.free_at(now))
        if ready_at > now:
            return ready_at
        self._line.drop(turn)
        return self._issue(turn, now, regular=False)

    def _issue(self, turn: Turn, now: float, *, regular: bool) -> Ticket:
        turn.in_flight = True
        turn.window.begin()
        self.gate.begin()
        self.touched_at = now
        mirror = (self._choose_mirror(now) + turn.tries) % len(self.account.urls)
        proven = self.gate.proven
        probe = self.host.begin(proven=proven)
        return Ticket(
            account=self.account,
            link=turn.link,
            url=self.account.urls[mirror],
            sent_at=now,
            turn=turn,
            mirror=mirror,
            proven=proven,
            probe=probe,
            regular=regular,
        )

    def _choose_mirror(self, now: float) -> int:
        """The mirror that answered last; after a while one request tries ``base_url`` again."""
        if self._mirror and now - self._mirror_since > MIRROR_STAY:
            self._mirror_since = now
            return 0
        return self._mirror

    # --- what came of it ----------------------------------------------------------------------------------

    def finish(self, ticket: Ticket, now: float, error: PollError | None) -> bool:
        """Takes a ticket back: the request ended ``now``, well if ``error`` is None.

        Tells whether that settles the link's turn: it does not if a mirror is asked next.
        """
        turn = ticket.turn
        abandoned = error is not None and error.outcome is Outcome.TIMEOUT
        turn.in_flight = False
        turn.window.end(now + LINGER if abandoned else now)
        self.gate.end(now, abandoned=abandoned)
        self.touched_at = now
        if ticket.login_failed(error):
            self.host.login_failed(now, clear=isinstance(error, ApiError))
        if error is None:
            self._succeeded(ticket, now)
        else:
            self._failed(ticket, now, error)
        self.host.end(proven=ticket.proven, probe=ticket.probe)
        if not turn.tries:
            waits_on = 0 < turn.failures + turn.throttles <= _WAIT_ON
            self._line.place(turn, self._shares.weight(turn), ticket.sent_at, read=not waits_on)
        return not turn.tries

    def deny(self, ticket: Ticket, now: float, seconds: float, *, link_alone: bool) -> None:
        """Takes a ticket back unsent: for ``seconds`` others stand in the link's or the login's way."""
        turn = ticket.turn
        turn.in_flight = False
        turn.window.cancel()
        self.gate.end(now, abandoned=False)
        self.host.end(proven=ticket.proven, probe=ticket.probe)
        if link_alone:
            # what others sent lies half an interval before the moment from which we might have asked
            free_at, sent_at = now + seconds, now + seconds - turn.interval / 2
            self._line.put(turn, self._regular_turn(turn, sent_at, free_at))
            self._line.place(turn, self._shares.weight(turn), sent_at)
        else:
            self._line.put(turn, now)
            self.gate.pause(now + min(seconds, RECHECK))

    def held(self, now: float, state: State, seconds: float, count: int) -> None:
        """Somebody else, or this exporter before it was restarted, met what holds the login or host back."""
        if state is State.BLOCKED:
            self.host.held(now + seconds, count, now)
        else:
            self.gate.held(state, now + seconds, count, now)

    def pauses(self, now: float) -> dict[str, tuple[State, float, int] | None]:
        """What others should know of this login and its host: state, until when, how often in a row."""
        return {
            self.account.host: self.host.pause_state(),
            self.account.secret_key: self.gate.pause_state(now),
        }

    def _succeeded(self, ticket: Ticket, now: float) -> None:
        turn = ticket.turn
        self._answered(ticket, now)
        self.gate.spoke()
        if self._is_current(ticket):
            self.gate.succeeded(ticket.sent_at)
        turn.rests_until = -inf
        turn.failures = turn.throttles = turn.tries = 0
        self._line.put(turn, self._regular_turn(turn, ticket.sent_at, now))

    def _failed(self, ticket: Ticket, now: float, error: PollError) -> None:
        if error.retry_after is not None:
            self.gate.hold(now + min(error.retry_after, LONGEST_PAUSE))
        if error.transport:
            self._unreached(ticket, now, error)
        else:
            self._refused(ticket, now, error)

    def _unreached(self, ticket: Ticket, now: float, error: PollError) -> None:
        """The API did not speak: try the next mirror at once, and after the last one back off."""
        turn = ticket.turn
        self.gate.failed(ticket.sent_at, now)
        self._probe_missed(ticket, now)
        turn.tries += 1
        if turn.tries < len(self.account.urls):
            self._line.put(turn, now)
        else:
            self._back_off(turn, now)

    def _refused(self, ticket: Ticket, now: float, error: PollError) -> None:
        """The API spoke, and it was no reading."""
        if isinstance(error, ApiError):
            self._heed(ticket, now, error.outcome)
        else:
            self._probe_missed(ticket, now)
        self._rest(ticket.turn, now, error.outcome)

    def _is_current(self, ticket: Ticket) -> bool:
        """Whether the answer says something of the login as it is configured now."""
        return ticket.account.credentials == self.account.credentials

    def _heed(self, ticket: Ticket, now: float, outcome: Outcome) -> None:
        """Draws what an error number says of the account and of the host."""
        self.gate.spoke()
        if outcome is Outcome.BLOCKED:
            self.host.block(ticket.sent_at, now)
            return
        self._answered(ticket, now)
        if not self._is_current(ticket):
            return
        if outcome is Outcome.UNAUTHORIZED:
            self.gate.refused(ticket.sent_at, now)
        elif outcome is Outcome.NOT_FOUND:
            self.gate.succeeded(ticket.sent_at)
        elif outcome is Outcome.THROTTLED:
            self.gate.throttled(ticket.sent_at, now)

    def _probe_missed(self, ticket: Ticket, now: float) -> None:
        """No API spoke, so that nothing is known of a block either."""
        if ticket.probe:
            self.host.missed(now)

    def _rest(self, turn: Turn, now: float, outcome: Outcome) -> None:
        """Holds the link back, for as long as its error asks for."""
        turn.tries = 0
        if outcome is Outcome.THROTTLED:
            turn.throttles += 1
            self._put_to_rest(turn, now + doubled(COOLING, turn.throttles - 1, LONGEST_COOLING))
        elif outcome in (Outcome.PARAMETERS, Outcome.NOT_FOUND):
            self._put_to_rest(turn, now + max(RARELY, turn.link.refresh_interval))
        else:
            self._back_off(turn, now)

    def _answered(self, ticket: Ticket, now: float) -> None:
        """The API spoke: no block (any more), and a mirror that did so is kept to for a while."""
        self.host.answered(ticket.sent_at)
        if ticket.mirror != self._mirror:
            self._mirror, self._mirror_since = ticket.mirror, now

    def _back_off(self, turn: Turn, now: float) -> None:
        turn.tries = 0
        turn.failures += 1
        self._put_to_rest(turn, now + max(LEAST_RETRY, backoff(turn.failures, self._random)))

    def _put_to_rest(self, turn: Turn, until: float) -> None:
        turn.rests_until = until
        self._line.put(turn, until)

    # --- when ---------------------------------------------------------------------------------------------

    def _regular_turn(self, turn: Turn, sent_at: float, now: float) -> float:
        """The link's next regular moment, at least half an interval away and never in the past."""
        interval = turn.interval = self._shares.interval(turn)
        return self._moment(turn, interval, max(now, sent_at + interval / 2))

    def _sweep_turn(self, turn: Turn, now: float) -> float:
        """The link's moment in a first round over all links."""
        return self._moment(turn, sweep_interval(turn.link.refresh_interval, len(self.account.links)), now)

    def _moment(self, turn: Turn, interval: float, after: float) -> float:
        return next_turn(turn.phase, interval, after + self._wall_offset) - self._wall_offset

    # --- how it stands ------------------------------------------------------------------------------------

    def state(self, now: float) -> State:
        """What the account is doing.

        One that waits until a login may fail at its host is not polling: either it, or all of them, had no
        clear answer, or others were refused.
        """
        state = State.BLOCKED if self.host.blocked else self.gate.state(now)
        budget_at = self.host.ready_at(now, proven=self.gate.proven)
        if state is State.POLLING and now < budget_at < inf:
            refused = self.host.refuses(now) and self.gate.answered is not False
            return State.UNAUTHORIZED if refused else State.UNREACHABLE
        return state

    def status(self, now: float, wall: float) -> AccountStatus:
        """The account as the metrics show it; ``wall`` is the wall-clock time now."""
        state = self.state(now)
        answered = self.gate.answered
        until = self._held_until(now)
        return AccountStatus(
            name=self.account.name,
            state=state,
            up=None if answered is None else answered and state in _AT_WORK and until <= now,
            paused_until=wall + (until - now) if until > now else 0.0,
            links=len(self.account.links),
            lag=max(0.0, now - self._line.earliest_due()),
            concurrency_limit=self.gate.limit,
            in_flight=self.gate.in_flight,
            failed_logins=self.host.failed_logins(now),
        )

    def next_poll(self, link: Link, now: float) -> float | None:
        """When the link is asked next at the earliest, ``now`` if overdue; None while one runs."""
        turn = self._turns.get(link.target)
        return None if turn is None or turn.in_flight else max(turn.due, self._held_until(now))

    def _held_until(self, now: float) -> float:
        """Until when nothing leaves; ``now`` or earlier if the account is not held back."""
        host_at = self.host.ready_at(now, proven=self.gate.proven)
        return max(self.gate.paused_until, now if host_at == inf else host_at)


def _paced(link: Link) -> tuple[object, ...]:
    """What makes a link begin anew when it changes: who it is, and how often it is read."""
    return link.key, link.refresh_interval, link.bounds
