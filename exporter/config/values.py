"""Checks single values. Each function takes the text of the file and returns its meaning.

All raise ValueError with a sentence that says what is wrong and what to write, and never repeat a value that
may hold a secret.
"""

from __future__ import annotations

import difflib
import re
import zoneinfo
from collections.abc import Callable, Sequence, Sized
from functools import cache

from exporter.config.document import EMPTY, quote
from exporter.errors import UNPRINTABLE
from exporter.limits import MAX_IN_FLIGHT
from exporter.limits.constants import LONGEST_TIMEOUT
from exporter.secret import split_url

LEAST_INTERVAL = 21.0
"""Seconds: three requests a minute are allowed for a link, and two of three may reach the provider late."""

LONGEST_TEXT = 1024
"""Characters of a name, an id or a label."""

LONGEST_ADDRESS = 8192
"""Characters of an address or a secret."""

_OUR_LABELS = frozenset({"account", "link", "id", "short_link", "outcome", "state", "le", "job", "instance"})
# Unicode's category Cf, and the no-break space. A joiner between two letters or emoji belongs to them.
_INVISIBLE = re.compile(
    "(?<![^\x00-\x7f])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f])|"
    "[\xa0\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064"
    "\u2066-\u206f\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f]"
)
_OFFSET = re.compile(r"(?:UTC|GMT)?\s?([+-])0?([0-9]|1[0-4])(?::?00)?", re.IGNORECASE | re.ASCII)
_MOSCOW = frozenset({"msk", "moscow", "moskva", "moskau", "мск", "москва", "russian standard time"})
_SECONDS = {"y": 31_536_000.0, "w": 604_800.0, "d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_SHAPE = re.compile("".join(rf"(?:(?P<{unit}>[0-9]+){unit})?" for unit in _SECONDS))
_LONGEST_DURATION = 100 * _SECONDS["y"]
_DEFAULT_PORTS = {"http": 80, "https": 443}


def not_none(found: Sized) -> None:
    """A list with something in it."""
    if not found:
        raise ValueError("is an empty list: write at least one entry")


def plain_text(value: object) -> str:
    """Any text, an empty one too."""
    if isinstance(value, str):
        return value
    if value is None:
        raise ValueError(EMPTY)
    raise ValueError("must be plain text: put it in quotes if it contains brackets")


def one_line(value: object, longest: int = LONGEST_TEXT) -> str:
    """Text without control characters, such as the value of a label; at most ``longest`` characters."""
    text = plain_text(value)
    if len(text) > longest:
        raise ValueError(f"is longer than {longest} characters: shorten it")
    if UNPRINTABLE.search(text):
        raise ValueError("contains a line break or another control character: write it on one line")
    return text


def pattern(value: object) -> str:
    """A pattern for file names."""
    text = _not_blank(one_line(value))
    if "**" in text:
        raise ValueError("** is not supported: write one pattern for each folder, such as links/north/*.csv")
    return text


def name(value: object) -> str:
    """Text of one line that is not blank and has no invisible characters."""
    return visible(_not_blank(one_line(value)))


def address(value: object) -> str:
    """A name that may be as long as an address."""
    return visible(_not_blank(one_line(value, LONGEST_ADDRESS)))


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("is blank: write at least one letter or digit")
    return text


def visible(text: str) -> str:
    """The text. Raises ValueError when a character in it is invisible."""
    if found := _INVISIBLE.search(text):
        code = f"U+{ord(found[0]):04X}"
        raise ValueError(
            f"character {found.start() + 1} is invisible ({code}): remove it, or type the value again"
        )
    return text


def link_id(value: object) -> str:
    """The provider's number of a link, as opaque text."""
    text = name(value)
    if re.search(r"\s", text):
        raise ValueError("contains a space: write the id as the provider shows it, such as 145142")
    return text


def label_name(value: object) -> str:
    """A name that Prometheus allows for a label and that our own series do not use."""
    text = plain_text(value)
    if not re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", text):
        raise ValueError(
            "is not a valid label name: use only letters, digits and _, and do not begin with a digit"
        )
    if text.startswith("__"):
        raise ValueError("labels that begin with __ are reserved for Prometheus: choose another name")
    if text in _OUR_LABELS:
        raise ValueError("is a label that the exporter or Prometheus sets: choose another name")
    return text


def parse_duration(text: str) -> float:
    """The duration ``text`` in seconds, as Prometheus writes it: ``90s``, ``1h30m``, ``500ms``.

    ``0`` needs no unit. Raises ValueError, with a sentence that says what to write, for anything else and
    for more than a hundred years.
    """
    if text == "0":
        return 0.0
    if re.fullmatch("[0-9]{1,9}", text):
        raise ValueError(f"has no unit: write {text}s if it is seconds")
    match = _SHAPE.fullmatch(text)
    if not text or match is None:
        raise ValueError("is not a duration: write whole numbers with units, such as 90s, 5m or 1h30m")
    # float, not int: it takes any number of digits
    seconds = sum(float(count or 0) * _SECONDS[unit] for unit, count in match.groupdict().items())
    if seconds > _LONGEST_DURATION:
        raise ValueError("is too long: write at most 100y")
    return seconds


def format_duration(seconds: float) -> str:
    """``seconds`` as ``parse_duration`` reads it, in days and smaller units, to the millisecond."""
    rest = round(seconds * 1000)
    parts = []
    for unit in ("d", "h", "m", "s", "ms"):
        count, rest = divmod(rest, round(_SECONDS[unit] * 1000))
        parts += [f"{count}{unit}"] if count else []
    return "".join(parts) or "0s"


def duration(value: object) -> float:
    """A duration longer than none, in seconds."""
    text = plain_text(value)
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise ValueError(f"{quote(text)} {error}") from None
    if not seconds:
        raise ValueError(f"{quote(text)} must be longer than 0: write a duration such as 10s")
    return seconds


def interval(value: object) -> float:
    """How often a link is read, in seconds: at least ``LEAST_INTERVAL``."""
    seconds = duration(value)
    if seconds < LEAST_INTERVAL:
        raise ValueError(
            f"{quote(plain_text(value))} is too short: three requests a minute are allowed for a link, "
            "write 21s or more"
        )
    return seconds


def timeout(value: object) -> float:
    """How long to wait for an answer, in seconds: at most a minute."""
    seconds = duration(value)
    if seconds > LONGEST_TIMEOUT:
        raise ValueError(f"{quote(plain_text(value))} is too long: write 60s or less")
    return seconds


def concurrency(value: object) -> int:
    """Requests in flight at once, as many as the provider takes at most."""
    text = plain_text(value)
    if not re.fullmatch("[1-9][0-9]?", text) or int(text) > MAX_IN_FLIGHT:
        raise ValueError(
            f"{quote(text)} is not a whole number from 1 to {MAX_IN_FLIGHT}: write one, such as 4"
        )
    return int(text)


def one_of(*allowed: str, what: str = "known") -> Callable[[object], str]:
    """Takes one of the words ``allowed``, in either case; ``what`` says what they are."""

    def choose(value: object) -> str:
        text = plain_text(value)
        for word in allowed:
            if text.casefold() == word.casefold():
                return word
        near = closest(text, set(allowed))
        advice = f"did you mean {quote(near)}?" if near else f"write {either(allowed)}"
        raise ValueError(f"{quote(text)} is not {what}: {advice}")

    return choose


def either(words: Sequence[str]) -> str:
    """The words as a choice: ``a, b or c``."""
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def timezone(value: object) -> zoneinfo.ZoneInfo:
    """An IANA time zone."""
    text = one_line(value)
    try:
        return zoneinfo.ZoneInfo(text)
    except (OSError, ValueError, zoneinfo.ZoneInfoNotFoundError):
        advice = _zone_advice(text)
    raise ValueError(f"{quote(text)} is not a known time zone: {advice}")


def _zone_advice(text: str) -> str:
    if offset := _OFFSET.fullmatch(text):
        return _offset_advice(offset[1], int(offset[2]))
    if text.rpartition("/")[2].casefold() in _MOSCOW:
        return "write Europe/Moscow"
    hint = closest(text, _zones(), 0.85)
    return f"did you mean {quote(hint)}?" if hint else "write one such as Europe/Moscow or UTC"


def _offset_advice(sign: str, hours: int) -> str:
    """The zones of Etc have their sign the other way round (POSIX's way; tzdata's file ``etcetera``)."""
    if not hours:
        return "write UTC"
    fixed = f"Etc/GMT{'-' if sign == '+' else '+'}{hours}, which is UTC{sign}{hours}"
    return f"write Europe/Moscow, or {fixed}" if (sign, hours) == ("+", 3) else f"write {fixed}"


@cache
def _zones() -> set[str]:
    return zoneinfo.available_timezones()


def closest(text: str, known: set[str], cutoff: float = 0.6) -> str | None:
    """The word in ``known`` that ``text`` probably means. ``cutoff`` 1 accepts only the same word."""
    folded = {word.casefold(): word for word in sorted(known)}
    near = difflib.get_close_matches(text.casefold()[:60], folded, n=1, cutoff=cutoff)
    return folded[near[0]] if near else None


def base_url(value: object) -> str:
    """An address of the provider: http or https with a host, in one spelling, without a slash at its end."""
    text = address(value)
    parts, port = split_url(text, "write an address such as https://smscentre.com")
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ValueError("is not a web address: write one such as https://smscentre.com")
    if "@" in parts.netloc:
        raise ValueError("must not contain a user or password: write them as login and password")
    if "?" in text or "#" in text or re.search(r"[\s\\]", text):
        raise ValueError("must end with the host or a path: remove spaces and what follows ? or #")
    if parts.path.rstrip("/").endswith(".php"):
        raise ValueError("must end before /sys/tinyurls.php, which the exporter adds: remove that")
    host = _host(parts.hostname.removesuffix("."))
    place = host if port in {None, _DEFAULT_PORTS[parts.scheme]} else f"{host}:{port}"
    return f"{parts.scheme}://{place}{parts.path.rstrip('/')}"


def _host(name: str) -> str:
    """A host's name or address as in a URL. Names may be international (RFC 5890)."""
    if ":" in name:
        return f"[{name}]"
    if not all(re.fullmatch(r"[\w]([\w-]*[\w])?", label) for label in name.split(".")):
        raise ValueError("has a host that is not valid: write an address such as https://smscentre.com")
    return name


def secret(text: str) -> str:
    """A secret's value. No message repeats it."""
    if not text:
        raise ValueError("is empty: write the secret into it")
    return one_line(text, LONGEST_ADDRESS)
