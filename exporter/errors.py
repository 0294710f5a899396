"""Everything that can go wrong, as one tree.

::

    ExporterError
    ├── ConfigError                 the configuration has errors, all of them listed
    ├── StorageError                the state cannot be kept where the configuration says
    └── PollError                   a poll brought no reading
        ├── ApiError                the provider answered with an error number
        │   ├── ParametersError     1
        │   ├── UnauthorizedError   2
        │   ├── NotFoundError       3
        │   ├── BlockedError        4
        │   ├── ThrottledError      9
        │   └── UnknownApiError     any other number
        ├── MalformedError          an answer came, but not a complete one for this link
        │   └── NoAnswerError       an empty body or a web page: the API itself did not speak
        ├── HttpStatusError         the HTTP status was not 200
        ├── PollTimeoutError        no complete answer within the account's ``timeout``
        ├── UnreachableError        no connection, or it broke before an answer
        └── CrashedError            our own code failed

Error numbers and their meanings are the provider's, from its page "Getting data about a short link".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import ClassVar


class Outcome(StrEnum):
    """How one request ended: the values of the ``outcome`` label."""

    OK = "ok"
    PARAMETERS = "parameters"
    UNAUTHORIZED = "unauthorized"
    NOT_FOUND = "not_found"
    BLOCKED = "blocked"
    THROTTLED = "throttled"
    HTTP_ERROR = "http_error"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    MALFORMED = "malformed"
    UNKNOWN_ERROR = "unknown_error"


UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
"""Control characters, line separators and lone surrogates. The last cannot be written as UTF-8."""


def printable(text: str) -> str:
    """``text`` on one line of UTF-8, with Python's escapes: names of files may hold any bytes."""
    return UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


class ExporterError(Exception):
    """The root of every error the exporter raises on purpose."""


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One fault in a configuration file: where it is, what is wrong, what to write instead.

    ``line`` and ``column`` count from 1; 0 means the fault concerns the whole file. ``path`` is the key's
    path inside the document, such as ``accounts[0].links[3].id``.
    """

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return printable(": ".join(filter(None, (place, self.path, self.message))))


class ConfigError(ExporterError):
    """The configuration cannot be used; ``faults`` lists every reason, in the order of the file.

    ``warnings`` are about what else was found: one of them may be the cause of an error.
    """

    def __init__(self, faults: Iterable[Fault], warnings: Iterable[Fault] = ()) -> None:
        self.faults = sorted(faults)
        self.warnings = sorted(warnings)
        super().__init__("\n".join(str(fault) for fault in self.faults))


class StorageError(ExporterError):
    """The state cannot be kept where the configuration says, so that it would not be safe to begin."""


class PollError(ExporterError):
    """A poll brought no reading.

    ``outcome`` names the kind. ``transport`` says that the API itself did not answer, so the cause is the
    network rather than the link. A mirror is tried then, and several such failures in a row mean that the
    account is unreachable. ``sent`` is false when the request cannot have reached the
    provider. ``retry_after`` is the delay the server asked for, in seconds.

    ``abandoned`` is true when nobody knows whether the provider has finished with the request: it was sent,
    and no part of an answer came. The provider counts requests at its end, so it may still be at work on this
    one, and the request must count against the limits for a while longer. Any answer shows that it has
    finished, except HTTP 504: with that a front proxy says that it, too, waited in vain (RFC 9110, 15.6.5).
    """

    outcome: ClassVar[Outcome]
    transport: ClassVar[bool] = False
    sent: bool = True
    abandoned: bool = False
    retry_after: float | None = None


class ApiError(PollError):
    """The provider answered with an error number (``code``) and its own ``description``."""

    def __init__(self, code: int, description: str) -> None:
        self.code = code
        self.description = description
        super().__init__(f"error {code}: {description}" if description else f"error {code}")


class ParametersError(ApiError):
    """1: error in parameters. This link is misconfigured; asking again soon is pointless."""

    outcome = Outcome.PARAMETERS


class UnauthorizedError(ApiError):
    """2: invalid login or password, or an IP address that the account does not allow.

    Pauses the login with this password.
    """

    outcome = Outcome.UNAUTHORIZED


class NotFoundError(ApiError):
    """3: link not found. Look again rarely."""

    outcome = Outcome.NOT_FOUND


class BlockedError(ApiError):
    """4: the IP address is temporarily blocked. Stops every account of that host."""

    outcome = Outcome.BLOCKED


class ThrottledError(ApiError):
    """9: more than three identical requests in a minute, or fifteen and more at once under the login."""

    outcome = Outcome.THROTTLED


class UnknownApiError(ApiError):
    """A number that the provider's page does not list."""

    outcome = Outcome.UNKNOWN_ERROR


class MalformedError(PollError):
    """An answer came that is not a whole, well-formed one for the link that was asked about."""

    outcome = Outcome.MALFORMED


class NoAnswerError(MalformedError):
    """An empty or broken-off body, or a web page of the front proxy: the API did not speak."""

    transport = True


class HttpStatusError(PollError):
    """The HTTP status was not 200; API errors come with 200, so the front proxy is speaking."""

    outcome = Outcome.HTTP_ERROR
    transport = True

    def __init__(self, status: int, retry_after: float | None = None) -> None:
        self.status = status
        self.retry_after = retry_after
        self.abandoned = status == HTTPStatus.GATEWAY_TIMEOUT
        super().__init__(f"HTTP status {status}")


class PollTimeoutError(PollError):
    """No complete answer came within the account's ``timeout``; the provider may still be working on it."""

    outcome = Outcome.TIMEOUT
    transport = True
    abandoned = True


class UnreachableError(PollError):
    """No connection could be made (``sent`` is false), or it broke before an answer came."""

    outcome = Outcome.UNREACHABLE
    transport = True

    def __init__(self, reason: str, *, sent: bool = True) -> None:
        self.sent = sent
        self.abandoned = sent
        super().__init__(reason)


class CrashedError(PollError):
    """Our own code failed in the middle of a poll: a bug, which must not end the polling of other links."""

    outcome = Outcome.UNKNOWN_ERROR


_BY_CODE: dict[int, type[ApiError]] = {
    1: ParametersError,
    2: UnauthorizedError,
    3: NotFoundError,
    4: BlockedError,
    9: ThrottledError,
}


def api_error(code: int, description: str = "") -> ApiError:
    """The error that stands for the provider's number ``code``."""
    return _BY_CODE.get(code, UnknownApiError)(code, description)
