"""What a place has to offer where state outlives the process, and may be shared by several.

A request is *claimed* before it leaves: the backend looks at what it remembers of everybody's requests, and
either records the attempt, so that it survives whatever becomes of us, or denies it. What pacing knows of
this process alone is a second guard in front of that.

Times are durations in seconds: every backend has a clock of its own that outlives the process.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from exporter.model import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from exporter.model import Link, Reading, State


class Scope(StrEnum):
    """Whom a denial holds back."""

    LINK = "link"
    LOGIN = "login"
    HOST = "host"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A request that is about to leave.

    ``host``, ``login`` and ``secret`` are names under which the provider counts, and tell no secret: a login
    with another password has another ``secret``. ``apart`` is how long before it nobody may have asked for
    the same link (0 for a retry). ``lasts`` is how long the provider may be at work on it at most, should we
    never hear of it again. ``proven`` says that the login has been accepted lately; otherwise the attempt may
    cost a failed login.
    """

    host: str
    login: str
    secret: str
    target: tuple[str, str]
    apart: float
    lasts: float
    proven: bool


@dataclass(frozen=True, slots=True)
class Pause:
    """A host or a secret held back as ``state``, for the ``count``-th time in a row, ``seconds`` more.

    When a pause as ``throttled`` has run out, it is over. One as ``blocked`` or ``unauthorized`` stays until
    it is lifted: when it has run out, one attempt at a time may leave to try.
    """

    state: State
    seconds: float
    count: int


@dataclass(frozen=True, slots=True)
class Denied:
    """The attempt may not leave for ``seconds``. ``pause`` is the one that holds it back, if one does."""

    scope: Scope
    seconds: float
    pause: Pause | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """Leave to send one attempt; ``number`` names it. ``probe``: it is to try whether a pause is over."""

    number: int
    attempt: Attempt
    probe: bool = False


@dataclass(frozen=True, slots=True)
class Kept:
    """What was kept of a link. ``read_at`` is wall-clock time, 0 if it can't be known any more."""

    account: str
    name: str
    target: tuple[str, str]
    reading: Reading
    read_at: float
    total: int

    @property
    def key(self) -> tuple[str, str]:
        """The link's identity to Prometheus."""
        return self.account, self.name

    def under(self, link: Link) -> Snapshot:
        """The snapshot to go on with for ``link``; how the latest poll ended is not known any more."""
        return Snapshot(link, self.reading.of(link), self.read_at, self.total)


class Backend(Protocol):
    """Where state outlives the process.

    A claim is denied, looking at everybody's attempts, while

    - the attempt's host or secret is paused (scope host or login, with the pause);
    - it is not proven, and the host's failed logins within ``FAILED_LOGIN_SPAN``, together with attempts not
      proven that have not ended (or that never did: those of a process that died), make ``FAILED_LOGINS``
      (scope host);
    - ``HARD_CAP`` attempts under the login have not ended and are not over by ``lasts`` (scope login);
    - the link has ``ATTEMPTS`` attempts that ended less than ``SPAN`` ago, or have not (scope link); one that
      never ended counts as if it had after ``lasts``;
    - somebody asked for the link less than ``apart`` ago (scope link).

    The figures are those of ``exporter.rules``.
    """

    @property
    def up(self) -> bool:
        """Whether the backend works at present."""
        ...

    async def open(self, changed: Callable[[Kept], None]) -> Iterable[Kept]:
        """Begins, and gives what was kept; ``changed`` is told of what others keep from then on.

        Raises ``StorageError`` where it would not be safe to begin.
        """
        ...

    async def claim(self, attempt: Attempt) -> Grant | Denied:
        """Returns once the attempt is safely recorded, or denied."""
        ...

    def end(self, grant: Grant, *, login_failed: bool) -> None:
        """The attempt ended; ``login_failed``: its login was refused, or may have been. Never waits."""
        ...

    def hold(self, key: str, pause: Pause | None) -> None:
        """The host or secret named ``key`` is held back, or (None) no longer. Never waits."""
        ...

    def keep(self, snapshot: Snapshot) -> None:
        """Takes a snapshot with a reading, to be written soon. Never waits."""
        ...

    async def close(self) -> None:
        """Writes what is still to be written."""
        ...


class MemoryBackend:
    """``memory:`` keeps nothing beyond the process; within it, pacing remembers all there is to remember."""

    up = True

    async def open(self, changed: Callable[[Kept], None]) -> Iterable[Kept]:
        """Nothing was kept."""
        return ()

    async def claim(self, attempt: Attempt) -> Grant | Denied:
        """Always granted: pacing has already seen to it."""
        return Grant(0, attempt)

    def end(self, grant: Grant, *, login_failed: bool) -> None:
        """Nothing to do."""

    def hold(self, key: str, pause: Pause | None) -> None:
        """Nothing to do."""

    def keep(self, snapshot: Snapshot) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""
