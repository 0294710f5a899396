"""Why a request may not leave, and until when."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a request may not leave, in words that a person reads."""

    UNKNOWN_PAST = "it is not known what was sent before"
    STORAGE_DOWN = "the storage cannot record requests"
    BLOCKED = "the provider blocks our address"
    UNAUTHORIZED = "the provider refuses the login"
    UNCLEAR_LOGIN = "the login was never accepted and the last try got no clear answer"
    LOGIN_UNDER_WAY = "another login that was never accepted is being tried"
    FAILED_LOGINS = "four failed logins in half an hour"
    SLOW_DOWN = "the provider asks for fewer requests"
    UNREACHABLE = "the provider cannot be reached"
    CONCURRENCY = "as many requests as allowed are in flight"
    THROTTLED = "the provider throttles this link"
    MINUTE = "three requests in the last minute"


@dataclass(frozen=True, slots=True)
class Denied:
    """A request may not leave before ``until`` (ledger's clock; ``inf``: until one in flight ends)."""

    until: float
    reason: Reason

    @property
    def of_link(self) -> bool:
        """Whether this holds back one link, and not its login."""
        return self.reason in (Reason.THROTTLED, Reason.MINUTE)
