"""What happened, as a journal records it: a request was sent, and how it ended.

Everything else (pauses, verified logins, rests) follows from these two by the ledger's rules, so that every
process that reads these events reaches the same decision.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from secrets import randbits
from typing import Any, Self, TypeAlias

from exporter.errors import Outcome
from exporter.model import Account, LinkKey, Reading, Target


@dataclass(frozen=True, slots=True)
class Request:
    """One request as the provider counts it.

    ``host``, ``login`` and ``secret`` are names that reveal no secret; another password makes another
    ``secret``. ``timeout`` is how long the client waits for the answer, in seconds.
    """

    host: str
    login: str
    secret: str
    target: Target
    timeout: float

    @classmethod
    def of(cls, account: Account, target: Target = ("", "")) -> Self:
        """A request under the account's login."""
        return cls(account.host, account.login_key, account.secret_key, target, account.timeout)


@dataclass(frozen=True, slots=True)
class Sent:
    """A request is about to be sent. ``number`` names it in every process."""

    request: Request
    number: int = field(default_factory=lambda: randbits(62))


@dataclass(frozen=True, slots=True)
class Answered:
    """A request ended as ``outcome``; None means that it was not sent after all.

    It repeats the request, so that it counts where its beginning is unknown.

    - ``transport``: the API itself did not answer.
    - ``abandoned``: the provider may still be working on the request.
    - ``unclear``: the request may have been a failed login.
    - ``retry_after``: how long the server asked us to wait, in seconds.
    - ``elapsed``: the time from sending to the end, in seconds.
    - ``link``, ``reading``, ``total``: the figures it brought, the name they are stored under, its counter.
    - ``binds``: every process must know it before its next decision. ``lasting``: it counts for hours.
    """

    request: Request
    number: int
    outcome: Outcome | None
    abandoned: bool = False
    transport: bool = False
    unclear: bool = False
    retry_after: float | None = None
    elapsed: float = 0.0
    link: LinkKey = ("", "")
    reading: Reading | None = None
    total: int = 0
    binds: bool = False
    lasting: bool = False


Event: TypeAlias = Sent | Answered


@dataclass(frozen=True, slots=True)
class Dated:
    """An event with its time on the reader's clock: it was recorded between ``earliest`` and ``latest``.

    For the limits, the later time is safe; for the age of figures, the earlier one. ``orphan`` means that
    the process that recorded it has ended: a request without an end never gets one.
    """

    event: Event
    earliest: float
    latest: float
    orphan: bool = False


@dataclass(frozen=True, slots=True)
class Unknown:
    """Why it is unknown what was sent before, and what to assume.

    For ``seconds`` nothing may leave. ``failed_logins`` are counted for each host, and ``attempts`` for each
    link, as if they had ended now.
    """

    reason: str
    seconds: float = 0.0
    failed_logins: int = 0
    attempts: int = 0


_MOST = 2**63
"""Numbers in an event are smaller."""


def binds(event: Event) -> bool:
    """Whether every process must learn of this event before it decides about another request."""
    return isinstance(event, Sent) or event.binds


def lasting(event: Event) -> bool:
    """Whether the event counts for hours, rather than minutes."""
    return isinstance(event, Answered) and event.lasting


def encode(value: object) -> str:
    """One line of JSON, in ASCII: it holds what UTF-8 cannot, such as half of a character.

    An event or a reading becomes the list of its fields.
    """
    return json.dumps(
        value, separators=(",", ":"), default=lambda one: [getattr(one, name) for name in one.__slots__]
    )


def decode(text: str) -> Event:
    """The event that ``encode`` wrote. Raises ``ValueError`` if this is none."""
    try:
        return _decoded(json.loads(text))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"this is not an event of smsc-exporter: {error}") from None


_NUMBER = int | float
_SENT = [[str, str, str, [str, str], _NUMBER], int]
_HOW = [str | None, bool, bool, bool, _NUMBER | None, _NUMBER]
_ANSWERED = [*_SENT, *_HOW, [str, str], list | None, int, bool, bool]
"""The types of the fields of ``Sent`` and ``Answered``, in their order."""


def _fits(value: object, kind: Any) -> bool:
    if isinstance(kind, list):
        return isinstance(value, list) and len(value) == len(kind) and all(map(_fits, value, kind))
    if isinstance(value, bool) or not isinstance(value, _NUMBER):
        return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    return isinstance(value, kind) and 0 <= value < _MOST


def _decoded(values: Any) -> Event:
    if not (_fits(values, _SENT) or _fits(values, _ANSWERED)):
        raise TypeError("a value has another type")
    (host, login, secret, target, timeout), number, *end = values
    request = Request(host, login, secret, tuple(target), timeout)
    if not end:
        return Sent(request, number)
    outcome, *flags, link, figures, total, binding, lasts = end
    outcome = None if outcome is None else Outcome(outcome)
    reading = None if figures is None else Reading.stored(figures)
    fields = [outcome, *flags, tuple(link), reading, total, binding, lasts]
    return Answered(request, number, *fields)
