"""Turns the bytes of an answer, in any of the provider's four formats, into a reading or an error.

Pure. The formats and the fields are those of the provider's page "Getting data about a short link". An answer
can come in another format than the one asked for, so its shape decides, never the request. An answer that is
not whole and well-formed brings no figures at all.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable

from exporter.errors import UNPRINTABLE, MalformedError, NoAnswerError, PollError, api_error
from exporter.model import LONGEST_NAME, MOST_CLICKS, Link, Reading

# What every format is read into: the page's field names with the values as they stand in the answer. They are
# texts, but for JSON, where anything may stand.
_Fields = dict[str, object]

# The order of csv; the other formats name the fields.
_NAMES = ("id", "cnt", "cnt_mon", "cnt_day", "cnt_yes", "cnt_pmon", "link")

# A count may exceed the count of all clicks by one click in so many.
_UNEVEN = 100

_LONGEST_DESCRIPTION = 200
_LONGEST_EXCERPT = 60

# The charsets that an answer may name. Python is not asked for other names: it remembers each for ever, and
# some are slow or warn on hostile input, such as idna, punycode and unicode_escape.
_CHARSETS = frozenset({"cp866", "ibm866", "iso-8859-5", "koi8-r", "koi8-u", "utf-16", "utf-16be", "utf-16le"})

_WEB_PAGE = re.compile(r"(<\?xml[^>]*>\s*)?<(!--|(!doctype\s+html|html|head|body)\b)", re.IGNORECASE)


class _BadAnswerError(Exception):
    """What is wrong with an answer, and the piece of it that shows so, uncut."""

    def __init__(self, wrong: str, piece: str = "") -> None:
        self.wrong = wrong
        self.piece = piece
        super().__init__(wrong)


def parse(body: bytes, charset: str | None, link: Link, scrub: Callable[[str], str] = str) -> Reading:
    """The reading that ``body`` holds for ``link``.

    ``charset`` is the one from the Content-Type header, if any. ``scrub`` takes secrets out of a text.
    What a message quotes of the body passes through it before it is cut: half a secret is not recognised.

    Raises an ApiError for an error number of the provider, and NoAnswerError for an empty body or a web page.
    Anything else that is not a whole answer for this link is a MalformedError.
    """
    error: PollError
    try:
        fields = _fields(_text(body, charset))
        if not fields.keys() & {"error", "error_code"}:
            return _reading(fields, link)
        error = api_error(_error_code(fields), _description(fields, scrub))
    except _BadAnswerError as bad:
        error = MalformedError(bad.wrong + _excerpt(bad.piece, scrub))
    # Raised out here so that the uncut text does not hang on the error as its context.
    raise error


def _text(body: bytes, charset: str | None) -> str:
    """The body as text, trimmed: UTF-8 first, for it hardly ever fits by chance; cp1251 last, as the provider
    writes it unless told otherwise.
    """
    for encoding in ("utf-8-sig", _known(charset), "cp1251"):
        try:
            return body.decode(encoding).strip()
        except ValueError:
            continue
    raise _BadAnswerError("the answer is not text in any charset the provider uses")


def _known(charset: str | None) -> str:
    """The header's charset; UTF-8 when there is none that is fit to use."""
    name = (charset or "").lower().replace("_", "-")
    return name if name in _CHARSETS else "utf-8"


def _fields(text: str) -> _Fields:
    if not text:
        raise NoAnswerError("the answer is empty")
    if _WEB_PAGE.match(text):
        raise NoAnswerError("the answer is a web page")
    if text.startswith("{"):
        return _json(text)
    if text.startswith("<"):
        return _xml(text)
    return _error_line(text) or _line(text)


# --- JSON


def _unique(pairs: list[tuple[str, object]]) -> _Fields:
    """A JSON object. A key that is in it twice is an error, as either value may be meant."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise _BadAnswerError("a key is in the answer twice")
    return fields


# Numbers stay text: what is a count is decided in one place for all formats, and a number of a million digits
# costs nothing. Bare control characters are let through here, for an error's description may have lines.
_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=str, parse_float=str, parse_constant=str, strict=False
)

_VALUE = r'("[^"\\\r\n]*"|-?[0-9]+)'
_SALVAGE_READING = re.compile(
    r"\{\s*"
    + "".join(rf'"{name}"\s*:\s*{_VALUE}\s*,\s*' for name in _NAMES[:-1])
    + r'"link"\s*:\s*"(.*)"\s*\}'
)
_SALVAGE_ERROR = re.compile(rf'\{{\s*"error"\s*:\s*"(.*)"\s*,\s*"error_code"\s*:\s*{_VALUE}\s*\}}', re.DOTALL)

# Structure inside what should be one text: the end of an object, or a next key.
_STRUCTURE = re.compile(r'"\s*(\}|,\s*"\w+"\s*:)')


def _json(text: str) -> _Fields:
    """A JSON answer. It starts with a brace, so what decodes is an object."""
    try:
        fields: _Fields = _DECODER.decode(text)
    except (ValueError, RecursionError):
        return _salvage(text)
    return fields


def _salvage(text: str) -> _Fields:
    """An answer that is JSON but for bare quotes or backslashes in its one free text.

    The provider writes its answers by hand, in this order. What is salvaged is taken as it stands: whoever
    leaves a quote bare escapes nothing else either.
    """
    if found := _SALVAGE_READING.fullmatch(text):
        fields = dict(zip(_NAMES, found.groups(), strict=True))
    elif found := _SALVAGE_ERROR.fullmatch(text):
        fields = {"error": found[1], "error_code": found[2]}
    else:
        raise _BadAnswerError("the answer is not complete JSON", text)
    if _STRUCTURE.search(fields.get("link") or fields.get("error") or ""):
        raise _BadAnswerError("the answer is not complete JSON", text)
    return {name: value if name in ("link", "error") else value.strip('"') for name, value in fields.items()}


# --- XML
#
# Read by anchored patterns, not by an XML parser: the provider writes it by hand, so that a link's ampersands
# may stand bare, which a parser must refuse; and without a parser there are no entities to attack it with.

_DOCUMENT = re.compile(r"(?:<\?xml[^>]*\?>\s*)?<result>(.*)</result>", re.DOTALL)
_ELEMENT = re.compile(r"<([a-z_]+)>(.*?)</\1>\s*", re.DOTALL)
_ENTITY = re.compile(r"&(?:amp|lt|gt|quot|apos|#[0-9]{1,7}|#x[0-9a-fA-F]{1,6});")


def _xml(text: str) -> _Fields:
    document = _DOCUMENT.fullmatch(text)
    if not document:
        raise _BadAnswerError("the answer is not complete XML", text)
    inside, at, pairs = document[1].lstrip(), 0, list[tuple[str, object]]()
    while element := _ELEMENT.match(inside, at):
        pairs.append((element[1], _unescaped(element[2])))
        at = element.end()
    if at != len(inside):
        raise _BadAnswerError("the answer is not complete XML", inside[at:])
    return _unique(pairs)


def _unescaped(text: str) -> str:
    """The text with whole XML entities resolved and bare ampersands left alone."""
    return _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)


# --- csv and plain text

_ERROR_LINE = re.compile(
    r"ERROR\s*=\s*(?P<plain>[0-9]++)\s*+(\((?P<text>.*)\).*|(?P<bare>[^(].*))?|0\s*,\s*-(?P<csv>[0-9]+)",
    re.DOTALL,
)
_NAMED = re.compile(r"\s*([a-z_]+)\s*=(.*)", re.DOTALL)


def _error_line(text: str) -> _Fields | None:
    """An error in csv (``0,-9``) or plain text (``ERROR = 9 (description) perhaps more``), if it is one."""
    found = _ERROR_LINE.fullmatch(text)
    return found and {"error_code": found["plain"] or found["csv"], "error": found["text"] or found["bare"]}


def _line(text: str) -> _Fields:
    """A reading in csv or plain text. Both have the link last and unquoted: it alone may hold commas."""
    if "," not in text:
        raise _BadAnswerError("the answer has an unknown shape", text)
    parts = text.split(",", len(_NAMES) - 1)
    named = [_NAMED.fullmatch(part) for part in parts]
    if named[0]:
        return _unique([(found[1], found[2]) for found in named if found])
    return dict(zip(_NAMES, parts, strict=False))


# --- What the fields say, whatever the format


def _reading(fields: _Fields, link: Link) -> Reading:
    reading = Reading(
        id=_name(fields, "id"),
        all_time=_count(fields, "cnt"),
        month=_count(fields, "cnt_mon"),
        today=_count(fields, "cnt_day"),
        yesterday=_count(fields, "cnt_yes"),
        previous_month=_count(fields, "cnt_pmon"),
        short_link=_name(fields, "link"),
    )
    if link.id is not None and link.id != reading.id:
        raise _BadAnswerError(f"id: asked for link {link.id}, the answer is for", reading.id)
    _check_parts(reading)
    return reading.of(link)


def _check_parts(reading: Reading) -> None:
    """Refuse a reading in which a day or a month has more clicks than all time.

    The provider's page says that ``cnt`` counts *all* clicks, so each other count is a part of it. The end of
    a day or a month does not change that, because ``cnt`` does not start again. One percent is let pass: the
    provider may read its counts one after another while people click. On its first day, a link's clicks are
    all today's.

    Nothing else is compared. Today's count may exceed the month's, and the two months together may exceed all
    clicks, for as long as some counts have started again at midnight and others have not.
    """
    parts = {
        "cnt_mon": reading.month,
        "cnt_day": reading.today,
        "cnt_yes": reading.yesterday,
        "cnt_pmon": reading.previous_month,
    }
    for name, count in parts.items():
        if count - reading.all_time > reading.all_time // _UNEVEN:
            raise _BadAnswerError(f"{name} is {count}, more than the {reading.all_time} of cnt, all clicks")


def _value(fields: _Fields, name: str) -> str:
    if name not in fields:
        raise _BadAnswerError(f"{name} is missing")
    value = fields[name]
    if not isinstance(value, str):
        raise _BadAnswerError(f"{name} is neither text nor a number")
    return value.strip()


def _name(fields: _Fields, name: str) -> str:
    """The field as text that can be shown."""
    value = _value(fields, name)
    if not value:
        raise _BadAnswerError(f"{name} is empty")
    if len(value.encode("utf-8", "surrogatepass")) > LONGEST_NAME:
        raise _BadAnswerError(f"{name} is longer than {LONGEST_NAME // 1024} KiB", value)
    if UNPRINTABLE.search(value):
        raise _BadAnswerError(f"{name} contains control characters", value)
    return value


def _count(fields: _Fields, name: str) -> int:
    value = _value(fields, name)
    # Sixteen digits hold the most there may be, and int() refuses numbers of thousands of digits.
    if not re.fullmatch("[0-9]{1,16}", value) or int(value) > MOST_CLICKS:
        raise _BadAnswerError(f"{name} is not a count", value)
    return int(value)


def _error_code(fields: _Fields) -> int:
    """The provider's error number: positive, or it would not be an error."""
    value = _value(fields, "error_code")
    if not re.fullmatch("0*[1-9][0-9]{0,8}", value):
        raise _BadAnswerError("error_code is not an error number", value)
    return int(value)


def _description(fields: _Fields, scrub: Callable[[str], str]) -> str:
    told = fields.get("error")
    return scrub(UNPRINTABLE.sub(" ", told)).strip()[:_LONGEST_DESCRIPTION] if isinstance(told, str) else ""


def _excerpt(piece: str, scrub: Callable[[str], str]) -> str:
    """The start of ``piece``, to end a message with."""
    return f": {scrub(piece)[:_LONGEST_EXCERPT]!r}" if piece else ""
