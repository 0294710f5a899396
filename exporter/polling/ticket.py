"""Leave to send one request, from its granting to its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from exporter.errors import ApiError, Outcome

if TYPE_CHECKING:
    from exporter.errors import PollError
    from exporter.model import Account, Link
    from exporter.polling.schedule import Turn


@dataclass(frozen=True, slots=True, eq=False)
class Ticket:
    """Leave to send one request for ``link`` to ``url``. To be given back by ``finish``, or ``deny`` unsent.

    ``sent_at`` is in monotonic seconds.
    """

    account: Account
    link: Link
    url: str
    sent_at: float
    turn: Turn
    mirror: int
    proven: bool
    probe: bool
    regular: bool = True

    @property
    def apart(self) -> float:
        """How long before this request nobody else may have asked for the link: half of what is planned.

        Nothing for a retry, nor where somebody asks out of turn.
        """
        retry = self.turn.tries or self.turn.failures or self.turn.throttles
        return 0.0 if retry or not self.regular else self.turn.interval / 2

    def login_failed(self, error: PollError | None) -> bool:
        """Whether the request, having ended so, was a failed login, or may have been one.

        It may where nobody vouches for the login and no answer tells. An HTTP status comes from the
        provider's front proxy, which does not look at logins.
        """
        if error is None or error.outcome is Outcome.UNAUTHORIZED:
            return error is not None
        unclear = not isinstance(error, ApiError) and error.outcome is not Outcome.HTTP_ERROR
        return unclear and error.sent and not self.proven
