"""What the provider counts: whether it allows a request is decided here, and nowhere else.

``ledger`` holds the rules, ``logins`` those about failed logins, ``attempts`` those about the minute and the
fourteen, ``constants`` the figures with their sources, ``events`` what a journal records. Nothing here waits,
sends or reads a clock.
"""

from exporter.limits.constants import FAILED_LOGIN_LIMIT, MAX_IN_FLIGHT, RATE_LIMIT, SEND_BY
from exporter.limits.denied import Denied, Reason
from exporter.limits.events import Answered, Dated, Event, Request, Sent, Unknown
from exporter.limits.ledger import Ledger
from exporter.limits.logins import API_OUTCOMES

__all__ = [
    "API_OUTCOMES",
    "FAILED_LOGIN_LIMIT",
    "MAX_IN_FLIGHT",
    "RATE_LIMIT",
    "SEND_BY",
    "Answered",
    "Dated",
    "Denied",
    "Event",
    "Ledger",
    "Reason",
    "Request",
    "Sent",
    "Unknown",
]
