"""Composing an answer, and damaging it where a fault asks for that."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from random import Random

from exporter.simulator.faults import Fault
from exporter.simulator.formats import MEDIA_TYPES, Refusal, Statistics, render
from exporter.simulator.query import Query

RETRY_AFTER_SECONDS = 30  # in answers with 429 and 503
_GARBAGE_BYTES = 200
_CYRILLIC_LINK = "смск.рф/аб"
# Faults that change how an answer travels: `delivery` knows how.
MANNERS = frozenset({"cut", "drip", "freeze", "hang", "huge", "redirect", "reset"})


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer decided upon, with the name an audit counts it under."""

    label: str
    body: bytes
    content_type: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    manner: str = ""  # one of MANNERS; "" when it simply goes out


def compose(content: Statistics | Refusal, query: Query, fault: Fault | None, random: Random) -> Reply:
    """Write the answer to a query, with the damage the fault does."""
    if fault is None or (fault.kind in _CONTENT and isinstance(content, Refusal)):
        return _written(content, query, "", "ok", random)
    if fault.kind in {"http", "html"}:
        return _page(fault)
    return _written(content, query, fault.kind, fault.label, random)


def _written(content: Statistics | Refusal, query: Query, kind: str, label: str, random: Random) -> Reply:
    fmt = _other_format(query.fmt) if kind == "other_format" else query.fmt
    if isinstance(content, Statistics):
        content = _CONTENT[kind](content, fmt) if kind in _CONTENT else content
    elif label == "ok":
        label = str(content.code)
    text = _TEXT[kind](render(content, fmt)) if kind in _TEXT else render(content, fmt)
    announced, encoding = _charsets(kind, query)
    body = text.encode(encoding, "replace")
    return Reply(
        label=label,
        body=_BYTES[kind](body, random) if kind in _BYTES else body,
        content_type=f"{MEDIA_TYPES[fmt]}; charset={announced}",
        manner=kind if kind in MANNERS else "",
    )


def _page(fault: Fault) -> Reply:
    """Return a web page, as the front proxy sends it."""
    status = fault.number or 200
    reasons = {known.value: known.phrase for known in HTTPStatus}
    title = f"{status} {reasons.get(status, 'Error')}" if fault.number else "Maintenance"
    body = f"<html>\r\n<head><title>{title}</title></head>\r\n<body><h1>{title}</h1></body>\r\n</html>\r\n"
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if status in {429, 503} else {}
    return Reply(fault.label, body.encode(), "text/html", status, headers)


def _other_format(fmt: int) -> int:
    return 0 if fmt else 3


def _charsets(kind: str, query: Query) -> tuple[str, str]:
    """Return the announced encoding and the one used."""
    if kind == "utf8":
        return "windows-1251", "utf-8"
    if kind == "cp1251":
        return "utf-8", "windows-1251"
    asked = "utf-8" if query.utf8 else "windows-1251"
    return asked, asked


def _counts(change: Callable[[str], str]) -> Callable[[Statistics, int], Statistics]:
    return lambda found, _fmt: replace(found, counts=tuple(map(change, found.counts)))


def _link(link: str) -> Callable[[Statistics, int], Statistics]:
    return lambda found, _fmt: replace(found, link=link)


def _null(found: Statistics, fmt: int) -> Statistics:
    return replace(found, counts=("null" if fmt == 3 else "",) * len(found.counts), bare=True)


# What changes the texts of a successful answer; an error's has nothing for them to change.
_CONTENT: Mapping[str, Callable[[Statistics, int], Statistics]] = {
    "wrong_link": lambda found, _fmt: found,  # the other link was already taken
    "negative": _counts(lambda count: f"-{int(count) + 1}"),
    "null": _null,
    "float": _counts(lambda count: f"{count}.5"),
    "numbers": lambda found, _fmt: replace(found, bare=True),
    "cyrillic": _link(_CYRILLIC_LINK),
    "utf8": _link(_CYRILLIC_LINK),
    "cp1251": _link(_CYRILLIC_LINK),
    "quote": _link('smsc.tips/a"b\\c'),
    "comma": _link("smsc.tips/a,b,c"),
}
_TEXT: Mapping[str, Callable[[str], str]] = {
    "crlf": lambda text: text.replace("\n", "\r\n") + "\r\n\r\n",
}
_BYTES: Mapping[str, Callable[[bytes, Random], bytes]] = {
    "bom": lambda body, _random: b"\xef\xbb\xbf" + body,
    "empty": lambda _body, _random: b"",
    "garbage": lambda _body, random: random.randbytes(_GARBAGE_BYTES),
    "truncated": lambda body, _random: body[: len(body) // 2],
}
